"""The contract of a source: what every one must do, whatever it speaks and whatever it is told.

A plug-in's own tests derive from :class:`RemoteSourceContract` and say what a peer that behaves well answers::

    class TestMySource(RemoteSourceContract):
        kind = "mine"
        path = "/records"
        good = {"/records": {"items": [{"id": "a", "title": "A"}]}}
        names = ["a"]
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from itertools import islice
from typing import Any, ClassVar

import httpx
import pytest

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources._base import Page, Source, dataset_id
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.site import SourceSection
from genesis_workbench.testing.lying import LIES, LyingServer

MAX_PAGES = 12


class Canned(Fetcher):
    """A fetcher that gives prepared answers, one after the other, the last one for ever; it never connects.

    Parameters
    ----------
    *bodies : bytes
        What it answers.
    headers : mapping, optional
        Header fields of each answer.
    status : int
        Status of each answer.
    """

    def __init__(self, *bodies: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        super().__init__()
        self.bodies = list(bodies)
        self.headers = dict(headers or {})
        self.status = status
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    def fetch(self, url: str, *, params: Any = None, headers: Any = None, **more: Any) -> Answer:
        """Give the next answer, whatever is asked."""
        self.asked.append((url, dict(params or {}), dict(headers or {})))
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        into = more.get("into")
        if into is not None:
            body = into.take(body[i : i + 65536] for i in range(0, len(body), 65536))
        return Answer(url, self.status, httpx.Headers(self.headers), body)


def section(kind: str, url: str = "https://example.gov/api", **more: Any) -> SourceSection:
    """Return the section of a source as a site file would have it."""
    named = {"name": "peer", "title": "Peer", "agency": "Agency", "deadline_s": 5.0, "max_records": 10_000}
    return SourceSection(**{**named, "kind": kind, "url": url, **more})


def make(kind: str, fetcher: Fetcher, url: str = "https://example.gov/api", **more: Any) -> Any:
    """Return the source registered as `kind`."""
    return plugins.load("sources", kind)(section(kind, url, **more), fetcher)


def first_records(
    kind: str, body: bytes, url: str = "https://example.gov/api", **more: Any
) -> list[Dataset | Rejected]:
    """Return the records of the first page that a source makes of one answer."""
    page: Page = next(iter(make(kind, Canned(body, **more), url).pages()))
    return page.records


def read_all(source: Source, state: Mapping[str, str] | None = None) -> list[Page]:
    """Return the pages of a source; fails where they do not end."""
    pages: list[Page] = []
    for page in source.pages(state=state):
        pages.append(page)
        assert len(pages) <= MAX_PAGES, "its pages do not end"
    return pages


class SourceContract:
    """What every source does. Each test makes the source anew.

    Attributes
    ----------
    kind : str
        Name of the entry point.
    path : str
        Path of the section's address on the peer.
    good : mapping
        What a well-behaved peer answers: JSON values or bytes by path.
    names : list of str
        What the peer calls the datasets that come of it.
    unchanged : bool
        Whether a second harvest of the same content says that nothing has changed.
    """

    kind: ClassVar[str]
    path: ClassVar[str] = "/api"
    good: ClassVar[Mapping[str, Any]]
    names: ClassVar[list[str]]
    unchanged: ClassVar[bool] = False

    @pytest.fixture
    def peer(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Yield the well-behaved peer."""
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        with LyingServer(self.answers()) as server:
            yield server

    def answers(self) -> Mapping[str, Any]:
        """Return what the peer answers."""
        return self.good

    def ids(self) -> list[str]:
        """Return the ids of the datasets of a source named ``peer``."""
        return [dataset_id("peer", name) for name in self.names]

    def url(self, peer: LyingServer) -> str:
        """Return the address for the section."""
        return peer.url(self.path)

    def source(self, peer: LyingServer, fetcher: Fetcher) -> Any:
        """Return the source, looking at the peer."""
        return make(self.kind, fetcher, self.url(peer))

    def test_it_names_itself(self) -> None:
        source = plugins.load("sources", self.kind)
        assert source.kind == self.kind
        assert source.protocol
        assert isinstance(source.incremental, bool)
        assert source.__doc__

    def test_it_lists_what_the_peer_has_with_natives(self, peer: LyingServer) -> None:
        with Fetcher(True, timeout_s=5) as fetcher:
            pages = read_all(self.source(peer, fetcher))
        records = [record for page in pages for record in page.records]
        made = {record.id: record for record in records if isinstance(record, Dataset)}
        assert sorted(made) == sorted(self.ids()), [r for r in records if isinstance(r, Rejected)]
        natives = {name: text for page in pages for name, text in page.natives.items()}
        assert natives.keys() == made.keys()
        assert all(natives.values())
        assert all(dataset.source == "peer" and dataset.title for dataset in made.values())
        assert all(dataset.native_digest for dataset in made.values())
        assert all(len(page.state) == len(pages[0].state) for page in pages)

    def test_the_same_content_gives_the_same_records(self, peer: LyingServer) -> None:
        with Fetcher(True, timeout_s=5) as fetcher:
            first, second = (read_all(self.source(peer, fetcher)) for _ in range(2))
        assert [page.records for page in first] == [page.records for page in second]

    def test_a_second_harvest_begins_where_the_first_one_ended(self, peer: LyingServer) -> None:
        with Fetcher(True, timeout_s=5) as fetcher:
            first = read_all(self.source(peer, fetcher))
            second = read_all(self.source(peer, fetcher), state=first[0].state)
        assert any(page.unchanged for page in second) == self.unchanged
        if self.unchanged:
            assert not any(page.records for page in second)
            assert second[0].state == first[0].state
        else:
            assert [page.records for page in second] == [page.records for page in first]

    def test_a_harvest_goes_on_at_a_cursor(self, peer: LyingServer) -> None:
        with Fetcher(True, timeout_s=5) as fetcher:
            pages = read_all(self.source(peer, fetcher))
            for number, page in enumerate(pages[:-1]):
                assert page.cursor is not None
                rest = list(self.source(peer, fetcher).pages(page.cursor, state=None))
                expected = [record for later in pages[number + 1 :] for record in later.records]
                assert [record for later in rest for record in later.records] == expected
        assert pages[-1].cursor is None

    def test_threads_can_use_it_at_once(self, peer: LyingServer) -> None:
        found: list[int] = []
        with Fetcher(True, timeout_s=10) as fetcher:

            def work() -> None:
                found.append(sum(len(page.records) for page in read_all(self.source(peer, fetcher))))

            threads = [threading.Thread(target=work) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
        assert found == [found[0]] * 3


class RemoteSourceContract(SourceContract):
    """What every source does that reads over the network: it trusts nothing, and ends."""

    @pytest.mark.parametrize("lie", LIES)
    def test_a_lying_peer_gives_one_of_our_errors(self, peer: LyingServer, lie: str) -> None:
        """Whatever the protocol appends to the address, the peer answers all of it with the same lie."""
        peer.lie = lie
        with Fetcher(True, timeout_s=0.3, max_bytes=2**20, retries=0) as fetcher:
            pages, error = self._some_pages(self.source(peer, fetcher))
        if lie in ("/other-json", "/pages-for-ever"):  # some protocols can read something of these
            assert error or all(page.records for page in pages)
        else:
            assert error
            assert not any(page.records for page in pages)

    def _some_pages(self, source: Source) -> tuple[list[Page], str]:
        """Return the first pages, and the error that ended them."""
        pages: list[Page] = []
        try:
            for page in islice(source.pages(), MAX_PAGES):
                pages.append(page)
        except GenesisError as error:
            return pages, error.message
        return pages, ""

    def test_a_private_address_is_refused(self, peer: LyingServer) -> None:
        with (
            Fetcher(timeout_s=2, retries=0) as fetcher,
            pytest.raises(InvalidInput, match="not a public address"),
        ):
            read_all(self.source(peer, fetcher))
        assert not peer.requests

    def test_other_shapes_are_errors_and_not_empty_lists(self, peer: LyingServer) -> None:
        for body in (
            b"",
            b"{",
            b"[]",
            b"null",
            b"7",
            b'"text"',
            b"{}",
            b'{"error": "no"}',
            b"\xff\xfe",
            b"<a/>",
        ):
            with pytest.raises(GenesisError):
                read_all(make(self.kind, Canned(body), self.url(peer)))


def as_json(value: Any) -> bytes:
    """Return `value` as the body of an answer."""
    return json.dumps(value).encode()
