"""Machines for containers on one machine: network namespaces, each with an engine of its own, on a network with the hub.

Nothing of the host's own network, accounts, containers or images is touched. Needs root.
"""

from __future__ import annotations

import contextlib
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
from typing import Any, ClassVar, Self

import psutil

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
TALK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('reached')"
_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/store"
runroot = "{folder}/run"
[storage.options]
additionalimagestores = [{shared}]
"""


def missing(*programs: str) -> str:
    """Say what is not here that these machines are made with."""
    for program in (*programs, "ip", "iptables", "nsenter"):
        if not shutil.which(program):
            return f"{program} is not installed"
    return "" if os.geteuid() == 0 else "network namespaces and an engine of their own need root here"


def mounted() -> list[str]:
    """Return the folders of this machine that hold a Python with the workbench, to be mounted where they are."""
    places = ["/usr", sys.base_prefix, sys.prefix, str(ROOT), sysconfig.get_path("purelib")]
    real = sorted({str(Path(place).resolve()) for place in places})
    return [place for place in real if not any(place.startswith(other + "/") for other in real)]


class Node:
    """One machine: a namespace with an address, a store and podman, which listens on a socket."""

    name_of_engine: ClassVar[str] = "podman"
    programs: ClassVar[tuple[str, ...]] = ("podman",)
    user: ClassVar[int] = 0

    def __init__(self, folder: Path, network: Network, number: int, shared: Path | None = None) -> None:
        self.name, self.folder, self.address = f"node{number}", folder, network.address(10 + number)
        self.network = network
        self.namespace = f"{network.name}n{number}"
        self.socket = folder / "engine.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {**os.environ}
        folder.mkdir()
        self.configure(json.dumps(str(shared)) if shared else "")

    @classmethod
    def missing(cls) -> str:
        """Say what is not here that such a machine is made with."""
        return missing(*cls.programs)

    def configure(self, shared: str) -> None:
        """Write the engine's files."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        runtime = 'runtime = "runc"' if shutil.which("runc") else ""
        (self.folder / "containers.conf").write_text(_CONF.format(runtime=runtime, files=files))
        (self.folder / "storage.conf").write_text(_STORAGE.format(folder=self.folder, shared=shared))
        self.environment |= {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }

    def connect(self) -> None:
        """Put the machine on the network."""
        self.network.connect(self)

    @property
    def hub(self) -> dict[str, Any]:
        """How the hub of this machine's tests is started, beyond what every one is: as root, with nothing more."""
        return {}

    @property
    def enter(self) -> list[str]:
        """The words before a command of this machine."""
        # `ip netns exec` would mount /sys anew, and hide the cgroups.
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def client(self) -> list[str]:
        """Return the command by which an operator speaks to the engine."""
        return ["podman"]

    def service(self) -> list[str]:
        """Return the command that listens at the socket."""
        return ["podman", "system", "service", "--time=0", f"unix://{self.socket}"]

    def engine(self, *arguments: str, given: bytes | None = None) -> str:
        """Ask the engine as an operator does."""
        done = subprocess.run(
            [*self.enter, *self.client(), *arguments],
            cwd=self.folder,  # conmon leaves a file named oom where it is when a container runs out of memory
            env=self.environment,
            input=given,
            capture_output=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, f"{self.name_of_engine} {arguments}: {done.stderr[-2000:]!r}"
        return done.stdout.decode().strip()

    def start(self) -> None:
        """Start the engine, and wait until it listens."""
        with (self.folder / "engine.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.enter, *self.service()],
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
        """End the engine; containers live on."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
            self.process = None
        self.socket.unlink(missing_ok=True)

    def die(self) -> None:
        """Lose the machine: its engine, its containers and its cable."""
        self.stop()
        run("ip", "-n", self.namespace, "link", "set", "eth0", "down")
        self.engine("kill", "--all")

    def revive(self) -> None:
        """Start the machine again."""
        run("ip", "-n", self.namespace, "link", "set", "eth0", "up")
        self.start()

    def clear(self) -> None:
        """Leave nothing of its containers."""
        self.stop()
        with contextlib.suppress(
            AssertionError
        ):  # one that is just ending cannot be removed, and is gone a moment later
            self.engine("rm", "--all", "--force", "--time=1")
        self.engine("rm", "--all", "--force", "--time=1")
        self.engine("network", "prune", "--force")

    def remove(self) -> None:
        """Leave nothing of the machine but its folder."""
        subprocess.run(["umount", "--recursive", str(self.folder / "store/overlay")], check=False, capture_output=True)  # fmt: skip
        run("ip", "netns", "delete", self.namespace)


class DockerNode(Node):
    """One machine with docker, set up as docs/how-to/containers.md says."""

    name_of_engine = "docker"
    programs = ("docker", "dockerd", "containerd", "runc")

    def configure(self, shared: str) -> None:
        """Write its daemon.json."""
        settings = {
            "data-root": str(self.folder / "store"),
            "exec-root": str(self.folder / "run"),
            "pidfile": str(self.folder / "pid"),
            "hosts": [f"unix://{self.socket}"],
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "live-restore": True,
            "userland-proxy": False,
            "log-driver": "local",
            "log-opts": {"max-size": "10m"},
            # Room for four, of which docker takes one: so that a fourth person sees what then happens.
            "default-address-pools": [{"base": "10.232.0.0/26", "size": 28}],
        }
        # Such as docker 29 has by itself; those before 25 do not know the variable.
        self.environment["DOCKER_MIN_API_VERSION"] = "1.44"
        (self.folder / "daemon.json").write_text(json.dumps(settings))

    def client(self) -> list[str]:
        """Return docker's, at this machine's socket."""
        return ["docker", f"--host=unix://{self.socket}"]

    def service(self) -> list[str]:
        """Return the daemon."""
        return ["dockerd", f"--config-file={self.folder / 'daemon.json'}"]

    def clear(self) -> None:
        """Leave nothing of its containers."""
        for container in self.engine("ps", "--all", "--quiet").split():
            self.engine("rm", "--force", container)
        self.engine("network", "prune", "--force")
        self.stop()

    def remove(self) -> None:
        """Leave nothing of the machine but its folder."""
        subprocess.run(["umount", "--recursive", str(self.folder / "store")], check=False, capture_output=True)  # fmt: skip
        run("ip", "netns", "delete", self.namespace)


class RootlessNode(Node):
    """This machine, with podman without root: that of an account which nobody else sees, nor anything of it.

    The account, its ranges of users and an open door to this Python are in a mount namespace of their own.
    """

    name_of_engine = "rootless podman"
    programs = ("podman", "newuidmap", "slirp4netns", "setpriv", "unshare")
    account = "gw-engine"
    user = 47115

    def configure(self, shared: str) -> None:
        """Write podman's files, and make the account."""
        super().configure(shared)
        self.address = "127.0.0.1"  # its published ports are those of a process of this machine
        for name in ("home", "store", "run"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, self.user, self.user)
        os.chown(self.folder, self.user, self.user)
        for name in ("passwd", "group"):
            line = f"{self.account}:x:{self.user}:{self.user}::{self.folder}/home:/bin/sh"
            line = line if name == "passwd" else f"{self.account}:x:{self.user}:"
            (self.folder / name).write_text(f"{Path('/etc', name).read_text().rstrip()}\n{line}\n")
        (self.folder / "ranges").write_text(f"{self.account}:{2**30}:65536\n")
        self.environment |= {
            "HOME": str(self.folder / "home"),
            "USER": self.account,
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
        }
        for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
            self.environment.pop(variable, None)

    def connect(self) -> None:
        """Make the mount namespace; a process that sleeps holds it."""
        script = [
            *(f"mount --bind {self.folder}/{name} /etc/{name}" for name in ("passwd", "group")),
            *(f"mount --bind {self.folder}/ranges /etc/{name}" for name in ("subuid", "subgid")),
            # Where udev runs, everybody may open it.
            f"mknod -m 666 {self.folder}/tun c 10 200; mount --bind {self.folder}/tun /dev/net/tun",
        ]
        script += [*_doors(self.folder), "echo ready", "exec sleep infinity"]
        command = ["unshare", "--mount", "--propagation=private", "sh", "-ec", "\n".join(script)]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert self.holder.stdout
        assert self.holder.stdout.readline() == b"ready\n"
        self.holder.stdout.close()

    @property
    def hub(self) -> dict[str, Any]:
        """As the same account, to which its homes belong."""
        return {"enter": self.enter, "environment": self.environment}

    @property
    def enter(self) -> list[str]:
        """The words before a command of the account."""
        ids = [f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "setpriv", *ids]

    def remove(self) -> None:
        """End what is left of the account: the process that holds its users, and its networks' way out."""
        for process in psutil.process_iter():
            try:
                if process.uids().real == self.user:
                    process.kill()
            except psutil.NoSuchProcess:
                continue
        self.holder.kill()
        self.holder.wait()


def user_image() -> str:
    """Return the identifier of the user image that was built last here; empty where there is none."""
    # Not by its title: podman takes a comma for the end of a filter.
    named = (
        "--filter=label=org.opencontainers.image.description=JupyterLab with the genesis_workbench library"
    )
    # The newest comes first.
    command = ["podman", "images", "--quiet", "--no-trunc", named]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return found[0] if found else ""


def _doors(folder: Path) -> list[str]:
    """Return the commands that let every account reach this Python where it lies in a home that is closed to others."""
    first, then, last = [], set(), []
    for number, place in enumerate(mounted()):
        if closed := [each for each in Path(place).parents if not each.stat().st_mode & 0o001]:
            door = f"{folder}/door{number}"
            first.append(f"mkdir {door}; mount --bind {place} {door}")
            then.add(f"mount -t tmpfs -o mode=755 tmpfs {closed[-1]}")
            last.append(f"mkdir -p {place}; mount --bind {door} {place}")
    return [*first, *then, *last]


class Network:
    """A bridge of this machine, on which it has the address ``.1``: the network between hub and machines."""

    def __init__(self) -> None:
        # Other tests, of this process or another, have networks too.
        places = ((os.getpid() + each) % 200 for each in range(200))
        number = next(each for each in places if not Path(f"/sys/class/net/gw{each}").exists())
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
        """Put a machine on it, with the two rules of docs/how-to/containers.md.

        It accepts new connections from the hub's machine alone, and keeps its podman's networks apart.
        """
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
        apart = ["-t", "mangle", "-A", "FORWARD", "-i", "podman+", "-o", "podman+", "-j", "DROP"]
        for words in ([*rule, *state], apart):
            run("nsenter", f"--net=/run/netns/{space}", "iptables", *words)

    def __exit__(self, *_: object) -> None:
        run("ip", "link", "delete", self.name)


class Cluster:
    """Several machines with one image: one of the `store` of another podman, or one that holds this machine's Python."""

    def __init__(
        self, count: int, image: str = "", store: Path | None = None, kind: type[Node] = Node
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gwc-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.network = Network()
        first = kind(self.folder / "n1", self.network, 1, store)
        more = [
            kind(self.folder / f"n{number}", self.network, number, store or first.folder / "store")
            for number in range(2, count + 1)
        ]
        self.nodes = [first, *more]
        self.image = image

    def __enter__(self) -> Self:
        self.network.__enter__()
        for node in self.nodes:
            node.connect()
        self.nodes[0].start()
        self.image = self.image or "sha256:" + import_image(self.nodes[0])
        for node in self.nodes[1:]:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.clear()
        for node in reversed(self.nodes):
            node.remove()
        self.network.__exit__()
        shutil.rmtree(self.folder)

    @property
    def site_file(self) -> Path:
        """Where the hub's site file is."""
        return self.folder / "site.toml"

    def container(self, name: str) -> tuple[Node, str]:
        """Return where somebody's server runs, and its container."""
        for node in self.nodes:
            for line in node.engine("ps", "--format={{.Names}}").splitlines():
                if line.endswith(f".{name}.lab"):
                    return node, line
        raise LookupError(name)

    def about(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of somebody's container."""
        node, found = self.container(name)
        told: dict[str, Any] = json.loads(node.engine("inspect", found))[0]
        return told

    def inside(self, name: str, *command: str) -> str:
        """Run something in somebody's container, as they would in a terminal."""
        node, found = self.container(name)
        return node.engine("exec", found, *command)

    def talks(self, name: str, address: str, port: int) -> bool:
        """Tell whether somebody's server can open a connection."""
        try:
            return self.inside(name, "python", "-c", TALK, address, str(port)) == "reached"
        except AssertionError:
            return False

    @property
    def hub_port(self) -> int:
        """Port at which servers reach the hub."""
        return int(json.loads((self.folder / "state/run/ports.json").read_text())["hub"])

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
        '--change=LABEL org.opencontainers.image.title="Genesis Workbench, for tests"',
    ]
    made = node.engine("import", *changes, "-", "localhost/probe:1", given=content.getvalue())
    return made.splitlines()[-1].removeprefix("sha256:")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{command}: {done.stderr}"
