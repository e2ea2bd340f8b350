"""Machines for containers on one machine: network namespaces, each with a podman of its own, on a network with the hub.

Nothing of the host's own network, containers or images is touched. Needs root.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[3]
# Below /tmp, and short: podman refuses a long runroot, and a socket's path has 107 bytes.
_CONF = """
[engine]
{runtime}
cgroup_manager = "cgroupfs"
events_logger = "none"
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
"""
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
[storage.options]
additionalimagestores = [{shared}]
"""


def missing() -> str:
    """Say what is not here that these machines are made with."""
    for program in ("podman", "ip", "iptables", "nsenter"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return "" if os.geteuid() == 0 else "network namespaces and podman's own store need root here"


def mounted() -> list[str]:
    """Return the folders of this machine that hold a Python with the workbench, to be mounted where they are."""
    places = ["/usr", sys.base_prefix, sys.prefix, str(ROOT), sysconfig.get_path("purelib")]
    real = sorted({str(Path(place).resolve()) for place in places})
    return [place for place in real if not any(place.startswith(other + "/") for other in real)]


class Node:
    """One machine: a namespace with an address, a store and an engine that listens on a socket."""

    def __init__(self, folder: Path, network: Network, number: int, shared: Path | None) -> None:
        self.name, self.folder, self.address = f"node{number}", folder, network.address(10 + number)
        self.namespace = f"{network.name}n{number}"
        self.socket = folder / "podman.sock"
        self.process: subprocess.Popen[bytes] | None = None
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        runtime = 'runtime = "runc"' if shutil.which("runc") else ""
        folder.mkdir()
        (folder / "containers.conf").write_text(_CONF.format(runtime=runtime, files=files))
        others = json.dumps(str(shared)) if shared else ""
        (folder / "storage.conf").write_text(_STORAGE.format(folder=folder, shared=others))
        self.environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }

    def podman(self, *arguments: str, given: bytes | None = None) -> str:
        """Run podman on this machine."""
        # `ip netns exec` would mount /sys anew, and hide the cgroups.
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "podman", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,  # conmon leaves a file named oom where it is when a container runs out of memory
            env=self.environment,
            input=given,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"podman {arguments}: {done.stderr[-2000:]!r}"
        return done.stdout.decode().strip()

    def start(self) -> None:
        """Start the engine, and wait until it listens."""
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "podman", "system", "service", "--time=0"]
        with (self.folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, f"unix://{self.socket}"],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 20
        while not self.socket.exists():
            assert time.monotonic() < deadline, (self.folder / "engine.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End the engine; containers live on, as they do without podman's service."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=20)
            self.process = None
        self.socket.unlink(missing_ok=True)

    def die(self) -> None:
        """Lose the machine: its engine, its containers and its cable."""
        self.stop()
        run("ip", "-n", self.namespace, "link", "set", "eth0", "down")
        self.podman("kill", "--all")

    def revive(self) -> None:
        """Start the machine again."""
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        self.start()


class Network:
    """A bridge of this machine, on which it has the address ``.1``: the network between hub and machines."""

    def __init__(self) -> None:
        number = os.getpid() % 200
        self.name, self._prefix = f"gw{number}", f"10.231.{number}"

    def address(self, last: int) -> str:
        """Return an address on it."""
        return f"{self._prefix}.{last}"

    def __enter__(self) -> Self:
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "address", "add", f"{self.address(1)}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        return self

    def connect(self, node: Node) -> None:
        """Put a machine on it, which accepts new connections from the hub's machine alone (docs/how-to/containers.md)."""
        cable, space = f"{node.namespace}v", node.namespace
        run("ip", "netns", "add", space)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", cable, "master", self.name, "up")
        for words in (
            ["address", "add", f"{node.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            run("ip", "-n", space, *words)
        rule = ["-t", "mangle", "-A", "PREROUTING", "-i", "eth0", "!", "-s", self.address(1)]
        state = ["-m", "conntrack", "--ctstate", "NEW", "-j", "DROP"]
        run("nsenter", f"--net=/run/netns/{space}", "iptables", *rule, *state)

    def __exit__(self, *_: object) -> None:
        run("ip", "link", "delete", self.name)


class Cluster:
    """Several machines with one image: one of the `store` of another podman, or one that holds this machine's Python."""

    def __init__(self, count: int, image: str = "", store: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gwc-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.network = Network()
        first = Node(self.folder / "n1", self.network, 1, store)
        more = [
            Node(self.folder / f"n{number}", self.network, number, store or first.folder / "store")
            for number in range(2, count + 1)
        ]
        self.nodes = [first, *more]
        self.image = image

    def __enter__(self) -> Self:
        self.network.__enter__()
        for node in self.nodes:
            self.network.connect(node)
        self.image = self.image or "sha256:" + import_image(self.nodes[0])
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.stop()
            node.podman("rm", "--all", "--force", "--time=1")
            node.podman("network", "prune", "--force")
        for node in reversed(self.nodes):
            subprocess.run(["umount", "--recursive", str(node.folder / "store/overlay")], check=False, capture_output=True)  # fmt: skip
            run("ip", "netns", "delete", node.namespace)
        self.network.__exit__()
        shutil.rmtree(self.folder)

    def site(self, **more: str) -> str:
        """Return the tables of a site file that put servers on these machines."""
        nodes = "".join(
            f'[[servers.containers.nodes]]\nname = "{node.name}"\nsocket = "{node.socket}"\naddress = "{node.address}"\n'
            f"reserve_bytes = {more.get('reserve_bytes', '1073741824')}\n"
            for node in self.nodes
        )
        return f"""
[hub]
private_address = "{self.network.address(1)}"
[servers]
spawner = "container"
[servers.containers]
image = "{more.get("image", self.image)}"
memory_bytes = 1073741824
lost_after_s = {more.get("lost_after_s", "3")}
{nodes}
"""


def import_image(node: Node) -> str:
    """Make an image that holds nothing but links: everything is mounted from this machine. Return its identifier."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("tmp", "home/user", "usr", "etc", "proc", "dev", "sys", "run"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)
        for name in ("bin", "lib", "lib64", "sbin"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(link)
        for name, text in (
            ("etc/passwd", "user:x:1000:1000::/home/user:/bin/sh\n"),
            ("etc/group", "user:x:1000:\n"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    changes = [
        f"--change=ENV PATH={Path(sys.executable).parent}:/usr/bin:/bin",
        "--change=USER 1000:1000",
        "--change=LABEL org.opencontainers.image.title=Genesis Workbench, for tests",
    ]
    made = node.podman("import", "--quiet", *changes, "-", "localhost/probe:1", given=content.getvalue())
    return made.splitlines()[-1].removeprefix("sha256:")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{command}: {done.stderr}"
