"""Ten people who search at the same time, in a process of their own: reads a plan on stdin, prints seconds on stdout.

``{"port": 8003, "token": "...", "clients": 10, "paths": [...]}`` asks for each path once, the next as soon as a client is free.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any


def ask(plan: dict[str, Any], waiting: SimpleQueue[str], taken: list[tuple[float, int]]) -> None:
    """Ask for what waits until nothing does."""
    connection = http.client.HTTPConnection("127.0.0.1", plan["port"], timeout=120)
    headers = {"Authorization": f"Bearer {plan['token']}"}
    while True:
        try:
            path = waiting.get_nowait()
        except Empty:
            break
        begun = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - begun
        if answer.status != http.client.OK:
            taken.append((float("nan"), 0))
            print(f"{path}: {answer.status} {body[:300]!r}", file=sys.stderr)
            break
        taken.append((took, len(body)))
    connection.close()


def main() -> None:
    """Run the plan."""
    plan = json.load(sys.stdin)
    waiting: SimpleQueue[str] = SimpleQueue()
    for path in plan["paths"]:
        waiting.put(path)
    taken: list[tuple[float, int]] = []
    threads = [threading.Thread(target=ask, args=(plan, waiting, taken)) for _ in range(plan["clients"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(size == 0 for _, size in taken):
        sys.exit("not every question was answered")
    json.dump([took for took, _ in taken], sys.stdout)


if __name__ == "__main__":
    main()
