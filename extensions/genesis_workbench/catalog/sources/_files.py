"""Files that a source is made of: in a folder that the site names, or on the web."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from genesis_workbench.core.errors import InvalidInput, NotFound, TooLarge, Unavailable
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.site import SourceSection


def local_path(section: SourceSection) -> Path | None:
    """Return the path that a ``file://`` address of a section names; None where it is another address."""
    parts = urlsplit(section.url)
    if parts.scheme != "file":
        return None
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidInput(f"{section.url!r} names no file of this machine: write file:///folder/file.")
    return Path(unquote(parts.path))


class Documents:
    """Documents of one source: the one that its section names, and those near it.

    Near is the same host; for a ``file://`` address the same folder, or one below it.
    """

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._fetcher = fetcher
        self._local = local_path(section)

    def near(self, address: str, base: str) -> str:
        """Return `address` relative to `base`; empty where it is not near."""
        try:
            full = urljoin(base, address)
            return full if urlsplit(full)[:2] == urlsplit(self._section.url)[:2] else ""
        except ValueError:
            return ""

    def read(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Return a document as an answer, whatever it comes from."""
        if self._local is None:
            return self._fetcher.fetch(url, headers=headers)
        path = Path(unquote(urlsplit(url).path))
        folder = self._local.parent.resolve()
        try:
            if not path.resolve().is_relative_to(folder):
                raise InvalidInput(f"{url!r} lies outside the folder of the source {self._section.name!r}.")
            if path.stat().st_size > self._fetcher.max_bytes:
                raise TooLarge(
                    f"{path.name!r} has more than the {self._fetcher.max_bytes:,} bytes that are read."
                )
            body = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"There is no file {path.name!r} in the folder of the source.") from error
        except (OSError, ValueError) as error:
            if isinstance(error, InvalidInput | TooLarge):
                raise
            raise Unavailable(f"{path.name!r} cannot be read.", detail=repr(error)) from error
        return Answer(url, 200, httpx.Headers(), body)

    def json(self, url: str) -> Any:
        """Return a document as JSON values; InvalidInput where it is none."""
        return self.read(url, {"Accept": "application/json"}).json()


class Walk:
    """Which linked documents are still to be read, and which were: what a cursor has to carry.

    Parameters
    ----------
    start : str
        Address of the first document.
    cursor : str, optional
        `cursor` of an earlier walk, to go on where it was.
    """

    max_documents = 10_000

    def __init__(self, start: str, cursor: str | None = None) -> None:
        try:
            self._pending, visited = json.loads(cursor) if cursor else ([start], [])
            self._visited = set(visited)
        except (ValueError, TypeError) as error:
            raise InvalidInput("This is not a cursor of this source.") from error

    def __bool__(self) -> bool:
        return bool(self._pending)

    def next(self) -> str:
        """Return the next address, which then counts as visited."""
        address: str = self._pending.pop(0)
        self._visited.add(_mark(address))
        return address

    def add(self, addresses: Iterable[str]) -> None:
        """Add what is new among the links of one document: it comes before what was pending.

        Raises
        ------
        TooLarge
            If there are too many documents. To leave some out in silence would look as if they had been removed.
        """
        known = set(self._pending)
        new = [
            each
            for each in dict.fromkeys(addresses)
            if each not in known and _mark(each) not in self._visited
        ]
        if len(new) + len(self._pending) + len(self._visited) > self.max_documents:
            raise TooLarge(
                f"The source has more than {self.max_documents:,} linked documents: name a branch of it in the site file."
            )
        self._pending[:0] = new

    @property
    def cursor(self) -> str | None:
        """Where to go on; None at the end."""
        return json.dumps([self._pending, sorted(self._visited)]) if self else None


def _mark(address: str) -> str:
    return hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()[:12]


def lines(answer: Answer) -> list[Any]:
    """Return the values of a JSON Lines document, broken lines as None."""
    found = []
    for line in answer.body.decode("utf-8", "replace").splitlines():
        if line.strip():
            try:
                found.append(json.loads(line, parse_constant=lambda _name: None))
            except (ValueError, RecursionError):
                found.append(None)
    return found
