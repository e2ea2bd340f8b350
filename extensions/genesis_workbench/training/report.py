"""Where a run stands, in plain values: one account for the monitor in a notebook, for pages and for the service."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from genesis_workbench.core.access import Label, strictest
from genesis_workbench.core.errors import NotFound
from genesis_workbench.training import metrics
from genesis_workbench.training.request import Frozen

if TYPE_CHECKING:
    from genesis_workbench.training.run import TrainingRun

_POINTS = 300
_CHECKPOINTS = 20


class Checkpoint(Frozen):
    """A checkpoint as the curve tells of it."""

    step: int
    time: str = Field(max_length=40)


class Report(Frozen):
    """A run at one moment.

    Attributes
    ----------
    steps : int
        Steps that it will have done when it is finished; 0 before it has begun.
    ended : str
        How its training ended where it has: such as ``finished``, ``budget`` or ``told to end``.
    can_resume : bool
        Whether there is something to go on with: it was stopped, has failed, or its budget is spent.
    """

    run: str = Field(max_length=60)
    name: str = Field(max_length=120)
    recipe: str = Field(max_length=120)
    data: tuple[str, ...] = Field((), max_length=100)
    label: str = Field("public", max_length=40, description="The strictest of its data.")
    parent: str = Field("", max_length=200, description="The model that it goes on from.")
    state: str = Field(max_length=20, description="Of its job; 'lost' where it was never submitted.")
    reason: str = Field("", max_length=1000)
    queue: str = Field("", max_length=120)
    position: int | None = Field(None, description="Place in the queue.")
    attempt: int = Field(1, ge=1, le=10_000)
    restarts: int = Field(0, ge=0, description="How often its scheduler has started this attempt again.")
    started: str | None = Field(None, max_length=40)
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    samples: int = Field(0, description="Of one epoch.")
    loss: float | None = None
    best: float | None = Field(None, description="Best validation loss.")
    samples_per_s: float | None = None
    device: str = Field("", max_length=120, description="What it computes on, with how many processes.")
    utilisation: float | None = Field(
        None, description="Share of the accelerators' peak, from 0 to 1, where known."
    )
    node_hours: float = Field(0, ge=0, description="Used so far, all attempts together.")
    budget_node_hours: float = Field(0, ge=0, description="0 for no limit.")
    checkpoints: tuple[Checkpoint, ...] = Field((), max_length=_CHECKPOINTS, description="The latest.")
    ended: str = Field("", max_length=40)
    can_stop: bool = False
    can_resume: bool = False
    model: str = Field("", max_length=200, description="The model of the zoo that it became.")


def report(run: TrainingRun, lines: Sequence[dict[str, Any]] | None = None) -> Report:
    """Return where a run stands; `lines` is its curve, where it was read before."""
    lines = run.lines() if lines is None else lines
    told, config = run.record.request, run.record.request.configuration
    try:
        job = run.status()
        state, reason = str(job.state), job.reason
        final, facts = (
            job.state.final,
            {"queue": job.queue, "position": job.position, "restarts": job.restarts},
        )
        facts["started"] = job.started
    except NotFound as error:
        state, reason, final, facts = "lost", error.message, True, {}
    ended = lines[-1]["ended"] if final and lines and lines[-1]["kind"] == metrics.END else ""
    return Report(
        run=run.id,
        name=run.record.name,
        recipe=told.recipe,
        data=tuple(each["id"] for each in told.datasets),
        label=str(strictest(Label.parse(each["label"]) for each in told.datasets)),
        parent=told.parent.reference if told.parent else "",
        state=state,
        reason=reason[:1000],
        attempt=told.attempt,
        epochs=config["epochs"],
        budget_node_hours=config["budget_node_hours"],
        ended=ended,
        can_stop=not final,
        can_resume=final and (state != "completed" or ended == "budget"),
        model=run.record.model,
        **facts,
        **_progress(lines, config),
    )


def _progress(lines: Sequence[dict[str, Any]], config: dict[str, Any]) -> dict[str, Any]:
    if not lines:
        return {}
    samples = next((each["samples"] for each in lines if each["kind"] == metrics.START), 0)
    kept = [each for each in lines if each["kind"] == metrics.CHECKPOINT]
    return {
        "step": lines[-1]["step"],
        "steps": math.ceil(samples / config["batch_size"]) * config["epochs"],
        "samples": samples,
        "epoch": _last(lines, "epoch") or 0,
        "loss": _last(lines, "loss", metrics.STEP),
        "best": _last(lines, "best", metrics.VALIDATION),
        "samples_per_s": _last(lines, "samples_per_s"),
        "utilisation": _last(lines, "utilisation"),
        "device": _device(lines),
        "node_hours": _last(lines, "node_hours") or 0.0,
        "checkpoints": tuple(
            Checkpoint(step=each["step"], time=each["time"]) for each in kept[-_CHECKPOINTS:]
        ),
    }


def _device(lines: Sequence[dict[str, Any]]) -> str:
    """Return what it computes on, in words."""
    said = next(
        (each for each in reversed(lines) if each["kind"] == metrics.START and "device" in each), None
    )
    if said is None:
        return ""
    more = [said["precision"], *(name for name in ("compiled", "fused", "recomputed") if said[name])]
    return f"{said['processes']} x {said['device']}, {', '.join(more)}"


def _last(lines: Sequence[dict[str, Any]], name: str, kind: str = "") -> Any:
    found = (each[name] for each in reversed(lines) if name in each and kind in ("", each["kind"]))
    return next((value for value in found if value is not None and math.isfinite(value)), None)


def curves(lines: Sequence[dict[str, Any]], most: int = _POINTS) -> dict[str, list[list[float]]]:
    """Return what is drawn of a curve, at most `most` points each: ``training``, ``validation`` and ``samples_per_s`` over steps."""
    return {
        "training": _thinned(lines, metrics.STEP, "loss", most),
        "validation": _thinned(lines, metrics.VALIDATION, "loss", most),
        "samples_per_s": _thinned(lines, metrics.STEP, "samples_per_s", most),
    }


def _thinned(lines: Sequence[dict[str, Any]], kind: str, name: str, most: int) -> list[list[float]]:
    """Return means over stretches of equal length: a curve of millions of steps is drawn as quickly as a short one."""
    found = ((each["step"], each.get(name)) for each in lines if each["kind"] == kind)
    points = [(step, value) for step, value in found if value is not None and math.isfinite(value)]
    size = math.ceil(len(points) / most) or 1
    parts = [points[at : at + size] for at in range(0, len(points), size)]
    return [[part[-1][0], sum(value for _, value in part) / len(part)] for part in parts]
