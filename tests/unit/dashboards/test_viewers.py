"""A dashboard ends when nobody looks, never while somebody does, and asks again where the hub is away."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from genesis_workbench.core.errors import Unavailable
from genesis_workbench.dashboards.viewers import Viewers


def ended(viewers: Viewers, end: object, seconds: float) -> None:
    async def watch() -> None:
        try:
            async with asyncio.timeout(seconds):
                await viewers.watch(end)
        except TimeoutError:
            pass

    asyncio.run(watch())


def test_nobody_looks_and_it_ends_and_is_asked_again_where_the_hub_is_away() -> None:
    asked: list[int] = []

    def end() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable("The hub does not end this server now.", detail="away")

    ended(Viewers(lambda: 0, 0.1), end, 1.0)
    assert len(asked) > 1


@pytest.mark.parametrize(("connected", "idle_s"), [(1, 0.05), (0, 0.0)])
def test_it_runs_on_while_somebody_looks_or_where_the_site_says_so(connected: int, idle_s: float) -> None:
    asked: list[int] = []
    ended(Viewers(lambda: connected, idle_s), lambda: asked.append(1), 0.4)
    assert not asked


def test_a_request_counts() -> None:
    viewers = Viewers(lambda: 0, 60)
    viewers._seen -= 50
    assert viewers.alone_s() >= 50
    viewers.came()
    assert viewers.alone_s() < 10


def test_what_a_script_calls_is_there_where_a_dashboard_is_served() -> None:
    """Serving loads the room's modules: none of them may stand where a script expects a function."""
    code = (
        "import genesis_workbench.dashboards.serve, genesis_workbench.dashboards.training_page, genesis_workbench as gw\n"
        "print([name for name in gw.dashboards.__all__ if not callable(getattr(gw.dashboards, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
