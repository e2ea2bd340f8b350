"""What the zoo's page is told: a try that can fail, versions, lineage, and lines of code."""

from __future__ import annotations

import numpy as np
import pytest

from genesis_workbench import models
from genesis_workbench.core.access import Person
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.record import Metric, ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.verification import forget
from genesis_workbench.models.zoo import LocalZoo
from genesis_workbench.widgets.model_zoo import ModelZoo, trial

ADA = Person("ada")


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    made = LocalZoo(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), BlobStore(tmp_path / "blobs"))
    monkeypatch.setattr(models, "_zoo", lambda: made)
    monkeypatch.setattr(models, "_person", lambda: ADA)
    forget()
    yield made
    made.ledger.close()


def registered(zoo, name="square", formula="side * side", title="Squares"):
    signature = Signature(
        inputs=(TensorSpec(name="side", dtype="float64", unit="m", low=0),),
        outputs=(TensorSpec(name="area", dtype="float64", unit="m**2"),),
    )
    card = ModelCard(
        title=title, what_for="Fields.", trained_on="Euclid.", limits="None.", licence="CC0-1.0",
        metrics=(Metric(name="RMSE", value=0.5, unit="m**2", data="100 plots"),),
    )  # fmt: skip
    test = SelfTest(inputs={"side": [2.0, 3.0]}, outputs={"area": [4.0, 9.0]}, atol=0.01)
    artifact = f'{{"formulas": {{"area": "{formula}"}}}}'.encode()
    return zoo.register(name, "formula", artifact, signature, card, test, actor="ada")


@pytest.fixture
def page(zoo):
    opened = []

    def make(text=""):
        opened.append(ModelZoo(text))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_a_try_puts_the_answers_beside_the_reference(zoo):
    registered(zoo, formula="side * side + 0.005")
    found = trial("square@1")
    assert [column["title"] for column in found["columns"]] == ["side", "area", "area, reference"]
    assert found["rows"] == [["2", "4.005", "4"], ["3", "9.005", "9"]]
    assert found["off"]["area"] == pytest.approx(0.005)
    assert found["ok"]


def test_a_try_of_a_deprecated_version_runs_without_a_warning(zoo):
    registered(zoo)
    zoo.deprecate("square@1", "old", ADA)
    assert trial("square@1")["samples"] == 2


def test_the_list_has_metrics_with_their_data_and_where_each_stands(zoo, page):
    registered(zoo)
    zoo.move_alias("square", "champion", 1, ADA)
    (entry,) = page().found
    assert entry["card"]["metrics"] == [{"name": "RMSE", "value": 0.5, "unit": "m**2", "data": "100 plots"}]
    assert (entry["aliases"], entry["stage"], entry["deprecation"]) == (["champion"], "draft", "")
    assert entry["code"] == 'model = gw.model("square@1")\nmodel(side=2)'
    assert page("nothing").found == []


def test_the_lines_of_code_run_as_they_are(zoo, page):
    registered(zoo)
    import genesis_workbench as gw

    names = {"gw": gw}
    load, use = page().found[0]["code"].split("\n")
    exec(load, names)  # noqa: S102 - the line that the page inserts
    assert np.isclose(float(eval(use, names)), 4)  # noqa: S307 - the line that the page inserts


def test_a_look_gives_versions_lineage_and_history(zoo, page):
    registered(zoo)
    registered(zoo, title="Better squares")
    zoo.deprecate("square@1", "coarse", ADA, successor="square@2")
    widget = page()
    widget._look("square")
    detail = widget.detail
    assert [each["version"] for each in detail["versions"]] == [2, 1]
    assert "coarse. Use square@2" in detail["versions"][1]["deprecation"]
    assert detail["columns"][-1][0]["label"] == "square@2"
    assert detail["history"][0]["line"] == "version 1 is deprecated"
    widget._look("no-such")
    assert "no model" in widget.detail["fault"]
    widget._try("no-such@1")
    assert "no model" in widget.tried["fault"]


@pytest.mark.parametrize(
    "content", [None, [], {}, {"command": "try"}, {"command": "look", "name": 3}, {"command": "rm"}]
)
def test_what_a_page_sends_that_means_nothing_does_nothing(page, content):
    widget = page()
    widget._command(None, content, [])
    assert (widget.detail, widget.tried) == ({}, {})
