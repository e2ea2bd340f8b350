"""How soon the first item is there, and how whole the answer at the deadline, while one of five places hangs.

The peer is the plain way: the same five places asked at once by httpx in asyncio, gathered before anything is shown.
The goal is a first item in under 300 ms, which a gather cannot give before its deadline.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import httpx

from genesis_workbench.catalog.federation import federate
from genesis_workbench.catalog.sources._items import ItemQuery
from genesis_workbench.core.access import Person
from genesis_workbench.core.site import SourceSection
from genesis_workbench.testing.lying import LyingServer

ROUNDS = 15
DEADLINE_S = 2.0
GOAL_FIRST_S = 0.3
GOOD = 4
PER_PLACE = 50


def page() -> dict[str, Any]:
    """Return one page of a search with items of the usual size."""
    assets = {f"B{n:02}": {"href": f"https://example.gov/{n}.tif", "type": "image/tiff"} for n in range(12)}
    properties = {"datetime": "2024-01-01T00:00:00Z", **{f"eo:{n}": n for n in range(20)}}
    item = {"type": "Feature", "bbox": [1, 2, 3, 4], "properties": properties, "assets": assets, "links": []}
    return {"type": "FeatureCollection", "features": [{**item, "id": f"scene-{n}"} for n in range(PER_PLACE)]}


def sections(peer: LyingServer) -> list[SourceSection]:
    """Return four places that answer and, in their midst, one that hangs."""
    names = ["a", "b", "hanging", "c", "d"]
    return [
        SourceSection(name=name, kind="stac", title=name, agency="A", url=peer.url(f"/{name}"))
        for name in names
    ]


def ours(places: list[SourceSection]) -> tuple[float, float, bool]:
    """Return seconds to the first item and to the end, and whether the answer is whole and honest."""
    begun = time.perf_counter()
    with federate(
        places, ItemQuery(limit=PER_PLACE), person=Person("b"), deadline_s=DEADLINE_S, allow_private=True
    ) as found:
        next(iter(found))
        first = time.perf_counter() - begun
        found.wait()
        end = time.perf_counter() - begun
        states = sorted(answer.state for answer in found.sources)
        whole = states == ["answered"] * GOOD + ["slow"] and len(found) == GOOD * PER_PLACE
    return first, end, whole


async def gathered(places: list[SourceSection]) -> float:
    """Return seconds until the plain way has anything to show."""
    begun = time.perf_counter()
    async with httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False, follow_redirects=True) as client:
        asked = (client.get(f"{place.url}/search", params={"limit": PER_PLACE}) for place in places)
        answers = await asyncio.gather(*asked, return_exceptions=True)
    [answer.json()["features"] for answer in answers if isinstance(answer, httpx.Response)]
    return time.perf_counter() - begun


def main() -> None:
    """Measure both in turn and print the JSON line."""
    with LyingServer({f"/{name}/search": page() for name in "abcd"}) as peer:
        peer.redirects["/hanging/search"] = "/hang"
        places = sections(peer)
        ours(places)  # imports and connections
        rounds = [(ours(places), asyncio.run(gathered(places))) for _ in range(ROUNDS)]
    firsts = sorted(first for (first, _, _), _ in rounds)
    plain = statistics.median(seconds for _, seconds in rounds)
    figures = {
        "first_item_p50_ms": round(statistics.median(firsts) * 1000, 1),
        "first_item_worst_ms": round(firsts[-1] * 1000, 1),
        "first_item_goal_ms": GOAL_FIRST_S * 1000,
        "rounds_within_goal": f"{sum(first < GOAL_FIRST_S for first in firsts)} of {ROUNDS}",
        "whole_and_honest": f"{sum(whole for (_, _, whole), _ in rounds)} of {ROUNDS}",
        "end_p50_s": round(statistics.median(end for (_, end, _), _ in rounds), 3),
        "deadline_s": DEADLINE_S,
        "gather_first_item_p50_ms": round(plain * 1000, 1),
    }
    ratio = plain / statistics.median(firsts)
    goal = DEADLINE_S / GOAL_FIRST_S
    print(
        json.dumps(
            {"benchmark": "federation", "ratio": round(ratio, 2), "goal": round(goal, 2), "figures": figures}
        )
    )


if __name__ == "__main__":
    main()
