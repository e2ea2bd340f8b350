"""The decision on a hypothesis, from the observations alone: anybody can compute it again."""

from __future__ import annotations

from typing import Any

from genesis_workbench.experiments.state import ExperimentState


def decide(state: ExperimentState) -> dict[str, Any]:
    """Apply the committed rule to everything observed and return the finding with its evidence."""
    rule = state.spec.hypothesis.rule
    observed = [trial for trial in state.observed if rule.metric in trial.values]
    values = [
        (float(trial.values[rule.metric]["value"]), trial.values[rule.metric]["unit"]) for trial in observed
    ]
    reaching = [trial.number for trial, value in zip(observed, values, strict=True) if rule.reached(*value)]
    best = state.best
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
            "best": best and {"trial": best.number, "parameters": best.parameters, "values": best.values},
        },
    }
