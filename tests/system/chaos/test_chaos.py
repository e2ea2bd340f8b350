"""kill -9 of every part at random moments: nothing is lost, nothing runs twice, the end is the same."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from genesis_workbench.compute.job import JobState
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, NotFound, Unavailable
from genesis_workbench.core.identifiers import idempotency_key, new_id
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.service import STATE_VARIABLE, Service
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import Budget, Hypothesis, Objective, Real, Step, Threshold, loop, store
from genesis_workbench.experiments.accounts import stream as account_stream
from genesis_workbench.experiments.auditing import account_faults
from genesis_workbench.experiments.executors._base import Observation
from genesis_workbench.experiments.folding import Folds
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.steps import key_of
from genesis_workbench.experiments.store import RemoteExperiments
from genesis_workbench.experiments.verification import verify

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import kernel  # noqa: E402 - it lies beside this file
import nursery as nursery_of  # noqa: E402
from furnace import law  # noqa: E402
from furnace import task as furnace_task  # noqa: E402

from system.slurm.cluster import PATH, SlurmCluster  # noqa: E402
from system.slurm.conftest import needed  # noqa: E402

# It says in the log what it does in the world, and when it has done it.
SCRIPT = """
import json, os, time
given = json.load(open("arguments.json"))
key, log = os.path.basename(os.getcwd()), given["arguments"]["log"]
def write(line):
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (line + "\\n").encode())
    os.close(handle)
write("begin " + key)
time.sleep(0.3)
at = given["parameters"]
made = {"y": round(1 - (at["x"] - 0.4) ** 2, 12)} if "x" in at else {"z": round(at["y"] ** 2, 12)}
json.dump(made, open("result.draft", "w"))
os.replace("result.draft", "result.json")
write("end " + key)
"""
TRIALS, AT_ONCE = 5, 8


def film(number: int) -> ExperimentSpec:
    """Six steps on three devices of a laboratory behind its gateway."""
    return ExperimentSpec(
        title=f"number {number}",
        hypothesis=Hypothesis(
            statement="s", rule=Threshold(metric="peak_intensity", at_least=2500, unit="1/s")
        ),
        space=(
            Real("bromide", 0, 1),
            Real("anneal_temperature", 80, 130, unit="degC"),
            Real("anneal_duration", 300, 900, unit="s"),
        ),
        objective=Objective("peak_intensity", "1/s"),
        executor="perovskite_film",
        budget=Budget(trials=TRIALS),
        proposer="sobol",
        seed=number,
        parallel=1,
        groups=("solar",),
    )


def task(folder: Path) -> dict:
    """Return what a task of Dask is, that must not run twice."""
    return {
        "function": f"{furnace_task.__module__}:{furnace_task.__name__}",
        "arguments": {"log": str(folder / "world.log")},
        "outcomes": {"y": ""},
        "cluster": "chaos",
        "repeatable": False,
    }


def described(folder: Path, blobs: BlobStore, number: int) -> ExperimentSpec:
    """In the furnace, each trial approved by another person; in the laboratory; as jobs of a shared budget; the furnace, then a job; or in Dask."""
    kind = ("furnace", "film", "job", "both", "dask")[number % 5]
    if kind == "film":
        return film(number)
    takes, gives = ("y", "z") if kind == "both" else ("x", "y")
    arguments = {
        "command": [sys.executable, "-S", "-E", "model.py"],
        "files": {"model.py": blobs.put(SCRIPT.encode())},
        "arguments": {"log": str(folder / "world.log")},
        "outcomes": {gives: ""},
        "parameters": {takes: ""},
        "walltime_s": 600,
    }
    executes: dict = {"executor": "furnace"}
    if kind == "job":
        executes = {"executor": "job", "executor_arguments": arguments}
    elif kind == "dask":
        executes = {"executor": "dask", "executor_arguments": task(folder)}
    elif kind == "both":
        executes = {
            "steps": (Step("fire", "furnace"), Step("compute", "job", arguments=arguments, after=("fire",)))
        }
    return ExperimentSpec(
        title=f"number {number}",
        hypothesis=Hypothesis(statement="s", rule=Threshold(metric=gives, at_least=0.99)),
        space=(Real("x", 0, 1),),
        objective=Objective(gives),
        **executes,
        budget=Budget(trials=TRIALS, samples=TRIALS, account="shared" if kind == "job" else ""),
        cost={"samples": 1},
        proposer="sobol",
        seed=number,
        parallel=1,
        groups=("solar",),
    )


class Instant:
    """What an undisturbed run has for an executor: the same law, at once."""

    simulated = True

    def __init__(self, name: str, parameters, outcomes, measure) -> None:
        self.name, self.parameters, self.outcomes = name, parameters, outcomes
        self._measure, self._ran = measure, {}

    def check(self, arguments):
        """Nothing to refuse."""

    def submit(self, key, parameters, arguments):
        """Take what is asked."""
        self._ran[key] = parameters

    def observe(self, key):
        """Give it."""
        return Observation(self._measure(self._ran[key]))

    def cancel(self, key):
        """Nothing to cancel."""


def undisturbed(tmp_path: Path, state) -> list:
    """Return what the same experiment gives where nobody is killed.

    The laboratory's noise depends on the key of a run: what its devices wrote down is what they would have given.
    """
    spec, recorded = state.spec, {json.dumps(t.parameters, sort_keys=True): t.values for t in state.trials}

    def again(parameters):
        values = recorded[json.dumps(parameters, sort_keys=True)]
        return {name: (each["value"], each["unit"], each.get("uncertainty")) for name, each in values.items()}

    units = {each.name: each.unit for each in spec.space}
    given = {name: each["unit"] for name, each in state.trials[0].values.items()}
    computed = (
        Instant("job", {"y": ""}, {"z": ""}, lambda p: {"z": (round(p["y"] ** 2, 12), "", None)})
        if spec.steps
        else Instant("job", {"x": ""}, {"y": ""}, lambda p: {"y": (law(p["x"]), "", None)})
    )
    fired = Instant("furnace", {"x": ""}, {"y": ""}, lambda p: {"y": (law(p["x"]), "", None)})
    others = [
        Instant(name, {"x": ""}, {"y": ""}, lambda p: {"y": (law(p["x"]), "", None)})
        for name in ("dask", "function")
    ]
    known = [fired, computed, *others, Instant("perovskite_film", units, given, again)]
    executors = {each.name: each for each in known}
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'undisturbed.sqlite'}")
    try:
        mine = store.LedgerExperiments(ledger, Person("alice", frozenset({"solar"})), executors=executors)
        budget = Budget(trials=TRIALS, samples=TRIALS if spec.cost else None)
        state = mine.state(mine.create(spec.model_copy(update={"budget": budget})))
        while state.state != "ended":
            loop.advance(ledger, state.id, None, executors, state=state)
        return outcome(state)
    finally:
        ledger.close()


def outcome(state) -> list:
    """Return what of an experiment must not depend on who was killed when."""
    trials = [(t.number, t.point, t.parameters, t.state, t.values, t.proposer) for t in state.trials]
    return [trials, state.finding["decision"], state.finding["evidence"]["best"]]


class Persistent(RemoteExperiments):
    """A client that asks again until the API lives: everything it says may be said twice."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(Service(url, name))

    def __enter__(self) -> Persistent:
        return self

    def __exit__(self, *_error: object) -> None:
        self._service.close()

    def again(self, what: str, *arguments, **more):
        """Call a method through deaths of the API."""
        deadline = time.monotonic() + 600
        while True:
            try:
                return getattr(self, what)(*arguments, **more)
            except (Unavailable, DeadlineExceeded, OSError, NotFound):  # no cluster now, too
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


@contextlib.contextmanager
def nursery(folder: Path, kills: int, seed: int, database: str = "", slurm: str = ""):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "nursery.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                str(HERE / "nursery.py"),
                str(folder),
                str(port),
                str(kills),
                str(seed),
                str(TRIALS),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                **os.environ,
                "CHAOS_LEDGER": database,
                "CHAOS_SLURM": slurm,
                STATE_VARIABLE: str(folder),
            },
        )
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            (folder / "stop").touch()
            try:
                process.wait(30)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def chaos(
    folder: Path,
    experiments: int,
    kills: int,
    seed: int,
    timeout_s: float,
    database: str = "",
    slurm: str = "",
) -> dict:
    """Run at least so many experiments to their ends, a few at a time, until so many were killed; return what was found."""
    blobs, ledger = BlobStore(State(folder).blobs), Ledger.open(database or State(folder).ledger_url())
    Folds(ledger)
    notebook = Ledger.open(State(kernel.home(folder)).ledger_url())
    _say(folder / "notebook.wanted", 1)
    specs: dict[str, ExperimentSpec] = {}
    resolved, began, ended, wanted, noted = set(), time.monotonic(), set(), 1, 0
    with contextlib.ExitStack() as closing:
        url, process = closing.enter_context(nursery(folder, kills, seed, database, slurm))
        alice, erin = (closing.enter_context(Persistent(url, name)) for name in ("alice", "erin"))
        with contextlib.suppress(Conflict):  # it was opened, and the answer was lost
            alice.again("open_budget", "shared", {"samples": 100_000}, groups=("solar",))
        while len(ended) < len(specs) or len(specs) < experiments or _kills_left(folder) or noted < wanted:
            log = (folder / "nursery.log").read_text()[-2000:]
            assert time.monotonic() - began < timeout_s, (len(specs), len(ended), wanted, noted, log)
            assert process.poll() is None, log
            if len(specs) - len(ended) < AT_ONCE and (len(specs) < experiments or _kills_left(folder)):
                spec, key = described(folder, blobs, len(specs)), new_id("key")
                each = alice.again("create", spec, key=key)
                assert alice.again("create", spec, key=key) == each
                specs[each] = spec
            with contextlib.suppress(sa.exc.OperationalError):  # our own connection may be cut too
                for event in ledger.read(kinds=["experiment.ended"], limit=100_000):
                    ended.add(event.stream.removeprefix("experiment/"))
            for each in specs.keys() - ended:
                if specs[each].executor in ("furnace", "dask") or specs[each].steps:
                    _answer(erin, each, resolved)
            _say(folder / "share", min(1.0, (len(ended) + AT_ONCE) / experiments))
            # A notebook has one after the other; it keeps pace with the service.
            noted, wanted = len(_in(notebook, "experiment.ended")), 1 + len(specs) // 2
            _say(folder / "notebook.wanted", wanted)
            time.sleep(0.05)
    found = _judge(folder, ledger, blobs, specs, resolved)
    found["in_a_notebook"] = _judge_notebook(folder, notebook)
    ledger.close()
    notebook.close()
    killed = json.loads((folder / "kills.json").read_text())
    return {**found, "seconds": round(time.monotonic() - began), "kills": killed}


def _say(file: Path, value: float) -> None:
    """Write a number for another process, all of it or nothing."""
    draft = file.with_suffix(".draft")
    draft.write_text(str(value))
    draft.replace(file)


def _in(ledger: Ledger, kind: str) -> list[str]:
    """Return the experiments of a ledger that have an event of a kind."""
    return [event.stream.removeprefix("experiment/") for event in ledger.read(kinds=[kind], limit=100_000)]


def _answer(erin: Persistent, experiment: str, resolved: set) -> None:
    """Approve what waits for approval, and say of what nobody knows that it has failed."""
    for asked in erin.again("pending", experiment):
        with contextlib.suppress(Conflict):  # it was said, and the answer was lost
            if asked["for"] == "approval":
                erin.again("approve", experiment, asked["trial"], asked["digest"])
            else:
                resolved.add((experiment, asked["trial"]))
                erin.again("say", experiment, asked["trial"], "failed", reason="nobody knows")


def _kills_left(folder: Path) -> bool:
    file = folder / "kills.json"
    return not file.exists() or json.loads(file.read_text())["left"] > 0


def _judge(folder, ledger, blobs, specs, resolved) -> dict:
    begun = collections.Counter(
        line.split()[1]
        for line in (folder / "world.log").read_text().splitlines()
        if line.startswith("begin")
    )
    assert [key for key, times in begun.items() if times > 1] == []  # nothing ran twice
    chain, jobs, devices = ledger.verify(), nursery_of.scheduler(folder), made_of(folder)
    assert chain.ok
    assert {each for each, runs in devices.items() if len(runs) > 1} == set()  # nor in the laboratory
    shared = list(ledger.all(stream=account_stream("shared")))
    same = failed = observed = 0
    for each, spec in specs.items():
        events = list(ledger.all(stream=stream(each)))
        state, report = fold(events), verify(events, chain=chain, blobs=blobs)
        assert report.ok, report
        assert [event.kind for event in events].count("finding.made") == 1
        assert len(state.trials) == TRIALS or "trials in a row failed" in state.reason
        if spec.budget.account:
            assert list(account_faults(state, shared)) == []
        for trial in state.trials:
            if spec.executor == "job" or spec.steps:
                job = jobs.status(key_of(each, trial.number, "compute") if spec.steps else trial.key)
                done = job is not None and job.state is JobState.COMPLETED
            elif spec.executor == "perovskite_film":
                measured = devices.get(("spectrometer", idempotency_key(trial.key, 5)), [{}])[0]
                done = measured.get("state") == "done"
            else:
                # What a person was asked about is settled by that person's word; what found no cluster never began.
                done = (each, trial.number) not in resolved
                done = done and (spec.executor != "dask" or trial.key in begun)
            # Nothing is lost: what its executor completed is there, with the value that it gave.
            assert (trial.state == "observed") == done, (each, trial)
            if done:
                observed += 1
                if spec.executor == "perovskite_film":
                    for name in ("peak_energy", "peak_intensity"):
                        assert trial.values[name]["value"] == measured["values"][name][0]
                else:
                    assert trial.values["y"]["value"] == law(trial.parameters["x"])
                if spec.steps:
                    assert trial.values["z"]["value"] == round(law(trial.parameters["x"]) ** 2, 12)
        killed = sum(trial.state == "failed" for trial in state.trials)
        failed += killed
        if not killed:
            assert outcome(state) == undisturbed(folder, state)
            same += 1
    trials = [trial for each in specs for trial in fold(ledger.all(stream=stream(each))).trials]
    begun_here = {each for each in begun if not each.startswith("function-")}
    assert begun_here <= {execution.key for trial in trials for _, execution in trial.executions}
    return {"experiments": len(specs), "observed": observed, "failed": failed, "same_as_undisturbed": same}


def _judge_notebook(folder: Path, ledger: Ledger) -> dict:
    """Check what a notebook computed by its own function; that none of its calls was made twice has been looked at."""
    lines = [line.split() for line in (folder / "world.log").read_text().splitlines()]
    ended, asked = ({called for word, called in lines if word == each} for each in ("end", "asked"))
    chain, same, trials = ledger.verify(), 0, []
    assert chain.ok
    known = _in(ledger, "experiment.created")
    for each in known:
        events = list(ledger.all(stream=stream(each)))
        state = fold(events)
        assert verify(events, chain=chain).ok
        assert state.state == "ended"
        assert len(state.trials) == TRIALS or "trials in a row failed" in state.reason
        for trial in state.trials:
            # Nothing is lost: a call that came to its end is there, unless it was killed before it could say so.
            assert trial.state == ("failed" if kernel.called(trial.parameters["x"]) in asked else "observed")
            if trial.state == "observed":
                assert kernel.called(trial.parameters["x"]) in ended
                assert trial.values["y"]["value"] == law(trial.parameters["x"])
        trials += state.trials
        if all(trial.state == "observed" for trial in state.trials):
            assert outcome(state) == undisturbed(folder, state)
            same += 1
    calls = {kernel.called(trial.parameters["x"]) for trial in trials}
    assert len(calls) == len(trials)
    assert {each for each in ended if each.startswith("function-")} <= calls
    observed = sum(trial.state == "observed" for trial in trials)
    return {
        "experiments": len(known),
        "observed": observed,
        "failed": len(trials) - observed,
        "same_as_undisturbed": same,
    }


def made_of(folder: Path) -> dict:
    """Return what each run gave that physically began in the laboratory, by device and key, from the devices' own file."""
    file = sqlite3.connect(folder / "twin" / "world.sqlite")
    found: dict = collections.defaultdict(list)
    for device, key, gave in file.execute("SELECT device, key, outcome FROM runs ORDER BY number"):
        found[device, key].append(json.loads(gave or "{}"))
    file.close()
    return found


def test_a_few_experiments_through_many_kills(tmp_path):
    found = chaos(tmp_path, experiments=5, kills=20, seed=1, timeout_s=200)
    print(found)
    assert found["same_as_undisturbed"] > 0
    assert found["in_a_notebook"]["observed"] > 0
    assert min(found["kills"][role] for role in ("runner", "api", "worker", "gateway", "notebook")) > 0


@pytest.fixture
def database(postgresql):
    """Return the address of a database of this test's own."""
    name = f"chaos_{uuid.uuid4().hex}"
    engine = sa.create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return postgresql.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def slurm(monkeypatch):
    """Return the folder of a Slurm of this test's own, whose daemons the nursery kills and starts."""
    needed()
    with SlurmCluster() as cluster:
        # The jobs' account is this one.
        for name, value in (("SLURM_CONF", str(cluster.conf)), ("PATH", PATH)):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(nursery_of, "SLURM", str(cluster.folder))
        yield str(cluster.folder)


@pytest.mark.slow
def test_lost_connections_to_the_database_lose_nothing_either(tmp_path, database):
    found = chaos(tmp_path, experiments=12, kills=80, seed=3, timeout_s=280, database=database)
    print(found)
    assert found["kills"]["connection"] > 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_slurm_whose_daemons_are_killed_loses_nothing_either(tmp_path, slurm):
    found = chaos(tmp_path, experiments=12, kills=80, seed=4, timeout_s=1700, slurm=slurm)
    print(found)
    assert min(found["kills"][role] for role in ("slurmctld", "slurmd", "gateway")) > 3


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_hundred_experiments_through_a_thousand_kills_of_every_part(tmp_path, database, slurm):
    found = chaos(
        tmp_path, experiments=200, kills=1000, seed=2, timeout_s=7000, database=database, slurm=slurm
    )
    print(found)
    assert sum(found["kills"].values()) >= 1000
    every = ("runner", "api", "worker", "gateway", "notebook", "slurmctld", "slurmd", "connection")
    assert min(found["kills"][role] for role in every) > 30
    assert min(found["kills"][role] for role in ("dask_scheduler", "dask_worker")) > 10
