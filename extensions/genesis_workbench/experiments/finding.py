"""The decision on a hypothesis, from the observations alone: anybody can compute it again."""

from __future__ import annotations

from typing import Any

from genesis_workbench.experiments.outcomes import Point
from genesis_workbench.experiments.state import ExperimentState


def decide(state: ExperimentState) -> dict[str, Any]:
    """Apply the committed rule to everything observed and return the finding with its evidence."""
    rule = state.spec.hypothesis.rule
    observed = [trial for trial in state.observed if rule.metric in trial.values]
    values = [
        (float(trial.values[rule.metric]["value"]), trial.values[rule.metric]["unit"]) for trial in observed
    ]
    reaching = [trial.number for trial, value in zip(observed, values, strict=True) if rule.reached(*value)]
    best, objectives = state.best, state.spec.objectives
    return {
        "statement": state.spec.hypothesis.statement,
        "decision": rule.decide(values),
        "rule": str(rule),
        "hypothesis_digest": state.hypothesis_digest,
        "simulated": state.simulated,
        "evidence": {
            "observed": len(observed),
            "failed": sum(trial.state == "failed" for trial in state.trials),
            "reaching": reaching,
            "best": best and _best(state, best),
            "front": [point.described(objectives) for point in state.front] if len(objectives) > 1 else [],
        },
    }


def _best(state: ExperimentState, best: Point) -> dict[str, Any]:
    """Return the best point as JSON values: all that its trial measured, or the means over its repeats."""
    if len(best.trials) > 1:
        return best.described(state.spec.objectives)
    trial = best.trials[0]
    return {"trial": trial.number, "parameters": trial.parameters, "values": trial.values}
