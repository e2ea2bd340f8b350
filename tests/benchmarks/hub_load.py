"""Hundreds of people at one hub: the workbench's settings against JupyterHub's defaults, on the same machine in the same run.

    python tests/benchmarks/hub_load.py                  # 500 people
    python tests/benchmarks/hub_load.py --people 2000

People behave as people do (hub_parts/persons.py): they sign in, start a server, work in it with a websocket open, leave
without signing out or shut the laptop, and come back. Their servers are stand-ins in one process (hub_parts/farm.py) that
ask the hub what real ones ask, so that the hub is what is measured: both hubs have the same sign-in, the same stand-ins
and the same proxy. Load and hub share the machine.

A spawn counts from the request until the waiting page is told that the server is ready. A minute after everybody has gone,
what is open beyond what was open before anybody came is counted; with ``--rounds 2`` they all come once more, and what is
open beyond the first count then is a leak. 500 people pay some 1,400 visits a round: what they do in an hour if each
visit lasts twenty minutes.

Hundreds of people are one process, so that what they see of the API holds that process' own waiting. One more person asks
from a process of their own (hub_parts/probe.py): the hubs are compared by what that one sees.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.hub_parts import hubs
from benchmarks.hub_parts.persons import Measured, crowd

GOAL = 3.0
API_GOAL_MS = 100


def main() -> None:
    """Run both and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument(
        "--ramp", type=float, default=0, help="seconds over which they come; 0: half a second for each"
    )
    parser.add_argument("--stay", type=float, default=60, help="seconds that they stay when all are there")
    parser.add_argument("--visit", type=float, default=60, help="seconds of one visit, in the mean")
    parser.add_argument("--think", type=float, default=15, help="seconds between two actions of one person")
    parser.add_argument(
        "--rest", type=float, default=60, help="seconds after which what is still open is a leak"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often they all come and go")
    parser.add_argument("--only", choices=["ours", "default"])
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    makers: dict[str, tuple[Callable[..., AbstractContextManager[hubs.Hub]], str]] = {
        "ours": (hubs.ours, "localhost"),
        "default": (hubs.default, ""),
    }
    figures: dict[str, Any] = {"people": options.people}
    for name, (make, host) in makers.items():
        if options.only in (None, name):
            with (
                tempfile.TemporaryDirectory(prefix="hub-load-") as folder,
                make(Path(folder) / name, options.people) as hub,
            ):
                figures[name] = measure(hub, host, options)
            table(name, figures[name])
    told(figures)


def measure(hub: hubs.Hub, host: str, options: argparse.Namespace) -> dict[str, Any]:
    """Let people live at one hub, and return what they and the machine have seen."""
    before, cpu = hub.open(), hub.cpu_s()
    seen, left, lived_s = Measured(), [], 0.0
    ramp_s = options.ramp or options.people / 2
    for number in range(options.rounds):
        began = time.monotonic()
        probe = probing(hub.port, host, ramp_s, ramp_s + options.stay)
        asyncio.run(
            crowd(
                options.people,
                hub.port,
                hub.farm,
                host,
                seen,
                seed=5 + number,
                ramp_s=ramp_s,
                stay_s=options.stay,
                visit_s=options.visit,
                think_s=options.think,
            )
        )
        lived_s += time.monotonic() - began
        told, said = probe.communicate(timeout=60)
        seen.seconds["api, one person apart"] += json.loads(told) if not probe.returncode else sys.exit(said)
        memory, used = hub.memory_mib(), hub.cpu_s()
        time.sleep(options.rest)
        after = hub.open()
        left.append({kind: after[kind] - before[kind] for kind in before})
    return {
        **{
            f"{kind} ms": spread(seen, kind)
            for kind in (
                "api, one person apart",
                "api",
                "page",
                "spawn",
                "sign-in",
                "api in the rush",
                "server",
            )
        },
        "spawns": len(seen.seconds["spawn"]),
        "visits": seen.visits,
        "failed": dict(seen.failed),
        "websockets cut": seen.cut,
        "left open": left,
        "hub's share of a core": round((used["hub"] - cpu["hub"]) / lived_s, 2),
        "memory MiB": {name: round(value) for name, value in memory.items()},
    }


def probing(port: int, host: str, from_s: float, until_s: float) -> subprocess.Popen[str]:
    """Start the person who asks from a process of their own."""
    words = [sys.executable, "-m", "benchmarks.hub_parts.probe", str(port), host, str(from_s), str(until_s)]
    here = Path(__file__).parents[1]
    return subprocess.Popen(words, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def spread(seen: Measured, kind: str) -> dict[str, float]:
    """Return median, 95th and 99th percentile in milliseconds, and how many there were."""
    values = sorted(seen.seconds[kind])
    if not values:
        return {"n": 0}
    at = {
        f"p{part}": round(1000 * values[min(int(len(values) * part / 100), len(values) - 1)], 1)
        for part in (50, 95, 99)
    }
    return {**at, "n": len(values)}


def table(name: str, found: dict[str, Any]) -> None:
    """Print what was found at one hub."""
    print(f"\n{name}")
    for key, value in found.items():
        print(f"  {key:24} {value}", flush=True)


def told(figures: dict[str, Any]) -> None:
    """Print the last line."""
    ratio = None
    if "ours" in figures and "default" in figures:
        kind = "api, one person apart ms"
        ratio = round(figures["default"][kind]["p95"] / figures["ours"][kind]["p95"], 2)
    print(json.dumps({"benchmark": "hub_load", "ratio": ratio, "goal": GOAL, "figures": figures}))


if __name__ == "__main__":
    main()
