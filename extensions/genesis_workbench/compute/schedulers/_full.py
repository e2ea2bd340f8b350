"""A queue that had no room is not asked again at once."""

from __future__ import annotations

import time

from genesis_workbench.compute.job import QueueFull


class Full:
    """What a queue said when it was full, for some seconds.

    Parameters
    ----------
    seconds : float
        For how long it is left alone.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds, self._until = seconds, 0.0
        self._said: QueueFull | None = None

    def check(self) -> None:
        """Raise what it said, if that was a moment ago."""
        if self._said is not None and time.monotonic() < self._until:
            raise self._said

    def said(self, error: QueueFull) -> None:
        """Remember that it has just said so."""
        self._said, self._until = error, time.monotonic() + self._seconds
