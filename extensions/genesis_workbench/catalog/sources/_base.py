"""What sources share: the contract, pages of records, and what a harvest remembers for the next."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import urljoin, urlsplit

from pydantic import ValidationError

from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.catalog.sources._values import clean, date, doi, kind_of, web_address, words
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.site import SourceSection

MAX_DISTRIBUTIONS = 50
SHOWN_NATIVE = 4000
"""How many characters of a record that cannot be listed are kept to look at."""
_ID_LENGTH = 120
_SAYINGS = ("error", "errors", "message", "description", "detail", "title")


@dataclass(frozen=True)
class Page:
    """One page of a source.

    Attributes
    ----------
    records : list of Dataset or Rejected
        Each record of the page, listed or not.
    cursor : str or None
        Where the next page begins; None on the last.
    natives : mapping of str to str
        Id of a dataset to its record as the source gave it: JSON or XML text.
    removed : tuple of str
        Ids of datasets that the source says it no longer has.
    state : mapping of str to str
        What :meth:`Source.pages` wants back at the next harvest, such as an ETag or the time from which on it asks for
        changes. Kept once a harvest has come to its end.
    unchanged : bool
        Whether the source said that nothing has changed since the state that it was given.
    """

    records: list[Dataset | Rejected]
    cursor: str | None = None
    natives: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    state: Mapping[str, str] = field(default_factory=dict)
    unchanged: bool = False


class Source(Protocol):
    """A place that lists datasets.

    One bad record never ends a harvest: it becomes a :class:`Rejected`. A place that does not answer, or answers
    something else than its protocol, raises one of the errors of ``core.errors``.
    """

    kind: ClassVar[str]
    """Name of the entry point."""
    protocol: ClassVar[str]
    """What it speaks, for people."""
    incremental: ClassVar[bool]
    """Whether, given a state, only what changed since then comes: then absence does not mean removal."""

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None: ...

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages, one after the other.

        Parameters
        ----------
        cursor : str, optional
            `cursor` of the page before, to go on where a harvest broke off; the first page where it is None.
        state : mapping of str to str, optional
            `state` of the last harvest that came to its end. The same one goes with every cursor of a harvest.
            A source that cannot use it sends everything.
        """
        ...


def follow(fetch: Callable[[str | None], Page], cursor: str | None) -> Iterator[Page]:
    """Yield the page at `cursor` and those after it, until there is none or a cursor comes again.

    The state of the first page holds for the whole: what changes while the others come is then asked for again. A
    harvest that goes on at a cursor learns no new state.
    """
    seen: set[str | None] = set()
    state: Mapping[str, str] | None = None if cursor is None else {}
    while cursor not in seen:
        seen.add(cursor)
        page = fetch(cursor)
        state = page.state if state is None else state
        yield replace(page, state=state)
        if page.cursor is None:
            return
        cursor = page.cursor
    raise InvalidInput("The source's next page is one that came before: its pages never end.")


def read_page(
    records: Iterable[Any],
    make: Callable[[Mapping[str, Any]], Dataset],
    name: Callable[[Any], Any],
    cursor: str | None = None,
    **more: Any,
) -> Page:
    """Turn native records into one page: datasets with their natives, and rejections with a reason.

    Parameters
    ----------
    records : iterable
        The records as JSON values; one under the key ``"#text"`` has its native text there.
    make : callable
        Makes a dataset of one; what it raises becomes the reason of a rejection.
    name : callable
        Gives a record's identifier, for the rejection.
    cursor, **more
        The other attributes of the page.
    """
    done: list[Dataset | Rejected] = []
    natives: dict[str, str] = {}
    for record in records:
        made = read_record(record, make, name)
        done.append(made)
        if isinstance(made, Dataset):
            natives[made.id] = native_text(record)
    return Page(done, cursor, natives, **more)


def read_records(
    records: Iterable[Any], make: Callable[[Mapping[str, Any]], Dataset], name: Callable[[Any], Any]
) -> list[Dataset | Rejected]:
    """Turn native records into datasets, and those that cannot be into rejections with a reason."""
    return [read_record(record, make, name) for record in records]


def read_record(
    record: Any, make: Callable[[Mapping[str, Any]], Dataset], name: Callable[[Any], Any]
) -> Dataset | Rejected:
    """Turn one native record into a dataset, or into a rejection with a reason."""
    identifier = ""
    try:
        if not isinstance(record, Mapping):
            raise InvalidInput(f"a record is {kind_of(record)}, not an object")
        identifier = clean(name(record), 200)
        return make(record)
    except ValidationError as error:
        fault = error.errors()[0]
        reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    except GenesisError as error:
        reason = error.message
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RecursionError) as error:
        reason = f"unexpected shape ({type(error).__name__})"
    return Rejected(identifier, reason, native_text(record)[:SHOWN_NATIVE])


def native_text(record: Any) -> str:
    """Return a record as text: the text it came as, or JSON with sorted keys (ASCII, so that lone surrogates do not matter).

    Empty where it is no JSON.
    """
    if record is _last.record:  # asked for its digest a moment ago
        return _last.text
    try:
        _last.text = _text_of(record)
    except (TypeError, ValueError, RecursionError):
        _last.text = ""
    _last.record = record
    return _last.text


class _Last(threading.local):
    record: Any = object()
    text = ""


_last = _Last()


def _text_of(record: Any) -> str:
    if isinstance(record, Mapping) and isinstance(record.get("#text"), str):
        return str(record["#text"])
    return _encode(record)


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode


def changed_since(answer: Answer) -> str:
    """Return the time from which on to ask for changes next, ten minutes before `answer` was given.

    It is the server's own clock where it says it; the overlap covers what it indexes late.
    """
    try:
        moment = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        moment = datetime.now(UTC)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - timedelta(minutes=10)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def validators(answer: Answer) -> dict[str, str]:
    """Return what a conditional request for the same content sends along: ``etag``, ``modified`` and ``digest``."""
    named = {"etag": answer.headers.get("etag", ""), "modified": answer.headers.get("last-modified", "")}
    found = {name: value for name, value in named.items() if value}
    return {**found, "digest": digest(answer.body)} if answer.body else found


def fetch_changed(
    fetcher: Fetcher, url: str, state: Mapping[str, str] | None, **options: Any
) -> tuple[Answer, bool]:
    """Fetch `url`; the second value says whether it is what it was when `state` was taken by :func:`validators`."""
    known = state or {}
    answer = fetcher.fetch(url, etag=known.get("etag"), modified=known.get("modified"), **options)
    same = bool(known) and (answer.not_modified or known.get("digest") == digest(answer.body))
    return answer, same


def make_dataset(
    section: SourceSection, native: Any, *, identifier: Any, title: Any, **fields: Any
) -> Dataset:
    """Make the dataset of a native record, with what all protocols have in common.

    Raises
    ------
    InvalidInput
        If it has no identifier or no title.
    """
    known, heading = clean(identifier, 500), clean(title, 300)
    if not known:
        raise InvalidInput("it has no identifier")
    if not heading:
        raise InvalidInput("it has no title")
    distributions: list[Distribution] = fields.pop("distributions", [])[:MAX_DISTRIBUTIONS]
    return Dataset(
        id=dataset_id(section.name, known),
        title=heading,
        source=section.name,
        agency=clean(fields.pop("agency", ""), 200) or section.agency,
        description=clean(fields.pop("description", ""), 4000),
        keywords=words(fields.pop("keywords", None)),
        formats=sorted({d.format for d in distributions if d.format}),
        licence=clean(fields.pop("licence", ""), 300),
        citation=clean(fields.pop("citation", ""), 600),
        landing_page=web_address(fields.pop("landing_page", "")),
        doi=doi(fields.pop("doi", "")),
        access=clean(fields.pop("access", ""), 300),
        modified=date(fields.pop("modified", "")) or "",
        label=section.label,
        groups=section.groups,
        distributions=distributions,
        native_digest=native_digest(native),
        **fields,
    )


def dataset_id(source: str, native: str) -> str:
    """Make ``<source>.<local name>``; a hash is added where the native identifier could not be kept as it is."""
    local = re.sub(r"[^a-z0-9]+", "-", native.lower().partition("://")[2] or native.lower()).strip("-")
    room = _ID_LENGTH - len(source) - 1
    if local != native.lower() or len(local) > room:
        mark = hashlib.sha256(native.encode("utf-8", "replace")).hexdigest()[:8]
        local = f"{local[: max(room - 9, 1)].strip('-')}-{mark}".strip("-")
    return f"{source}.{local}"


def native_digest(record: Any) -> str:
    """SHA-256 of a record's native text.

    Raises
    ------
    InvalidInput
        If it has none: it is no JSON.
    """
    if not native_text(record):
        raise InvalidInput("it cannot be written as JSON")
    return digest(native_text(record).encode("utf-8", "replace"))


def listed(section: SourceSection, content: Any, *path: str) -> list[Any]:
    """Return the list of records at `path` of an answer.

    Raises
    ------
    InvalidInput
        If it is not there, with what the source says instead.
    """
    found = content
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, list):
        return found
    said = ""
    if isinstance(content, Mapping):
        said = next((clean(content[k], 200) for k in _SAYINGS if clean(content.get(k), 200)), "")
    raise InvalidInput(
        f"The source {section.name!r} sent {kind_of(content)} without a list {'.'.join(path)!r}"
        + (f": {said}" if said else ".")
    )


def on_same_host(section: SourceSection, address: str, base: str) -> str:
    """Return `address`, relative to `base`, if it is on the same host; InvalidInput otherwise."""
    full = urlsplit(urljoin(base, address))
    own = urlsplit(base)
    if full.netloc != own.netloc or full.scheme not in (own.scheme, "http"):
        raise InvalidInput(
            f"The source {section.name!r} names a next page on another host, which is refused."
        )
    # Servers behind a proxy that ends the encryption write http into their links: asked with it all the same.
    return full._replace(scheme=own.scheme).geturl()


def with_query(address: str, path: str) -> str:
    """Return `address` with `path` added before its query; a path that ends so already stays."""
    base, _, query = address.partition("?")
    base = base.rstrip("/").removesuffix(path.rstrip("/"))
    return base + path + (f"?{query}" if query else "")
