"""The fetcher against peers that misbehave. Deadlines are short; no test measures time."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core import connections
from genesis_workbench.core.connections import is_public
from genesis_workbench.core.errors import (
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    NotFound,
    TooLarge,
    Unavailable,
)
from genesis_workbench.core.http import Fetcher
from genesis_workbench.testing.lying import LyingServer


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def peer() -> Iterator[LyingServer]:
    with LyingServer() as server:
        yield server


@pytest.fixture
def fetcher(request: pytest.FixtureRequest) -> Iterator[Fetcher]:
    """Patient with everything but the paths that never come to an end: the machine may be busy."""
    path = getattr(request.node, "callspec", None) and request.node.callspec.params.get("path", "")
    endless = str(path).startswith(("/hang", "/drip"))
    with Fetcher(allow_private=True, timeout_s=1.0 if endless else 20.0, max_bytes=2**20) as made:
        yield made


def test_reads_json_over_a_redirect_and_keeps_the_connection(peer: LyingServer, fetcher: Fetcher) -> None:
    assert fetcher.get_json(peer.url("/json")) == {"fine": True}
    assert fetcher.get_json(peer.url("/redirect-json")) == {"fine": True}
    assert fetcher.fetch(peer.url("/redirect-json")).url == peer.url("/json")


def test_a_wish_for_a_part_goes_on_to_another_origin_and_nothing_else_does(fetcher: Fetcher) -> None:
    with LyingServer() as there, LyingServer() as here:
        here.redirects["/away"] = there.url("/echo")
        seen = fetcher.get_json(here.url("/away"), headers={"Range": "bytes=0-9", "Authorization": "secret"})
    assert seen["range"] == "bytes=0-9"
    assert "authorization" not in seen


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/hang", DeadlineExceeded, "time was over"),
        ("/drip", DeadlineExceeded, "time was over"),
        ("/drip-headers", DeadlineExceeded, "time was over"),
        ("/html200", InvalidInput, "HTML and status 200"),
        ("/error500", Unavailable, "status 500"),
        ("/busy", Unavailable, "status 503"),
        ("/missing", NotFound, "404"),
        ("/truncated-gzip", InvalidInput, "ends too early"),
        ("/not-gzip", InvalidInput, "not the gzip"),
        ("/gzip-bomb", TooLarge, "1,048,576 bytes"),
        ("/endless", TooLarge, "1,048,576 bytes"),
        ("/redirect-loop", Unavailable, "redirects"),
        ("/cut", Unavailable, "broke off"),
    ],
)
def test_a_misbehaving_peer_gives_an_error_that_says_what_happened(
    peer: LyingServer, fetcher: Fetcher, path: str, error: type[GenesisError], says: str
) -> None:
    with pytest.raises(error, match=says):
        fetcher.get_json(peer.url(path))


def test_a_status_that_passes_is_tried_again(fetcher: Fetcher) -> None:
    with LyingServer() as own:
        assert fetcher.get_json(own.url("/flaky")) == {"fine": True}
        assert own.requests == ["/flaky", "/flaky"]


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(fetcher: Fetcher) -> None:
    with LyingServer() as own:
        with pytest.raises(Unavailable):
            fetcher.get_bytes(own.url("/busy"))
        assert own.requests == ["/busy"]


def test_an_unlucky_encoding_loses_a_character_and_not_the_page(peer: LyingServer, fetcher: Fetcher) -> None:
    assert fetcher.get_json(peer.url("/wrong-encoding")) == {"name": "Lef\ufffdvre"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_json_in_other_encodings_and_with_nan(fetcher: Fetcher, encoding: str) -> None:
    with LyingServer({"/x": '{"a": NaN, "b": "é"}'.encode(encoding)}) as own:
        assert fetcher.get_json(own.url("/x")) == {"a": None, "b": "é"}


def test_deep_json_is_an_error_and_not_a_crash(fetcher: Fetcher) -> None:
    with LyingServer({"/x": b"[" * 200_000}) as own, pytest.raises(InvalidInput, match="broken JSON"):
        fetcher.get_json(own.url("/x"))


def test_conditional_request(peer: LyingServer, fetcher: Fetcher) -> None:
    first = fetcher.fetch(peer.url("/etag"))
    assert not first.not_modified
    assert fetcher.fetch(peer.url("/etag"), etag=first.headers["ETag"]).not_modified


def test_an_outer_deadline_ends_every_call(peer: LyingServer) -> None:
    with Fetcher(allow_private=True, deadline=0.0) as made, pytest.raises(DeadlineExceeded):
        made.get_json(peer.url("/json"))


def test_nobody_listens(fetcher: Fetcher) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="cannot be reached"):
            fetcher.get_json(f"http://127.0.0.1:{unused.getsockname()[1]}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://localhost:8000/",
        "http://hub.localhost/",
        "http://printer.local/",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "ftp://example.gov/",
        "file:///etc/passwd",
        "http://user:secret@example.gov/",
        "not an address",
        "http://",
    ],
)
def test_addresses_that_are_never_fetched(url: str) -> None:
    with Fetcher() as made, pytest.raises(InvalidInput):
        made.get_bytes(url)


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # One good address beside the bad one does not help.
    def resolve(host: str, port: int, **_kwargs: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("192.0.2.1", "10.0.0.1")
        ]

    monkeypatch.setattr(connections.socket, "getaddrinfo", resolve)
    with Fetcher() as made, pytest.raises(InvalidInput, match="not a public address"):
        made.get_bytes("http://innocent.example/")


def test_a_redirect_to_a_private_address_is_refused(
    peer: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connections, "is_public", lambda address: address == "127.0.0.1" or is_public(address)
    )
    with Fetcher(timeout_s=1.0) as made, pytest.raises(InvalidInput, match=r"169\.254\.169\.254"):
        made.get_bytes(peer.url("/redirect-private"))


def test_headers_do_not_travel_to_another_origin(fetcher: Fetcher) -> None:
    with LyingServer() as target, LyingServer() as start:
        start.redirects["/there"] = target.url("/echo")
        start.redirects["/here"] = "/echo"
        key = {"X-Api-Key": "k"}
        assert fetcher.get_json(start.url("/here"), headers=key)["x-api-key"] == "k"
        assert "x-api-key" not in fetcher.get_json(start.url("/there"), headers=key)


def test_behind_a_proxy_names_are_left_to_it_but_literals_are_not(
    peer: LyingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", peer.url(""))
    with Fetcher(timeout_s=1.0, retries=0) as made:
        # The proxy is asked with the whole address, which this server does not know: its 404 comes back.
        with pytest.raises(NotFound):
            made.get_bytes("http://name-without-address.example/x")
        assert "http://name-without-address.example/x" in peer.requests
        with pytest.raises(InvalidInput):
            made.get_bytes("http://10.0.0.1/x")


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_the_same_in_its_ipv6_clothes(address: object) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))
    assert is_public(f"64:ff9b::{address}") == is_public(str(address))


def test_messages_do_not_repeat_the_query(peer: LyingServer, fetcher: Fetcher) -> None:
    with pytest.raises(Unavailable) as caught:
        fetcher.get_json(peer.url("/error500"), params={"api_key": "hidden-value"})
    assert "hidden-value" not in str(caught.value)


def test_asks_whether_it_has_changed_since_a_date(peer: LyingServer, fetcher: Fetcher) -> None:
    first = fetcher.fetch(peer.url("/modified"))
    assert not first.not_modified
    assert fetcher.fetch(peer.url("/modified"), modified=first.headers["last-modified"]).not_modified


def test_a_download_goes_into_a_file_and_has_a_limit_of_its_own(peer: LyingServer, fetcher: Fetcher) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"what was there before")
        answer = fetcher.download(peer.url("/json"), file)
        assert (answer.body, file.read()) == (b"", b'{"fine": true}')
        with pytest.raises(TooLarge, match="10 bytes"):
            fetcher.download(peer.url("/json"), file, max_bytes=10)
