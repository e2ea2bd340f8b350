"""Searching by meaning with a real embedding model: words that no record has find what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest

from genesis_workbench.catalog import local, writing
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import Person
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
RECORDS = {
    "modis": (
        "MOD13A2 16-day composites",
        ["NDVI", "normalized difference vegetation index", "leaf area index"],
    ),
    "oisst": ("Daily optimum interpolation", ["sea surface temperature", "SST"]),
    "sunspots": ("Monthly numbers since 1749", ["sunspots", "solar cycle"]),
    "quakes": ("ANSS composite list", ["seismicity", "epicenters"]),
    "fires": ("VIIRS active detections", ["wildfire", "burned area"]),
    "gauge": ("Rain gauge network", ["precipitation", "rainfall"]),
    "levels": ("Computed electronic levels", ["band gap", "crystal structure"]),
    "co2": ("Flask samples at Mauna Loa", ["carbon dioxide", "CO2"]),
    "rivers": ("Daily values of gauges", ["streamflow", "river discharge"]),
    "fish": ("Landings by port", ["fisheries", "catch"]),
}
QUESTIONS = {
    "vegetation greenness": "modis",
    "how warm is the ocean surface": "oisst",
    "solar activity": "sunspots",
    "earthquakes": "quakes",
    "forest fires": "fires",
    "greenhouse gas": "co2",
    "semiconductor gap": "levels",
    "water in rivers": "rivers",
}


@pytest.fixture
def catalog(tmp_path: Path, meaning: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCatalog]:
    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.array(httpx.post(meaning, json=list(texts), timeout=60).json(), np.float32)

    monkeypatch.setattr(local, "load_encoder", lambda _: encode)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    made = LocalCatalog(ledger, Site(name="t", catalog=CatalogSection(meaning_model="served")), tmp_path)
    records = [
        Dataset(id=f"lab.{name}", title=title, source="lab", agency="Lab", keywords=keywords)
        for name, (title, keywords) in RECORDS.items()
    ]
    writing.put(made.store, SourceRow("lab", "Lab", "Lab", "public"), [Page(list(records))])
    yield made
    ledger.close()


def test_words_that_no_record_has_find_what_they_mean(catalog: LocalCatalog) -> None:
    bob = Person("bob")
    first = {}
    for question in QUESTIONS:
        found = catalog.search(question, person=bob, by_meaning=True, source="lab")
        first[question] = found[0].id if found.items else None
    right = [question for question, name in QUESTIONS.items() if first[question] == f"lab.{name}"]
    assert len(right) >= 7, first
    assert first["vegetation greenness"] == "lab.modis"
    without = catalog.search("vegetation greenness", person=bob)
    assert "No dataset has all these words" in without.note
