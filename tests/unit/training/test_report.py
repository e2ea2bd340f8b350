"""The account of a run: how far, how fast, at what cost, what can be done; and what is drawn of its curve."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from genesis_workbench.compute.job import Job, JobState
from genesis_workbench.core.errors import NotFound
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.report import curves, report
from genesis_workbench.training.request import Request

CONFIGURATION = {"epochs": 3, "batch_size": 32, "budget_node_hours": 2.0}


def run(state, lines, **request):
    """Return a run whose job is in this state; None where it was never submitted."""
    told = Request(run="trn_1", recipe="tiny", files={}, code="", configuration=CONFIGURATION, **request)

    def status():
        if state is None:
            raise NotFound("The job of trn_1 was never submitted. Call resume().")
        return Job(key="k", name="train tiny", state=state, reason="", queue="spare", position=2)

    record = RunRecord(run="trn_1", name="tiny", request=told)
    return SimpleNamespace(id="trn_1", record=record, status=status, lines=lambda: lines)


def line(kind, step, **values):
    return {"kind": kind, "step": step, "time": "2026-01-01T00:00:00+00:00", **values}


def curve(*more):
    return [
        line("start", 0, samples=100, processes=2, device="cpu", precision="bfloat16", compiled=False, fused=True, recomputed=False),
        line("step", 2, epoch=0, loss=2.0, samples_per_s=50.0, node_hours=0.5),
        line("validation", 4, epoch=0, loss=1.5, best=1.5),
        line("step", 5, epoch=1, loss=math.nan, samples_per_s=60.0, node_hours=0.6),
        line("checkpoint", 5, node_hours=0.6),
        *more,
    ]  # fmt: skip


def test_it_says_how_far_how_fast_and_at_what_cost():
    datasets = ({"id": "a", "label": "public"}, {"id": "b", "label": "controlled"})
    now = report(run(JobState.ACTIVE, curve(), datasets=datasets))
    assert (now.step, now.steps, now.epoch, now.epochs) == (5, 12, 1, 3)
    assert (now.loss, now.best, now.samples_per_s, now.node_hours) == (2.0, 1.5, 60.0, 0.6)
    assert (now.data, now.label) == (("a", "b"), "controlled"), "the strictest"
    assert now.device == "2 x cpu, bfloat16, fused"
    assert [each.step for each in now.checkpoints] == [5]
    assert (now.queue, now.position, now.can_stop, now.can_resume) == ("spare", 2, True, False)


@pytest.mark.parametrize(
    ("state", "ended", "can_resume"),
    [
        (JobState.COMPLETED, "finished", False),
        (JobState.COMPLETED, "early stop", False),
        (JobState.COMPLETED, "budget", True),
        (JobState.CANCELED, "told to end", True),
        (JobState.FAILED, "", True),
        (None, "", True),
    ],
)
def test_what_has_ended_can_be_resumed_unless_it_is_finished(state, ended, can_resume):
    lines = curve(*([line("end", 5, ended=ended, node_hours=0.6)] if ended else []))
    now = report(run(state, lines))
    assert (now.ended, now.can_stop, now.can_resume) == (ended, False, can_resume)
    assert now.state == ("lost" if state is None else str(state))


def test_a_long_curve_is_drawn_by_few_points_and_no_number_that_is_none():
    lines = [line("step", n, loss=float(n % 10), samples_per_s=1.0) for n in range(1, 10_001)]
    lines[50]["loss"] = math.inf
    drawn = curves(lines)
    assert len(drawn["training"]) <= 300
    assert drawn["training"][-1][0] == 10_000
    assert all(3 < value < 6 for _, value in drawn["training"]), "means over stretches"
    assert drawn["validation"] == []
