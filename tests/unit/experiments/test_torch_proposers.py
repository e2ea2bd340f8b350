"""Ax and BayBE, after a Sobol design: they learn, and say what they cannot do. The contract asks them for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import MissingDependency
from genesis_workbench.experiments.constraints import Condition, Linear, Mixture
from genesis_workbench.experiments.outcomes import Limit
from genesis_workbench.experiments.parameters import Integer, Ordinal, Real
from genesis_workbench.experiments.proposers import _base
from genesis_workbench.experiments.spec import Objective
from genesis_workbench.experiments.state import Trial
from genesis_workbench.testing.proposers import specification

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.fixture(params=["ax", "baybe"])
def name(request):
    try:
        _base.check(request.param, specification(proposer=request.param))
    except MissingDependency as error:
        pytest.skip(str(error))
    return request.param


def design(spec, outcome, count=9):
    """Trials of a Sobol sequence: observed, but for one that failed and one under way."""
    trials = []
    for number, point in enumerate(_base.sobol_values(spec, 0, count), start=1):
        trial = Trial(number, point, "", str(number), "", "observed")
        trial.values = {key: {"value": value, "unit": ""} for key, value in outcome(point).items()}
        trials.append(trial)
    trials[3].state, trials[3].values = "failed", {}
    trials[-1].state, trials[-1].values = "started", {}
    return trials


def test_they_learn_two_objectives_and_compile_nothing(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr("botorch.acquisition.multi_objective.logei._load_attempted", False)
    spec = specification(
        space=(Real("a", 0, 1), Real("b", 0, 1)), proposer=name, further_objectives=(Objective("z"),)
    )
    trials = design(spec, lambda p: {"y": p["a"] - 3 * p["b"], "z": 1 - p["a"] ** 2 - 3 * p["b"]}, 12)
    points = plugins.load("proposers", name)().propose(spec, trials, 2)
    assert np.mean([point["b"] for point in points]) < 0.15  # both are best where b is 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("proposer", "changes", "words"),
    [
        ("ax", {"constraints": (Condition("a < b"),)}, "Use gp"),
        ("ax", {"space": (Real("a", 1, 9, log=True), Real("b", 0, 1)), "constraints": (Linear({"a": 1}, at_most=5),)}, "scale"),
        ("ax", {"proposer_arguments": {"method": "best"}}, "'fast', 'quality'"),
        ("baybe", {"outcome_constraints": (Limit(metric="h", at_most=1),)}, "Use gp or ax"),
        ("baybe", {"space": (Integer("a", 1, 20), Integer("b", 1, 20), Real("c", 0, 1))}, "400 are too many"),
        ("baybe", {"space": (Ordinal("a", [1, 2]), Real("b", 0, 1)), "constraints": (Linear({"a": 1}, at_most=1),)}, "'a'"),
    ],
)  # fmt: skip
def test_what_they_cannot_do_is_refused_with_what_would(proposer, changes, words):
    spec = specification(**{"space": (Real("a", 0, 1), Real("b", 0, 1)), "proposer": proposer, **changes})
    try:
        with pytest.raises(ValueError, match=words):
            _base.check(proposer, spec)
    except MissingDependency as error:
        pytest.skip(str(error))


def test_ax_keeps_a_mixture_and_a_limit_on_an_outcome():
    spec = specification(
        space=(Real("a", 0, 0.9), Real("b", 0, 1), Real("c", 0.05, 1)),
        constraints=(Mixture(["a", "b", "c"]),),
        outcome_constraints=(Limit(metric="h", at_most=0.4),),
        proposer="ax",
    )
    try:
        _base.check("ax", spec)
    except MissingDependency as error:
        pytest.skip(str(error))
    trials = design(spec, lambda p: {"y": p["a"], "h": p["a"]}, 12)
    [point] = plugins.load("proposers", "ax")().propose(spec, trials, 1)
    _base.domain(spec).check(point)
    assert 0.25 < point["a"] < 0.5  # as much as the limit leaves
