"""What the loop makes of people's approvals: used once, for exactly what was shown, before they expire; or refused."""

from __future__ import annotations

from typing import Any

from genesis_workbench.core import clock
from genesis_workbench.experiments.approval import arguments_digest
from genesis_workbench.experiments.state import ExperimentState, Trial
from genesis_workbench.experiments.steps import active, key_of
from genesis_workbench.experiments.writing import Entry


def wanted(
    state: ExperimentState,
    number: int,
    parameters: dict[str, Any],
    reserved: dict[str, float],
    attempts: dict[str, int] | None = None,
) -> dict[str, Any] | None:
    """Return why a trial needs approval and the digest of what that is for; None where it needs none.

    Parameters
    ----------
    attempts : dict, optional
        By step, which attempt it is for; the first where left out.
    """
    steps = active(state.spec.graph, parameters)
    touching = tuple(step.name for step in steps if step.name in state.laboratory)
    why = state.spec.approval.needed(number, reserved, touching)
    if not why:
        return None
    executions = [
        {
            "step": step.name,
            "executor": step.executor,
            "arguments": step.arguments,
            "key": key_of(state.id, number, step.name, (attempts or {}).get(step.name, 1)),
        }
        for step in steps
    ]
    return {"why": why, "digest": arguments_digest(state.id, number, parameters, executions)}


def permissions(state: ExperimentState) -> list[Entry]:
    """Return the entries for what people have said of trials that wait for approval."""
    waiting = [trial for trial in state.under_way.values() if trial.state == "waiting"]
    return [entry for trial in waiting if (entry := _permission(state, trial))]


def _permission(state: ExperimentState, trial: Trial) -> Entry | None:
    said = trial.approval or {}
    if "refused" in said:
        reason = f"{said['by']} refused it: {said['refused']}"
        return Entry("trial.refused", {"trial": trial.number, "reason": reason, "by": said["by"], "cost": {}})
    if "expires" not in said or state.state == "paused":
        return None
    if clock.now() >= said["expires"]:
        return Entry("approval.expired", {"trial": trial.number, "digest": said["digest"]})
    # Written before anything is submitted: from here on it is used, whatever happens.
    return Entry(
        "approval.used", {"trial": trial.number, "digest": said["digest"], "approval": said["event"]}
    )
