"""Trials as calls of a function of a notebook's process.

The service calls nothing, for a function lives in one process, and nothing serialised as Python objects is taken from people.
There a trial waits until the notebook of the person who launched it has made the call, and told what came of it
(:mod:`genesis_workbench.experiments.calling`).
"""

from __future__ import annotations

import atexit
import inspect
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.core import processes
from genesis_workbench.core.errors import InvalidInput, NotFound, Unavailable
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Place,
    Signature,
    Standing,
    Unknown,
)
from genesis_workbench.experiments.executors._identity import check_takes, find, name_of, readable
from genesis_workbench.experiments.executors._notes import Notes
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit, number

_MOST_OUTCOMES = 100
_MOST_AT_ONCE = 64
_GRACE_S = 10.0
"""So long a process that ends waits for its calls: of one that it cuts off nobody knows what became."""
_lost = (
    "The process in which its function ran has ended; whether the function ran to its end is not known. Have it run "
    "again with resolve(trial, 'again') if that does no harm."
)


def named(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    outcomes: Sequence[tuple[str, str]],
    space: Sequence[Any] = (),
) -> tuple[str, dict[str, Any]]:
    """Make a function known by its name, and return executor and arguments that name it.

    Parameters
    ----------
    outcomes : sequence of (name, unit)
        What it gives, besides what the arguments say. Of two units for one name, the first counts.
    space : sequence of parameters
        What it is called with.

    Raises
    ------
    InvalidInput
        If it does not take the parameters of the space.
    """
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        kind = "asynchronous" if inspect.iscoroutinefunction(function) else "a generator"
        raise InvalidInput(
            f"The function {readable(function)!r} is {kind}: a call of it gives no values. Give one that returns them; it is "
            "called in a thread of its own, in which asyncio.run(...) may be used.",
            where="executor",
        )
    always = [each.name for each in space if each.when is None]
    sometimes = [each.name for each in space if each.when is not None]
    if space and (why := check_takes(function, always, sometimes)):
        raise InvalidInput(
            f"The function {readable(function)!r} cannot be called with {', '.join([*always, *sometimes])}: {why}. It takes "
            "each parameter of the space by its name; one that is not always active needs a default.",
            where="executor",
        )
    gives = dict(reversed(outcomes)) | dict(arguments.get("outcomes", {}))
    return "function", {**arguments, "function": name_of(function), "outcomes": gives}


class FunctionArguments(Record):
    """Which function, and what it gives."""

    function: str = Field(
        description="Its name, such as ``__main__:yield_g@3f2a9c1b77d0``; without what follows the @, the one of this name that "
        "was given last."
    )
    outcomes: dict[str, Unit] = Field(min_length=1, description="What it returns: name to unit.")
    simulated: bool = Field(True, description="Whether what it gives comes from a simulator.")


class FunctionExecutor:
    """Calls the function, each call in a thread of its own. What it returns is a number, or a dictionary of outcomes.

    How many calls are under way at once the experiment says, by its `parallel`. One that hangs is let go of when its trial is
    canceled: Python cannot end it, and nothing waits for it. A call is written down before it is made, and what came of it afterwards: no key is called twice, and another process
    learns the outcome. A trial whose process ended in between waits for a person's word.

    Attributes
    ----------
    elsewhere : bool
        Whether calls are made in other processes, which tell what came of them: in the service.
    """

    name: ClassVar[str] = "function"
    settings: ClassVar[type[Record]] = FunctionArguments
    code_only: ClassVar[str] = (
        "a function lives in your own process. Give it as `executor` of an Experiment, and let the notebook wait."
    )

    def __init__(self, place: Place) -> None:
        self.elsewhere = place.service
        self._notes = Notes(place.state.folder / "calls", "call of a function")
        self._calls: dict[str, Future[Outcome]] = {}
        self._waiting: deque[tuple[str, Callable[[], Outcome]]] = deque()
        self._wanted: set[str] = set()  # calls under way whose outcome somebody waits for
        self._lock = threading.RLock()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a function that is not known here. See :class:`Executor`."""
        given = read(FunctionArguments, self.name, arguments)
        if not self.elsewhere:
            find(given.function)

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        return Signature(None, arguments["outcomes"], simulated=bool(arguments.get("simulated", True)))

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Call the function, once a process knows it. See :class:`Executor`."""
        if self.elsewhere:
            return
        with self._lock:
            if key in self._calls or self._notes.read(key) is not None:
                return
            try:
                function = find(str(arguments["function"]))
            except NotFound as error:
                # Nothing is wrong with the trial: it starts when the function is there.
                raise Unavailable(error.message) from error
            if self._notes.begin(key, {"process": processes.identity(os.getpid())}):
                if not self._calls:
                    atexit.register(self._leave)
                given = (key, function, dict(parameters), arguments["outcomes"])
                self._calls[key] = Future()
                self._waiting.append((key, partial(self._call, *given)))
                self._begin()

    def observe(self, key: str) -> Outcome | None:
        """Return what the function returned, here or in another process. See :class:`Executor`."""
        if self.elsewhere:
            return None
        call = self._calls.get(key)
        if call is not None:
            if call.cancelled():
                return Failure("It was canceled.")
            return call.result() if call.done() else None
        kept = self._notes.read(key) or {}
        if "failed" in kept:
            return Failure(kept["failed"])
        if "values" in kept:
            return Observation({name: tuple(seen) for name, seen in kept["values"].items()})
        writing = not kept and self._notes.fresh(key)
        return None if writing or processes.lives(kept.get("process")) else Unknown(_lost)

    def then(self, key: str, act: Callable[[], None]) -> bool:
        """Do `act` when a call of this process has ended; False where this process has not made it."""
        call = self._calls.get(key)
        if call is not None:
            call.add_done_callback(lambda _: act())
        return call is not None

    def begun(self, key: str) -> bool:
        """Whether a process has written down that it makes this call."""
        return self._notes.read(key) is not None

    def standing(self, key: str) -> Standing:
        """Return what it waits for. See :class:`Executor`."""
        if self.elsewhere:
            return Standing("waits for the notebook that has its function: run.wait() there")
        call = self._calls.get(key)
        if call is not None and not call.running() and not call.done():
            return Standing(
                f"waits until one of {_MOST_AT_ONCE} calls that are under way in this process has ended"
            )
        return Standing()

    def cancel(self, key: str) -> None:
        """Cancel a call that waits, and wait no longer for one that runs. See :class:`Executor`."""
        call = self._calls.get(key)
        if call is not None and call.cancel():
            self._keep(key, {"failed": "It was canceled."})
        self._let_go(key)

    def _begin(self) -> None:
        """Begin calls that wait, as many as may be under way."""
        with self._lock:
            while self._waiting and len(self._wanted) < _MOST_AT_ONCE:
                key, call = self._waiting.popleft()
                if self._calls[key].set_running_or_notify_cancel():
                    self._wanted.add(key)
                    # One that hangs must not keep Python from ending.
                    threading.Thread(
                        target=self._make, args=(key, call), name=f"trial {key[:8]}", daemon=True
                    ).start()

    def _make(self, key: str, call: Callable[[], Outcome]) -> None:
        outcome = call()
        self._let_go(key)
        self._calls[key].set_result(outcome)

    def _let_go(self, key: str) -> None:
        with self._lock:
            self._wanted.discard(key)
        self._begin()

    def _leave(self) -> None:
        wait_for([self._calls[key] for key in list(self._wanted)], timeout=_GRACE_S)

    def _call(
        self, key: str, function: Callable[..., Any], parameters: dict[str, Any], outcomes: Mapping[str, str]
    ) -> Outcome:
        outcome: Observation | Failure
        try:
            outcome = _outcome(function(**parameters), outcomes)
        except BaseException as error:  # noqa: BLE001 - whatever it raises, also SystemExit, is what became of the trial
            outcome = Failure(f"{type(error).__name__}: {error}"[:500])
        became: dict[str, Any] = (
            {"failed": outcome.reason} if isinstance(outcome, Failure) else {"values": dict(outcome.values)}
        )
        self._keep(key, became)
        return outcome

    def _keep(self, key: str, became: dict[str, Any]) -> None:
        # This process knows the outcome without the note; only a later one would have to ask a person.
        with suppress(OSError):
            self._notes.write(key, {"process": processes.identity(os.getpid()), **became})


def _outcome(result: Any, outcomes: Mapping[str, str]) -> Observation | Failure:
    """Return what a function gave: what was declared in its unit, and whatever numbers it gave besides."""
    if not isinstance(result, Mapping):
        if len(outcomes) != 1:
            return Failure(
                f"The function returned {result!r:.80}; a dictionary of {', '.join(outcomes)} was expected."
            )
        result = {next(iter(outcomes)): result}
    if not any(name in result for name in outcomes):
        return Failure(f"The function returned nothing for {', '.join(outcomes)}.")
    names = [
        *(name for name in outcomes if name in result),
        *(name for name in result if name not in outcomes),
    ]
    values = {}
    for name in names[:_MOST_OUTCOMES]:
        given = result[name]
        value, more = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        unit, uncertainty = (more, None) if isinstance(more, str) else (outcomes.get(name, ""), more)
        values[str(name)[:80]] = (_plain(value), unit, _plain(uncertainty))
    return Observation(values)


def _plain(value: Any) -> Any:
    """Return a number, one of numpy's too, as Python's own; of anything else its text, to be named as unusable."""
    value = number(value)
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**300):
        return value
    return f"{value!r:.80}"
