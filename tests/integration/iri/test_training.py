"""A training run at a facility: its budget is spent, and it goes on there from the checkpoint that its API never sent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import genesis_workbench as gw
from genesis_workbench import models
from genesis_workbench.core.errors import Conflict
from genesis_workbench.training import metrics

pytest.importorskip("torch", reason="torch is not installed")

TINY = Path(__file__).parents[2] / "system" / "training" / "tiny"
SITE = """\
name = "test"
[compute]
scheduler = "iri"
account = "proj"
python = "{python}"
[compute.iri]
url = "{iri.url}"
folder = "{iri.folder}"
token_file = "{iri.token_file}"
allow_private = true
poll_s = 0.1
"""


@pytest.mark.slow  # three jobs, each of which imports torch
@pytest.mark.timeout(400)
@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_it_goes_on_from_the_checkpoint_that_stayed_there(facility, site, tmp_path, monkeypatch):
    (tmp_path / "site.toml").write_text(SITE.format(python=sys.executable, iri=site.iri))
    monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    models._zoo.cache_clear()
    run = gw.train(TINY, name="tiny", epochs=40, log_steps=1, budget_node_hours=1e-6)
    with pytest.raises(Conflict, match=r"budget of .* is spent.*Its last checkpoint is of step"):
        run.wait(120)
    saved = next(each["step"] for each in run.lines() if each["kind"] == metrics.CHECKPOINT)
    assert not list((tmp_path / "state").rglob("step-*")), "the API brought the curve, not the checkpoint"

    # Where the checkpoint is gone it says so, and does not begin anew.
    there = facility.folder / "jobs" / run.record.jobs[0] / "checkpoints"
    there.rename(there.with_name("elsewhere"))
    run.resume(budget_node_hours=1)
    with pytest.raises(Conflict, match="No checkpoint of the attempts before is in"):
        run.wait(120)

    there.with_name("elsewhere").rename(there)
    version = run.resume().wait(180)
    began = [each["step"] for each in run.lines() if each["kind"] == metrics.START]
    assert began == [0, saved]
    steps = [each["step"] for each in run.lines() if each["kind"] == metrics.STEP]
    assert steps == list(range(1, steps[-1] + 1))
    assert version.reference == "tiny@1"
    assert len(version.lineage["job"]["attempts"]) == 3
    models._zoo.cache_clear()
