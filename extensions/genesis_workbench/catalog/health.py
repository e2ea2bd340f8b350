"""When a source is harvested again: at its interval, sooner where a harvest is open, later the more often it failed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core import clock

ALONE_AFTER = 5
"""Failures in a row after which a source is left alone for longer, and its status says so."""
_FIRST_S, _MOST_S, _OPEN_S = 60.0, 86_400.0, 10.0


def pause_s(failures: int, jitter: float | None = None) -> float:
    """Return for how many seconds a source is left alone after `failures` failures in a row.

    A minute after the first, twice as long after each further one, up to a day; a random quarter more or less, so
    that many workbenches do not come back at the same moment.
    """
    if failures < 1:
        return 0.0
    spread = random.uniform(0.75, 1.25) if jitter is None else jitter  # noqa: S311 - jitter, not a secret
    return float(min(_FIRST_S * 2.0 ** min(failures - 1, 20), _MOST_S) * spread)


def resting_until(failures: int) -> str:
    """Return until when a source is left alone after its failure."""
    until = datetime.now(UTC) + timedelta(seconds=pause_s(failures))
    return until.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def due(row: SourceRow | None, every_s: float, requested: str = "") -> bool:
    """Whether a source is to be harvested now.

    Parameters
    ----------
    row : SourceRow or None
        What is known of it; None where it was never tried.
    every_s : float
        Seconds between two harvests.
    requested : str
        When a person last asked for it; overrides every pause.
    """
    if row is None or not row.tried or requested > row.tried:
        return True
    if row.failures:
        return clock.now() >= row.resting_until
    waits = min(_OPEN_S, every_s) if row.harvesting else every_s
    return clock.seconds_since(row.tried) > waits


def left_alone(row: SourceRow) -> bool:
    """Whether a source failed so often that it is left alone for now."""
    return row.failures >= ALONE_AFTER and clock.now() < row.resting_until
