"""Whether anybody looks at a dashboard: one that nobody looks at ends, and starts again for the next who comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from genesis_workbench.core import own_server
from genesis_workbench.core.errors import Unavailable

IDLE_VARIABLE = "GENESIS_IDLE_S"
log = logging.getLogger(__name__)


class Viewers:
    """Those who look at one dashboard.

    Parameters
    ----------
    connected : callable
        Returns how many pages are open now.
    idle_s : float
        Seconds without one after which the dashboard's server ends; 0 lets it run on.
    """

    def __init__(self, connected: Callable[[], int], idle_s: float) -> None:
        self._connected, self.idle_s = connected, idle_s
        self._seen = time.monotonic()

    def came(self) -> None:
        """Note a request."""
        self._seen = time.monotonic()

    def alone_s(self) -> float:
        """Return for how many seconds nobody has looked."""
        if self._connected():
            self.came()
        return time.monotonic() - self._seen

    async def watch(self, end: Callable[[], Any] = own_server.end) -> None:
        """Look ever again, and end the server when its time is over."""
        while self.idle_s:
            await asyncio.sleep(min(15.0, self.idle_s / 10))
            if self.alone_s() < self.idle_s:
                continue
            log.warning("Nobody has looked for %.0f s: asking the hub to end this dashboard", self.idle_s)
            try:
                await asyncio.to_thread(end)
            except Unavailable as error:
                log.warning("%s It is asked again. (%s)", error.message, error.detail)
