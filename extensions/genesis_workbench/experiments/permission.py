"""What the loop makes of people's approvals: used once, for exactly what was shown, before they expire; or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from genesis_workbench.core import clock
from genesis_workbench.experiments.approval import arguments_digest
from genesis_workbench.experiments.executors._base import Signature
from genesis_workbench.experiments.state import ExperimentState, Trial
from genesis_workbench.experiments.steps import active, key_of
from genesis_workbench.experiments.writing import Entry

if TYPE_CHECKING:
    from genesis_workbench.experiments.executing import Running


def wanted(
    state: ExperimentState,
    number: int,
    parameters: dict[str, Any],
    reserved: dict[str, float],
    attempts: Mapping[str, int] | None = None,
    laboratory: frozenset[str] | None = None,
) -> dict[str, Any] | None:
    """Return why a trial needs approval and the digest of what that is for; None where it needs none.

    Parameters
    ----------
    attempts : mapping, optional
        By step, which attempt it is for; the first where left out.
    laboratory : frozenset of str, optional
        Steps of which a person is asked because of what they touch; those of now where left out.
    """
    steps = active(state.spec.graph, parameters)
    why = state.asks(number, parameters, reserved, laboratory)
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


def touched(state: ExperimentState, takes: Mapping[str, Signature]) -> list[Entry]:
    """Return the entry that devices have become real, or simulated, since people were told what they are.

    A step that has touched something in the world is asked for from then on: whoever approved it for real devices has not
    approved a simulation.
    """
    real = (state.real - takes.keys()) | {name for name, each in takes.items() if each.laboratory}
    if real == state.real:
        return []
    simulated = state.simulated and all(each.simulated for each in takes.values())
    laboratory = sorted(state.laboratory | real)
    body = {"laboratory": laboratory, "real": sorted(real), "simulated": simulated}
    return [Entry("laboratory.changed", body)]


def unasked(state: ExperimentState, executions: Sequence[Running]) -> list[Entry]:
    """Return the entries that ask for approvals: none was needed when the trial was proposed, or it has expired since."""
    entries = {}
    for each in executions:
        trial = each.trial
        if each.step.name in state.laboratory and not _holds(trial.approval):
            attempts = {name or each.step.name: one.attempt for name, one in trial.executions}
            approval = wanted(state, trial.number, trial.parameters, trial.reserved, attempts)
            if approval is not None:
                entries[trial.number] = Entry(
                    "approval.wanted", {"trial": trial.number, "approval": approval}
                )
    return list(entries.values())


def _holds(approval: Mapping[str, Any] | None) -> bool:
    return approval is not None and clock.now() < approval.get("expires", "")


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
