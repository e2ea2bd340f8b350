"""The decision on a hypothesis, from the observations alone: anybody can compute it again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.outcomes import Limit, Point
from genesis_workbench.experiments.rules import Observed, Threshold, Verdict, observations, source_digest
from genesis_workbench.experiments.spec import PERSON
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.trial import MAIN, Trial


def verdict(state: ExperimentState, hypothesis: Hypothesis | None = None) -> Verdict:
    """Apply a hypothesis's rule, the committed one's where none is given, to what was observed so far."""
    hypothesis = hypothesis or state.spec.hypothesis
    rule, limits = hypothesis.rule, state.spec.outcome_constraints
    seen = observations(rule, state.decisive, state.spec.repeats)
    if not isinstance(rule, Threshold):
        return rule.verdict(seen)
    if hypothesis.within_limits and limits:
        decided = _within(rule, seen, {trial.number for trial in state.decisive if _keeps(trial, limits)})
    else:
        decided = rule.verdict(seen)
    if decided.decision == "not supported" and not state.exhausted:
        says = f"{decided.says} Others may, {state.carried_out} of {state.spec.budget.trials} trials were carried out."
        return replace(decided, decision="undecided", says=says)
    return decided


def _within(rule: Threshold, seen: Sequence[Observed], kept: Container[int]) -> Verdict:
    """Return what a rule says where a trial that breaks a limit reaches nothing."""
    decided = rule.verdict(
        [each if each.trial in kept else replace(each, value=-rule.sign * math.inf) for each in seen]
    )
    broken = sum(each.trial not in kept and rule.reached(each.value, rule.unit) for each in seen)
    if not broken:
        return decided
    others = f"{broken} more would, but break{'s' if broken == 1 else ''} a limit on outcomes"
    return replace(decided, says=f"{decided.says} {others}, and do{'es' if broken == 1 else ''} not count.")


def _keeps(trial: Trial, limits: Sequence[Limit]) -> bool:
    return Point(trial.point, trial.parameters, (trial,)).keeps(limits)


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
        "caution": " ".join(filter(None, (early(state), _chosen(state)))),
        "deviations": [_deviation(state, change) for change in state.deviations],
        "simulated": state.simulated,
        "evidence": {
            "observed": sum(hypothesis.rule.metric in trial.values for trial in state.observed),
            "simulated": sum(
                trial.simulated for trial in state.observed if hypothesis.rule.metric in trial.values
            ),
            "failed": sum(trial.state == "failed" for trial in state.trials),
            "proposers": dict(Counter(trial.proposer for trial in state.decisive if trial.arm == MAIN)),
            "reaching": [],
            **decided.evidence,
            "best": best and _best(state, best),
            "front": [point.described(objectives) for point in state.front] if len(objectives) > 1 else [],
        },
    }


def early(state: ExperimentState) -> str:
    """Return what weakens the decision where a person ended the experiment before it was due; else the empty text."""
    planned, done = state.spec.budget.trials, state.carried_out
    if not state.stopping or state.spec.hypothesis.rule.anytime or done >= planned:
        return ""
    return (
        f"A person stopped it after {done} of {planned} trials. The rule is meant for one look at the end: "
        "stopped by somebody who has seen outcomes, it is wrong more often than its confidence says."
    )


def _chosen(state: ExperimentState) -> str:
    """Return what weakens a rule that takes points for its proposer's own: people chose some when they had seen outcomes."""
    rule, proposer = state.spec.hypothesis.rule, state.spec.proposer
    if isinstance(rule, Threshold) or proposer == PERSON:
        return ""
    counted = [trial for trial in state.decisive if trial.state == "observed" and trial.arm in rule.arms]
    points = {trial.point for trial in counted if trial.informed}
    if not points:
        return ""
    added = sum(trial.point in points for trial in counted)
    return (
        f"{added} of {len(counted)} trials are of points that people added when outcomes were there already. The rule takes "
        f"them for {proposer}'s: chosen by somebody who has seen outcomes, they can turn the decision."
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
