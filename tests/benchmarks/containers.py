"""Seconds until people's servers answer: started by the hub in containers, against bare `podman run` of the same image.

    workbench images build user --base-from-debian
    python tests/benchmarks/containers.py --servers 4

Both start as many at once, spread over the same two machines (network namespaces of this one, each with a podman of its own),
with the same limits, and are ready when /api answers. Needs root, podman and a user image: where one is missing, the last
line says so and has no ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import Browser, Workbench
from system.containers.nodes import Cluster, Node, user_image

GOAL = 1.3
MEMORY = 600 * 2**20
# One for all: making a client takes longer than asking.
ASK = httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=None))


def main() -> None:
    """Run both, twice in turn, and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", type=int, default=4, help="how many are started at once")
    parser.add_argument("--image", help="the user image, by its identifier; the newest one where left out")
    parser.add_argument(
        "--store", type=Path, default=Path("/var/lib/containers/storage"), help="where podman keeps it"
    )
    options = parser.parse_args()
    reason = Node.missing()
    image = "" if reason else options.image or user_image()
    if reason or not image:
        told(None, {"left out": reason or "no user image is built: workbench images build user"})
        return
    bare: list[float] = []
    hub: list[float] = []
    with (
        Cluster(2, image, options.store) as cluster,
        tempfile.TemporaryDirectory(dir=cluster.folder) as folder,
    ):
        site = Path(folder) / "site.toml"
        profile = f'[[servers.profiles]]\nname = "p"\ntitle = "P"\ncpu_cores = 2\nmemory_bytes = {MEMORY}\n'
        data = "[catalog]\nsources = []\n"
        tables = cluster.site().replace("[servers]\n", "[servers]\nstart_timeout_s = 600\n")
        site.write_text(f'name = "bench"\n{tables}{profile}{data}')
        with Workbench(Path(folder) / "state", site) as workbench:
            people = [signed_in(workbench, f"person{number}") for number in range(options.servers)]
            for _ in range(2):
                bare += at_once(options.servers, lambda number: bare_start(cluster, number))
                hub += at_once(options.servers, lambda number: hub_start(workbench, *people[number]))
    figures = {
        "servers at once": options.servers,
        "bare podman run, median s": round(statistics.median(bare), 2),
        "by the hub, median s": round(statistics.median(hub), 2),
        "bare podman run, slowest s": round(max(bare), 2),
        "by the hub, slowest s": round(max(hub), 2),
        # The first by the hub against the first bare one, the second against the second, and so on.
        "each against its like, at most": round(max(map(truediv, sorted(hub), sorted(bare))), 2),
    }
    for name, value in figures.items():
        print(f"{name:32} {value}")
    told(round(statistics.median(bare) / statistics.median(hub), 3), figures)


def told(ratio: float | None, figures: dict[str, Any]) -> None:
    """Print the last line."""
    goal = round(1 / GOAL, 3)
    print(json.dumps({"benchmark": "containers", "ratio": ratio, "goal": goal, "figures": figures}))


def at_once(count: int, start: Callable[[int], Callable[[], None]]) -> list[float]:
    """Start `count` at once; return the seconds of each, and end them all afterwards."""

    def timed(number: int) -> tuple[float, Callable[[], None]]:
        started = time.monotonic()
        end = start(number)
        return time.monotonic() - started, end

    with ThreadPoolExecutor(count) as pool:
        done = list(pool.map(timed, range(count)))
    for _, end in done:
        end()
    return [seconds for seconds, _ in done]


def bare_start(cluster: Cluster, number: int) -> Callable[[], None]:
    """Run a server by hand."""
    node, name = cluster.nodes[number % 2], f"bare{number}"
    # fmt: off
    node.engine(
        "run", "--detach", f"--name={name}", "--read-only", "--tmpfs=/tmp:rw,mode=1777", "--cap-drop=all",
        "--security-opt=no-new-privileges", f"--memory={MEMORY}", "--cpus=2", "--pids-limit=1024",
        f"--publish={node.address}::8888", "--env=HOME=/tmp", cluster.image,
        "python", "-m", "jupyterlab", "--ip=0.0.0.0", "--port=8888", "--IdentityProvider.token=", "--no-browser",
    )
    # fmt: on
    port = node.engine("port", name, "8888").rpartition(":")[2]
    until(lambda: ASK.get(f"http://{node.address}:{port}/api/status").status_code == 200)

    def end() -> None:
        node.engine("rm", "--force", "--time=0", name)

    return end


def signed_in(workbench: Workbench, name: str) -> tuple[str, Browser, str]:
    """Add a person and sign them in."""
    workbench.add(name)
    browser = Browser(workbench)
    browser.sign_in(name, workbench.passwords[name])
    return name, browser, browser.make_token(name)


def hub_start(workbench: Workbench, name: str, browser: Browser, token: str) -> Callable[[], None]:
    """Start a server as a person does."""
    who = {"Authorization": f"token {token}"}
    url = f"{workbench.public_url}/hub/api/users/{name}/server"
    ASK.post(url, headers=who).raise_for_status()
    # What the waiting page listens to. To ask again and again, for twenty people, would cost as much as what is measured.
    with ASK.stream("GET", f"{url}/progress", headers=who, timeout=600) as events:
        told = (
            json.loads(line.removeprefix("data:")) for line in events.iter_lines() if line.startswith("data:")
        )
        if not any(event.get("ready") for event in told):
            sys.exit(f"the server of {name} did not start")
    return lambda: stop(workbench, name, browser)


def stop(workbench: Workbench, name: str, browser: Browser) -> None:
    """Stop a server, and wait until it is gone."""
    browser.hub("DELETE", f"users/{name}/server")
    workbench.until(lambda: "" not in browser.hub("GET", f"users/{name}").json()["servers"])


def until(true: Callable[[], bool]) -> None:
    """Wait until something is true; a refused connection counts as not yet."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except httpx.TransportError:
            pass  # not yet; the deadline decides
        time.sleep(0.2)
    sys.exit("a server did not answer within 300 s")


if __name__ == "__main__":
    main()
