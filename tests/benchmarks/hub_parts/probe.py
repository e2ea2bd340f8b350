"""One more person, in a process of their own, who asks the hub ten times a second while the others work.

What the crowd sees holds its own waiting: hundreds of people are one process, which is busy itself. This one waits for the
hub alone (and for the proxy, and a turn on the machine). ``python -m benchmarks.hub_parts.probe PORT HOST FROM_S UNTIL_S``
prints the seconds of each request as a JSON list.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from benchmarks.hub_parts.persons import Measured, Person

NAME = "probe"
EVERY_S = 0.1


async def main(port: int, host: str, from_s: float, until_s: float) -> None:
    """Sign in, ask, and print."""
    began = time.monotonic()
    measured = Measured()
    person = Person(NAME, port, host, measured, random.Random(3))
    if not await person._sign_in():
        sys.exit(f"the probe cannot sign in: {dict(measured.failed)}")
    await asyncio.sleep(from_s - (time.monotonic() - began))
    while time.monotonic() - began < until_s:
        await asyncio.sleep(EVERY_S)
        await person._ask("api", "GET", f"/hub/api/users/{NAME}")
    await person._http.close()
    if measured.failed:
        sys.exit(f"the probe's requests failed: {dict(measured.failed)}")
    print(json.dumps(measured.seconds["api"]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
