"""A thread for work that only its latest request is worth."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Latest:
    """A thread that does what was asked last and forgets what was asked before it."""

    def __init__(self, name: str) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._name = name
        self._thread: threading.Thread | None = None

    def run(self, act: Callable[[], None]) -> None:
        """Do `act` as soon as what runs now has ended, unless something else is asked for until then."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._asked.put(act)

    def stop(self) -> None:
        """End the thread."""
        self._asked.put(None)

    def _work(self) -> None:
        while (act := self._asked.get()) is not None:
            while not self._asked.empty():
                act = self._asked.get()
                if act is None:
                    return
            act()
