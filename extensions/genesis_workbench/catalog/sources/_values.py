"""Reading of text and numbers that nobody here wrote: what cannot be used becomes empty, never an error."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

MAX_KEYWORDS = 40
_DATE = re.compile(r"-?\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?)?)?")
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>]{1,200}")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_ODD = re.compile(r"[^\x20-\x7e]+")
_PLAIN_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/-]*)?")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def clean(value: Any, limit: int) -> str:
    """Return `value` as one line of visible text of at most `limit` characters.

    Control characters, direction marks and other invisible ones are dropped: they could forge what a page shows.
    """
    if not isinstance(value, str):
        if value is None:
            return ""
        value = _text_of(value)
    text: str = value
    # Almost all text is printable ASCII: only what is not is looked at character by character.
    if text.isascii() and text.isprintable():
        if len(text) <= limit and "  " not in text and text[:1] != " " and text[-1:] != " ":
            return text
        text = text[: limit * 4]
    else:
        text = _ODD.sub(_shown, text[: limit * 4])
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _text_of(value: Any) -> str:
    """Return the text that a number, a value with its language (DCAT-US 3.0) or a list holds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Mapping):
        value = value.get("@value") or value.get("en") or ""
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, str)), "")
    return value if isinstance(value, str) else ""


def _shown(found: re.Match[str]) -> str:
    characters = (" " if c in "\t\r\n\v\f" else c for c in found.group())
    return "".join(c for c in characters if unicodedata.category(c) not in _HIDDEN)


def plain(value: Any, limit: int = 4000) -> str:
    """Return text without the HTML tags that descriptions come with."""
    text = value if isinstance(value, str) else clean(value, limit)
    return clean(html.unescape(_TAG.sub(" ", text[: limit * 8])), limit)


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
    if _PLAIN_ADDRESS.fullmatch(text):  # what most are; all others are taken apart
        return text
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


_ROUNDED = 1e-4  # degrees by which a limit may be passed in single precision


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
    if west >= 0 and 180 < east <= 360 + _ROUNDED:  # many count 0 to 360 degrees east
        west, east = (-180.0, 180.0) if east - west > 359 else (_turned(west), _turned(east))
    west, east = _clipped(west, 180), _clipped(east, 180)
    south, north = _clipped(south, 90), _clipped(north, 90)
    inside = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    return (west, south, east, north) if inside else None


def _turned(longitude: float) -> float:
    return longitude - 360 if longitude > 180 else longitude


def _clipped(degrees: float, most: float) -> float:
    """Return a number that rounding has put beyond its limits within them."""
    return math.copysign(most, degrees) if most < abs(degrees) <= most + _ROUNDED else degrees


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
        known = isinstance(value, str) and value in _FORMAT_OF
        text = value if known else clean(value, 200).lower()
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
