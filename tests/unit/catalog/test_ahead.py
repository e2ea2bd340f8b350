"""Pages read ahead of their writing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from genesis_workbench.catalog.ahead import one_ahead


def test_everything_comes_in_order_and_an_error_in_its_place() -> None:
    def pages() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the file ends here")

    reader = one_ahead(pages())
    assert [next(reader), next(reader)] == [1, 2]
    with pytest.raises(OSError, match="ends here"):
        next(reader)


def test_the_next_page_is_made_while_one_is_worked_on() -> None:
    made = threading.Event()

    def pages() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    reader = one_ahead(pages())
    assert next(reader) == 1
    assert made.wait(10)
    assert list(reader) == [2]


def test_a_reader_that_stops_early_closes_what_it_reads() -> None:
    closed = []

    def pages() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    for page in one_ahead(pages()):
        if page == 3:
            break
    assert closed == [True]
