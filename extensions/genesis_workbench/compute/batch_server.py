"""A person's server as a batch job: asked for, looked at and ended in that person's name.

``python -m genesis_workbench.compute.batch_server start|look|certify|end|queues|home`` reads JSON and answers with one JSON line. The hub
runs it as the person (by sudo where people have accounts of their own), so the hub itself needs no right over anybody's
jobs or files, and what a person's server says of itself is never believed to be about another's. ``serve`` is what the
job runs.

Nothing secret is on a command line or in the queue: the environment travels on standard input into a file of mode 0600, which the
job empties as soon as it has read it. That file is in the person's home, or in a folder of the site's for them, which has room when a
home is full. Where the hub encrypts, the job makes its key on the machine that it is given, and only then says where it is: the hub
answers with a certificate for that address. The key never leaves the machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesis_workbench.compute.job import Resources
from genesis_workbench.compute.slurm import Slurm, directives
from genesis_workbench.core import certificates
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, Unavailable
from genesis_workbench.core.homes import NO_ROOM, copy_tutorials, rescue_variables, runtime_folder
from genesis_workbench.core.homes import look as look_at_home
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.site import ComputeSection, this_site

_LAUNCH, _ADDRESS, _LOG, _CERTIFIED = "launch.json", "address.json", "server.log", "certified.json"
_LAST_LINES, _LAST_BYTES = 12, 4000
_CERTIFIED_S, _QUOTA_S = 300, 10


class Server(BaseModel):
    """What the hub says of a server. It may hold back nothing, and what it names is checked here again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=100, description="Name of the server among the person's own.")
    start: str = Field("", pattern="^[0-9a-f]{0,32}$", description="Tells this start from earlier ones.")
    job: str = Field("", pattern="^[0-9]*$", description="Number of its job, once it is known.")
    command: tuple[str, ...] = Field((), description="What the job runs.")
    environment: dict[str, str] = Field(
        default_factory=dict, description="Variables of the server, secret ones too."
    )
    image: str = Field("", max_length=500, description="Container image, where it runs in one.")
    resources: Resources = Field(default_factory=Resources)
    walltime_s: float = Field(3600, gt=0)
    queue: str = Field("", max_length=100)
    account: str = Field("", max_length=100)
    tutorials: str = Field("", description="Folder of tutorials that are copied into the home.")
    certificate: str = Field("", description="Its certificate, where the hub encrypts.")
    trusted: str = Field("", description="Certificates of the authorities that it trusts then.")
    home_bytes: int = Field(0, ge=0, description="What the home may hold; 0 for no limit.")
    rescue: bool = Field(False, description="Whether it writes nothing into the home, which is full.")


def folder_of(server: Server, site: ComputeSection) -> Path:
    """Return where a server's files are: in the person's home, or where the site says.

    Raises
    ------
    Conflict
        If the site's folder is not the person's: whoever has made it could change what the server runs.
    """
    spool = _spool(site)
    if site.slurm.spool:
        try:
            spool.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Conflict(
                f"{spool}, where your servers start from, cannot be made: {error.strerror}. Ask the operator to make it, or to name "
                "another as compute.slurm.spool."
            ) from error
        about = spool.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
            raise Conflict(
                f"{spool}, where your servers start from, is no folder of yours, or others may write into it. Ask the operator to mend "
                "it, or to name another as compute.slurm.spool."
            )
    return spool / ".genesis" / "servers" / check_slug(server.name, "server")


def _spool(site: ComputeSection) -> Path:
    named = site.slurm.spool.replace("{person}", pwd.getpwuid(os.getuid()).pw_name)
    return Path(named) if named else Path.home()


def start(server: Server, site: ComputeSection) -> dict[str, Any]:
    """Submit the job, once for each start; end the job of an earlier start that is still there.

    Raises
    ------
    InvalidInput
        If no machine of the queue can hold it, with the nearest that would do; or with sbatch's words.
    """
    slurm = Slurm(site.slurm)
    if server.image and not site.slurm.container:
        raise InvalidInput(
            "This server's profile names an image, but the site does not say how its machines run images. Ask the "
            "operator to set compute.slurm.container."
        )
    queue = server.queue or site.queue
    slurm.check("This server", queue, server.resources, server.walltime_s)
    name = _job_name(server)
    if there := slurm.named(name):
        return {"job": there[-1]}  # the answer to an earlier call was lost
    folder = folder_of(server, site)
    before = _read(folder / _LAUNCH) or {}
    if before.get("job_name", name) != name:
        slurm.cancel(*slurm.named(before["job_name"]))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    launch = {
        "job_name": name,
        **server.model_dump(mode="json", include={"command", "environment", "image", "rescue"}),
    }
    _write(folder / _LAUNCH, launch)
    if server.tutorials:
        copy_tutorials(Path(server.tutorials), Path.home() / "tutorials")
    lines = directives(
        name,
        server.resources,
        server.walltime_s,
        queue=queue,
        account=server.account or site.account,
        output=str(folder / _LOG),
        options=[*site.slurm.options, "--no-requeue"],
    )
    serve = [site.python or sys.executable, "-m", __spec__.name if __spec__ else __name__, "serve"]
    words = shlex.join([*serve, "--site", os.environ.get("GENESIS_SITE", ""), str(folder)])
    script = "\n".join(["#!/bin/sh", *lines, *site.slurm.prologue, f"exec {words}", ""])
    return {"job": slurm.submit(script, name)}


def look(server: Server, site: ComputeSection) -> dict[str, Any]:
    """Say where the server is on its way.

    Returns
    -------
    dict
        ``state`` (waiting, starting, running or ended), ``reason``, ``position`` and ``estimated_start`` while it waits,
        ``address`` (host and port) once it listens, ``exit_code`` and ``log`` (its last lines) when it has ended. While it waits
        for a certificate, its ``address`` holds the ``request`` for one.
    """
    slurm, folder = Slurm(site.slurm), folder_of(server, site)
    job = slurm.mine().get(server.job)
    if job is not None and job.state == "PENDING":
        where = {"position": slurm.position(job), "estimated_start": job.start}
        return {"state": "waiting", "reason": slurm.explain(job), **where}
    address = _read(folder / _ADDRESS)
    if job is not None and job.state not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
        listens = address is not None and "request" not in address
        return {"state": "running" if listens else "starting", "reason": "", "address": address}
    ended = slurm.ended(server.job) if server.job else None
    return {
        "state": "ended",
        "reason": _why(ended.state if ended else ""),
        "exit_code": ended.exit_code if ended else None,
        "log": _last_lines(folder / _LOG),
    }


def certify(server: Server, site: ComputeSection) -> dict[str, Any]:
    """Hand over the certificate that was asked for."""
    folder = folder_of(server, site)
    address = _read(folder / _ADDRESS)
    if address is None or "request" not in address:
        return {}  # the answer to an earlier call was lost
    certified = {"certificate": server.certificate, "trusted": server.trusted}
    # Into the file that is there: through NFS, another machine may look for a while past one that is new.
    (folder / _CERTIFIED).write_text(json.dumps(certified))
    _write(folder / _ADDRESS, {"host": address["host"], "port": address["port"]})
    return {}


def queues(server: Server, site: ComputeSection) -> dict[str, Any]:
    """Return the queues as they are now: what is free, and how many wait."""
    there = [queue.model_dump(mode="json") for queue in Slurm(site.slurm).queues()]
    return {"queues": there, "default": site.queue}


def home(server: Server, site: ComputeSection) -> dict[str, Any]:
    """Return how full the person's home is."""
    limit = 0 if site.slurm.quota else server.home_bytes
    found = look_at_home(Path.home(), limit, write=True)
    if site.slurm.quota:
        used, limit = _quota(site.slurm.quota)
        found = replace(found, used_bytes=used, limit_bytes=limit)
    return {"home": asdict(found)}


def end(server: Server, site: ComputeSection) -> dict[str, Any]:
    """End the job, whether it waits or runs."""
    slurm = Slurm(site.slurm)
    slurm.cancel(*{*([server.job] if server.job else []), *slurm.named(_job_name(server))})
    folder = folder_of(server, site)
    for name in (_LAUNCH, _ADDRESS, _CERTIFIED):
        (folder / name).unlink(missing_ok=True)
    return {}


def serve(folder: Path, site: ComputeSection) -> None:
    """Become the server: take the environment from its file, choose a port, say where it is."""
    launch = _read(folder / _LAUNCH)
    if launch is None:
        raise InvalidInput("This server's settings are gone: it was ended before it could start.")
    host = _address_of(site.interface)
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, **launch["environment"]}
    told = urlsplit(environment["JUPYTERHUB_SERVICE_URL"])
    environment["JUPYTERHUB_SERVICE_URL"] = urlunsplit((told.scheme, f"{host}:{port}", told.path, "", ""))
    private = runtime_folder(Path.home())
    environment["JUPYTER_RUNTIME_DIR"] = str(private)
    if launch.get("rescue"):
        environment |= rescue_variables(str(private))
    _write(folder / _LAUNCH, {"job_name": launch["job_name"]})  # the token is in no file from here on
    address = {"host": host, "port": port}
    if told.scheme == "https":
        environment |= _certified(folder, private / folder.name, address)
    else:
        _write(folder / _ADDRESS, address)
    os.chdir(Path.home())
    container = [word.replace("{image}", launch["image"]) for word in site.slurm.container]
    command = [*(container if launch["image"] else []), *launch["command"]]
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell: a program and its arguments


def _certified(folder: Path, private: Path, address: dict[str, Any]) -> dict[str, str]:
    """Make a key, wait until the hub vouches for it, and return the variables that name both.

    Raises
    ------
    Unavailable
        If the hub does not answer in time: it has given up the server.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    (folder / _CERTIFIED).touch(mode=0o600)
    _write(folder / _ADDRESS, {**address, "request": asked.public_bytes(Encoding.PEM).decode()})
    deadline = time.monotonic() + _CERTIFIED_S
    while (answer := _told(folder / _CERTIFIED)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"The hub gave this server no certificate within {_CERTIFIED_S} s.")
        time.sleep(0.2)
    private.mkdir(mode=0o700, exist_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    paths = {}
    for variable, name, text in (
        (certificates.KEY, "key.pem", pem),
        (certificates.CERTIFICATE, "certificate.pem", answer["certificate"]),
        (certificates.TRUSTED, "trusted.pem", answer["trusted"]),
    ):
        _write_text(private / name, text)
        paths[variable] = str(private / name)
    return paths


def _told(path: Path) -> dict[str, str] | None:
    """Read what another machine writes; None while it is not whole."""
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except (ValueError, FileNotFoundError):
        return None
    return found


def _quota(words: list[str]) -> tuple[int, int]:
    """Return what the site's program says of the home: bytes that are used, and that may be."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL, timeout=_QUOTA_S
        )
        used, limit = map(int, done.stdout.split())
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable(
            f"compute.slurm.quota ({words[0]}) did not print two numbers, the bytes of a home that are used and that may be: {error}"
        ) from error
    return used, limit


def _job_name(server: Server) -> str:
    told = f"{server.name}\n{server.start}".encode()
    return f"gw-server-{hashlib.sha256(told).hexdigest()[:16]}"


def _address_of(interface: str) -> str:
    import psutil

    for each in psutil.net_if_addrs().get(interface or "lo", []):
        if each.family is socket.AF_INET:
            return str(each.address)
    raise InvalidInput(
        f"This machine has no address on the interface {interface!r}. Ask the operator to set compute.interface in the "
        f"site file to one of {', '.join(sorted(psutil.net_if_addrs()))}."
    )


def _why(state: str) -> str:
    words = {
        "TIMEOUT": "It reached its walltime.",
        "OUT_OF_MEMORY": "It used more memory than its profile has.",
        "NODE_FAIL": "The machine that it ran on failed.",
        "PREEMPTED": "A job of a higher priority took its machine.",
        "CANCELLED": "It was canceled in the queue.",
        "FAILED": "It ended with an error.",
    }
    return words.get(state, "It has ended.")


def _last_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[-_LAST_LINES:]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found


def _write(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, json.dumps(value))


def _write_text(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _no_room(site: ComputeSection) -> str:
    if site.slurm.spool and not look_at_home(Path.home(), 0, write=True).full:
        where, way = f"The folder {_spool(site)}, from which your servers start,", ""
    else:
        where = "Your home"
        way = (
            ""
            if site.slurm.spool
            else ", or the operator to name another place for them as compute.slurm.spool"
        )
    return (
        f"{where} takes nothing more, not even the few kB that a server starts with. Delete something by another way, such as SSH, "
        f"or ask for a larger quota{way}."
    )


def _main(words: list[str]) -> int:
    verb, options = words[0], words[1:]
    if options[:1] == ["--site"]:
        if options[1]:
            os.environ["GENESIS_SITE"] = options[1]
        options = options[2:]
    site = this_site().compute
    if verb == "serve":
        serve(Path(options[0]), site)
    try:
        server = Server.model_validate_json(sys.stdin.buffer.read(2**20))
        verbs = {"start": start, "look": look, "certify": certify, "end": end, "queues": queues, "home": home}
        answer = verbs[verb](server, site)
    except ValidationError as error:
        fault = error.errors()[0]
        answer = {"error": f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}", "code": "invalid-input"}
    except GenesisError as error:
        answer = {"error": error.message, "code": error.code}
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        answer = {"error": _no_room(site), "code": Conflict.code}
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer))  # noqa: T201 - this is its answer
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
