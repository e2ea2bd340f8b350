"""A model is never less strict than the datasets and the parent that it was made from."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import InvalidInput, NotFound, PermissionRefused
from genesis_workbench.models import inheritance
from genesis_workbench.models.record import DatasetVersion, ModelCard


def made_from(*names, label="public"):
    return tuple(DatasetVersion(identifier=name, version="2026-01", label=label) for name in names)


@pytest.fixture
def send(zoo_of, tiny, parts):
    def register(who, name="tiny", lineage=None, **card):
        zoo, person = zoo_of(who)
        known = parts(**card)
        options = {} if not hasattr(zoo, "ledger") else {"person": person}
        return zoo.register(name, "onnx", tiny, **known, actor=who, lineage=lineage, **options)

    return register


def test_the_labels_of_datasets_are_the_catalogs_and_the_error_names_them(send):
    assert send("ada", datasets=made_from("open-air")).card.datasets[0].version == "2026-01"
    with pytest.raises(InvalidInput, match="labelled 'public', but the dataset solar-yield is 'restricted'"):
        send("ada", datasets=made_from("open-air", "solar-yield"))
    assert send("ada", datasets=made_from("solar-yield"), label="restricted", groups=["solar"])
    assert send("cleo", "other", datasets=made_from("solar-yield"), label="controlled", groups=["solar"])
    with pytest.raises(PermissionRefused, match="custom:data:controlled"):
        send("ada", datasets=made_from("solar-yield"), label="controlled", groups=["solar"])
    with pytest.raises(InvalidInput, match="'fusion', which may not see the dataset solar-yield"):
        send("ada", datasets=made_from("solar-yield"), label="restricted", groups=["solar", "fusion"])


def test_what_one_may_not_see_cannot_be_named_and_is_not_told_from_what_is_not_there(send):
    said = []
    for name in ("grid-map", "no-such"):
        with pytest.raises(NotFound) as refused:
            send("ada", datasets=made_from(name))
        said.append(str(refused.value).replace(name, "X"))
    assert said[0] == said[1]
    assert send("cleo", "tiny-2", datasets=made_from("grid-map"), label="controlled", groups=["solar"])


def test_a_stricter_label_on_the_card_counts_too(send):
    with pytest.raises(InvalidInput, match="'export-controlled'"):
        send("ada", datasets=made_from("open-air", label="export-controlled"))


def test_a_child_is_as_strict_as_its_parent_and_its_parent_is_pinned(send):
    parent = send("ada", "parent", label="restricted", groups=["solar"])
    with pytest.raises(InvalidInput, match="its parent parent@1 is 'restricted'"):
        send("ada", "child", lineage={"parent": "parent"})
    child = send("ada", "child", lineage={"parent": "parent"}, label="restricted", groups=["solar"])
    assert child.lineage == {"parent": "parent@1", "parent_digest": parent.digest}
    with pytest.raises(NotFound):
        send("ada", "child", lineage={"parent": "nothing@1"})


def test_a_dataset_says_of_itself_which_version_was_read():
    import xarray as xr

    opened = xr.Dataset(
        attrs={
            "genesis_dataset": "solar-yield",
            "version": "v2",
            "digest": "sha256:0",
            "checksum": "",
            "label": "restricted",
        }
    )
    found = DatasetVersion.of(opened)
    assert found == DatasetVersion(
        identifier="solar-yield", version="v2", digest="sha256:0", label="restricted"
    )
    with pytest.raises(InvalidInput, match="which dataset"):
        DatasetVersion.of(xr.Dataset())


def test_without_a_catalog_the_cards_labels_count():
    card = ModelCard(title="t", what_for="w", trained_on="-", limits="-", licence="CC0-1.0")
    (rule,) = inheritance.rules(made_from("anything", label="controlled")[0], None, None)
    with pytest.raises(InvalidInput, match="'controlled'"):
        inheritance.check(card, [("the dataset anything", rule)])
