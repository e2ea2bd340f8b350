"""Functions as trials: each is itself, whatever it is called; none is called twice; a new kernel goes on with the same one."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from threading import Barrier, Event, Lock

import numpy as np
import pytest

from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments import (
    Budget,
    Categorical,
    Cost,
    Experiment,
    Hypothesis,
    Limit,
    Objective,
    Real,
    Run,
    Threshold,
    When,
    notebook,
    store,
)
from genesis_workbench.experiments.checking import Executors
from genesis_workbench.experiments.executors import _identity
from genesis_workbench.experiments.executors import function as functions
from genesis_workbench.experiments.executors._base import Failure, Observation, Place, Unknown
from genesis_workbench.experiments.executors._identity import find, name_of
from genesis_workbench.experiments.executors.function import FunctionExecutor, named
from unit.experiments.bench import ALICE, until


@pytest.fixture
def place(tmp_path):
    return Place(Site(name="test"), State(tmp_path))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, place):
    """A bare notebook whose state lies in a folder of its own."""
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    mine = store.LedgerExperiments(ledger, ALICE, executors=Executors(place))
    monkeypatch.setattr(notebook, "store", lambda: mine)
    yield mine
    ledger.close()


@pytest.fixture
def new_kernel(monkeypatch, home, place):
    """Begin as another process would: nothing is known but the state folder and what cells define again."""

    def begin(run):
        monkeypatch.setattr(_identity, "_functions", {})
        return Run(run.id, store.LedgerExperiments(home._ledger, ALICE, executors=Executors(place)))

    return begin


def threshold(metric="y", **more):
    return Hypothesis(statement="s", rule=Threshold(metric=metric, at_least=0.5, **more))


def experiment(executor, **changes):
    fields = {
        "title": "t",
        "hypothesis": threshold(),
        "space": [Real("x", 0, 1)],
        "objective": Objective("y"),
        "proposer": "sobol",
        "budget": Budget(trials=3),
    }
    return Experiment(executor=executor, **{**fields, **changes})


def seen(run, outcome="y"):
    run.wait(timeout_s=60)
    return run.trials()[outcome].tolist()


def cell(text, **names):
    """Run a cell of a notebook whose module has these names, and return its names."""
    module = {"__name__": __name__, **names}
    exec(text, module)  # noqa: S102 - a cell of this test
    return module


def parabola(x):
    """A function that a new kernel has by importing its module."""
    return 1 - (x - 0.4) ** 2


class Scaled:
    """An object that can be called."""

    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by + 0 * x

    def doubled(self, x):
        """A method."""
        return 2 * self.by + 0 * x


def test_functions_of_one_name_are_not_taken_for_each_other():
    a, b = experiment(lambda x: 1.0 + 0 * x).launch(), experiment(lambda x: -1.0 + 0 * x).launch()
    assert seen(a) == [1.0] * 3
    assert seen(b) == [-1.0] * 3

    def make(k):
        def f(x):
            return k + 0 * x

        return f

    runs = [experiment(make(k)).launch() for k in (10.0, 20.0, 30.0)]
    assert [seen(run)[0] for run in runs] == [10.0, 20.0, 30.0]


def test_a_cell_that_is_run_again_with_another_text_does_not_change_what_runs():
    first = cell("def f(x):\n    return 1.0 + 0 * x")["f"]
    run = experiment(first, budget=Budget(trials=6), parallel=1).launch()
    for event in run.follow():
        if event["kind"] == "trial.observed":
            break
    second = cell("def f(x):\n    return 2.0 + 0 * x")["f"]
    assert seen(experiment(second).launch()) == [2.0] * 3
    assert seen(run) == [1.0] * 6


@pytest.mark.parametrize(
    ("function", "gives"),
    [
        (functools.partial(lambda x, k: k + 0 * x, k=4.0), 4.0),
        (Scaled(3.0), 3.0),
        (Scaled(3.0).doubled, 6.0),
    ],
)
def test_whatever_can_be_called_is_called(function, gives):
    assert seen(experiment(function).launch()) == [gives] * 3


def test_a_function_is_told_by_what_it_does_and_closes_over():
    def make(value):
        def f(x):
            return value

        return f

    # A lock stands for what cannot be looked into, such as a connection.
    pairs = [(1, 2), ("a", "b"), ({"k": [1]}, {"k": [2]}), (Scaled(1), Scaled(2)), (Lock(), Lock())]
    for one, another in pairs:
        assert name_of(make(one)) == name_of(make(one))
        assert name_of(make(one)) != name_of(make(another))
        assert find(name_of(make(another)))(0) is another
    # Where its text stands, and what stands around it, says nothing.
    text = "def f(x):\n    return x in {'a', 'b', 'c'}"
    assert name_of(cell(text)["f"]) == name_of(cell("\n\n# a word\n" + text)["f"])


def test_a_function_that_does_not_take_the_parameters_is_refused_before_any_trial():
    with pytest.raises(InvalidInput, match=r"cannot be called with x: .*'z'"):
        experiment(lambda z: z)
    space = [Categorical("c", ["a", "b"]), Real("x", 0, 1, when=When("c", ["a"]))]
    with pytest.raises(InvalidInput, match="not always active needs a default"):
        experiment(lambda c, x: x, space=space)
    experiment(lambda c, x=0.0: x, space=space)
    experiment(lambda **given: given["x"])


def test_what_the_rule_looks_at_and_what_a_trial_cost_are_outcomes_without_being_declared():
    def bake(x):
        return {"y": x, "temperature": 300.0, "power": 5.0, "minutes": 2.0}

    run = experiment(
        bake,
        hypothesis=threshold("temperature", unit="K"),
        outcome_constraints=[Limit(metric="power", at_most=6, unit="W")],
        cost={"instrument_minutes": Cost(10, actual="minutes")},
        budget=Budget(trials=2, instrument_minutes=60),
    ).launch()
    assert run.wait(timeout_s=60)["decision"] == "supported"
    state = run.state()
    assert state.spending.spent["instrument_minutes"] == 4.0
    assert state.trials[0].values["temperature"]["unit"] == "K"


def test_numbers_that_were_not_declared_are_kept_and_what_is_no_number_is_named():
    def bake(x):
        return {"y": x, "temperature": (300.0, 0.5), "curve": [1, 2], "note": "hot"}

    run = experiment(bake).launch()
    assert seen(run, "temperature") == [300.0] * 3
    observed = [event["body"] for event in run.events() if event["kind"] == "trial.observed"]
    assert observed[0]["values"]["temperature"] == {"value": 300.0, "unit": "", "uncertainty": 0.5}
    assert set(observed[0]["unusable"]) == {"curve", "note"}
    assert run.verify().ok


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        (1.0, 2.0, 3.0),
        float("nan"),
        10**400,
        "high",
        np.ma.array([1.0, 2.0], mask=[True, True]).mean(),
        np.timedelta64(5, "ns"),
    ],
)
def test_nonsense_fails_its_trial_and_not_the_experiment(nonsense):
    run = experiment(lambda x: nonsense, budget=Budget(trials=1)).launch()
    run.wait(timeout_s=60)
    assert "nothing that can be used" in run.trials()["reason"].iloc[0]


def test_a_pair_of_a_number_and_a_unit_is_taken_in_that_unit():
    run = experiment(lambda x: (900.0, "mg"), objective=Objective("y", "g"), hypothesis=threshold(unit="g"))
    finding = run.launch().wait(timeout_s=60)
    assert (finding["decision"], finding["evidence"]["best"]["values"]["y"]["unit"]) == ("supported", "mg")


async def soon(x):
    return x


def in_pieces(x):
    yield x


@pytest.mark.parametrize(("function", "kind"), [(soon, "asynchronous"), (in_pieces, "a generator")])
def test_a_function_whose_call_gives_no_values_is_refused_before_any_trial(function, kind):
    with pytest.raises(InvalidInput, match=f"is {kind}: a call of it gives no values"):
        experiment(function)


def test_calls_of_one_function_do_not_overlap_unless_that_is_asked_for():
    stage, overlaps = {}, []

    def measure(x):
        stage["at"] = x
        time.sleep(0.01)
        overlaps.append(stage["at"] != x)
        return stage["at"]

    experiment(measure, budget=Budget(trials=8)).launch().wait(timeout_s=60)
    assert not any(overlaps)
    together = Barrier(4)
    run = experiment(lambda x: together.wait(30) and x, budget=Budget(trials=4), parallel=4).launch()
    run.wait(timeout_s=60)
    assert len(run.state().observed) == 4


def test_an_experiment_that_is_stopped_lets_go_of_calls_that_hang(monkeypatch):
    monkeypatch.setattr(functions, "_MOST_AT_ONCE", 2)
    go = Event()
    for _ in range(3):
        hanging = experiment(lambda x: go.wait(60) and 1.0, parallel=2, budget=Budget(trials=4)).launch()
        with pytest.raises(DeadlineExceeded):
            hanging.wait(timeout_s=0.2)
        hanging.stop("it hangs")
        hanging.wait(timeout_s=60)
    assert len(seen(experiment(parabola).launch())) == 3
    go.set()


HANGING = """
import time
import genesis_workbench as gw
from genesis_workbench.core.errors import DeadlineExceeded
run = gw.Experiment(
    title="t", space=[gw.Real("x", 0, 1)], objective=gw.Objective("y"), budget=gw.Budget(trials=3), proposer="sobol",
    hypothesis=gw.Hypothesis(statement="s", rule=gw.Threshold(metric="y", at_least=0.5)),
    executor=lambda x: time.sleep(600),
).launch()
try:
    run.wait(timeout_s=0.5)
except DeadlineExceeded:
    run.stop("it hangs")
    run.wait()
print("the end", flush=True)
"""


def test_a_call_that_hangs_and_was_let_go_of_does_not_keep_python_from_ending(tmp_path):
    environment = os.environ | {"GENESIS_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "the end"


def test_a_new_kernel_goes_on_with_a_function_that_its_module_has(new_kernel):
    run = experiment(parabola, budget=Budget(trials=6), parallel=1).launch()
    next(each for each in run.follow() if each["kind"] == "trial.observed")
    assert seen(new_kernel(run)) == pytest.approx([parabola(x) for x in run.trials()["x"]])


def test_a_new_kernel_without_the_function_spends_no_trial_and_says_what_to_run(new_kernel):
    text = "def heat(x):\n    return 1.0 + 0 * x"
    run = experiment(cell(text)["heat"], budget=Budget(trials=8), parallel=2).launch()
    next(each for each in run.follow() if each["kind"] == "trial.observed")
    later = new_kernel(run)
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"heat' is not known in this process. Run the cell"):
            later.wait(timeout_s=60)
    assert set(later.trials()["state"]) <= {"observed", "proposed"}
    # Another text under its name is not taken for it.
    experiment(cell("def heat(x):\n    return 9.0 + 0 * x")["heat"])
    with pytest.raises(Unavailable, match="is not known"):
        later.wait(timeout_s=60)
    experiment(cell(text)["heat"])
    assert seen(later) == [1.0] * 8


def test_a_function_that_was_changed_is_named(new_kernel, monkeypatch):
    run = experiment(parabola, parallel=1).launch()
    next(each for each in run.follow() if each["kind"] == "trial.proposed")
    later = new_kernel(run)
    monkeypatch.setattr(sys.modules[__name__], "parabola", lambda x: x)
    with pytest.raises(Unavailable, match="another one than the experiment was launched with"):
        later.wait(timeout_s=60)


def test_a_call_is_written_down_before_it_is_made(place, tmp_path):
    calls, notes = [], tmp_path / "calls"

    def heat(x):
        calls.append([each.name for each in notes.iterdir()])
        return x

    _, arguments = named(heat, {}, [("y", "")])
    executor = FunctionExecutor(place)
    executor.submit("k1", {"x": 0.5}, arguments)
    found = until(lambda: executor.observe("k1"))
    assert found == Observation({"y": (0.5, "", None)})
    assert calls == [["k1.json"]]
    # Another process is told the outcome, and does not call again.
    other = FunctionExecutor(place)
    other.submit("k1", {"x": 0.5}, arguments)
    assert other.observe("k1") == found
    assert len(calls) == 1
    # What a process wrote that died at once, or over it, nobody knows.
    (notes / "k2.json").write_text('{"process": ["elsewhere", 1, 0]}')
    (notes / "k3.json").write_text("")
    assert other.observe("k3") is None, "it may just be being written"
    os.utime(notes / "k3.json", (0, 0))
    for key in ("k2", "k3"):
        other.submit(key, {"x": 0.5}, arguments)
        assert isinstance(other.observe(key), Unknown)
    assert len(calls) == 1


def test_a_folder_that_takes_nothing_fails_no_trial(place, tmp_path):
    _, arguments = named(parabola, {}, [("y", "")])
    (tmp_path / "calls").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="cannot be written down"):
        FunctionExecutor(place).submit("k1", {"x": 0.5}, arguments)


def test_a_call_that_waits_says_so_and_can_be_canceled(place, monkeypatch):
    go = Event()
    _, arguments = named(lambda x: go.wait(30) and 1.0, {}, [("y", "")])
    executor = FunctionExecutor(place)
    monkeypatch.setattr(functions, "_MOST_AT_ONCE", 2)
    for number in range(3):
        executor.submit(f"k{number}", {"x": 0.5}, arguments)
    assert "waits until one of 2 calls" in executor.standing("k2").words
    executor.cancel("k2")
    go.set()
    assert executor.observe("k2") == FunctionExecutor(place).observe("k2") == Failure("It was canceled.")
    assert until(lambda: executor.observe("k0")).values["y"][0] == 1.0


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from threading import Event, Lock
import genesis_workbench as gw
from genesis_workbench.core.ledger import Ledger

here, mode = Path(sys.argv[1]), sys.argv[2]

def heat(x):
    with open(here / "world.log", "a") as world:
        world.write(f"{x}\\n")
    while mode in ("slow", "dies in it") and not (here / "go").exists():
        time.sleep(0.01)
    return x

def world_log():
    return (here / "world.log").exists() and (here / "world.log").read_text()

def die_over(kind):
    append = Ledger.append_many
    def dying(self, new, **more):
        if any(event.kind == kind for event in new):
            while not world_log() or (mode == "dies after it" and b"values" not in b"".join(
                note.read_bytes() for note in (here / "state" / "calls").glob("*.json")
            )):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        return append(self, new, **more)
    Ledger.append_many = dying

if mode.startswith("dies"):
    die_over("trial.started")
if mode == "slow" or mode.startswith("dies"):
    run = gw.Experiment(
        title="t", hypothesis=gw.Hypothesis(statement="s", rule=gw.Threshold(metric="y", at_least=2)),
        space=[gw.Real("x", 0, 1)], objective=gw.Objective("y"), executor=heat, budget=gw.Budget(trials=2),
        proposer="sobol", parallel=1,
    ).launch()
    (here / "id").write_text(run.id)
else:
    run = gw.experiments.get((here / "id").read_text())
    (here / "looks").touch()
try:
    print(run.wait(timeout_s=60)["decision"])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def process(tmp_path):
    """Begin a process that does as `SCRIPT` says, on a state folder of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTERHUB")}
    environment |= {"GENESIS_STATE": str(tmp_path / "state"), "PYTHONPATH": "extensions"}
    begun = []

    def begin(mode):
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), mode]
        begun.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()
        each.communicate()


@pytest.fixture
def there(tmp_path):
    """What the processes of a test have left."""
    opened = []

    def look():
        opened.append(Ledger.open(State(tmp_path / "state").ledger_url()))
        run = Run(
            (tmp_path / "id").read_text(), store.LedgerExperiments(opened[-1], notebook.me(), executors={})
        )
        return run, (tmp_path / "world.log").read_text().splitlines()

    yield look
    for each in opened:
        each.close()


def test_a_kill_in_a_call_before_its_event_calls_nothing_twice(process, there):
    assert process("dies in it").wait(60) == -signal.SIGKILL
    said = process("goes on").communicate(timeout=60)[0]
    assert "Conflict The experiment waits for a person: trial 1 for resolution" in said
    run, world = there()
    assert len(world) == 1
    assert "whether the function ran to its end is not known" in run.pending()[0]["why"]


def test_a_kill_after_a_call_loses_no_outcome(process, there):
    assert process("dies after it").wait(60) == -signal.SIGKILL
    assert process("goes on").communicate(timeout=60)[0] == "not supported\n"
    run, world = there()
    assert len(world) == 2
    assert run.trials()["state"].tolist() == ["observed"] * 2


def test_a_second_notebook_that_looks_takes_nothing_from_the_first(process, there, tmp_path):
    first = process("slow")
    until(lambda: (tmp_path / "world.log").exists() and (tmp_path / "id").exists())
    second = process("looks")
    until((tmp_path / "looks").exists)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(3)  # long enough to look many times
    (tmp_path / "go").touch()
    assert first.communicate(timeout=60)[0] == "not supported\n"
    assert second.communicate(timeout=60)[0] == "not supported\n"
    run, world = there()
    assert len(world) == 2
    assert [event["kind"] for event in run.events()].count("trial.observed") == 2
    assert "trial.unknown" not in {event["kind"] for event in run.events()}
