"""Fetch from places that nobody here controls: bounded in time, in bytes, in hops and in where it may connect.

The address check happens where the connection is made, on the address that is then connected to, at every hop, so a
name cannot resolve to one address for the check and to another for the connection. The deadline holds for every read
from the socket, so bytes that drip slowly do not outlast it. (A look-up in the name service is outside it: the
operating system's resolver has its own limits.)
"""

from __future__ import annotations

import codecs
import email.utils
import json
import random
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, BinaryIO

import httpcore
import httpx

from genesis_workbench.core.connections import (
    CheckedBackend,
    Deadline,
    Refused,
    origin,
    parse_address,
    proxy_for,
    proxy_pool,
    refuse_local_name,
    shown,
)
from genesis_workbench.core.errors import (
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    NotFound,
    TooLarge,
    Unavailable,
)

USER_AGENT = "genesis-workbench"
_RETRIED = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_ACROSS_ORIGINS = frozenset({"accept", "accept-encoding", "range", "user-agent"})


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes
    ----------
    url : str
        Address that answered, after redirects.
    status : int
        HTTP status: 200 to 299, or 304 where a conditional request found nothing new.
    headers : Mapping[str, str]
        Header fields; names in any case.
    body : bytes
        Content after decompression.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def not_modified(self) -> bool:
        """Whether the content is still what the etag or date in the request named."""
        return self.status == 304

    def json(self) -> Any:
        """Return the content as JSON values; NaN and infinities become None.

        Raises
        ------
        InvalidInput
            If it is not JSON, saying what it is.
        """
        try:
            return json.loads(self._text(), parse_constant=lambda _name: None)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                f"{shown(self.url)} answered with {self._kind()} and status {self.status}, where JSON was "
                "expected. Check the address of the source.",
                detail=str(error),
            ) from error

    def _text(self) -> str:
        # Providers mislabel their encoding; what cannot be decoded becomes U+FFFD instead of losing the whole page.
        declared = self.headers.get("content-type", "").partition("charset=")[2].strip("\"' ;")
        detected: str = json.detect_encoding(self.body)
        if detected == "utf-8" and declared:
            try:
                detected = codecs.lookup(declared).name
            except LookupError:
                detected = "utf-8"
        return self.body.decode(detected, errors="replace").removeprefix("\ufeff")

    def _kind(self) -> str:
        start = self.body[:200].lstrip().lower()
        if not self.body:
            return "nothing"
        if start.startswith((b"<!doctype html", b"<html")):
            return "HTML"
        if start.startswith(b"<"):
            return "XML"
        if start.startswith((b"{", b"[")):
            return "broken JSON"
        return self.headers.get("content-type", "").partition(";")[0][:60] or "something else"


@dataclass(frozen=True)
class _Into:
    """Where a body goes: memory, or a file; each try begins anew."""

    file: BinaryIO | None
    limit: int

    def take(self, pieces: Iterable[bytes]) -> bytes:
        if self.file is None:
            return b"".join(pieces)
        self.file.seek(0)
        self.file.truncate()
        for piece in pieces:
            self.file.write(piece)
        return b""


class Fetcher:
    """Client for reading from public places.

    Parameters
    ----------
    allow_private : bool
        Whether private, loopback and link-local addresses may be reached. Only for peers that the operator named.
    max_bytes : int
        Most bytes of one answer, counted after decompression.
    timeout_s : float
        Seconds that one call may take in all, with redirects, retries and pauses.
    retries : int
        How often a call is tried again after a lost connection or a status 429, 502, 503 or 504.
    max_redirects : int
        How many redirects are followed.
    deadline : float, optional
        Moment of `time.monotonic` at which every call ends, however long it might take by itself.
    """

    def __init__(
        self,
        allow_private: bool = False,
        *,
        max_bytes: int = 64 * 2**20,
        timeout_s: float = 20.0,
        retries: int = 2,
        max_redirects: int = 5,
        deadline: float | None = None,
    ) -> None:
        self.allow_private = allow_private
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self.retries = retries
        self.max_redirects = max_redirects
        self.deadline = float("inf") if deadline is None else deadline
        self._limit = Deadline()
        self._pools: dict[str, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def get_json(
        self, url: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """GET `url` and return its JSON values. Raises what :meth:`fetch` and :meth:`Answer.json` raise."""
        return self.fetch(
            url, params=params, headers={"Accept": "application/json", **(headers or {})}
        ).json()

    def get_bytes(
        self, url: str, *, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """GET `url` and return its content. Raises what :meth:`fetch` raises."""
        return self.fetch(url, params=params, headers=headers).body

    def fetch(
        self,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        modified: str | None = None,
        into: _Into | None = None,
    ) -> Answer:
        """GET `url`.

        Parameters
        ----------
        url : str
            Address with http or https.
        params : mapping, optional
            Query parameters, added to those of the address.
        headers : mapping, optional
            Header fields. They are not sent on to another origin by a redirect.
        etag : str, optional
            Entity tag of what is known already: the answer may then be `not_modified`.
        modified : str, optional
            ``Last-Modified`` of what is known already, for servers that have no entity tags.
        into : optional
            For :meth:`download`.

        Raises
        ------
        InvalidInput
            If the address is none that may be fetched, or the content cannot be decompressed.
        NotFound
            If nothing is there (404, 410).
        TooLarge
            If the answer has more bytes than the limit.
        DeadlineExceeded
            If it was not complete in time.
        Unavailable
            If it cannot be reached, or answers with another error.
        """
        target = parse_address(url)
        if params:
            target = target.copy_merge_params({k: v for k, v in params.items() if v is not None})
        sent = {"user-agent": USER_AGENT, "accept-encoding": "gzip, deflate"}
        sent.update({name.lower(): value for name, value in (headers or {}).items()})
        if etag:
            sent["if-none-match"] = etag
        if modified:
            sent["if-modified-since"] = modified
        self._limit.at = min(time.monotonic() + self.timeout_s, self.deadline)
        try:
            return self._with_retries(target, sent, into or _Into(None, self.max_bytes))
        finally:
            self._limit.at = float("inf")

    def download(self, url: str, file: BinaryIO, *, max_bytes: int | None = None, **options: Any) -> Answer:
        """GET `url` and write its content into `file`, for what is too large to be held in memory.

        Parameters
        ----------
        url : str
            Address with http or https.
        file : file
            Open for writing bytes; it is emptied first. Its position is at its start afterwards.
        max_bytes : int, optional
            Most bytes that are written; the fetcher's own limit where None.
        **options
            `params`, `headers`, `etag` and `modified` of :meth:`fetch`.

        Returns
        -------
        Answer
            Without a body. Raises what :meth:`fetch` raises.
        """
        answer = self.fetch(
            url, into=_Into(file, self.max_bytes if max_bytes is None else max_bytes), **options
        )
        file.seek(0)
        return answer

    def _with_retries(self, url: httpx.URL, headers: dict[str, str], into: _Into) -> Answer:
        attempt = 0
        while True:
            wait_s: float | None = None
            try:
                answer = self._follow(url, headers, into)
            except GenesisError:  # several of them are OSErrors too
                raise
            except httpcore.TimeoutException as error:
                if self._limit.remaining() <= 0.05:
                    raise self._too_late(url) from error
                failure = Unavailable(f"{shown(url)} could not be reached in time.", detail=repr(error))
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, OSError) as error:
                failure = Unavailable(
                    f"{shown(url)} cannot be reached: the connection failed or broke off.",
                    detail=repr(error),
                )
            else:
                if answer.status not in _RETRIED:
                    return _checked(answer)
                failure = Unavailable(
                    f"{shown(answer.url)} answered with status {answer.status}. Try again later."
                )
                wait_s = retry_after(answer.headers)
            if attempt >= self.retries:
                raise failure
            if wait_s is None:
                wait_s = 0.4 * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
            if wait_s >= self._limit.remaining():
                raise failure
            time.sleep(wait_s)
            attempt += 1

    def _follow(self, url: httpx.URL, headers: dict[str, str], into: _Into) -> Answer:
        for _hop in range(self.max_redirects + 1):
            answer = self._once(url, headers, into)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            following = parse_address(location, base=url)
            if url.scheme == "https" and following.scheme == "http":
                raise Unavailable(
                    f"{shown(url)} redirects to an address without encryption, which is refused."
                )
            if origin(following) != origin(url):
                headers = {k: v for k, v in headers.items() if k in _KEPT_ACROSS_ORIGINS}
            url = following
        raise Unavailable(f"{shown(url)} was reached over more than {self.max_redirects} redirects; gave up.")

    def _once(self, url: httpx.URL, headers: dict[str, str], into: _Into) -> Answer:
        proxy = proxy_for(url)
        if not self.allow_private:
            refuse_local_name(url.host)
        if self._limit.remaining() <= 0:
            raise self._too_late(url)
        pool = self._pool(proxy)
        pause = min(self._limit.remaining(), self.timeout_s)
        timeouts = {"connect": min(pause, 10.0), "read": pause, "write": pause, "pool": pause}
        raw = [
            (b"host", url.netloc),
            *((k.encode(), v.encode("latin-1", "ignore")) for k, v in headers.items()),
        ]
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with pool.stream("GET", target, headers=raw, extensions={"timeout": timeouts}) as response:
                known = httpx.Headers(response.headers)
                wanted = response.status not in _REDIRECTS and response.status != 304
                pieces = self._limited(response.iter_stream(), known, url, into.limit) if wanted else ()
                body = into.take(pieces)
                return Answer(str(url), response.status, known, body)
        except Refused as refused:
            raise InvalidInput(
                f"{url.host!r} is at {refused}, which is not a public address; such addresses are refused."
            ) from None
        except httpcore.UnsupportedProtocol as error:
            raise InvalidInput(f"{shown(url)} cannot be fetched: {error}.") from error

    def _limited(
        self, chunks: Iterable[bytes], headers: httpx.Headers, url: httpx.URL, limit: int
    ) -> Iterator[bytes]:
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(url, limit)
        left = limit
        for piece in _decompressed(chunks, headers.get("content-encoding", ""), limit + 1, url):
            left -= len(piece)
            if left < 0:
                raise _too_large(url, limit)
            if self._limit.remaining() <= 0:
                raise self._too_late(url)
            yield piece

    def _pool(self, proxy: str) -> httpcore.ConnectionPool:
        with self._lock:
            if proxy not in self._pools:
                context = _context()
                # A proxy resolves the name itself: neither its own address nor the target's can be checked here.
                backend = CheckedBackend(self._limit, check=not (self.allow_private or proxy))
                self._pools[proxy] = (
                    proxy_pool(proxy, context, backend)
                    if proxy
                    else httpcore.ConnectionPool(
                        ssl_context=context, network_backend=backend, max_connections=8, keepalive_expiry=15
                    )
                )
            return self._pools[proxy]

    def _too_late(self, url: httpx.URL) -> DeadlineExceeded:
        return DeadlineExceeded(f"{shown(url)} had not answered in full when its time was over.")


@cache
def _context() -> ssl.SSLContext:
    # Reading the certificates takes 20 ms and more: once for all fetchers of this process.
    return httpx.create_ssl_context()


def _too_large(url: httpx.URL, limit: int) -> TooLarge:
    return TooLarge(f"{shown(url)} sends more than the {limit:,} bytes that are read of one answer.")


def _decompressed(chunks: Iterable[bytes], encoding: str, limit: int, url: httpx.URL) -> Iterator[bytes]:
    """Decompress in pieces of bounded size, so that a small body cannot become a large one in memory."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        yield from chunks
        return
    if name not in ("gzip", "x-gzip", "deflate"):
        raise InvalidInput(
            f"{shown(url)} answers in the encoding {encoding[:40]!r}, which was not asked for."
        )
    decoder = zlib.decompressobj(wbits=47 if name != "deflate" else zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            rest = chunk
            while rest and not decoder.eof:
                yield decoder.decompress(rest, min(limit, 2**20))
                rest = decoder.unconsumed_tail
        yield decoder.flush()
    except zlib.error as error:
        raise InvalidInput(f"{shown(url)} sends content that is not the {name} it says it is.") from error
    if not decoder.eof:
        raise InvalidInput(f"{shown(url)} sends compressed content that ends too early.")


def _checked(answer: Answer) -> Answer:
    if answer.status in (404, 410):
        raise NotFound(f"There is nothing at {shown(answer.url)} (status {answer.status}).")
    if answer.status in (401, 403):
        raise Unavailable(
            f"{shown(answer.url)} refuses to answer without a key or sign-in of its own (status {answer.status})."
        )
    if not (200 <= answer.status < 300 or answer.status == 304):
        raise Unavailable(f"{shown(answer.url)} answered with status {answer.status}.")
    return answer


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` field asks to wait, or None where there is none that can be read."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
