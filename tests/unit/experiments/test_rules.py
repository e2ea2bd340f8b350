"""Each rule agrees with what scipy and statsmodels say of the same numbers, and says nothing where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.rules import (
    Betting,
    Equivalence,
    Mean,
    Observed,
    Posterior,
    Sequential,
    Superiority,
    Threshold,
    observations,
    source_digest,
)
from genesis_workbench.experiments.rules.posterior import Prior, updated
from genesis_workbench.experiments.rules.sequential import log_mixture_ratio
from genesis_workbench.experiments.trial import Trial

A = [5.1, 4.9, 5.6, 5.3, 5.0, 5.8, 5.2]
B = [4.7, 4.8, 5.1, 4.6, 5.0]
LONG = np.random.default_rng(3).exponential(size=60).tolist()


def observed(main, control=()):
    return [Observed(x, "main", i) for i, x in enumerate(main, 1)] + [Observed(x, "control") for x in control]


@pytest.mark.parametrize(
    ("bound", "decision"), [(4.9, "supported"), (5.2, "undecided"), (5.6, "not supported")]
)
def test_the_mean_is_students_one_sided_test(bound, decision):
    from scipy import stats

    verdict = Mean(metric="y", at_least=bound).verdict(observed(A))
    assert verdict.decision == decision
    assert verdict.evidence["p_above"] == pytest.approx(
        stats.ttest_1samp(A, bound, alternative="greater").pvalue
    )
    assert verdict.evidence["p_below"] == pytest.approx(
        stats.ttest_1samp(A, bound, alternative="less").pvalue
    )
    interval = stats.ttest_1samp(A, bound).confidence_interval(0.9)
    assert (verdict.evidence["lower"], verdict.evidence["upper"]) == pytest.approx(interval)


@given(st.floats(4, 7))
def test_a_bound_from_above_mirrors_one_from_below(bound):
    below = Mean(metric="y", at_most=bound).verdict(observed(A))
    mirrored = Mean(metric="y", at_least=-bound).verdict(observed([-x for x in A]))
    assert below.decision == mirrored.decision
    assert below.evidence["estimate"] == pytest.approx(-mirrored.evidence["estimate"])
    assert below.evidence["lower"] == pytest.approx(-mirrored.evidence["upper"])
    assert below.evidence["p_below"] == pytest.approx(mirrored.evidence["p_above"])


def test_the_bootstrap_is_near_scipys_on_skewed_outcomes():
    from scipy import stats

    verdict = Mean(metric="y", at_least=0.5, method="bootstrap").verdict(observed(LONG))
    theirs = stats.bootstrap(
        (LONG,), np.mean, confidence_level=0.9, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert verdict.decision == "supported"
    error = verdict.evidence["standard_error"]
    assert verdict.evidence["lower"] == pytest.approx(theirs.low, abs=0.3 * error)
    assert verdict.evidence["upper"] == pytest.approx(theirs.high, abs=0.5 * error)
    assert verdict == Mean(metric="y", at_least=0.5, method="bootstrap").verdict(observed(LONG))
    assert Mean(metric="y", at_least=0, method="bootstrap").verdict(observed(A)).decision == "undecided"


def test_superiority_is_welchs_test():
    from scipy import stats

    for margin in (0.0, 0.2):
        verdict = Superiority(metric="y", margin=margin).verdict(observed(A, B))
        theirs = stats.ttest_ind(A, np.array(B) + margin, equal_var=False, alternative="greater")
        assert verdict.evidence["p_above"] == pytest.approx(theirs.pvalue)
        assert verdict.evidence["degrees_of_freedom"] == pytest.approx(theirs.df)
        assert verdict.decision == ("supported" if theirs.pvalue <= 0.05 else "undecided")
    assert Superiority(metric="y", maximize=False).verdict(observed(A, B)).decision == "not supported"
    assert Superiority(metric="y", maximize=False).verdict(observed(B, A)).decision == "supported"


def test_equivalence_is_two_one_sided_tests():
    from statsmodels.stats.weightstats import DescrStatsW, ttost_ind

    p, _, _ = ttost_ind(np.array(A), np.array(B), -0.8, 0.8, usevar="unequal")
    verdict = Equivalence(metric="y", margin=0.8, control="control").verdict(observed(A, B))
    assert verdict.evidence["p"] == pytest.approx(p)
    assert verdict.decision == ("supported" if p <= 0.05 else "undecided")
    p = DescrStatsW(np.array(A)).ttost_mean(4.9, 5.7)[0]
    verdict = Equivalence(metric="y", margin=0.4, reference=5.3).verdict(observed(A))
    assert verdict.evidence["p"] == pytest.approx(p)
    assert verdict.decision == "supported"
    far = Equivalence(metric="y", margin=0.1, reference=9.0).verdict(observed(A))
    assert far.decision == "not supported"


def test_the_mixture_ratio_is_the_integral_that_it_stands_for():
    """The noncentral t density averaged over N(0, effect²) by quadrature, over the central one (scipy)."""
    from scipy import integrate, stats

    n, mean, effect = 9, 0.6, 0.7
    values = np.random.default_rng(5).normal(size=n)
    values = values - values.mean() + mean
    squares = float(((values - mean) ** 2).sum())
    t = math.sqrt(n) * mean / math.sqrt(squares / (n - 1))
    above, _ = integrate.quad(
        lambda d: stats.nct.pdf(t, n - 1, d * math.sqrt(n)) * stats.norm.pdf(d, scale=effect),
        -6,
        6,
        limit=200,
    )
    assert log_mixture_ratio(n, mean, squares, effect) == pytest.approx(
        math.log(above / stats.t.pdf(t, n - 1)), abs=1e-5
    )


def test_a_sequential_verdict_stays_whatever_comes_after():
    rng = np.random.default_rng(1)
    rule = Sequential(metric="y", at_least=0)
    values = rng.normal(1, 1, 60).tolist()
    verdicts = [rule.verdict(observed(values[:n])) for n in range(61)]
    first = next(n for n, verdict in enumerate(verdicts) if verdict.final)
    assert verdicts[first].decision == "supported"
    assert all(each.evidence["n"] == first for each in verdicts[first:])
    assert rule.verdict(observed(values[:first] + [-50.0] * 20)).decision == "supported"
    assert Sequential(metric="y", at_most=0).verdict(observed(values)).decision == "not supported"


def test_betting_is_the_product_of_what_each_bet_gains_over_all_sizes_of_bets():
    values, bound = [20.0, 90.0, 35.0], 30.0
    rule = Betting(metric="y", unit="percent", at_least=bound, lowest=0, highest=100)
    sizes = (np.arange(32) + 0.5) / 32
    over = np.mean([np.prod([1 + size * (x - bound) / bound for x in values]) for size in sizes])
    under = np.mean([np.prod([1 - size * (x - bound) / (100 - bound) for x in values]) for size in sizes])
    verdict = rule.verdict(observed(values))
    assert math.exp(verdict.evidence["log_wealth"]) == pytest.approx(over)
    assert math.exp(verdict.evidence["log_wealth_against"]) == pytest.approx(under)
    turned = Betting(metric="y", at_most=-bound, lowest=-100, highest=0).verdict(
        observed([-x for x in values])
    )
    assert turned.evidence["log_wealth"] == pytest.approx(verdict.evidence["log_wealth"])
    # Another unit is another number for the same claim, and the same wealth.
    parts = Betting(metric="y", at_least=0.3, lowest=0, highest=1).verdict(
        observed([x / 100 for x in values])
    )
    assert parts.evidence["log_wealth"] == pytest.approx(verdict.evidence["log_wealth"])


def test_a_verdict_by_betting_stays_whatever_comes_after():
    rule = Betting(metric="y", at_least=0.3, lowest=0, highest=1)
    values = np.random.default_rng(1).beta(6, 4, 60).tolist()
    verdicts = [rule.verdict(observed(values[:n])) for n in range(61)]
    first = next(n for n, verdict in enumerate(verdicts) if verdict.final)
    assert verdicts[first].decision == "supported"
    assert all(each.evidence["n"] == first for each in verdicts[first:])
    assert rule.verdict(observed(values[:first] + [0.0] * 40 + [7.0])).decision == "supported"
    other = Betting(metric="y", at_most=0.3, lowest=0, highest=1).verdict(observed(values))
    assert (other.decision, other.final) == ("not supported", True)


def test_an_outcome_that_was_taken_for_impossible_lets_betting_decide_nothing():
    rule = Betting(metric="y", unit="percent", at_least=30, lowest=0, highest=100)
    verdict = rule.verdict(observed([80.0, 104.0, *[90.0] * 60]))
    assert (verdict.decision, verdict.final) == ("undecided", False)
    assert "Trial 2 measured 104 percent" in verdict.says
    assert "0 to 100 percent" in verdict.says
    rounded = rule.verdict(
        observed([100.00000000000001] * 60)
    )  # a unit's conversion may leave the last digit
    assert rounded.decision == "supported"


def test_the_posterior_is_what_adding_one_observation_after_the_other_gives():
    from scipy import stats

    prior = Prior(mean=5, observations=2, shape=3, scale=0.5)
    mean, freedom, scale = updated(prior, A)
    moved = prior
    for value in A:  # Murphy (2007), one at a time
        k = moved.observations
        moved = Prior(
            mean=(k * moved.mean + value) / (k + 1),
            observations=k + 1,
            shape=moved.shape + 0.5,
            scale=moved.scale + k * (value - moved.mean) ** 2 / (2 * (k + 1)),
        )
    assert mean == pytest.approx(moved.mean)
    assert freedom == pytest.approx(2 * moved.shape)
    assert scale == pytest.approx(math.sqrt(moved.scale / (moved.shape * moved.observations)))
    verdict = Posterior(metric="y", at_least=5.1, prior=prior, probability=0.9).verdict(observed(A))
    assert verdict.evidence["probability"] == pytest.approx(stats.t.sf(5.1, freedom, mean, scale))
    flat = Posterior(metric="y", at_least=4.9, prior=Prior(mean=0, observations=1e-9, shape=1e-9, scale=1e-9))
    near = stats.t.sf((4.9 - np.mean(A)) / math.sqrt(np.var(A) / 7), 7)  # the prior's shape adds no freedom
    assert flat.verdict(observed(A)).evidence["probability"] == pytest.approx(near, rel=1e-4)
    assert flat.verdict([]).decision == "undecided"


@pytest.mark.parametrize(
    "rule",
    [
        Mean(metric="y", at_least=1),
        Mean(metric="y", at_least=1, method="bootstrap"),
        Superiority(metric="y"),
        Equivalence(metric="y", margin=1, control="control"),
        Sequential(metric="y", at_least=1),
        Betting(metric="y", at_least=1, lowest=-9, highest=9),
    ],
)
@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([2.0], [1.0]), ([2.0] * 9, [1.0] * 9)])
def test_too_little_or_no_spread_decides_nothing(rule, ours, theirs):
    verdict = rule.verdict(observed(ours, theirs))
    assert verdict.decision == "undecided"
    assert not verdict.final
    assert verdict.says.endswith(".")


def test_repeats_are_one_observation_and_come_when_the_last_of_them_has_ended():
    def trial(number, point, y, settled, arm="main", state="observed"):
        values = {"y": {"value": y, "unit": "mm"}} if state == "observed" else {}
        return Trial(
            number, {}, "", "", "", state=state, values=values, point=point, arm=arm, settled=settled
        )

    trials = [
        trial(1, 1, 1000, 9),
        trial(2, 1, 3000, 20),
        trial(3, 2, 5000, 10),
        trial(4, 2, 0, 11, state="failed"),
        trial(5, 3, 7000, 12),
        trial(6, 3, 0, 0, state="started"),
        trial(7, 4, 9000, 15, arm="other"),
    ]
    rule = Mean(metric="y", at_least=1, unit="m")
    assert [(each.value, each.trial) for each in observations(rule, trials, 2)] == [(5.0, 3), (2.0, 1)]
    each = observations(Mean(metric="y", at_least=1, unit="m", by="trial"), trials, 2)
    assert [one.value for one in each] == [1.0, 5.0, 7.0, 3.0]
    assert len(observations(Threshold(metric="y", at_least=1, unit="m"), trials, 2)) == 4


def test_the_digest_of_a_rules_source_is_its_own():
    rules = [
        Mean(metric="y", at_least=1),
        Sequential(metric="y", at_least=1),
        Threshold(metric="y", at_least=1),
    ]
    assert len({source_digest(rule) for rule in rules}) == 3
    assert source_digest(rules[0]) == source_digest(Mean(metric="z", at_most=3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mean(metric="y"),
        lambda: Mean(metric="y", at_least=1, confidence=0.4),
        lambda: Equivalence(metric="y", margin=1),
        lambda: Equivalence(metric="y", margin=0, reference=1),
        lambda: Superiority(metric="y", margin=-1),
        lambda: Posterior(
            metric="y", at_least=1, prior={"mean": 0, "observations": 0, "shape": 1, "scale": 1}
        ),
        lambda: Sequential(metric="y", at_least=1, effect=0),
        lambda: Betting(metric="y", at_least=1, lowest=1, highest=2),
        lambda: Betting(metric="y", at_most=3, lowest=1, highest=2),
        lambda: Betting(metric="y", at_least=1, lowest=0),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(make):
    with pytest.raises(InvalidInput, match=r"^\w+ cannot be made so: [^\n]+\.$"):
        make()
