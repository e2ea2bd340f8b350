"""Searching by meaning: what is looked for besides, what is shown of it, and what it must not tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from genesis_workbench.catalog import local, writing
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.meaning import load_encoder
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site

BOB = Person("bob")
ALICE = Person("alice", groups=frozenset({"plants"}), scopes=frozenset({"custom:data:restricted"}))
TOPICS = ({"ndvi", "evi", "vegetation", "greenness", "plant"}, {"sea", "ocean", "sst"}, {"secret", "hidden"})


class Topics:
    """An encoder that knows three topics: how many of a text's words belong to each. Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = [[len(topic & set(text.split())) for topic in TOPICS] + [0.01] for text in texts]
        made = np.array(counts, np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Topics:
    made = Topics()
    monkeypatch.setattr(local, "load_encoder", lambda _: made)
    return made


@pytest.fixture
def catalog(tmp_path: Path, encoder: Topics) -> Iterator[LocalCatalog]:
    yield from opened(tmp_path)


def opened(folder: Path, model: str = "given") -> Iterator[LocalCatalog]:
    ledger = Ledger.open(f"sqlite:///{folder / 'w.sqlite'}")
    yield LocalCatalog(ledger, Site(name="t", catalog=CatalogSection(meaning_model=model)), folder)
    ledger.close()


def keep(catalog: LocalCatalog, **records: dict[str, object]) -> None:
    listed = [
        Dataset.model_validate({"id": f"lab.{name}", "title": name, "source": "lab", **fields})
        for name, fields in records.items()
    ]
    writing.put(catalog.store, SourceRow("lab", "Lab", "Lab", "public"), [Page(list(listed))])


def ids(catalog: LocalCatalog, text: str, person: Person = BOB, **narrow: object) -> list[str]:
    return [item.id for item in catalog.search(text, person=person, **narrow)]


def test_what_is_near_in_meaning_comes_after_what_has_the_words(catalog: LocalCatalog) -> None:
    keep(
        catalog,
        modis={"keywords": ["NDVI"]},
        words={"title": "Vegetation greenness of parks"},
        ocean={"keywords": ["SST"]},
    )
    assert ids(catalog, "vegetation greenness") == ["lab.words"]
    found = catalog.search("vegetation greenness", person=BOB, by_meaning=True)
    assert [item.id for item in found] == ["lab.words", "lab.modis"]
    assert "Also looked for: ndvi" in found.note
    assert found.by_meaning


def test_fields_years_and_exclusions_stay_demands(catalog: LocalCatalog) -> None:
    keep(
        catalog,
        old={"keywords": ["NDVI"], "modified": "2001-01-01", "agency": "NASA"},
        new={"keywords": ["NDVI"], "modified": "2020-01-01", "agency": "NASA"},
        other={"keywords": ["NDVI"], "modified": "2020-01-01", "agency": "USGS", "description": "parks"},
    )
    near = {"by_meaning": True}
    assert ids(catalog, "greenness year:2020 agency:nasa", **near) == ["lab.new"]
    assert set(ids(catalog, "greenness -parks", **near)) == {"lab.old", "lab.new"}
    assert ids(catalog, "agency:usgs", **near) == ids(catalog, "agency:usgs")


def test_keywords_of_what_is_not_public_are_never_looked_for(catalog: LocalCatalog, encoder: Topics) -> None:
    keep(
        catalog,
        inside={"keywords": ["evi", "hidden plant"], "label": "restricted", "groups": ["plants"]},
        outside={"keywords": ["NDVI"]},
    )
    found = catalog.search("greenness", person=BOB, by_meaning=True)
    assert ([item.id for item in found], found.total) == (["lab.outside"], 1)
    assert sum(found.facets["label"].values()) == 1
    assert "evi" not in encoder.asked
    assert "hidden plant" not in encoder.asked
    assert "hidden" not in found.note


def test_each_keyword_is_embedded_once_for_all_processes(
    catalog: LocalCatalog, tmp_path: Path, encoder: Topics
) -> None:
    keep(catalog, modis={"keywords": ["EARTH SCIENCE > BIOSPHERE > NDVI"]})
    catalog.learn_meanings()
    assert encoder.asked.count("ndvi") == 1
    assert catalog.learn_meanings() == 0
    for second in opened(tmp_path):
        assert ids(second, "greenness", by_meaning=True) == ["lab.modis"]
        keep(second, modis={"keywords": ["NDVI"]}, sea={"keywords": ["sst"]})
        assert "lab.sea" in ids(second, "ocean", by_meaning=True)
    assert encoder.asked.count("ndvi") == 1
    assert "lab.sea" in ids(catalog, "ocean", by_meaning=True)


def test_pages_follow_each_other_though_the_vocabulary_grows_between_them(catalog: LocalCatalog) -> None:
    keep(catalog, **{f"n{n}": {"keywords": ["NDVI"]} for n in range(6)})
    first = catalog.search("greenness", person=BOB, by_meaning=True, limit=3)
    keep(catalog, **{f"n{n}": {"keywords": ["NDVI"]} for n in range(6)}, more={"keywords": ["plant"]})
    catalog.learn_meanings()
    second = catalog.search("greenness", person=BOB, by_meaning=True, limit=3, cursor=first.next)
    assert len({item.id for item in [*first, *second]}) == 6


def test_a_site_without_a_model_says_so(tmp_path: Path) -> None:
    for catalog in opened(tmp_path, model=""):
        assert not catalog.search("ice", person=BOB).by_meaning
        assert catalog.learn_meanings() == 0
        with pytest.raises(InvalidInput, match="meaning_model"):
            catalog.search("ice", person=BOB, by_meaning=True)


def test_a_folder_without_a_model_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInput, match="safetensors"):
        load_encoder(tmp_path)
