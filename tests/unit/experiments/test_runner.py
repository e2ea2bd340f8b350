"""One runner advances many experiments together, and none of them harms another."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from genesis_services.runner import Runner
from genesis_workbench.core.errors import Unavailable
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import Budget, store
from genesis_workbench.experiments.executors._base import Signature
from genesis_workbench.experiments.folding import Folds
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import ALICE, Bench, specification


@pytest.fixture
def world(ledger):
    executors = {"bench": Bench(), "other": Bench()}
    made = []

    def runner():
        made.append(Runner(SimpleNamespace(ledger=ledger, executors=executors)))
        return made[-1]

    mine = store.LedgerExperiments(ledger, ALICE, executors=executors)
    yield SimpleNamespace(ledger=ledger, executors=executors, mine=mine, runner=runner)
    for each in made:
        each.close()


def state(world, experiment):
    return fold(world.ledger.all(stream=stream(experiment)))


def until_ended(world, runner, ids, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while any(state(world, each).state != "ended" for each in ids):
        assert time.monotonic() < deadline
        runner.step()


def test_many_experiments_are_advanced_together_in_few_transactions(world, monkeypatch):
    ids = [world.mine.create(specification(budget=Budget(trials=4), seed=n)) for n in range(30)]
    runner, appends = world.runner(), []
    append = Ledger.append_many

    def counted(self, new, *, lease=None):
        appends.append(len(new))
        return append(self, new, lease=lease)

    monkeypatch.setattr(Ledger, "append_many", counted)
    until_ended(world, runner, ids)
    assert sum(appends) == 30 * (4 * 3 + 2)
    assert len(appends) < 20
    assert all(verify_in(world.ledger, each).ok for each in ids[:3])
    # Each is what it would have been alone.
    alone = [[t.parameters for t in state(world, each).trials] for each in ids]
    assert len({str(each) for each in alone}) == 30


def test_an_executor_that_breaks_harms_no_other_experiment(world):
    bad = world.mine.create(specification(executor="other"))
    good = world.mine.create(specification(budget=Budget(trials=3)))

    def broken(*_):
        raise RuntimeError("a bug in a plug-in")

    world.executors["other"].observe = broken
    runner = world.runner()
    until_ended(world, runner, [good])
    assert state(world, bad).state == "running"
    # Mended, it goes on where it was, and nothing has run twice.
    del world.executors["other"].observe
    runner._due[bad] = 0.0
    until_ended(world, runner, [bad])
    assert all(len(calls) == 1 for calls in world.executors["other"].ran.values())


def test_an_executor_that_hangs_holds_up_nobody_else(world, monkeypatch):
    monkeypatch.setattr("genesis_services.runner._TTL_S", 0.4)
    hanging, gate = (
        world.mine.create(specification(executor="other", budget=Budget(trials=3))),
        threading.Event(),
    )
    submit = world.executors["other"].submit

    def hang(*arguments):
        gate.wait(60)
        submit(*arguments)

    world.executors["other"].submit = hang
    runner = world.runner()
    monkeypatch.setattr("genesis_services.runner._TTL_S", 20.0)
    good = world.mine.create(specification(budget=Budget(trials=6)))
    until_ended(world, runner, [good])
    assert {trial.state for trial in state(world, hanging).trials} == {"proposed"}
    gate.set()
    until_ended(world, runner, [hanging])
    # What was submitted twice has one key: an executor runs it once.
    assert len(world.executors["other"].ran) == 3


def test_what_was_to_end_while_its_executor_hung_is_ended_when_it_answers_again(world, monkeypatch):
    monkeypatch.setattr("genesis_services.runner._TTL_S", 0.4)
    other, gate = world.executors["other"], threading.Event()
    other.slow = True
    experiment = world.mine.create(specification(executor="other", budget=Budget(trials=2)))
    runner = world.runner()
    monkeypatch.setattr("genesis_services.runner._TTL_S", 20.0)
    while len(other.ran) < 2:
        runner.step()
    other.observe = lambda _key: gate.wait(60) and None
    runner.step()
    world.mine.command(experiment, "stop", "enough")
    until_ended(world, runner, [experiment])
    assert other.canceled == []
    gate.set()
    deadline = time.monotonic() + 60
    while len(other.canceled) < 2:
        assert time.monotonic() < deadline
        runner.step()
    assert sorted(other.canceled) == sorted(other.ran)


class Asked(Bench):
    """An executor that says elsewhere what it takes and gives, and hangs there."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def signature(self, _arguments):
        assert self.gate.wait(60)
        return Signature(self.parameters, self.outcomes)


def test_an_executor_that_hangs_while_it_describes_itself_holds_up_nobody_else(world, monkeypatch):
    monkeypatch.setattr("genesis_services.runner._TTL_S", 0.4)
    world.executors["other"] = asked = Asked()
    hanging = world.mine.create(specification(executor="other", budget=Budget(trials=3)))
    asked.gate.clear()
    runner = world.runner()
    monkeypatch.setattr("genesis_services.runner._TTL_S", 20.0)
    good = world.mine.create(specification(budget=Budget(trials=6)))
    until_ended(world, runner, [good])
    assert {trial.state for trial in state(world, hanging).trials} == {"proposed"}
    asked.gate.set()
    until_ended(world, runner, [hanging])
    assert len(asked.ran) == 3


def test_a_persons_word_in_between_is_taken_up_and_loses_nothing(world):
    experiment = world.mine.create(specification(budget=Budget(trials=500), parallel=1))
    runner = world.runner()
    for step in range(12):
        runner.step()
        if step == 4:
            world.mine.command(experiment, "pause", "lunch")
        if step == 8:
            assert state(world, experiment).state == "paused"
            world.mine.command(experiment, "resume")
    world.mine.command(experiment, "stop", "enough")
    until_ended(world, runner, [experiment])
    assert verify_in(world.ledger, experiment).ok


def test_a_second_runner_waits_for_the_lease_and_takes_over_from_the_dead(world, monkeypatch):
    experiment = world.mine.create(specification(budget=Budget(trials=5)))
    world.executors["bench"].slow = True
    first, second = world.runner(), world.runner()
    second._me = "elsewhere:1"
    first.step()
    second.step()
    assert Leases(world.ledger.engine).holder(stream(experiment)) == first._me
    # A runner that starts on this machine and finds the leases of a dead one need not wait for them.
    monkeypatch.setattr("genesis_services.runner.psutil.pid_exists", lambda _number: False)
    third = world.runner()
    third._me = "elsewhere:2"
    world.executors["bench"].slow = False
    until_ended(world, third, [experiment])
    first.step()  # whoever was shut out writes nothing more
    assert verify_in(world.ledger, experiment).ok


def test_an_executor_that_is_away_is_waited_for(world):
    experiment = world.mine.create(specification(budget=Budget(trials=3)))
    submit = world.executors["bench"].submit

    def away(*_):
        raise Unavailable("no gateway")

    world.executors["bench"].submit = away
    runner = world.runner()
    for _ in range(3):
        runner.step()
    assert {trial.state for trial in state(world, experiment).trials} == {"proposed"}
    world.executors["bench"].submit = submit
    until_ended(world, runner, [experiment])


def test_a_snapshot_gives_the_state_that_all_events_give(world):
    folds = Folds(world.ledger, every=10)
    ids = [
        world.mine.create(
            specification(
                proposer=proposer,
                repeats=repeats,
                budget=Budget(trials=8, samples=50),
                cost={"samples": "1 + x"},
            )
        )
        for proposer, repeats in (("sobol", 1), ("gp", 2))
    ]
    runner = world.runner()
    while any(folds.load(each).version < 10 for each in ids):  # a snapshot is made somewhere on the way
        runner.step()
    until_ended(world, runner, ids)
    for each in ids:
        loaded, whole = folds.load(each), state(world, each)
        assert loaded == whole
        assert loaded.summary() == whole.summary()
        assert folds.load(each) == whole


def test_a_snapshot_that_fits_neither_code_nor_ledger_is_left_aside(world, monkeypatch):
    import sqlalchemy as sa

    from genesis_workbench.experiments import folding

    folds = Folds(world.ledger, every=5)
    experiment = world.mine.create(specification(budget=Budget(trials=4)))
    until_ended(world, world.runner(), [experiment])
    folds.load(experiment)
    table = folding._snapshots

    def damage(**values):
        with world.ledger.engine.begin() as connection:
            connection.execute(sa.update(table).values(**values))

    damage(state='{"nonsense": 1}', code="sha256:" + "0" * 64)
    assert folds.load(experiment) == state(world, experiment)
    folds.keep(state(world, experiment))
    damage(head="sha256:" + "1" * 64)
    assert folds.load(experiment) == state(world, experiment)
