"""A training run as a person has it: a real job on this machine, stopped, resumed, and put into the zoo."""

from __future__ import annotations

import time

import pytest

import genesis_workbench as gw
from genesis_workbench import catalog, models
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.training import metrics

pytest.importorskip("torch", reason="torch is not installed")

SMALL = {"shards": 3, "shard_size": 512, "members": 2, "width": 16, "learning_rate": 0.01, "log_steps": 1}


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for each in (catalog._catalog, models._zoo):
        each.cache_clear()
    yield
    for each in (catalog._catalog, models._zoo):
        each.cache_clear()


def wait_for(run, kind, count=1, timeout_s=120):
    """Wait until the curve has so many lines of a kind."""
    deadline = time.monotonic() + timeout_s
    while sum(line["kind"] == kind for line in run.lines()) < count:
        assert not run.status().state.final, run.status().reason
        assert time.monotonic() < deadline, f"no {kind} after {timeout_s} s"
        time.sleep(0.05)


def test_a_run_is_stopped_resumed_and_becomes_a_model_with_its_lineage():
    run = gw.train("surrogate", ["cec-pv-modules"], name="pv-power", epochs=3000, patience=2, **SMALL)
    wait_for(run, metrics.STEP, 5)
    with pytest.raises(Conflict, match="Wait for it, or stop"):
        run.resume()
    run.stop()
    with pytest.raises(Conflict, match="Its last checkpoint is of step"):
        run.wait(120)
    before = run.lines()
    run = gw.training.get(run.id).resume(epochs=6, batch_size=512)
    version = run.wait(120)

    curve = run.lines()
    began = [line["step"] for line in curve if line["kind"] == metrics.START]
    assert began == [0, before[-1]["step"]], "it went on from the step at which it was stopped"
    assert curve[: len(before) - 1] == before[:-1], "the curve goes on too"
    assert version.reference == "pv-power@1"
    assert version.lineage["datasets"][0]["id"] == "cec-pv-modules"
    assert version.lineage["datasets"][0]["checksums"]
    assert version.lineage["job"]["run"] == run.id
    assert len(version.lineage["job"]["attempts"]) == 2
    assert version.lineage["recipe"]["code"].startswith("sha256:")
    assert "pvlib" in version.card.surrogate_of
    assert run.wait(10) == version, "it is registered once"
    answer = gw.model("pv-power@1").predict(
        irradiance=1000, cell_temperature=25, I_sc_ref=9, V_oc_ref=38, I_mp_ref=8.5, V_mp_ref=31,
        alpha_sc=0.004, beta_oc=-0.12,
    )  # fmt: skip
    assert float(answer["maximum_power_spread"]) > 0
    assert run.plot() is not None
    assert gw.training.runs()["model"].tolist() == ["pv-power@1"]
    with pytest.raises(Conflict, match="is finished"):
        run.resume()


def test_what_cannot_be_trained_is_refused_before_a_job_is_submitted(tmp_path):
    with pytest.raises(InvalidInput, match=r"epochs='many'.*can be told: seed"):
        gw.train("surrogate", ["cec-pv-modules"], epochs="many")
    with pytest.raises(NotFound, match=r"no recipe 'surogate'.*Installed: .*surrogate"):
        gw.train("surogate")
    with pytest.raises(NotFound, match="no-such-data"):
        gw.train("surrogate", ["no-such-data"])
    assert not (tmp_path / "state" / "jobs").exists()
    assert gw.training.runs().empty
