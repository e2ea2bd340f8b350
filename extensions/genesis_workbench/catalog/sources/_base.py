"""What sources share: the contract, and reading of text that nobody here wrote."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from pydantic import ValidationError

from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.http import Answer, Fetcher
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.site import SourceSection

MAX_DISTRIBUTIONS = 50
MAX_KEYWORDS = 40
SHOWN_NATIVE = 4000
"""How many characters of a record that cannot be listed are kept to look at."""
_ID_LENGTH = 120
_DATE = re.compile(r"-?\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?)?")
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]{1,200}")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


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
    """Return a record as text: the text it came as, or JSON (ASCII, so that lone surrogates do not matter)."""
    if isinstance(record, Mapping) and isinstance(record.get("#text"), str):
        return str(record["#text"])
    try:
        return json.dumps(record, separators=(",", ":"), default=str)
    except (ValueError, RecursionError):
        return ""


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
    section: SourceSection, native: Mapping[str, Any], *, identifier: Any, title: Any, **fields: Any
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
    """SHA-256 of a record as the source gave it (ASCII JSON, so that lone surrogates do not matter)."""
    return digest(json.dumps(record, sort_keys=True, separators=(",", ":"), default=str).encode())


def clean(value: Any, limit: int) -> str:
    """Return `value` as one line of visible text of at most `limit` characters.

    Control characters, direction marks and other invisible ones are dropped: they could forge what a page shows.
    """
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        value = str(value)
    if isinstance(value, Mapping):  # DCAT-US 3.0: a value with its language
        value = value.get("@value") or value.get("en") or ""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str)), "")
    if not isinstance(value, str):
        return ""
    spaced = (" " if c in "\t\r\n\v\f" else c for c in value[: limit * 4])
    visible = "".join(c for c in spaced if (c.isascii() and c.isprintable()) or not _hidden(c))
    text = " ".join(visible.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def words(value: Any) -> list[str]:
    """Return keywords: a list, or text with commas, each once."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return []
    found = dict.fromkeys(clean(item, 80) for item in value[: MAX_KEYWORDS * 4])
    return [word for word in found if word][:MAX_KEYWORDS]


def web_address(value: Any) -> str:
    """Return an http or https address without name and password; empty for everything else."""
    text = clean(value, 2000)
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    return "" if " " in text or text.endswith("…") else text


def doi(value: Any) -> str:
    """Return the DOI in `value`; empty where there is none."""
    found = _DOI.search(clean(value, 400))
    return found.group().rstrip(".,;)") if found else ""


def date(value: Any) -> str | None:
    """Return an ISO 8601 date (a year alone is one), or None."""
    text = clean(value, 60).replace(" ", "T", 1)
    return text if _DATE.fullmatch(text) else None


def period(start: Any, end: Any) -> tuple[str | None, str | None] | None:
    """Return a period, or None where neither end is a date."""
    found = date(start), date(end)
    return found if any(found) else None


def box(values: Any) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north from numbers (six where heights are among them), or None."""
    if isinstance(values, str):
        values = values.replace(",", " ").split()
    if not isinstance(values, list | tuple) or len(values) not in (4, 6):
        return None
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        return None
    west, south, east, north = numbers if len(numbers) == 4 else (*numbers[:2], *numbers[3:5])
    inside = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    return (west, south, east, north) if inside else None


def box_of_geometry(geometry: Any) -> tuple[float, float, float, float] | None:
    """Return the box around a GeoJSON geometry, or None."""
    if not isinstance(geometry, Mapping):
        return None
    points = list(_points(geometry.get("coordinates"), 0))
    if not points:
        return None
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if geometry.get("type") == "envelope":  # upper left, lower right
        return box([xs[0], min(ys), xs[-1], max(ys)])
    return box([min(xs), min(ys), max(xs), max(ys)])


def _points(value: Any, depth: int) -> Iterator[tuple[float, float]]:
    if not isinstance(value, list) or depth > 5:
        return
    if len(value) >= 2 and all(isinstance(v, int | float) for v in value[:2]):
        yield float(value[0]), float(value[1])
        return
    for item in value:
        yield from _points(item, depth + 1)


def size(value: Any) -> int | None:
    """Return a number of bytes, or None."""
    try:
        number = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**60 else None


_FORMATS = {
    "netcdf": ("netcdf", "application/x-netcdf", "nc", "nc4", "netcdf-4", "netcdf4", "netcdf4-cf"),
    "hdf5": ("hdf5", "application/x-hdf5", "application/x-hdf", "h5", "hdf-5", "hdf5-eos", "he5", "hdf-eos5"),
    "csv": ("csv", "text/csv"),
    "json": ("json", "application/json"),
    "geojson": ("geojson", "application/geo+json", "application/vnd.geo+json"),
    "geotiff": ("geotiff", "image/tiff", "tif", "tiff", "cog", "cloud optimized geotiff (cog)"),
    "zarr": ("zarr", "application/vnd+zarr", "application/vnd.zarr"),
    "parquet": ("parquet", "application/x-parquet", "application/vnd.apache.parquet"),
    "html": ("html", "text/html"),
    "xml": ("xml", "application/xml", "text/xml"),
    "pdf": ("pdf", "application/pdf"),
    "zip": ("zip", "application/zip", "application/x-zip-compressed"),
    "excel": (
        "xls",
        "xlsx",
        "excel",
        "application/vnd.ms-excel",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    "grib": ("grib", "grib2", "application/wmo-grib2", "application/x-grib"),
}
_FORMAT_OF = {alias: name for name, aliases in _FORMATS.items() for alias in aliases}


def format_name(*values: Any) -> str:
    """Return the format that the first telling value names: a media type, a format's name or an address."""
    for value in values:
        text = clean(value, 200).lower()
        plain = text.partition(";")[0].strip()
        if plain in _FORMAT_OF:
            return _FORMAT_OF[plain]
        if "profile=cloud-optimized" in text:
            return "geotiff"
        if plain.startswith("netcdf"):  # "netCDF-4 classic", "netCDF4 (CF-1.6)", and so on
            return "netcdf"
        if "://" in plain:
            ending = urlsplit(plain).path.rpartition(".")[2]
            if ending in _FORMAT_OF:
                return _FORMAT_OF[ending]
        elif plain and len(plain) <= 40 and plain != "application/octet-stream":
            return plain.rpartition("/")[2]
    return ""


def kind_of(value: Any) -> str:
    """Return what a JSON value is, for messages."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
