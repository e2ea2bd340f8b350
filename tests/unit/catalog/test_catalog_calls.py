"""The calls that people type: light to import, and the same words inside and outside the hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.opening import open_dataset
from genesis_workbench.catalog.remote import RemoteCatalog
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.service import Service

HEAVY = ("dask", "xarray", "pandas", "h5py", "pvlib", "tantivy", "sqlalchemy", "scipy", "numpy")
OUTSIDE = """
import genesis_workbench.catalog as catalog
result = catalog.search("solar irradiance")
opened = catalog.open("linke-turbidity")
assert callable(catalog.search) and callable(catalog.sources) and callable(catalog.open)
import genesis_workbench.catalog.sources.dcat
assert [s.name for s in catalog.sources()] == ["starter"]
print(result[0].id, opened.attrs["genesis_dataset"], catalog.get("sunspots").agency, catalog.cite("sunspots"))
"""


def run(code: str, state: Path) -> str:
    hub = ("GENESIS_SERVICE_URL", "JUPYTERHUB_API_TOKEN")
    environment = {k: v for k, v in os.environ.items() if k not in hub} | {"GENESIS_STATE": str(state)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_catalog_is_light(tmp_path: Path) -> None:
    code = f"import sys, genesis_workbench.catalog; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code, tmp_path).strip() == "[]"


def test_outside_a_hub_the_calls_work_on_a_folder(tmp_path: Path) -> None:
    said = run(OUTSIDE, tmp_path)
    assert said.startswith("linke-turbidity linke-turbidity SILSO")
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'workbench.sqlite'}")
    assert [event.kind for event in ledger.read(prefix="dataset/")] == ["dataset.opened"]
    ledger.close()


class ServiceOfOne(Service):
    """Answers as the REST API does, without a network: JSON out of a local catalog."""

    def __init__(self, catalog: LocalCatalog, person: Person) -> None:
        super().__init__("http://127.0.0.1:1", "unused")
        self.catalog, self.person = catalog, person

    def get(self, path: str, **params: Any) -> Any:
        if path == "catalog/datasets":
            text = params.pop("q") or ""
            found = self.catalog.search(text, person=self.person, **params)
            return json.loads(json.dumps(found.as_dict()))
        if path == "catalog/sources":
            return {"items": [vars(status) for status in self.catalog.sources(self.person)]}
        return self.catalog.get(path.removeprefix("catalog/datasets/"), self.person).model_dump(mode="json")

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        dataset_id = path.removeprefix("catalog/datasets/").removesuffix("/openings")
        self.catalog.record_opening(dataset_id, self.person)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalCatalog]:
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    yield LocalCatalog(ledger, None, tmp_path)
    ledger.close()


def test_the_remote_catalog_gives_what_the_local_one_gives(local: LocalCatalog) -> None:
    alice, nobody = Person("alice"), Person("")
    service = ServiceOfOne(local, alice)
    remote = RemoteCatalog(service)
    assert remote.search("solar", person=nobody, limit=2) == local.search("solar", person=alice, limit=2)
    assert remote.sources(nobody) == local.sources(alice)
    dataset = remote.get("altitude", nobody)
    assert dataset == local.get("altitude", alice)
    assert open_dataset(dataset)["altitude"].shape == (2160, 4320)
    remote.record_opening("altitude", nobody)
    assert local.ledger.read(stream="dataset/altitude")[0].actor == "alice"
    with pytest.raises(NotFound):
        remote.get("absent", nobody)
    service.close()
