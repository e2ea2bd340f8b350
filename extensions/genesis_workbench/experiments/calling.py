"""Functions of a notebook inside a hub: the service asks for calls, the notebook that waits makes them and tells what came of them.

Its functions are called by the same executor as in a bare notebook, with the same notes in the person's home: no call is made
twice, whichever notebook waits, and of one that a dead kernel cut off the person decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext, suppress
from typing import Any

from genesis_workbench.core import busy
from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, Unavailable
from genesis_workbench.core.ledger import Event
from genesis_workbench.core.service import me
from genesis_workbench.experiments.executing import Running, due, running
from genesis_workbench.experiments.executors._base import Failure, Observation, Outcome, Unknown
from genesis_workbench.experiments.executors.function import FunctionExecutor
from genesis_workbench.experiments.people import Reading, Returned
from genesis_workbench.experiments.protocol import Experiments
from genesis_workbench.experiments.state import fold, fold_on

_LOOK_S = 5.0
"""Between two looks at calls that other notebooks make, or that could not be told."""
_PATIENCE_S = 10.0
"""So long another notebook of the same home may take to begin a call before who waits here is told what is lacking."""

Events = Generator[dict[str, Any] | None, None, None]


def attended(
    store: Experiments, experiment: str, events: Callable[[float | None], Events], beat_s: float | None
) -> Events:
    """Pass on the events of an experiment; meanwhile make the calls that it asks its owner's notebook for.

    Parameters
    ----------
    events : callable
        Gives the events, and None at least about every so many seconds.
    beat_s : float, optional
        While nothing happens give None, at least about so often.

    Raises
    ------
    Unavailable
        If a function is not known in this process, and no other one of the same home calls it; says what to run again.
    """
    found = store.events(experiment)
    created = next((each["body"] for each in found if each["kind"] == "experiment.created"), None)
    if created is None or not _calls_functions(created["spec"]) or created["owner"] != me().name:
        yield from events(beat_s)
        return
    calls = Calls(store, experiment, found)
    calls.look()
    with closing(events(min(beat_s or _LOOK_S, _LOOK_S))) as following:
        for event in following:
            calls.look(event)
            if event is None and beat_s is None:
                continue
            with busy.working(calls.what) if calls.open else nullcontext():
                yield event


def _calls_functions(spec: dict[str, Any]) -> bool:
    steps = spec.get("steps") or ()
    return FunctionExecutor.name in (spec.get("executor"), *(step["executor"] for step in steps))


class Calls:
    """The calls that one experiment asks this person for.

    Parameters
    ----------
    found : list of dict
        Its first events.

    Attributes
    ----------
    open : bool
        Whether calls of this process are under way.
    what : str
        What is worked at, for people.
    """

    def __init__(self, store: Experiments, experiment: str, found: list[dict[str, Any]]) -> None:
        from genesis_workbench.experiments.store import local_executors

        executor = local_executors()[FunctionExecutor.name]
        assert isinstance(executor, FunctionExecutor)  # noqa: S101 - its name says so
        self._store, self._executor = store, executor
        while more := store.events(experiment, found[-1]["seq"]):
            found += more
        self._state = fold(Event(**event) for event in found)
        self._made: set[str] = set()
        self._told: set[str] = set()
        self._lacking: dict[str, float] = {}
        self._refused: GenesisError | None = None
        self.what = f"the experiment {self._state.spec.title}"

    @property
    def open(self) -> bool:
        """Whether calls of this process are under way."""
        return bool(self._made - self._told)

    def look(self, event: dict[str, Any] | None = None) -> None:
        """Take up an event, make the calls that are asked for, and tell what is known of others."""
        if self._refused is not None:
            raise self._refused
        if event is not None and event["seq"] > self._state.seq:
            fold_on(self._state, [Event(**event)])
        asked = running(self._state)
        for key in self._made - self._told - {each.execution.key for each in asked}:
            self._executor.cancel(key)  # its trial has ended without it
            self._told.add(key)
        for each in asked:
            if each.step.executor != FunctionExecutor.name or each.execution.answer is not None:
                continue
            key, began = each.execution.key, each.execution.state != "started"
            if began or key in self._made or self._executor.begun(key):  # of its own calls no note is read
                self._hear(each)
                self._tell(each)
            else:
                self._call(each)

    def _call(self, each: Running) -> None:
        """Make a call, and tell what came of it as soon as it has ended."""
        key, step = each.execution.key, each.step
        takes = {step.name: self._executor.signature(step.arguments)}
        asked, entries = due(self._state, takes, [each])
        if entries:
            return  # the service finds the same, and fails the trial
        [ready] = asked[step.executor]
        try:
            self._executor.submit(key, ready.request.parameters, step.arguments)
        except Unavailable:
            # Another notebook of this home may have the function.
            if time.monotonic() - self._lacking.setdefault(key, time.monotonic()) > _PATIENCE_S:
                raise
            return
        self._hear(each)

    def _hear(self, each: Running) -> None:
        """Tell what comes of a call of this process as soon as it has ended; it may have been made for an earlier wait."""
        key = each.execution.key
        if key not in self._made and self._executor.then(key, lambda: self._ended(each)):
            self._made.add(key)

    def _ended(self, each: Running) -> None:
        try:
            self._tell(each)
        except GenesisError as error:
            self._refused = error  # in the thread of the call nobody would hear of it

    def _tell(self, each: Running) -> None:
        """Tell what became of a call, if that is known; where it cannot be told now, the next look tries again."""
        key = each.execution.key
        if key in self._told or (outcome := self._executor.observe(key)) is None:
            return
        if isinstance(outcome, Unknown) and each.execution.state == "unknown":
            return
        with suppress(Unavailable, DeadlineExceeded):
            self._store.tell(self._state.id, each.trial.number, key, _returned(outcome))
            self._told.add(key)


def _returned(outcome: Outcome) -> Returned:
    """Return an outcome as it is told: what is no finite number as text, for the service to name it as unusable."""
    match outcome:
        case Observation(values=values):
            readings = {
                name: Reading(value=_plain(value), unit=unit, uncertainty=_plain(uncertainty))
                for name, (value, unit, uncertainty) in values.items()
            }
            return Returned(values=readings)
        case Failure(reason=reason):
            return Returned(failed=reason)
        case Unknown(reason=reason):
            return Returned(unknown=reason)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
