"""Reading one page ahead: while a page is written into the database, the next is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_SWITCH_S = 0.0002
"""Python lets a thread run for 5 ms before another may. A writer that gives way for microseconds at each row, to compress
it or to let the database have it, would get one row done in that time, and both would go one after the other."""


def one_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """Yield `items` in order, the next of which is always being made in a thread of its own.

    What `items` raises is raised in its place. One item more than was asked for may have been made where the reader
    stops early; `items` is closed then.
    """
    done = object()
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    with ThreadPoolExecutor(1, thread_name_prefix="page-ahead") as thread:
        try:
            coming = thread.submit(next, items, done)
            while (item := coming.result()) is not done:
                coming = thread.submit(next, items, done)
                yield item  # type: ignore[misc]
        finally:
            sys.setswitchinterval(before)
            close = getattr(items, "close", None)
            if close is not None:
                thread.submit(close).result()
