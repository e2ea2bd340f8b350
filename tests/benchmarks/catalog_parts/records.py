"""Records for the catalog's benchmark, made from the vocabulary of real ones. Not a benchmark by itself."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources.starter import RECORDS

REAL = Path(__file__).parents[3].parent / "shared/data/dcat/agency"
SOURCE = "bench"
GROUPS = [f"group-{n}" for n in range(20)]
_WORD = re.compile(r"[^\W_]+")
_BATCH = 1000
_FORMATS = [
    "csv",
    "netcdf",
    "json",
    "html",
    "zip",
    "geotiff",
    "hdf5",
    "xml",
    "pdf",
    "parquet",
    "zarr",
    "excel",
]
_LICENCES = [
    "",
    "https://www.usa.gov/government-works",
    "https://creativecommons.org/publicdomain/zero/1.0/",
] + [f"https://example.gov/licence/{n}" for n in range(6)]
_PLACES = ["office", "bureau", "laboratory", "centre", "service", "administration"]


def vocabulary() -> tuple[list[str], np.ndarray, str]:
    """Return words, their frequencies, and where they are from."""
    counts: Counter[str] = Counter()
    for file in sorted(REAL.glob("*.json*")) if REAL.is_dir() else ():
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for record in json.loads(raw).get("dataset", ()):
            counts.update(
                _WORD.findall(f"{record.get('title')} {str(record.get('description'))[:2000]}".lower())
            )
    origin = "data.json of seven agencies"
    if not counts:
        origin = "the starter data, and syllables"
        for native in RECORDS:
            counts.update(_WORD.findall(f"{native['title']} {native['description']}".lower()))
        syllables = ["ka", "ter", "lo", "min", "su", "ra", "vel", "on", "di", "pre", "ga", "sto"]
        made = (a + b + c for a in syllables for b in syllables for c in syllables)
        counts.update({word: max(2000 // (rank + 2), 1) for rank, word in enumerate(made)})
    words = [word for word, _ in counts.most_common(40_000)]
    weights = np.array([counts[word] for word in words], dtype=float)
    return words, weights / weights.sum(), origin


def records(count: int, seed: int = 1) -> Iterator[list[Dataset]]:
    """Yield `count` records in lists of a thousand.

    Titles of 9 words, descriptions of 36 in the median, 4 keywords; a tenth is restricted to one of 20 groups; each has
    a box and a period.
    """
    words, weights, _ = vocabulary()
    chances, known = np.cumsum(weights), np.array(words, dtype=object)
    agencies = [f"{known[300 + n]} {_PLACES[n % 6]} of {known[500 + n]}".title() for n in range(120)]
    rng = np.random.default_rng(seed)

    def text(length: int) -> str:
        return " ".join(known[np.minimum(np.searchsorted(chances, rng.random(length)), len(known) - 1)])

    for start in range(0, count, _BATCH):
        yield [_record(number, text, agencies, rng) for number in range(start, min(start + _BATCH, count))]


def _record(number: int, text: Any, agencies: list[str], rng: np.random.Generator) -> Dataset:
    west, south = float(rng.uniform(-180, 175)), float(rng.uniform(-90, 85))
    year, length = int(rng.integers(1980, 2026)), int(min(rng.lognormal(3.58, 0.6), 400))
    closed = rng.random() < 0.1
    first = _FORMATS[int(rng.integers(12))]
    return Dataset(
        id=f"{SOURCE}.record-{number}",
        title=text(9),
        description=text(length),
        keywords=text(4).split(),
        source=SOURCE,
        agency=agencies[min(int(rng.zipf(1.3)) - 1, 119)],
        formats=sorted({first, _FORMATS[int(rng.integers(12))]}),
        licence=_LICENCES[int(rng.integers(9))],
        landing_page=f"https://data.example.gov/dataset/{number}",
        label="restricted" if closed else "public",
        groups=[GROUPS[int(rng.integers(20))]] if closed else [],
        spatial=(
            west,
            south,
            min(west + float(rng.exponential(4)), 180.0),
            min(south + float(rng.exponential(3)), 90.0),
        ),
        temporal=(f"{year}-01-01", f"{min(year + int(rng.integers(5)), 2026)}-12-31"),
        modified=f"{min(year + 1, 2026)}-{int(rng.integers(1, 13)):02}-{int(rng.integers(1, 29)):02}",
        native_digest=f"sha256:{number:064x}",
    )
