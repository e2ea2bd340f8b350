"""The decision on a hypothesis, from the observations alone: anybody can compute it again."""

from __future__ import annotations

from typing import Any

from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.outcomes import Point
from genesis_workbench.experiments.rules import Verdict, observations, source_digest
from genesis_workbench.experiments.state import ExperimentState


def verdict(state: ExperimentState, hypothesis: Hypothesis | None = None) -> Verdict:
    """Apply a hypothesis's rule, the committed one's where none is given, to what was observed so far."""
    rule = (hypothesis or state.spec.hypothesis).rule
    return rule.verdict(observations(rule, state.decisive, state.spec.repeats))


def decide(state: ExperimentState) -> dict[str, Any]:
    """Apply the committed rule to everything observed and return the finding with its evidence.

    The rule that was committed before the first trial decides, whatever was changed later; each change is told as a
    deviation, with what it would have decided.
    """
    hypothesis, objectives = state.spec.hypothesis, state.spec.objectives
    decided, best = verdict(state), state.best
    return {
        "statement": hypothesis.statement,
        "decision": decided.decision,
        "says": decided.says,
        "rule": str(hypothesis.rule),
        "hypothesis_digest": state.hypothesis_digest,
        "analysis": {"committed": hypothesis.analysis, "used": source_digest(hypothesis.rule)},
        "caution": _caution(state),
        "deviations": [_deviation(state, change) for change in state.deviations],
        "simulated": state.simulated,
        "evidence": {
            "observed": sum(hypothesis.rule.metric in trial.values for trial in state.observed),
            "failed": sum(trial.state == "failed" for trial in state.trials),
            "reaching": [],
            **decided.evidence,
            "best": best and _best(state, best),
            "front": [point.described(objectives) for point in state.front] if len(objectives) > 1 else [],
        },
    }


def _caution(state: ExperimentState) -> str:
    """Return what weakens the decision although nothing is wrong with it: a person ended it before it was due."""
    planned = state.spec.budget.trials
    if not state.stopping or state.spec.hypothesis.rule.anytime or len(state.trials) >= planned:
        return ""
    return (
        f"A person stopped it after {len(state.trials)} of {planned} trials. The rule is meant for one look at the end: "
        "stopped by somebody who has seen outcomes, it is wrong more often than its confidence says."
    )


def _deviation(state: ExperimentState, change: dict[str, Any]) -> dict[str, Any]:
    changed = Hypothesis.model_validate(change["hypothesis"])
    decided = verdict(state, changed)
    return {
        **{name: change[name] for name in ("time", "actor", "reason", "observed", "digest")},
        "statement": changed.statement,
        "rule": str(changed.rule),
        "would_decide": decided.decision,
        "says": decided.says,
    }


def _best(state: ExperimentState, best: Point) -> dict[str, Any]:
    """Return the best point as JSON values: all that its trial measured, or the means over its repeats."""
    if len(best.trials) > 1:
        return best.described(state.spec.objectives)
    trial = best.trials[0]
    return {"trial": trial.number, "parameters": trial.parameters, "values": trial.values}
