"""Both hubs of the comparison, each with its proxy and a farm of stand-ins."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from genesis_hub.people import Account, People, hash_password
from genesis_hub.supervisor import proxy_command

PASSWORD = "one-for-all-of-them"
TESTS = Path(__file__).parents[2]
PARTS = Path(__file__).parent


@dataclass
class Hub:
    """A hub that runs.

    Attributes
    ----------
    port : int
        Where people come in.
    farm : int
        Port of the farm.
    processes : dict
        The hub's and the proxy's process.
    """

    port: int
    farm: int
    processes: dict[str, psutil.Process]

    def open(self) -> dict[str, int]:
        """Return how many descriptors each process has open, and how many of those are established connections."""
        found = {}
        for name, process in self.processes.items():
            found[f"{name} descriptors"] = process.num_fds()
            connections = process.net_connections("inet")
            found[f"{name} sockets"] = sum(each.status == "ESTABLISHED" for each in connections)
        return found

    def cpu_s(self) -> dict[str, float]:
        """Return the processor time that each has used."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}

    def memory_mib(self) -> dict[str, float]:
        """Return the memory of each."""
        return {name: process.memory_full_info().pss / 2**20 for name, process in self.processes.items()}


def people(path: Path, count: int) -> None:
    """Write a people file whose people all have one password: hashing one for each would take minutes."""
    file = People(path)
    hashed = hash_password(PASSWORD)
    with file._changing() as accounts:
        names = ["probe", *(f"p{number}" for number in range(count))]
        accounts.update({name: Account(name, hashed) for name in names})


@contextlib.contextmanager
def default(folder: Path, count: int) -> Iterator[Hub]:
    """JupyterHub's default configuration, which starts its own proxy."""
    folder.mkdir()
    people(folder / "people.json", count)
    port, hub, api, farm = free_ports(4)
    environment = {
        "BENCH_PORT": str(port),
        "BENCH_HUB_PORT": str(hub),
        "BENCH_API_PORT": str(api),
        "BENCH_PEOPLE": str(folder / "people.json"),
        "BENCH_PROXY": "\n".join(proxy_command()),
        "BENCH_BELIEVE_S": "300",
    }
    command = [sys.executable, "-m", "jupyterhub", "--config", str(PARTS / "default_config.py")]
    with running(command, folder, farm, environment) as process:
        yield ready(process, port, farm)


@contextlib.contextmanager
def ours(folder: Path, count: int) -> Iterator[Hub]:
    """The workbench as `workbench up` starts it, its servers stand-ins."""
    state = folder / "state"
    state.mkdir(parents=True)
    people(state / "people.json", count)
    (folder / "site.toml").write_text('name = "load"\n[catalog]\nsources = []\n')
    port, farm = free_ports(2)
    start = (
        "import sys; from genesis_hub import resources, command; from pathlib import Path;"
        f"resources.hub_config = lambda: Path({str(PARTS / 'our_config.py')!r}); sys.argv[0] = 'workbench'; command.main()"
    )
    arguments = ["up", "--port", str(port), "--state", str(state), "--site", str(folder / "site.toml")]
    with running(
        [sys.executable, "-c", start, *arguments], folder, farm, {"BENCH_BELIEVE_S": "15"}
    ) as process:
        yield ready(process, port, farm)


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, farm: int, environment: dict[str, str]
) -> Iterator[psutil.Process]:
    """A hub and a farm, ended afterwards with all that they started."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    everything = {
        **os.environ,
        **environment,
        "BENCH_FARM": str(farm),
        "PYTHONPATH": path,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with (folder / "hub.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, str(PARTS / "farm.py"), str(farm)], stdout=log, stderr=log)
        hub = subprocess.Popen(
            command,
            cwd=folder,
            env=everything,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield psutil.Process(hub.pid)
        finally:
            hub.send_signal(signal.SIGINT)
            try:
                hub.wait(60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(hub.pid, signal.SIGKILL)
                server.terminate()
                server.wait(10)


def ready(root: psutil.Process, port: int, farm: int) -> Hub:
    """Wait until people can sign in."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            answers = [
                httpx.get(url, trust_env=False, timeout=5).status_code
                for url in (f"http://127.0.0.1:{port}/hub/login", f"http://127.0.0.1:{farm}/status")
            ]
            if answers == [200, 200]:
                return Hub(
                    port,
                    farm,
                    {"hub": named(root, "jupyterhub"), "proxy": named(root, "configurable-http-proxy")},
                )
        time.sleep(0.2)
    raise RuntimeError(f"the hub did not come up: see {root.cwd()}/hub.log")


def named(root: psutil.Process, word: str) -> psutil.Process:
    """Return the process of the family whose command names `word`."""
    for each in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(part == word or part.endswith(f"/{word}") for part in each.cmdline()):
                return each
    raise LookupError(word)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found
