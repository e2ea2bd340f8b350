"""Files behind http(s): random access by ranges where the server has them, else a copy of the whole in the cache.

Every connection is core.http's: private and loopback addresses are refused where the connection is made, at every
redirect too, unless the site names the host. What is read is counted against one limit for each opened file.
"""

from __future__ import annotations

import atexit
import email.utils
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from genesis_workbench.catalog.content.cache import Cache
from genesis_workbench.catalog.content.file import Stream, kind
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    TooLarge,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.http import Answer, Fetcher

BLOCK_BYTES = 2**18
_HEAD_BYTES = 2**16
_BLOCKS = 128  # of one file in memory
_TIMEOUT_S = 120.0
_WHOLE_TIMEOUT_S = 3600.0
_MORE = "If you want more, say how much: gw.open(..., max_bytes=...)."
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@lru_cache(maxsize=32)
def fetcher(private: bool, max_bytes: int, timeout_s: float = _TIMEOUT_S) -> Fetcher:
    """Return this process's client for one set of limits.

    A host that is not public but named by the site is followed nowhere: a redirect could lead to any other.
    """
    made = Fetcher(private, max_bytes=max_bytes, timeout_s=timeout_s, max_redirects=0 if private else 5)
    atexit.register(made.close)
    return made


@dataclass(frozen=True)
class HttpContent:
    """One file behind http(s), as it was when it was first asked for.

    Attributes
    ----------
    etag : str
        Entity tag, or the time of its last change where the server gives no tag; empty where it gives neither.
    ranges : bool
        Whether the server gives parts of it.
    cache : str
        Folder of whole copies.
    max_bytes : int
        Most bytes read from it, in each process.
    young : bool
        Whether it had changed less than two seconds before it was asked for, by its server's own clock.
    """

    url: str
    size: int
    etag: str
    ranges: bool
    private: bool
    cache: str
    max_bytes: int
    head: bytes = field(default=b"", repr=False)
    young: bool = False

    @classmethod
    def seen(cls, url: str, *, private: bool, cache: str, max_bytes: int) -> HttpContent:
        """Ask for one byte of the file: for its size, and for what tells this version from the next.

        Raises
        ------
        InvalidInput
            If its server gives no parts of files, or nothing that would tell versions apart.
        """
        headers = {"range": "bytes=0-0", "accept-encoding": "identity"}
        try:
            answer = fetcher(private, _HEAD_BYTES).fetch(url, headers=headers)
        except TooLarge:  # all of it was sent
            answer = None
        except Unavailable as error:
            raise _refusal(url, error) from error.__cause__
        found = _RANGE.fullmatch(answer.headers.get("content-range", "")) if answer else None
        if answer is None or answer.status != 206 or not found:
            raise InvalidInput(
                f"The server of {shown(url)} gives no parts of files, which a cube is read by. Open its files singly."
            )
        etag = _etag(answer)
        if not etag:
            raise InvalidInput(
                f"The server of {shown(url)} gives neither an entity tag nor a time of change, so that a changed file "
                "could be read as if it were the old one. Open its files singly."
            )
        return cls(url, int(found[3]), etag, True, private, cache, max_bytes, young=_young(answer))

    @classmethod
    def at(cls, url: str, *, private: bool, cache: str, max_bytes: int) -> HttpContent:
        """Ask for the beginning of the file; a server without ranges sends all of it, which is kept."""
        copies = Cache(Path(cache))
        headers = {"range": f"bytes=0-{_HEAD_BYTES - 1}", "accept-encoding": "identity"}
        size, etag = copies.last(url)
        known = etag if etag and copies.find(_key(url, size, etag), size) else None
        with copies.receiving() as file:
            client = fetcher(private, max_bytes, _WHOLE_TIMEOUT_S)
            try:
                answer = client.download(url, file, headers=headers, etag=known)
            except TooLarge as error:
                raise TooLarge(f"{error.message} {_MORE}") from error
            except Unavailable as error:
                raise _refusal(url, error) from error.__cause__
            if answer.not_modified:
                return cls(url, size, etag, False, private, cache, max_bytes)
            found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
            etag = _etag(answer)
            if answer.status == 206 and found:
                file.seek(0)
                start = file.read(_HEAD_BYTES)
                _refuse_page(url, start)
                size = int(found[3])
                if int(found[1]) != 0 or len(start) < min(size, 1):
                    raise InvalidInput(f"{shown(url)} answers with another part than was asked for.")
                return cls(url, size, etag, True, private, cache, max_bytes, start[:_HEAD_BYTES])
            file.seek(0)
            _refuse_page(url, file.read(512))
            size = file.seek(0, 2)
            copies.keep(file, _key(url, size, etag))
            copies.note(url, size, etag)
            return cls(url, size, etag, False, private, cache, max_bytes)

    @property
    def name(self) -> str:
        """The last part of its address."""
        return shown(self.url).rpartition("/")[2] or shown(self.url)

    @property
    def place(self) -> str:
        """Its address."""
        return self.url

    @property
    def version(self) -> tuple[int, str]:
        """Size and entity tag."""
        return self.size, self.etag

    @property
    def state(self) -> str:
        """Address, size and entity tag."""
        return _key(self.url, self.size, self.etag)

    def open(self) -> Stream:
        """Open it; what is read is fetched."""
        if not self.ranges:
            return CopyStream(self, self.path())
        return HttpStream(self)

    def path(self) -> Path:
        """Return a whole copy, fetched where there is none yet.

        Raises
        ------
        TooLarge
            If it is larger than `max_bytes`.
        Conflict
            If the server has another version by now.
        """
        copies = Cache(Path(self.cache))
        known = copies.find(self.state, self.size)
        if known is not None:
            return known
        self._refuse_size(self.size)
        with copies.receiving() as file:
            client = fetcher(self.private, self.max_bytes, _WHOLE_TIMEOUT_S)
            answer = client.download(self.url, file, headers={"accept-encoding": "identity"})
            if file.seek(0, 2) != self.size or _etag(answer) != self.etag:
                raise self.changed()
            return copies.keep(file, self.state)

    def get(self, start: int, length: int) -> bytes:
        """Fetch bytes; Conflict where the server has another version by now."""
        end = min(start + length, self.size) - 1
        headers = {"range": f"bytes={start}-{end}", "accept-encoding": "identity"}
        answer = fetcher(self.private, self.max_bytes).fetch(self.url, headers=headers)
        found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        same = answer.status == 206 and found and _etag(answer) == self.etag
        if not same or found is None or [int(n) for n in found.groups()] != [start, end, self.size]:
            raise self.changed()
        if len(answer.body) != end + 1 - start:
            raise InvalidInput(f"{shown(self.url)} sent fewer bytes than it announced. Try again.")
        return answer.body

    def changed(self) -> Conflict:
        """Return the error for another version."""
        return Conflict(
            f"{shown(self.url)} is no longer the file that was opened. Open the dataset again to read the new one."
        )

    def _refuse_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise TooLarge(
                f"{shown(self.url)}: reading {size:,} bytes was needed; at most {self.max_bytes:,} are read. {_MORE}"
            )


class HttpStream(Stream):
    """Reads by ranges, in blocks that every stream of this process on the same content shares."""

    content: HttpContent

    def __init__(self, content: HttpContent) -> None:
        super().__init__(content)
        self._blocks = _blocks(content)

    def read_at(self, start: int, length: int) -> bytes:
        end = min(start + length, self.content.size)
        if end <= start:
            return b""
        if end <= len(self.content.head):
            return self.content.head[start:end]
        return self._blocks.read(start, end)


class _Blocks:
    def __init__(self, content: HttpContent) -> None:
        self._content = content
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._read_bytes = 0

    def read(self, start: int, end: int) -> bytes:
        if end - start > _BLOCKS * BLOCK_BYTES // 2:
            return self._fetched(start, end - start)
        with self._lock:
            first, last = start // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
            self._load(first, last)
            data = b"".join(self._kept[n] for n in range(first, last + 1))
            while len(self._kept) > _BLOCKS:
                self._kept.popitem(last=False)
        offset = start - first * BLOCK_BYTES
        return data[offset : offset + end - start]

    def _load(self, first: int, last: int) -> None:
        missing = [n for n in range(first, last + 1) if n not in self._kept]
        if missing:
            low, high = missing[0], missing[-1]
            data = self._fetched(low * BLOCK_BYTES, (high + 1 - low) * BLOCK_BYTES)
            for n in range(low, high + 1):
                offset = (n - low) * BLOCK_BYTES
                self._kept[n] = data[offset : offset + BLOCK_BYTES]
        for n in range(first, last + 1):
            self._kept.move_to_end(n)

    def _fetched(self, start: int, length: int) -> bytes:
        content = self._content
        self._read_bytes += min(length, content.size - start)
        if self._read_bytes > content.max_bytes:
            raise TooLarge(
                f"{shown(content.url)}: the {content.max_bytes:,} bytes that are read of one file are used up. {_MORE}"
            )
        return content.get(start, length)


@lru_cache(maxsize=16)
def _blocks(content: HttpContent) -> _Blocks:
    return _Blocks(content)


class CopyStream(Stream):
    """Reads from a whole copy in the cache."""

    content: HttpContent

    def __init__(self, content: HttpContent, path: Path) -> None:
        super().__init__(content)
        self._file = path.open("rb")
        self._lock = threading.Lock()

    def read_at(self, start: int, length: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(max(0, length))

    def close(self) -> None:
        self._file.close()
        super().close()


def check_digest(path: Path, checksum: str, name: str) -> None:
    """Compare a file with ``<algorithm>:<hex digits>``; VerificationFailed where it differs."""
    import hashlib

    algorithm, _, expected = checksum.partition(":")
    if algorithm not in ("md5", "sha1", "sha256", "sha384", "sha512"):
        raise VerificationFailed(f"The checksum {checksum[:80]!r} of {name!r} is of no known kind.")
    with path.open("rb") as file:
        seen = hashlib.file_digest(file, lambda: _hash(algorithm)).hexdigest()
    if seen != expected.lower():
        raise VerificationFailed(
            f"{name!r} is not the file that the catalog lists: its checksum is {algorithm}:{seen}, not {checksum}. "
            "Harvest its source again, or ask who publishes it."
        )


def _hash(algorithm: str) -> Any:
    import hashlib

    return hashlib.new(algorithm, usedforsecurity=False)


def _etag(answer: Answer) -> str:
    return answer.headers.get("etag") or answer.headers.get("last-modified") or ""


def _refusal(url: str, error: Unavailable) -> GenesisError:
    """Return why a file's first bytes did not come."""
    # 416: it has no first byte.
    return InvalidInput(f"{shown(url)} is empty.") if error.message.endswith("status 416.") else error


def _young(answer: Answer) -> bool:
    """Whether another change could fall into the same second, which is as fine as most servers tell."""
    try:
        changed = email.utils.parsedate_to_datetime(answer.headers.get("last-modified", ""))
        now = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        return (now - changed).total_seconds() < 2
    except (ValueError, TypeError):
        return False


def _key(url: str, size: int, etag: str) -> str:
    return f"{url}\n{size}\n{etag}"


def _refuse_page(url: str, start: bytes) -> None:
    if not start:
        raise InvalidInput(f"{shown(url)} is empty.")
    if kind(start) == "an HTML page":
        raise InvalidInput(
            f"{shown(url)} answers with an HTML page instead of data: often a sign-in or error page. "
            "Look at it in the browser."
        )
