"""E. coli's core metabolism grows and ferments as it is known to, by hand and as a job; what is not covered is refused."""

from __future__ import annotations

import time
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors.cobra import CultureSimulator

needs_cobra = pytest.mark.skipif(
    find_spec("cobra") is None, reason='COBRApy is not installed: pip install "genesis-workbench[cobra]"'
)


def grown(glucose, oxygen, *without, **arguments):
    parameters = {"glucose_uptake": glucose, "oxygen_uptake": oxygen, **dict.fromkeys(without, 1)}
    return CultureSimulator.simulate(parameters, arguments)


@needs_cobra
@pytest.mark.parametrize(
    ("glucose", "oxygen", "growth"),
    [
        # Orth, Fleming and Palsson (2010), EcoSal Plus 4.
        (10, 60, 0.8739),
        (10, 0, 0.2117),
        # Orth, Thiele and Palsson (2010), Nature Biotechnology 28, 245: 1.65 and 0.47 per hour.
        (18.5, 60, 1.65),
        (18.5, 0, 0.47),
    ],
)
def test_cells_grow_as_in_the_papers(glucose, oxygen, growth):
    assert grown(glucose, oxygen)["growth_rate"] == pytest.approx(growth, rel=0.002)


@needs_cobra
def test_without_oxygen_cells_ferment_to_a_mixture_of_acids():
    # Orth, Fleming and Palsson (2010): formate, acetate and ethanol, about 2:1:1, and no lactate.
    ferments = {
        product: grown(10, 0, product=product, near_optimal=1)["least_secretion"]
        for product in ("formate", "acetate", "ethanol", "lactate")
    }
    expected = {"formate": 17.80, "acetate": 8.50, "ethanol": 8.28, "lactate": 0}
    assert ferments == pytest.approx(expected, abs=0.01)


@needs_cobra
def test_knock_outs_couple_lactate_to_growth():
    # Fong et al. (2005), Biotechnology and Bioengineering 91, 643: designed so, made, and seen to evolve so.
    coupled = grown(10, 0, "no_pta", "no_adh", product="lactate")
    assert coupled["growth_rate"] > 0.1
    assert (
        15 < coupled["least_secretion"] <= coupled["most_secretion"] < 20
    )  # two for a glucose, less what is grown
    assert coupled["least_yield"] == pytest.approx(coupled["least_secretion"] / 10)


@needs_cobra
def test_a_culture_runs_as_a_job(tmp_path):
    executor = CultureSimulator(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
    # So little glucose without oxygen does not even keep the cells alive.
    executor.submit("trial", {"oxygen_uptake": 0.0}, {"glucose_uptake": 1.0, "product": "ethanol"})
    deadline = time.monotonic() + 250
    while (found := executor.observe("trial")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for watcher in local._watchers:
        watcher.wait(timeout=30)
    assert found.values == {name: (0.0, unit, None) for name, unit in executor.outcomes.items()}


@pytest.mark.parametrize(
    ("glucose", "oxygen", "knock_outs", "words"),
    [
        (100, 0, {}, "1 to 20 mmol/g/h of glucose and 0 to 60 of oxygen, not 100 and 0"),
        (10, -1, {}, "not 10 and -1"),
        (10, 0, {"no_pfl": 0.5}, "no_pfl is 0.5"),
    ],
)
def test_what_is_not_covered_is_refused(glucose, oxygen, knock_outs, words):
    with pytest.raises(InvalidInput, match=words):
        CultureSimulator.simulate({"glucose_uptake": glucose, "oxygen_uptake": oxygen, **knock_outs}, {})


def test_a_knock_out_may_be_left_out_or_held(tmp_path):
    executor = CultureSimulator(SimpleNamespace(scheduler=LocalScheduler(tmp_path)))
    assert set(executor.parameters) - executor.signature({}).optional == {"glucose_uptake", "oxygen_uptake"}
    held = {"no_ldh": 1, "product": "ethanol"}
    executor.check(held)
    assert "no_ldh" not in executor.signature(held).parameters
    with pytest.raises(InvalidInput, match="product"):
        executor.check({"product": "gold"})
