"""The widget, the plot, the table and the dashboard show an experiment that has everything in it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import genesis_workbench as gw
from genesis_workbench.core.errors import Conflict
from genesis_workbench.dashboards import experiment_page
from genesis_workbench.dashboards.publishing import PARAMETERS_VARIABLE
from genesis_workbench.experiments import (
    Arm,
    Budget,
    Categorical,
    Hypothesis,
    Mean,
    Objective,
    Real,
    Run,
    When,
    loop,
)
from genesis_workbench.experiments.plot import convergence
from genesis_workbench.experiments.showing import Finding
from unit.experiments.bench import run, specification, until

DASHBOARD = Path(__file__).parents[3] / "notebooks" / "dashboards" / "experiment.py"


@pytest.fixture
def ended(ledger, experiments, bench):
    """Two objectives, a parameter that is not always there, an arm, a deviation, an early end, partial measurements."""
    bench.parameters, bench.optional = {"c": "", "x": "", "z": ""}, {"z"}
    bench.outcomes["w"] = "m"

    def measure(number, x):
        values = {"y": (x["x"], "degC", None), "w": (1 - x["x"], "m", None)}
        if number % 4 == 0:
            del values["y"]
        return values

    bench.measure = measure
    experiment = experiments.create(
        specification(
            title="<i>Lamps</i>",
            hypothesis=Hypothesis(statement="<b>s</b>", rule=Mean(metric="y", at_least=0.1, unit="degC")),
            space=(Categorical("c", ["a", "b"]), Real("x", 0, 1), Real("z", 0, 1, when=When("c", ["a"]))),
            further_objectives=(Objective("w", "m"),),
            arms=(Arm("control", every=3),),
            budget=Budget(trials=60),
        )
    )
    shown = Run(experiment, experiments)
    changed = Hypothesis(statement="t", rule=Mean(metric="w", at_least=0.1, unit="m"))
    shown.change_hypothesis(changed, "<script>alert(1)</script>")
    for _ in range(7):
        loop.advance(ledger, experiment, None, {"bench": bench})
    shown.stop("enough")
    run(ledger, experiment, bench)
    return shown


def test_the_widget_gets_json_with_the_first_objective_and_the_front(ended):
    widget = gw.progress(ended)
    until(lambda: widget.summary and widget.trials)
    json.dumps([widget.summary, widget.trials])
    assert widget.summary["front"]
    assert widget.summary["spec"]["objective"]["name"] == "y"
    shown = [trial for trial in widget.trials if trial["state"] == "observed"]
    assert {"y" in trial["values"] for trial in shown} == {True, False}
    slices = {each["parameter"]: each for each in until(lambda: widget.slices)}
    assert slices.keys() >= {"c", "x"}, "also where a parameter is not always there"
    widget.close()


def test_the_finding_names_caution_and_deviation_and_escapes_them(ended):
    page = Finding(ended.finding())._repr_html_()
    for words in (
        "Caution",
        "more often than its confidence",
        "Changed after 0 observations",
        "Pareto front",
        "It was stopped: enough",
    ):
        assert words in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_plot_and_the_table_leave_out_what_was_not_measured(ended, ledger, experiments, bench):
    table = ended.trials()
    assert {"c", "x", "z", "y", "w", "arm"} <= set(table.columns)
    assert table["z"].isna().any()
    assert "the first of 2 objectives" in str(convergence(ended.state()).opts.get("plot").kwargs)
    fresh = Run(experiments.create(ended.state().spec), experiments)
    with pytest.raises(Conflict, match="nothing to plot"):
        fresh.plot()


# bokeh 3.9 on pandas 3.1: gone with bokeh's next release.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index is deprecated")
def test_the_dashboard_shows_it_and_escapes_what_people_wrote(ended, monkeypatch):
    monkeypatch.setenv(PARAMETERS_VARIABLE, json.dumps({"experiment": ended.id}))
    monkeypatch.setattr(gw.experiments, "get", lambda _experiment: ended)
    runpy.run_path(str(DASHBOARD))
    facts = experiment_page.facts(ended.status()).object
    assert "first of 2 objectives" in facts
    assert "Changed after 0 observations" in facts
    assert "more often than its confidence" in facts
    assert "<script>" not in facts
    assert len(experiment_page.plots(ended)) == 3
