"""What an engine says of itself, and what follows from it for the servers that it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genesis_hub.spawners._confinement import USER
from genesis_workbench.core.site import NodeSection

GUIDE = "docs/how-to/containers.md"


@dataclass(frozen=True)
class About:
    """One engine.

    Attributes
    ----------
    name : str
        With its version, for people.
    memory_bytes : int
        All memory of its machine.
    owner : tuple of int
        User and group of its machine that own what a server writes.
    user_namespace : str
        The namespace of users that servers need there; empty for the engine's own.
    unheld : tuple of str
        Limits that the engine takes and does not hold.
    filters : bool
        Whether it filters system calls.
    forgets : bool
        Whether it may cease to keep people's networks apart.
    survives : bool
        Whether servers outlive a restart of the engine.
    refusal : str
        Why no server can run there; empty where one can.
    """

    name: str
    memory_bytes: int
    podman: bool = False
    rootless: bool = False
    owner: tuple[int, int] = (USER, USER)
    user_namespace: str = ""
    unheld: tuple[str, ...] = ()
    filters: bool = True
    forgets: bool = False
    survives: bool = True
    refusal: str = ""

    def faults(self) -> Iterator[str]:
        """Say where a server is less confined than it should be, and what to do."""
        if self.unheld:
            yield (
                f"It holds no limit on {' and '.join(self.unheld)}: one person's server can take all that the machine has. "
                + (
                    f"Rootless podman needs cgroup version 2 with these controllers handed to its account ({GUIDE})."
                    if self.rootless
                    else "Its kernel lacks the cgroup controllers."
                )
            )
        if not self.filters:
            yield "It does not filter system calls: give it seccomp back."

    def notes(self, node: NodeSection) -> Iterator[str]:
        """Say what an operator should know of this engine on that machine."""
        if not node.address.startswith("127.") and (self.rootless or not self.podman):
            # What forwards a published port connects, and listens, as a process of the machine: past all bridges.
            unless = (
                ""
                if self.podman
                else ' unless "userland-proxy" is false in daemon.json, which docker does not tell'
            )
            yield (
                f"People's servers can open connections to each other's ports at {node.address}{unless}; there, their "
                'sign-in alone stands between them. Where the hub is on this machine, address = "127.0.0.1" ends that '
                f"({GUIDE})."
            )
        if self.forgets:
            # netavark 1.4 takes the way to its rules away with any network that goes, and gives it back with the next that comes.
            yield (
                "Podman's netavark keeps people's networks apart only until one of them goes. "
                + (
                    "Then certificates and sign-in alone stand between servers"
                    if self.rootless
                    else "This rule of the machine keeps them apart whatever it does, and podman does not tell whether it is "
                    "there: iptables -t mangle -A FORWARD -i podman+ -o podman+ -j DROP"
                )
                + f" ({GUIDE})."
            )
        if not self.survives:
            yield 'A restart of docker ends every server: set "live-restore": true in its daemon.json.'


def of_podman(version: str, info: dict[str, Any]) -> About:
    """Read what podman says of its host.

    Asked in docker's words it names limits that it does not hold, so these are podman's own: GET libpod/info.
    """
    host = info["host"]
    rootless = bool(host["security"]["rootless"])
    controllers = {"memory": "memory", "cpu": "processors", "pids": "processes"}
    return About(
        name=f"podman {version}" + (", rootless" if rootless else ""),
        memory_bytes=int(host["memTotal"]),
        podman=True,
        rootless=rootless,
        owner=(_outside(host, "uidmap"), _outside(host, "gidmap")) if rootless else (USER, USER),
        user_namespace=f"keep-id:uid={USER},gid={USER}" if rootless else "",
        unheld=tuple(
            what for name, what in controllers.items() if name not in (host.get("cgroupControllers") or [])
        ),
        filters=bool(host["security"].get("seccompEnabled")),
        forgets=host.get("networkBackend") == "netavark",
    )


def of_docker(version: str, info: dict[str, Any]) -> About:
    """Read what docker says: GET info."""
    options = [str(each) for each in info.get("SecurityOptions") or []]
    names = {option.partition("name=")[2].partition(",")[0] for option in options}
    limits = {"MemoryLimit": "memory", "CpuCfsQuota": "processors", "PidsLimit": "processes"}
    elsewhere = names & {"rootless", "userns"}
    return About(
        name=f"docker {version}" + (", rootless" if "rootless" in names else ""),
        memory_bytes=int(info["MemTotal"]),
        rootless="rootless" in names,
        unheld=tuple(what for name, what in limits.items() if not info.get(name)),
        filters=any("name=seccomp" in option and "unconfined" not in option for option in options),
        survives=bool(info.get("LiveRestoreEnabled")),
        refusal=(
            "This docker gives user 1000 of a container to another account of the machine (rootless or userns-remap), so "
            "that nobody could write in their home. Tell the operator: docker as root without userns-remap, or podman, "
            f"with or without root ({GUIDE})."
        )
        if elsewhere
        else "",
    )


def _outside(host: dict[str, Any], which: str) -> int:
    """Return the account that the engine's own root is, outside: with keep-id it is the servers' user too."""
    ranges = (host.get("idMappings") or {}).get(which) or []
    return next((int(each["host_id"]) for each in ranges if each["container_id"] == 0), USER)
