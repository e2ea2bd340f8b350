"""What a dashboard says of a training run, and to whom it says nothing."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import pytest

from genesis_workbench.core.errors import PermissionRefused
from genesis_workbench.dashboards import training_page
from genesis_workbench.training.report import Report

TOLD = Report(
    run="trn_1", name="pv", recipe="surrogate", data=("modules",), state="active", epochs=3, epoch=1, step=1200, steps=3600,
    loss=0.5, best=0.25, samples_per_s=3522.0, device="1 x cpu, fp32", node_hours=0.5, budget_node_hours=2, reason="<b>bold</b>",
).model_dump(mode="json")  # fmt: skip
DRAWN = {"training": [[1, 1.0], [2, 0.5]], "validation": [[2, 0.6]], "samples_per_s": [[1, 3000.0]]}


@pytest.fixture(autouse=True, scope="module")
def _as_in_a_script() -> None:
    hv.extension("bokeh")


class Remote:
    def __init__(self, label: str) -> None:
        self.label = label

    def get(self, path: str) -> Any:
        return DRAWN if path.endswith("/curves") else {**TOLD, "label": self.label}


def test_it_says_progress_cost_and_speed_and_runs_nobodys_words() -> None:
    facts, losses, speed = training_page.page(TOLD, DRAWN)
    text = facts.object
    assert "Step 1,200 of 3,600" in text
    assert "0.5 of 2 node-hours" in text
    assert "3,522 samples/s" in text
    assert "<b>" not in text
    assert len(losses) == 2
    assert speed.vdims[0].name == "samples/s"


def test_before_the_first_step_it_says_so() -> None:
    _, words = training_page.page(TOLD, {})
    assert "not written a step" in words.object


@pytest.mark.parametrize(("label", "audience", "shown"), [
    ("public", ["solar"], True), ("controlled", [], True), ("controlled", ["solar"], False),
])  # fmt: skip
def test_curves_of_data_that_are_not_public_are_for_the_owner_alone(
    label: str, audience: list[str], shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_page, "service", lambda: Remote(label))
    if shown:
        assert training_page.look("trn_1", audience) == ({**TOLD, "label": label}, DRAWN)
    else:
        with pytest.raises(PermissionRefused, match="owner alone"):
            training_page.look("trn_1", audience)
