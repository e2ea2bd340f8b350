"""What is reserved and spent together never passes a limit: in one experiment, in a shared budget, among threads."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import Approval, Budget, Cost, Real, loop, store
from genesis_workbench.experiments.accounts import Accounts
from genesis_workbench.experiments.accounts import stream as account_stream
from genesis_workbench.experiments.auditing import account_faults
from genesis_workbench.experiments.budget import Spending
from genesis_workbench.experiments.executors._base import Failure, Observation
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import ALICE, BOB, CAROL, Bench, run, specification


def test_what_is_planned_is_reserved_and_the_limit_is_never_passed(ledger, experiments, bench):
    spec = specification(budget=Budget(trials=50, node_hours=2.0), cost={"node_hours": "0.3 + 0.4 * x"})
    state = run(ledger, experiments.create(spec), bench)
    planned = [0.3 + 0.4 * trial.parameters["x"] for trial in state.trials]
    assert state.spending.used("node_hours") == pytest.approx(sum(planned))
    assert 1.3 < sum(planned) <= 2.0
    shown = state.summary()["budget"]["node_hours"]
    assert shown == {
        "limit": 2.0,
        "reserved": 0.0,
        "spent": pytest.approx(sum(planned)),
        "unit": "node-hours",
    }
    assert "The budget of node-hours is spent" in state.reason
    assert "the next trial would cost" in state.reason


def test_a_measured_cost_settles_what_was_reserved_and_gives_back_the_rest(ledger, experiments, bench):
    bench.outcomes["time"] = "hour"
    bench.measure = lambda _number, x: {"y": (x["x"], "degC", None), "time": (0.25, "hour", None)}
    cost = {"instrument_minutes": Cost(60, actual="time"), "samples": 1}
    spec = specification(parallel=1, budget=Budget(trials=50, instrument_minutes=100), cost=cost)
    state = run(ledger, experiments.create(spec), bench)
    # Each reserves 60 and costs 15: the fourth leaves 40, too little for another reservation.
    assert len(state.trials) == 3
    assert state.spending.spent == {"instrument_minutes": 45.0, "samples": 3.0}


def test_a_cost_below_zero_gives_nothing_back(ledger, experiments, bench):
    bench.outcomes["price"] = ""
    bench.measure = lambda number, x: {
        "y": (x["x"], "degC", None),
        "price": (-1e6 if number % 2 else 10.0, "", None),
    }
    spec = specification(
        parallel=1, budget=Budget(trials=40, money=30), cost={"money": Cost(10, actual="price")}
    )
    state = run(ledger, experiments.create(spec), bench)
    assert (len(state.trials), state.spending.spent) == (3, {"money": 30.0})
    [unusable] = {
        event.body["unusable"]["price"]
        for event in ledger.read(stream=stream(state.id), kinds=["trial.observed"])
        if "unusable" in event.body
    }
    assert unusable == "has the value -1000000.0, and a cost cannot be below 0; what was planned is charged"
    bench.observe = lambda _key: Observation({"y": (0.5, "degC", None)}, cost={"money": -7.5})
    state = run(ledger, experiments.create(specification(budget=spec.budget, cost={"money": 10})), bench)
    assert state.spending.spent == {"money": 0.0}


def test_an_executors_word_on_the_cost_counts_where_nothing_is_measured(ledger, experiments, bench):
    bench.observe = lambda _key: Observation({"y": (0.5, "degC", None)}, cost={"money": 7.5})
    spec = specification(budget=Budget(trials=4, money=100, currency="EUR"), cost={"money": 10})
    state = run(ledger, experiments.create(spec), bench)
    assert state.spending.spent == {"money": 30.0}
    assert state.summary()["budget"]["money"]["unit"] == "EUR"


def test_a_trial_that_fails_costs_what_was_planned_and_one_that_was_refused_at_once_nothing(
    ledger, experiments, bench
):
    bench.observe = lambda _key: Failure("broken glass")
    spec = specification(budget=Budget(trials=3, samples=10), cost={"samples": 2})
    assert run(ledger, experiments.create(spec), bench).spending.spent == {"samples": 6.0}

    def refuse(key, parameters, arguments):
        raise InvalidInput("no such furnace")

    bench.submit = refuse
    assert run(ledger, experiments.create(spec), bench).spending.spent == {}


def test_what_was_never_started_costs_nothing_when_the_experiment_is_stopped(ledger, experiments, bench):
    experiments.open_budget("beamtime", {"samples": 30}, groups=("solar",))
    spec = specification(
        parallel=4,
        approval=Approval("first", first=3),
        budget=Budget(trials=9, account="beamtime"),
        cost={"samples": 2},
    )
    bench.slow = True
    experiment = experiments.create(spec)
    loop.advance(ledger, experiment, None, {"bench": bench})
    assert experiments.budget("beamtime")["amounts"]["samples"]["reserved"] == 8
    experiments.command(experiment, "stop", "enough")
    state = loop.advance(ledger, experiment, None, {"bench": bench})
    assert [trial.state for trial in state.trials] == ["failed"] * 4
    assert state.spending.spent == {"samples": 2.0}  # three waited for approval, one was under way
    amounts = experiments.budget("beamtime")["amounts"]["samples"]
    assert (amounts["reserved"], amounts["spent"]) == (0, 2)
    assert verify_in(ledger, experiment).ok


def test_a_trial_that_costs_more_than_planned_is_charged_and_told(ledger, experiments, bench):
    bench.observe = lambda _key: Observation({"y": (0.5, "degC", None)}, cost={"samples": 9})
    spec = specification(parallel=1, budget=Budget(trials=5, samples=6), cost={"samples": 3})
    experiment = experiments.create(spec)
    state = run(ledger, experiment, bench)
    assert len(state.trials) == 1
    assert state.spending.spent == {"samples": 9.0}
    check = next(each for each in verify_in(ledger, experiment).checks if each.name == "budget")
    assert check.state == "unknown"
    assert "9 of 6 samples" in check.says


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": Budget(trials=5, samples=3)}, "nothing says how much one trial needs"),
        ({"cost": {"samples": "2 * q"}}, "names 'q'"),
        ({"cost": {"samples": -1}}, "below 0"),
        ({"cost": {"samples": "x <"}}, "cannot be read|no expression|expected"),
        ({"cost": {"gold": 1}}, "node_hours"),
    ],
)
def test_a_cost_that_cannot_be_known_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        specification(**changes)


def test_a_cost_below_zero_or_without_a_value_is_refused_before_anything_starts(ledger, experiments):
    for expression, words in (("x - 9", "below 0"), ("1 / (x - x)", "no value")):
        with pytest.raises(InvalidInput, match=words):
            experiments.create(specification(cost={"samples": expression}))
    with pytest.raises(InvalidInput, match="does not observe 'power'"):
        experiments.create(specification(cost={"samples": Cost(1, actual="power")}))


amounts = st.dictionaries(st.sampled_from(["samples", "money"]), st.floats(0, 10), max_size=2)


@given(st.lists(st.tuples(amounts, amounts, st.booleans()), max_size=30))
def test_whatever_is_reserved_and_settled_in_whatever_order_no_limit_is_passed(wishes):
    limits, spending = {"samples": 20.0, "money": 15.0}, Spending()
    for number, (reserve, actual, ends) in enumerate(wishes):
        if spending.lacks(limits, reserve) is None:
            spending.reserve(str(number), reserve)
        if ends and spending.reserved:
            key = next(iter(spending.reserved))
            less = {
                name: min(amount, actual.get(name, 0.0)) for name, amount in spending.reserved[key].items()
            }
            spending.settle(key, less)
        for name, limit in limits.items():
            assert spending.used(name) <= limit * (1 + 1e-6)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    experiments=st.integers(2, 4),
    runners=st.integers(2, 3),
    samples=st.integers(3, 12),
    cost=st.sampled_from([1, 2, 3]),
)
def test_runners_in_threads_never_overdraw_a_shared_budget(
    tmp_path_factory, experiments, runners, samples, cost
):
    """Several experiments of one budget, each advanced by several runners at once that take leases from each other."""
    ledger = Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.sqlite'}")
    try:
        bench = Bench()
        executors = {"bench": bench}
        mine = store.LedgerExperiments(ledger, ALICE, executors=executors)
        mine.open_budget("beamtime", {"samples": samples}, groups=("solar",))
        spec = specification(budget=Budget(trials=20, account="beamtime"), cost={"samples": cost})
        ids = [mine.create(spec) for _ in range(experiments)]
        errors = []

        def work(me):
            leases = Leases(ledger.engine)
            for _ in range(200):
                left = [each for each in ids if fold(ledger.all(stream=stream(each))).state != "ended"]
                if not left:
                    return
                for experiment in left:
                    lease = leases.acquire(experiment, me, 0.01)
                    if lease is None:
                        continue
                    try:
                        loop.advance(ledger, experiment, lease, executors)
                    except Conflict:
                        continue
                    except Exception as error:  # noqa: BLE001 - shown below
                        errors.append(error)
                        return

        threads = [threading.Thread(target=work, args=(f"runner {n}",)) for n in range(runners)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        states = [fold(ledger.all(stream=stream(each))) for each in ids]
        assert {state.state for state in states} == {"ended"}
        events = list(ledger.all(stream=account_stream("beamtime")))
        assert [fault for state in states for fault in account_faults(state, events)] == []
        account = Accounts(ledger).get("beamtime")
        assert account.spending.spent["samples"] == sum(len(state.trials) for state in states) * cost
        assert samples - cost < account.spending.spent["samples"] <= samples
        assert account.spending.reserved == {}
        assert len(bench.ran) == sum(len(state.trials) for state in states)
        assert all(verify_in(ledger, each).ok for each in ids)
    finally:
        ledger.close()


def test_a_shared_budget_waits_for_what_others_hold_and_ends_where_nothing_comes_back(
    ledger, experiments, bench
):
    experiments.open_budget("beamtime", {"samples": 3, "trials": 10}, groups=("solar",))
    spec = specification(parallel=2, budget=Budget(trials=9, account="beamtime"), cost={"samples": 1})
    bench.slow = True
    first, second = experiments.create(spec), experiments.create(spec)
    assert len(loop.advance(ledger, first, None, {"bench": bench}).trials) == 2
    assert len(loop.advance(ledger, second, None, {"bench": bench}).trials) == 1
    third = experiments.create(spec)
    state = loop.advance(ledger, third, None, {"bench": bench})
    assert (state.state, state.trials, state.spent) == ("running", [], "")
    bench.observe = lambda _key: Observation({"y": (0.5, "degC", None)}, cost={"samples": 0.5})
    ids = (first, second, third)
    for _ in range(20):
        states = [loop.advance(ledger, each, None, {"bench": bench}) for each in ids]
    assert {state.state for state in states} == {"ended"}
    assert all("shared budget 'beamtime' has not enough samples" in state.reason for state in states)
    summary = experiments.budget("beamtime")
    assert summary["amounts"]["samples"]["spent"] <= 3
    assert summary["amounts"]["samples"]["reserved"] == 0
    assert summary["amounts"]["trials"]["spent"] == summary["amounts"]["samples"]["spent"] * 2
    assert all(verify_in(ledger, each).ok for each in ids)


def test_who_may_draw_from_a_shared_budget_and_change_it(ledger, experiments, bench):
    experiments.open_budget("beamtime", {"samples": 3}, groups=("solar",))
    accounts = Accounts(ledger)
    assert [each.name for each in accounts.all_seen_by(BOB)] == ["beamtime"]
    assert accounts.all_seen_by(CAROL) == []
    spec = specification(groups=(), budget=Budget(trials=2, account="beamtime"), cost={"samples": 1})
    with pytest.raises(NotFound, match="no shared budget 'beamtime'"):
        store.LedgerExperiments(ledger, CAROL).create(spec)
    with pytest.raises(InvalidInput, match="limits samples, but nothing says"):
        experiments.create(specification(budget=Budget(trials=2, account="beamtime")))
    with pytest.raises(PermissionRefused, match="Only alice"):
        accounts.change("beamtime", {"samples": 9}, BOB, "more")
    assert accounts.change("beamtime", {"samples": 9}, ALICE, "a good year").limits == {"samples": 9.0}
    with pytest.raises(Conflict, match="already"):
        accounts.open("beamtime", {"samples": 1}, ALICE)
    with pytest.raises(PermissionRefused, match="not in the group"):
        accounts.open("other", {"samples": 1}, Person("dora"), groups=("solar",))
    for limits in ({}, {"gold": 1}, {"samples": 0}, {"samples": float("inf")}):
        with pytest.raises(InvalidInput):
            accounts.open("other", limits, ALICE)


def test_a_forged_reservation_is_seen(ledger, experiments, bench):
    spec = specification(
        space=(Real("x", 0, 1), Real("z", 0, 1)), budget=Budget(trials=4, samples=9), cost={"samples": 2}
    )
    experiment = experiments.create(spec)
    run(ledger, experiment, bench)
    from genesis_workbench.experiments.verification import verify

    events = list(ledger.all(stream=stream(experiment)))
    forged = [
        event
        if event.kind != "trial.proposed"
        else type(event)(**{**event.as_dict(), "body": {**event.body, "reserved": {"samples": 1}}})
        for event in events
    ]
    assert any(
        each.name == "budget" and "by its description it needs" in each.says for each in verify(forged).checks
    )
    given_back = [
        event
        if event.kind != "trial.observed"
        else type(event)(**{**event.as_dict(), "body": {**event.body, "cost": {"samples": -2}}})
        for event in events
    ]
    assert any(each.name == "budget" and "below 0" in each.says for each in verify(given_back).checks)


def test_a_notebook_opens_and_reads_a_shared_budget(experiments, monkeypatch):
    import genesis_workbench as gw
    from genesis_workbench.experiments import notebook

    monkeypatch.setattr(notebook, "store", lambda: experiments)
    gw.experiments.open_budget("beamtime", groups=["solar"], samples=20, money=500, currency="EUR")
    amounts = gw.experiments.shared_budget("beamtime")["amounts"]
    assert {name: (each["limit"], each["unit"]) for name, each in amounts.items()} == {
        "samples": (20.0, "samples"),
        "money": (500.0, "EUR"),
    }
