"""The launcher without a browser: what it keeps, what it launches once, what a page may ask of it."""

from __future__ import annotations

import pytest

import genesis_workbench as gw
from genesis_workbench.core.errors import Unavailable
from genesis_workbench.experiments import notebook
from genesis_workbench.widgets import progress
from genesis_workbench.widgets._script import script
from genesis_workbench.widgets.experiment_launcher import ExperimentLauncher
from unit.experiments.bench import until


def square(x):
    """What a trial computes."""
    return 1 - (x - 0.4) ** 2


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    monkeypatch.setattr(notebook, "_local_ledger", _one_ledger(tmp_path))
    made = []

    def make(*given, **more):
        made.append(ExperimentLauncher(*given, functions=[square], **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def _one_ledger(folder):
    from functools import cache

    from genesis_workbench.core.ledger import Ledger
    from genesis_workbench.core.state import State

    return cache(lambda: Ledger.open(State(folder).ledger_url()))


def say(widget, command, **more):
    """What the page sends."""
    widget._command(widget, {"command": command, **more}, [])


def draft(**changes):
    rule = {"type": "threshold", "metric": "y", "at_least": 0.9}
    return {
        "title": "A parabola",
        "hypothesis": {"statement": "Some x gives 0.9.", "rule": rule},
        "space": [{"type": "real", "name": "x", "low": 0, "high": 1}],
        "objective": {"name": "y"},
        "budget": {"trials": 6},
        "proposer": "sobol",
        "executor": "function",
        "executor_arguments": {"function": f"{__name__}:square", "outcomes": {"y": ""}},
        **changes,
    }


def test_what_was_typed_is_checked_and_there_tomorrow(launcher):
    today = launcher()
    assert {fault["where"] for fault in today.checked["faults"]} >= {"title", "space.0.name"}
    say(today, "draft", draft=draft(title=""), turn=7)
    until(lambda: today.checked.get("turn") == 7)
    assert [fault["where"] for fault in today.checked["faults"]] == ["title"]
    tomorrow = launcher()
    assert tomorrow.draft["space"][0]["name"] == "x"
    assert tomorrow.view == "describe"


def test_what_was_typed_is_there_after_a_look_at_the_list(launcher):
    widget = launcher()
    say(widget, "draft", draft=draft(title="Half a thought"))
    say(widget, "list")
    say(widget, "describe")
    assert (widget.view, widget.draft["title"]) == ("describe", "Half a thought")
    # After a launch too: the form holds what was launched, to be changed and launched again.
    say(widget, "draft", draft=draft(title="A whole one"))
    say(widget, "launch")
    say(widget, "describe")
    assert widget.draft["title"] == "A whole one"


def test_to_start_over_empties_the_form_that_the_page_shows(launcher):
    widget, shown = launcher(), []
    widget.observe(lambda change: shown.append(change["new"]["title"]), "draft")
    say(widget, "draft", draft=draft(title="Away with it"))
    say(widget, "clear")
    assert shown[-1] == ""
    assert launcher().draft["title"] == ""


def test_a_page_knows_whether_something_typed_would_be_lost(launcher):
    widget = launcher()
    assert not widget.unsaved
    say(widget, "draft", draft=draft())
    assert widget.unsaved
    assert launcher().unsaved
    say(widget, "launch")
    assert not widget.unsaved
    say(widget, "fork")
    assert not widget.unsaved
    say(widget, "draft", draft={**widget.draft, "title": "A changed one"})
    assert widget.unsaved
    say(widget, "clear")
    assert not widget.unsaved


def test_a_launch_is_watched_to_its_finding_and_found_again(launcher):
    widget = launcher()
    say(widget, "draft", draft=draft())
    say(widget, "launch")
    assert (widget.message, widget.view) == ("", "watch")
    until(lambda: widget.summary.get("finding"))
    assert widget.summary["finding"]["decision"] == "supported"
    until(lambda: len(widget.trials) == 6 and widget.slices)
    assert widget.trials[0]["values"]["y"] == pytest.approx(square(widget.trials[0]["parameters"]["x"]))
    assert widget.slices[0]["parameter"] == "x"
    again = launcher()
    assert again.view == "watch"
    until(lambda: again.summary.get("id") == widget.summary["id"])
    say(again, "list")
    assert [each["title"] for each in again.mine] == ["A parabola"]
    # A changed one begins with its description and says where it comes from.
    say(again, "fork")
    assert again.view == "describe"
    assert again.draft["origin"]["experiment"] == widget.summary["id"]


def test_one_description_is_launched_once_however_often_it_is_sent(launcher):
    widget, other = launcher(), launcher()
    for each in (widget, other):
        each._draft.key = "the-same-key"
        say(each, "draft", draft=draft())
        say(each, "launch")
    assert widget._shown == other._shown
    assert len(launcher().mine) == 1


def test_two_views_of_one_draft_launch_what_each_of_them_shows(launcher):
    first, second = launcher(), launcher()
    say(first, "draft", draft=draft(title="One"))
    say(first, "launch")
    say(second, "draft", draft=draft(title="Another"))
    say(second, "launch")
    assert (second.message, second.view) == ("", "watch")
    assert sorted(each["title"] for each in launcher().mine) == ["Another", "One"]


def test_each_notebook_has_a_draft_of_its_own(launcher, monkeypatch):
    say(launcher(), "draft", draft=draft(title="Of no notebook"))
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/alice/lamps.ipynb")
    lamps = launcher()
    assert "title" not in lamps.draft or lamps.draft["title"] == ""
    say(lamps, "draft", draft=draft(title="Lamps"))
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/alice/cells.ipynb")
    assert launcher().draft["title"] == ""
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/alice/lamps.ipynb")
    assert launcher().draft["title"] == "Lamps"


def test_a_cell_with_a_description_comes_back_as_it_was_left(launcher):
    def described(title):
        return gw.Experiment(
            title=title,
            hypothesis=gw.Hypothesis(
                statement="Some x gives 0.9.", rule=gw.Threshold(metric="y", at_least=0.9)
            ),
            space=[gw.Real("x", 0, 1)],
            objective=gw.Objective("y"),
            executor=square,
            budget=gw.Budget(trials=6),
        )

    today = launcher(described("A parabola"))
    assert (today.view, today.draft["title"]) == ("describe", "A parabola")
    say(today, "draft", draft={**today.draft, "title": "A better name"})
    assert launcher(described("A parabola")).draft["title"] == "A better name"
    say(today, "launch")
    assert today.message == ""
    tomorrow = launcher(described("A parabola"))
    assert tomorrow.view == "watch"
    until(lambda: tomorrow.summary.get("title") == "A better name")
    # Another description in the cell begins anew.
    other = launcher(described("A hyperbola"))
    assert (other.view, other.draft["title"]) == ("describe", "A hyperbola")


class Lab:
    """A laboratory as the notebook sees it, silent where it has no state."""

    def __init__(self, name, procedures, state=None):
        self.name, self.procedures, self._state = name, procedures, state

    def state(self):
        if self._state is None:
            raise Unavailable(f"The laboratory {self.name} does not answer.")
        return {"name": self.name, "title": self.name, "devices": [], "queue": [], **self._state}


def test_the_stop_of_the_laboratory_in_use_is_seen_whatever_another_does(launcher, monkeypatch):
    from genesis_workbench.widgets import _watch

    widget = launcher()
    stop = {"who": "carol", "why": "smoke", "since": "2026-01-31T08:00:00.000000Z"}
    labs = [Lab("attic", ["perovskite_film"]), Lab("cellar", ["function"], {"stop": stop})]
    monkeypatch.setattr(_watch, "laboratories", lambda: labs)
    say(widget, "draft", draft=draft())
    say(widget, "launch")
    until(lambda: widget.laboratories)
    assert [(each["title"], each["stop"]["who"]) for each in widget.laboratories] == [("cellar", "carol")]
    labs[1] = Lab("cellar", ["function"])
    widget._watches[widget._shown].close()
    silent = launcher()
    until(lambda: silent.laboratories)
    assert silent.laboratories[0]["trouble"] == "The laboratory cellar does not answer."


def test_a_page_cannot_launch_what_is_wrong(launcher):
    widget = launcher()
    say(widget, "draft", draft=draft(budget={"trials": 0}))
    say(widget, "launch")
    assert "budget.trials" in widget.message
    assert widget.mine == []


def test_a_page_of_one_experiment_has_no_form(launcher):
    widget = launcher()
    say(widget, "draft", draft=draft(approval={"policy": "each"}))
    say(widget, "launch")
    shown = progress(widget.run)
    try:
        until(lambda: shown.pending)
        say(shown, "launch")
        say(shown, "open", experiment="exp-other")
        assert shown.message == ""
        say(shown, "refuse", trial=1, reason="")
        assert "reason" in shown.message
        say(shown, "approve", trial="one")
        assert "no number of a trial" in shown.message
        say(shown, "approve", trial=1, digest=shown.pending[0]["digest"])
        until(lambda: any(row["state"] == "observed" for row in shown.trials))
        say(shown, "stop", reason="enough")
        until(lambda: shown.summary["state"] == "ended")
        assert "enough" in shown.summary["reason"]
    finally:
        shown.close()


def test_a_draft_that_a_full_disk_cut_off_begins_anew(launcher, tmp_path):
    (tmp_path / "drafts").mkdir()
    (tmp_path / "drafts/experiment.json").write_text('{"fields": {"ti')
    assert launcher().draft["title"] == ""


def test_a_script_holds_each_file_once_and_nothing_to_import():
    code = script("experiment_launcher.js")
    assert code.count("function node(") == 1
    assert "import {" not in code
    assert code.rstrip().endswith("export default inNotebook(render);")
