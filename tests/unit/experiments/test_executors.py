"""Executors for what people bring: a function, a command as a job, a task of Dask, and a person."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace

import pytest

from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    Unavailable,
)
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import (
    Budget,
    Experiment,
    Hypothesis,
    Objective,
    Real,
    Run,
    Threshold,
    notebook,
    store,
)
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Place,
    Request,
    Unknown,
    observe_all,
    submit_all,
)
from genesis_workbench.experiments.executors.dask import BegunBefore, DaskExecutor, _became, _Lost
from genesis_workbench.experiments.executors.function import FunctionExecutor, named
from genesis_workbench.experiments.executors.job import JobExecutor
from genesis_workbench.experiments.verification import verify_in
from unit.experiments.bench import ALICE, BOB, until

SCRIPT = """
import json
given = json.load(open("arguments.json"))
x, a = given["parameters"]["x"], given["arguments"]["a"]
json.dump({"y": {"value": a * x, "uncertainty": 0.5}, "z": 1.0}, open("result.json", "w"))
"""


@pytest.fixture
def place(tmp_path):
    made = Place(Site(name="test"), State(tmp_path))
    made.__dict__["scheduler"] = LocalScheduler(tmp_path / "jobs")
    yield made
    for watcher in local._watchers:
        watcher.wait(timeout=60)  # nothing goes on after its test


@pytest.fixture
def at_home(tmp_path, monkeypatch, place):
    """A bare notebook whose state lies in a folder of its own."""
    ledger, executors = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), Executors(place)
    blobs = BlobStore(tmp_path / "blobs")
    mine = store.LedgerExperiments(ledger, ALICE, blobs=blobs, executors=executors)
    monkeypatch.setattr(notebook, "store", lambda: mine)
    yield SimpleNamespace(ledger=ledger, store=mine, blobs=blobs)
    ledger.close()


def experiment(**changes):
    fields = {
        "title": "t",
        "hypothesis": Hypothesis(statement="s", rule=Threshold(metric="y", at_least=0.5)),
        "space": [Real("x", 0, 1)],
        "objective": Objective("y"),
        "proposer": "sobol",
        "budget": Budget(trials=4),
    }
    return Experiment(**{**fields, **changes})


def outcome(executor, key, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = executor.observe(key)
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not end")


def test_a_function_of_the_notebook_is_one_argument(at_home):
    seen = []

    def parabola(x):
        seen.append(x)
        return 1 - (x - 0.4) ** 2

    run = experiment(executor=parabola).launch()
    finding = run.wait(timeout_s=60)
    assert finding["decision"] == "supported"
    assert len(seen) == 4
    assert run.trials()["y"].tolist() == pytest.approx([1 - (x - 0.4) ** 2 for x in run.trials()["x"]])
    assert verify_in(at_home.ledger, run.id).ok


def test_a_function_that_raises_or_gives_nonsense_fails_its_trial_with_its_words(place):
    executor = FunctionExecutor(place)

    def odd(x):
        if x < 0.5:
            raise ZeroDivisionError("by nothing")
        return {"other": 1}

    _, arguments = named(odd, {}, [("y", "")])
    executor.submit("k1", {"x": 0.1}, arguments)
    executor.submit("k2", {"x": 0.9}, arguments)
    assert outcome(executor, "k1") == Failure("ZeroDivisionError: by nothing")
    assert "returned nothing for y" in outcome(executor, "k2").reason
    # Another process learns it; of a call that was not written down nobody knows.
    assert FunctionExecutor(place).observe("k1") == Failure("ZeroDivisionError: by nothing")
    assert isinstance(FunctionExecutor(place).observe("k9"), Unknown)


def job(blobs, **changes):
    return {
        "command": ["python3", "model.py"],
        "files": {"model.py": blobs.put(SCRIPT.encode())},
        "arguments": {"a": 2.0},
        "outcomes": {"y": "m", "z": ""},
        **changes,
    }


def test_a_script_runs_as_a_job_for_each_trial(at_home):
    run = experiment(
        executor="job",
        executor_arguments=job(at_home.blobs),
        objective=Objective("y", "cm"),
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="y", at_least=50, unit="cm")),
        parallel=2,
        budget=Budget(trials=3, node_hours=1),
        cost={"node_hours": 0.1},
    ).launch()
    run.wait(timeout_s=120)
    state = run.state()
    assert len(state.observed) == 3
    for trial in state.trials:
        assert trial.values["y"] == {
            "value": pytest.approx(2 * trial.parameters["x"]),
            "unit": "m",
            "uncertainty": 0.5,
        }
    # What the jobs really took was settled, not what was planned.
    assert 0 < state.spending.spent["node_hours"] < 0.1


def test_jobs_are_submitted_and_looked_at_together(place, monkeypatch):
    class Counting:
        def __init__(self):
            self.calls = []

        def submit_all(self, jobs):
            self.calls.append([job.key for job in jobs])
            if any(job.key == "k3" for job in jobs):
                raise InvalidInput("no machine has that much memory")
            return []

    scheduler = Counting()
    place.__dict__["scheduler"] = scheduler
    executor = JobExecutor(place)
    arguments = job(place.blobs)
    requests = [Request(f"k{number}", {"x": 0.5}, arguments) for number in range(500)]
    refused = submit_all(executor, requests)
    assert refused == {"k3": "no machine has that much memory"}
    assert len(scheduler.calls[0]) == 500
    assert len(scheduler.calls) < 25  # the one that was refused was found by halving

    def away(jobs):
        raise Unavailable("slurmctld does not answer")

    scheduler.submit_all = away
    with pytest.raises(Unavailable):
        submit_all(executor, requests)


def test_a_job_that_fails_or_writes_nonsense_fails_its_trial(place):
    executor = JobExecutor(place)
    bad = {"command": ["python3", "-c", "raise SystemExit(3)"], "outcomes": {"y": ""}}
    odd = {
        "command": ["python3", "-c", "open('result.json','w').write('{\"y\": \"high\"}')"],
        "outcomes": {"y": ""},
    }
    executor.submit("k1", {}, bad)
    executor.submit("k2", {}, odd)
    assert isinstance(outcome(executor, "k1"), Failure)
    assert "'high' for y" in outcome(executor, "k2").reason
    assert observe_all(executor, ["k1", "k2"]).keys() == {"k1", "k2"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"command": [], "outcomes": {"y": ""}}, "command"),
        ({"command": ["a"], "outcomes": {}}, "outcomes"),
        ({"command": ["a"], "outcomes": {"y": "furlongs per"}}, "no unit"),
        ({"command": ["a"], "outcomes": {"y": ""}, "shell": True}, "shell"),
        (
            {"command": ["a"], "outcomes": {"y": ""}, "files": {"a": "sha256:" + "0" * 64}},
            "no file with the hash",
        ),
        (
            {"command": ["a"], "outcomes": {"y": ""}, "files": {"../a": digest(b"here")}},
            "cannot be a file of a job",
        ),
    ],
)
def test_a_job_that_could_never_run_is_refused(place, arguments, words):
    place.blobs.put(b"here")
    with pytest.raises(GenesisError, match=words):
        JobExecutor(place).check(arguments)


def test_the_service_runs_peoples_own_code_only_where_the_site_says_so(tmp_path):
    service = Place(Site(name="test"), State(tmp_path), service=True)
    with pytest.raises(PermissionRefused, match=r"experiments\.own_code"):
        JobExecutor(service).check({"command": ["a"], "outcomes": {"y": ""}})
    with pytest.raises(PermissionRefused, match=r"experiments\.own_code"):
        DaskExecutor(service).check({"function": "os:getpid", "outcomes": {"y": ""}})
    open_site = Site(name="test", experiments={"own_code": True})
    JobExecutor(Place(open_site, State(tmp_path), service=True)).check(
        {"command": ["a"], "outcomes": {"y": ""}}
    )


def test_a_person_enters_values_with_units_and_the_experiment_waits(at_home):
    run = experiment(
        executor="person",
        executor_arguments={"outcomes": {"y": "g"}, "asks": "Weigh the crystal."},
        objective=Objective("y", "g"),
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric="y", at_least=2, unit="g")),
        budget=Budget(trials=2),
        parallel=1,
        groups=(),
    ).launch()
    with pytest.raises(Conflict, match="waits for a person: trial 1 for values"):
        run.wait(timeout_s=30)
    asked = run.pending()
    assert [(each["for"], each["trial"], each["why"]) for each in asked] == [
        ("values", 1, "Weigh the crystal.")
    ]
    for wrong, words in (
        ({}, "Give a value"),
        ({"w": 1}, "no outcome 'w'"),
        ({"y": float("nan")}, "finite number"),
        ({"y": True}, "finite number"),
        ({"y": (1, "m")}, "cannot be given in g"),
        ({"y": {"value": 1, "uncertainty": -1}}, "below 0"),
        ({"y": {"amount": 1}}, "value, unit and uncertainty"),
    ):
        with pytest.raises(InvalidInput, match=words):
            run.enter(1, wrong)
    run.enter(1, {"y": {"value": 2500, "unit": "mg", "uncertainty": 10}})
    with pytest.raises(
        Conflict,
        match=r"alice has said already what became of trial 1: observed, .*2500.* nothing was changed",
    ):
        run.enter(1, {"y": 5})
    with pytest.raises(Conflict, match="trial 2"):
        run.wait(timeout_s=30)
    run.enter(2, {"y": 1.0})
    assert run.wait(timeout_s=30)["decision"] == "supported"
    state = run.state()
    assert state.simulated is False
    assert state.trials[0].values["y"] == {"value": 2500, "unit": "mg", "uncertainty": 10}
    assert verify_in(at_home.ledger, run.id).ok


def test_values_are_entered_by_who_may_see_the_experiment(at_home):
    run = experiment(
        executor="person",
        executor_arguments={"outcomes": {"y": ""}},
        budget=Budget(trials=1),
        groups=["solar"],
    ).launch()
    with pytest.raises(Conflict):
        run.wait(timeout_s=30)
    bob = Run(run.id, store.LedgerExperiments(at_home.ledger, BOB, executors=at_home.store._executors))
    bob.enter(1, {"y": 0.7})
    assert run.wait(timeout_s=30)["decision"] == "supported"
    told = [event for event in run.events() if event["kind"] == "outcome.entered"]
    assert told[0]["actor"] == "bob"
    with pytest.raises(LookupError):
        Run(run.id, store.LedgerExperiments(at_home.ledger, Person("mallory"))).enter(1, {"y": 1})


OVEN = """
import time

def bake(log, seconds):
    with open(log, "a") as file:
        file.write("begun\\n")
    time.sleep(seconds)
    return seconds
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    from genesis_workbench.core import service

    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))  # workers of this machine have it, too
    (tmp_path / "oven.py").write_text(OVEN)
    assert service.local_state() == tmp_path
    from genesis_workbench.compute import cluster as make

    with make(workers=1, name="trials") as made:
        yield made


@pytest.fixture
def tasks(tmp_path, cluster):
    """Makes executors of one state folder, as two processes one after the other would."""
    made = []

    def make(*, service=False):
        made.append(DaskExecutor(Place(Site(name="test"), State(tmp_path), service=service)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_trials_are_tasks_of_a_dask_cluster_and_survive_the_process_that_asked(tasks):
    arguments = {
        "function": "operator:truediv",
        "outcomes": {"y": ""},
        "cluster": "trials",
    }
    # A function of the standard library that takes no names does not fit: the trial says so.
    executor = tasks()
    executor.check(arguments)
    executor.submit("k1", {"a": 1, "b": 2}, arguments)
    assert "TypeError" in outcome(executor, "k1", 60).reason
    arguments = {"function": "statistics:NormalDist", "outcomes": {"y": ""}, "cluster": "trials"}
    executor.submit("k2", {"mu": 0.5}, arguments)
    assert "a number was expected" in outcome(executor, "k2", 60).reason
    arguments = {"function": "colorsys:rgb_to_yiq", "outcomes": {"y": ""}, "cluster": "trials"}
    executor.submit("k3", {"r": 1, "g": 1, "b": 1}, arguments)
    assert isinstance(outcome(executor, "k3", 60), Failure)
    arguments = {"function": "fractions:Fraction", "outcomes": {"y": ""}, "cluster": "trials"}
    executor.submit("k4", {"numerator": 1, "denominator": 4}, arguments)
    # Another process, which knows nothing but the state folder, asks for the same key.
    other = tasks()
    other.submit("k4", {"numerator": 1, "denominator": 4}, arguments)
    assert outcome(other, "k4", 60) == Observation({"y": (0.25, "", None)})
    assert executor.observe("k4") == other.observe("k4")


def test_a_lost_cluster_repeats_what_may_be_repeated_and_asks_about_the_rest(tasks, cluster):
    executor = tasks()
    slow = {"function": "time:sleep", "outcomes": {"y": ""}, "cluster": "trials"}
    executor.submit("k1", {"seconds": 60}, {**slow, "repeatable": False})
    executor.submit("k2", {"seconds": 60}, slow)
    cluster.close()
    with pytest.raises(NotFound, match="You have no cluster 'trials' now"):
        executor.check(slow)
    quarter = {**slow, "function": "fractions:Fraction"}
    with pytest.raises(Unavailable, match="You have no cluster 'trials' now"):
        executor.submit("k3", {"numerator": 1, "denominator": 4}, quarter)
    # A service holds nobody else up meanwhile.
    tasks(service=True).submit("k3", {"numerator": 1, "denominator": 4}, quarter)
    assert executor.observe("k3") is executor.observe("k2") is None  # both wait for one
    with pytest.raises(NotFound, match="You have no cluster 'trials' now"):
        executor.standing("k3")
    from genesis_workbench.compute import cluster as make

    with make(workers=1, name="trials") as another:
        found = outcome(executor, "k1")
        assert isinstance(found, Unknown)
        assert "whether the task was done is not known" in found.reason
        executor.submit("k1", {"seconds": 60}, {**slow, "repeatable": False})  # after a crash of the runner
        assert tasks().observe("k1") == found
        assert outcome(executor, "k3") == Observation({"y": (0.25, "", None)})
        until(lambda: executor.observe("k2") is None and "k2" in another.client.list_datasets())
        executor.cancel("k2")
        assert executor.observe("k2") == Failure("It was canceled.")


def baking(log, *, repeatable):
    """Return arguments of a task that says in a log that it begins."""
    return {
        "function": "oven:bake",
        "outcomes": {"y": ""},
        "cluster": "trials",
        "arguments": {"log": str(log)},
        "repeatable": repeatable,
    }


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_task_whose_worker_dies_is_computed_again_only_where_it_may_be(
    tasks, cluster, tmp_path, repeatable
):
    executor, log = tasks(), tmp_path / "log"
    executor.submit("k1", {"seconds": 1}, baking(log, repeatable=repeatable))
    until(lambda: log.exists() and log.read_text() == "begun\n", 30)
    [worker] = cluster.client.run(os.getpid).values()
    os.kill(worker, signal.SIGKILL)
    found = outcome(executor, "k1", 60)
    if repeatable:
        assert found == Observation({"y": (1, "", None)})
        assert log.read_text() == "begun\n" * 2
    else:
        assert isinstance(found, Unknown)
        assert "its worker died" in found.reason
        assert tasks().observe("k1") == found
        assert log.read_text() == "begun\n"
    assert list(cluster.client.list_datasets()) == []


def test_a_result_that_does_not_come_is_asked_for_again_and_no_failure(tasks, cluster, monkeypatch):
    executor = tasks()
    arguments = {"function": "fractions:Fraction", "outcomes": {"y": ""}, "cluster": "trials"}
    executor.submit("k1", {"numerator": 1, "denominator": 4}, arguments)
    kept = cluster.client.get_dataset("k1")
    until(lambda: kept.status == "finished", 30)

    asked = []

    def closed(_future, timeout):
        asked.append(timeout)
        raise OSError("Stream is closed")

    with monkeypatch.context() as patch:
        patch.setattr("distributed.Future.result", closed)
        until(lambda: executor.observe("k1") is None and asked, 30)
    assert outcome(executor, "k1") == Observation({"y": (0.25, "", None)})


def test_a_result_whose_worker_dies_before_it_was_fetched_is_not_computed_twice(tasks, cluster, tmp_path):
    executor, log = tasks(), tmp_path / "log"
    executor.submit("k1", {"seconds": 0}, baking(log, repeatable=False))
    kept = cluster.client.get_dataset("k1")
    until(lambda: kept.status == "finished", 30)
    [worker] = cluster.client.run(os.getpid).values()
    os.kill(worker, signal.SIGKILL)
    assert isinstance(outcome(executor, "k1", 60), Unknown)
    assert log.read_text() == "begun\n"


def test_an_answer_that_did_not_come_in_time_is_not_what_the_function_raised():
    """The worker that had the result dies while it is asked for it, and its task is refused on another one meanwhile."""

    class Dying:
        status = "finished"

        def result(self, timeout):
            self.status = "error"
            raise TimeoutError

        def exception(self, timeout):
            return BegunBefore("k1")

    future = Dying()
    assert _became(future, repeatable=False) is None
    with pytest.raises(_Lost, match="its worker died"):
        _became(future, repeatable=False)
