"""How often each rule is wrong, by simulation with a fixed seed.

`RUNS` experiments are decided on data for which the claim is just not true. A rate that is really 5 % is seen as more
than `MOST` with a probability below 1 in 1000 (binomial); one that is really 10 % is nearly always seen as more.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genesis_workbench.experiments.rules import (
    Betting,
    Equivalence,
    Mean,
    Observed,
    Posterior,
    Sequential,
    Superiority,
)
from genesis_workbench.experiments.rules.posterior import Prior

RUNS = 1000
MOST = int(stats.binom.ppf(0.999, RUNS, 0.05))
LEAST = int(stats.binom.ppf(0.001, RUNS, 0.05))


def seen(values, arm="main"):
    return [Observed(value, arm) for value in values.tolist()]


def count(rule, draw, runs=RUNS, seed=7):
    rng = np.random.default_rng(seed)
    decisions = [rule.verdict(draw(rng)).decision for _ in range(runs)]
    return {what: decisions.count(what) for what in ("supported", "not supported", "undecided")}


def test_the_tolerance_would_catch_twice_the_rate():
    assert stats.binom.sf(MOST, RUNS, 0.10) > 0.97


@pytest.mark.parametrize(
    ("rule", "draw"),
    [
        (Mean(metric="y", at_least=2), lambda rng: seen(rng.normal(2, 3, 6))),
        (
            Superiority(metric="y", margin=0.5),
            lambda rng: seen(rng.normal(1.5, 3, 8)) + seen(rng.normal(1, 1, 12), "control"),
        ),
        (
            Equivalence(metric="y", margin=1, control="control"),
            lambda rng: seen(rng.normal(1, 1, 25)) + seen(rng.normal(0, 0.5, 25), "control"),
        ),
    ],
    ids=["mean", "superiority", "equivalence"],
)
def test_at_its_boundary_a_rule_is_wrong_as_often_as_it_says(rule, draw):
    found = count(rule, draw)
    assert LEAST <= found["supported"] <= MOST
    if rule.type != "equivalence":  # on its boundary the other answer is wrong as well, and as rare
        assert LEAST <= found["not supported"] <= MOST


def test_the_bootstrap_keeps_its_rate_on_skewed_outcomes_where_students_test_does_not():
    """Twenty exponential outcomes: 'the mean is above' is rare, 'the mean is below' is where t is far too bold."""

    def draw(rng):
        return seen(rng.exponential(1, 20))

    boot = count(Mean(metric="y", at_least=1, method="bootstrap"), draw, runs=300)
    student = count(Mean(metric="y", at_least=1), draw, runs=300)
    allowed = stats.binom.ppf(0.999, 300, 0.075)  # it is exact only for many observations
    assert boot["supported"] <= allowed
    assert boot["not supported"] <= allowed
    assert student["not supported"] > stats.binom.ppf(0.999, 300, 0.05)


def test_looking_after_every_observation_leaves_the_sequential_rule_honest_and_not_students_test():
    rng = np.random.default_rng(11)
    sequential, student = Sequential(metric="y", at_least=1, effect=0.5), Mean(metric="y", at_least=1)
    runs = [seen(rng.normal(1, 2, 80)) for _ in range(RUNS)]
    wrong = sum(
        sequential.verdict(run).final for run in runs
    )  # it stops at its first crossing: every look is in it
    assert wrong <= MOST
    peeked = sum(
        any(student.verdict(run[:n]).decision == "supported" for n in range(5, 81, 5)) for run in runs[:200]
    )
    assert peeked > 2 * 0.05 * 200


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: (rng.random(120) < 0.3) * 1.0,  # works, or does not
        lambda rng: rng.beta(0.3, 0.7, 120),  # near 0 or near 1
        lambda rng: rng.beta(30, 70, 120),  # about normal, far from both ends
    ],
    ids=["yes or no", "at the ends", "about normal"],
)
def test_whatever_the_distribution_betting_is_wrong_no_more_often_than_it_says(draw):
    rng = np.random.default_rng(5)
    rule = Betting(metric="y", at_least=0.3, lowest=0, highest=1)
    decisions = [rule.verdict(seen(draw(rng))).decision for _ in range(RUNS)]
    assert decisions.count("supported") <= MOST
    assert decisions.count("not supported") <= MOST


def test_where_outcomes_lie_at_the_ends_of_a_range_the_test_for_normal_ones_is_wrong_too_often():
    """What :class:`Betting` is there for: the figure that docs/how-to/state-a-hypothesis.md speaks of."""
    rule = Sequential(metric="y", at_least=0.3)
    found = count(rule, lambda rng: seen(rng.beta(0.3, 0.7, 200)))
    assert found["supported"] + found["not supported"] > stats.binom.ppf(0.999, RUNS, 0.07)


def test_the_rules_find_what_is_there():
    def clear(rng):
        return seen(rng.normal(2, 1, 40))

    prior = Prior(mean=0, observations=0.1, shape=1, scale=1)
    for rule in (
        Mean(metric="y", at_least=1),
        Mean(metric="y", at_least=1, method="bootstrap"),
        Sequential(metric="y", at_least=1),
        Betting(metric="y", at_least=1, lowest=-4, highest=8),
        Posterior(metric="y", at_least=1, prior=prior),
        Equivalence(metric="y", margin=1, reference=2),
    ):
        assert count(rule, clear, runs=40)["supported"] >= 38


def test_the_posterior_is_calibrated_under_its_own_prior():
    """Means drawn from the prior: of the claims that get at least 90 %, at least about 90 % are true."""
    rng = np.random.default_rng(2)
    prior = Prior(mean=0, observations=1, shape=3, scale=2)
    rule = Posterior(metric="y", at_least=0.2, prior=prior, probability=0.9)
    right = wrong = 0
    for _ in range(1500):
        variance = prior.scale / rng.gamma(prior.shape)
        mean = rng.normal(prior.mean, np.sqrt(variance / prior.observations))
        verdict = rule.verdict(seen(rng.normal(mean, np.sqrt(variance), 5)))
        if verdict.decision == "supported":
            right, wrong = right + (mean >= 0.2), wrong + (mean < 0.2)
    assert right + wrong > 300
    assert wrong <= stats.binom.ppf(0.999, right + wrong, 0.1)
