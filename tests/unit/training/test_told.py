"""What the service knows of people's runs: for their owners, while they may see the data; asked once, done once."""

from __future__ import annotations

import pytest

from genesis_workbench.core.access import Access, Label, Person
from genesis_workbench.core.errors import Conflict, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.training.report import Report
from genesis_workbench.training.told import RESUME, STOP, Line, ToldRuns

ALICE = Person("alice", frozenset({"plasma"}), frozenset({"custom:data:controlled"}))
BOB = Person("bob", frozenset({"plasma"}), frozenset({"custom:data:controlled"}))
SECRET = Access(Label.CONTROLLED, frozenset({"plasma"}))
RUN = "trn_1"


def look(data, parent, person):
    """The catalog and the zoo of these tests: what is called secret is for cleared members of a group."""
    if {"secret", "secret@1"} & {*data, parent} and not SECRET.permits(person):
        raise NotFound("There is no such dataset.")


@pytest.fixture
def runs(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ToldRuns(ledger, tmp_path / "told", look)
    ledger.close()


def active(**changes):
    told = {"run": RUN, "name": "tiny", "recipe": "tiny", "state": "active", "can_stop": True}
    return Report(**{**told, **changes})


def line(step, kind="step", **values):
    return Line(kind=kind, step=step, time="2026-01-01T00:00:00+00:00", **values)


@pytest.mark.parametrize("made_of", [{"data": ("open", "secret")}, {"parent": "secret@1"}])
def test_a_run_is_its_owners_alone_and_only_while_they_may_see_its_data(runs, made_of):
    runs.tell(active(**made_of), [line(1, loss=0.5)], 0, ALICE)
    assert [each["id"] for each in runs.all(ALICE)] == [RUN]
    left = Person("alice", frozenset(), ALICE.scopes)
    cleared = Person("alice", ALICE.groups)
    for other in (BOB, left, cleared, Person("", admin=True)):
        assert list(runs.all(other)) == []
        for act in (
            lambda who: runs.get(RUN, who),
            lambda who: runs.lines(RUN, who),
            lambda who: runs.ask(RUN, STOP, who),
            lambda who: runs.answer(RUN, 2, "", who),
            lambda who: runs.tell(active(name="mine"), [], 0, who),
        ):
            with pytest.raises(NotFound, match=r"no training run 'trn_1' of yours"):
                act(other)
    with pytest.raises(NotFound):
        runs.get("trn_2", ALICE)
    with pytest.raises(NotFound, match="no such dataset"):
        runs.tell(active(run="trn_2", **made_of), [], 0, Person("carol"))


def test_a_curve_comes_in_parts_each_line_once_and_redone_steps_count_once(runs):
    curve = [line(0, "start", samples=10), line(1, loss=3.0), line(2, loss=2.0)]
    assert runs.tell(active(), curve, 0, ALICE) == 3
    again = [*curve[1:], line(1, "start", samples=10), line(2, loss=1.5)]
    assert runs.tell(active(), again, 1, ALICE) == 5, "what was here already is not added again"
    assert [
        (each["step"], each.get("loss")) for each in runs.lines(RUN, ALICE) if each["kind"] == "step"
    ] == [
        (1, 3.0),
        (2, 1.5),
    ]
    with pytest.raises(Conflict, match=r"has 5 lines here, not 9"):
        runs.tell(active(), [line(9)], 9, ALICE)


def test_what_is_asked_waits_for_the_owners_server_and_is_answered_once(runs):
    runs.tell(active(), [], 0, ALICE)
    with pytest.raises(Conflict, match="is active"):
        runs.ask(RUN, RESUME, ALICE)
    waiting = runs.ask(RUN, STOP, ALICE)["asked"]
    assert [each["what"] for each in waiting] == ["stop"]
    with pytest.raises(Conflict, match="has not done it yet"):
        runs.ask(RUN, STOP, ALICE)
    assert runs.asked(ALICE) == waiting
    assert runs.asked(BOB) == []
    for _ in range(2):
        runs.answer(RUN, waiting[0]["id"], "", ALICE)
    assert runs.asked(ALICE) == []
    runs.tell(active(state="canceled", ended="told to end", can_stop=False, can_resume=True), [], 0, ALICE)
    with pytest.raises(Conflict, match="nothing to stop"):
        runs.ask(RUN, STOP, ALICE)
    asked = runs.ask(RUN, RESUME, ALICE, budget_node_hours=2.0)["asked"][0]
    assert (asked["what"], asked["budget_node_hours"], asked["attempt"]) == ("resume", 2.0, 1)
    runs.answer(RUN, asked["id"], "The queue is closed.", ALICE)
    assert runs.get(RUN, ALICE)["refused"] == "The queue is closed."


def test_the_ledger_keeps_changes_and_not_every_second(runs):
    for step in range(5):
        runs.tell(active(step=step), [line(step)], step, ALICE)
    runs.tell(active(state="completed", ended="finished", can_stop=False), [], 5, ALICE)
    events = runs._events(RUN)
    assert [each.kind for each in events] == ["training.told", "training.changed", "training.changed"]


def test_a_line_that_a_kill_cut_off_costs_itself_and_no_other(runs, tmp_path):
    curve = [line(0, "start", samples=10), *(line(step, loss=1.0) for step in range(1, 4))]
    assert runs.tell(active(), curve, 0, ALICE) == 4
    (file,) = (tmp_path / "told").glob("*.jsonl")
    with file.open("ab") as half:
        half.write(b'{"kind": "step", "st')
    assert runs.tell(active(), [line(4, loss=0.9)], 4, ALICE) == 5
    assert [each["step"] for each in runs.lines(RUN, ALICE)] == [0, 1, 2, 3, 4]
