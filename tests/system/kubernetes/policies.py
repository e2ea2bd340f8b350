"""Network policies, enforced on the cluster for tests, whose network knows none: by iptables in the network of each node.

What a policy says is read as Kubernetes' own description has it (Concepts, "Network Policies"): a pod that no policy selects is open;
one that some select lets in, or out, what any of these names; answers always pass. Only what the chart uses is known, pods of the
same namespace and blocks of addresses; anything else is an error, so that nothing is taken for allowed by mistake.

Traffic between a node and its own pods is not looked at, as the kubelet must reach them.
"""

from __future__ import annotations

import ipaddress
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from system.kubernetes.notebook import Kubectl

_CHAIN = "GENESIS-POLICIES"
_EVERY_S = 0.3
_WAYS = {"Ingress": ("ingress", "from", "-d", "-s"), "Egress": ("egress", "to", "-s", "-d")}
Thing = dict[str, Any]


class Enforced:
    """The policies of one namespace, kept up with its pods while the context lasts.

    Parameters
    ----------
    kubectl : Kubectl
        Of the namespace.
    run : Path
        Where the scripts that start the cluster keep its number and its nodes' names.
    """

    def __init__(self, kubectl: Kubectl, run: Path) -> None:
        number = (run / "number").read_text().strip()
        self._nodes = [f"/run/netns/gk{number}-{node}" for node in (run / "nodes").read_text().split()]
        self._kubectl, self._over = kubectl, threading.Event()
        self._rules: list[str] = []
        self._failed: Exception | None = None
        self._thread = threading.Thread(target=self._keep_up)

    def __enter__(self) -> Self:
        for node in self._nodes:
            self._iptables(node, "-N", _CHAIN)
            self._iptables(node, "-I", "FORWARD", "-j", _CHAIN)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        for node in self._nodes:
            self._iptables(node, "-D", "FORWARD", "-j", _CHAIN)
            self._iptables(node, "-F", _CHAIN)
            self._iptables(node, "-X", _CHAIN)
        if self._failed:
            raise self._failed

    def _keep_up(self) -> None:
        try:
            while not self._over.wait(_EVERY_S):
                rules = list(
                    compiled(self._kubectl.items("networkpolicies", ""), self._kubectl.items("pods", ""))
                )
                if rules != self._rules:
                    self._rules = rules
                    lines = [f":{_CHAIN} - [0:0]", *self._chains(rules), *rules]
                    for node in self._nodes:
                        given = "\n".join(["*filter", *lines, "COMMIT", ""])
                        command = ["nsenter", f"--net={node}", "iptables-restore", "--noflush"]
                        subprocess.run(command, input=given, text=True, check=True, capture_output=True)
        except Exception as error:  # noqa: BLE001 - told where the context ends
            self._failed = error

    @staticmethod
    def _chains(rules: list[str]) -> list[str]:
        return sorted({f":{rule.split()[1]} - [0:0]" for rule in rules if rule.split()[1] != _CHAIN})

    @staticmethod
    def _iptables(node: str, *words: str) -> None:
        subprocess.run(["nsenter", f"--net={node}", "iptables", *words], check=True, capture_output=True)


def compiled(policies: list[Thing], pods: list[Thing]) -> Iterator[str]:
    """Return the policies as lines of iptables."""
    yield f"-A {_CHAIN} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    there = [pod for pod in pods if pod["status"].get("podIP")]
    for pod in there:
        own = pod["status"]["podIP"]
        for way, (key, peers, mine, theirs) in _WAYS.items():
            selecting = [
                each
                for each in policies
                if way in each["spec"]["policyTypes"] and _selects(each["spec"]["podSelector"], pod)
            ]
            if not selecting:
                continue
            chain = f"GP-{way[0]}-{own}"
            yield f"-A {_CHAIN} {mine} {own} -j {chain}"
            for policy in selecting:
                for rule in policy["spec"].get(key) or []:
                    for other, ports_of, excepted in _peers(rule.get(peers), there):
                        # What is excepted here another rule may still allow.
                        end = "src" if theirs == "-s" else "dst"
                        at = [f"{theirs} {other}"] if other else []
                        at += [f"-m iprange ! --{end}-range {_range(block)}" for block in excepted]
                        for port in _ports(rule.get("ports"), (ports_of if way == "Egress" else None) or pod):
                            yield " ".join([f"-A {chain}", *at, *port, "-j RETURN"])
            yield f"-A {chain} -j DROP"


def _selects(selector: Thing, pod: Thing) -> bool:
    assert set(selector) <= {"matchLabels"}, selector
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in (selector.get("matchLabels") or {}).items())


def _peers(peers: list[Thing] | None, pods: list[Thing]) -> Iterator[tuple[str, Thing | None, list[str]]]:
    """Return addresses, the pod that has the ports where it is another's, and what is excepted."""
    if not peers:
        yield "", None, []
    for peer in peers or []:
        if "ipBlock" in peer:
            yield peer["ipBlock"]["cidr"], None, peer["ipBlock"].get("except") or []
            continue
        assert set(peer) == {"podSelector"}, peer
        for pod in pods:
            if _selects(peer["podSelector"], pod):
                yield pod["status"]["podIP"], pod, []


def _ports(ports: list[Thing] | None, pod: Thing) -> Iterator[list[str]]:
    if not ports:
        yield []
    for each in ports or []:
        port, protocol = each["port"], each.get("protocol", "TCP").lower()
        if isinstance(port, str):
            named = [
                p for c in pod["spec"]["containers"] for p in c.get("ports") or [] if p.get("name") == port
            ]
            yield from ([f"-p {protocol} --dport {each['containerPort']}"] for each in named)
        else:
            yield [f"-p {protocol} --dport {port}"]


def _range(block: str) -> str:
    network = ipaddress.ip_network(block)
    return f"{network[0]}-{network[-1]}"
