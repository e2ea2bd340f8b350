"""Trials as calls of a function of this process: for a bare notebook.

The service refuses it: a function lives in one process, and nothing serialised as Python objects is taken from people.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.core.errors import NotFound
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Place,
    Signature,
    Unknown,
)
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit

_functions: dict[str, Callable[..., Any]] = {}
_lost = (
    "The process in which its function ran has ended; whether the function ran to its end is not known. Have it run "
    "again with resolve(trial, 'again') if that does no harm."
)


def named(
    function: Callable[..., Any], arguments: dict[str, Any], outcomes: Sequence[Any]
) -> tuple[str, dict[str, Any]]:
    """Make a function known by its name, and return executor and arguments that name it.

    Parameters
    ----------
    outcomes : sequence of Objective or Limit
        What it gives, where the arguments do not say.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    _functions[name] = function
    given = {getattr(each, "name", None) or each.metric: each.unit for each in outcomes}
    return "function", {"function": name, "outcomes": given, **arguments}


class FunctionArguments(Record):
    """Which function, and what it gives."""

    function: str = Field(description="Its name, such as ``__main__:yield_g``.")
    outcomes: dict[str, Unit] = Field(min_length=1, description="What it returns: name to unit.")
    simulated: bool = Field(True, description="Whether what it gives comes from a simulator.")


class FunctionExecutor:
    """Calls the function in a few threads. What it returns is a number, or a dictionary of outcomes.

    A trial whose process ended waits for a person's word.
    """

    name: ClassVar[str] = "function"
    settings: ClassVar[type[Record]] = FunctionArguments
    notebook_only: ClassVar[str] = (
        "a function lives in your own process. Put it into a script and use the executor `job`, or into an installed "
        "package and use `dask`."
    )

    def __init__(self, place: Place) -> None:
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="trial")
        self._calls: dict[str, tuple[Future[Any], Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a function that is not known here. See :class:`Executor`."""
        read(FunctionArguments, self.name, arguments)
        _known(arguments)

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        return Signature(None, arguments["outcomes"], simulated=bool(arguments.get("simulated", True)))

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Call the function. See :class:`Executor`."""
        function = _known(arguments)
        with self._lock:
            if key not in self._calls:
                self._calls[key] = (self._threads.submit(function, **parameters), arguments)

    def observe(self, key: str) -> Outcome | None:
        """Return what the function returned. See :class:`Executor`."""
        if key not in self._calls:
            return Unknown(_lost)
        call, arguments = self._calls[key]
        if not call.done():
            return None
        if call.cancelled():
            return Failure("It was canceled.")
        error = call.exception()
        if error is not None:
            return Failure(f"{type(error).__name__}: {error}"[:500])
        return _observation(call.result(), arguments["outcomes"])

    def cancel(self, key: str) -> None:
        """Cancel a call that waits; one that runs cannot be ended. See :class:`Executor`."""
        if key in self._calls:
            self._calls[key][0].cancel()


def _known(arguments: Mapping[str, Any]) -> Callable[..., Any]:
    name = str(arguments.get("function"))
    if name not in _functions:
        raise NotFound(
            f"The function {name!r} is not known in this process. Run the cell that defines it, and describe the "
            "experiment again."
        )
    return _functions[name]


def _observation(result: Any, outcomes: Mapping[str, str]) -> Outcome:
    if not isinstance(result, Mapping):
        if len(outcomes) != 1:
            return Failure(
                f"The function returned {result!r:.80}; a dictionary of {', '.join(outcomes)} was expected."
            )
        result = {next(iter(outcomes)): result}
    missing = [name for name in outcomes if name not in result]
    if len(missing) == len(outcomes):
        return Failure(f"The function returned nothing for {', '.join(missing)}.")
    values = {}
    for name in outcomes:
        if name in result:
            given = result[name] if isinstance(result[name], tuple) else (result[name], None)
            values[name] = (_number(given[0]), outcomes[name], given[1])
    return Observation(values)


def _number(value: Any) -> Any:
    """Return a number of numpy as Python's own; anything else as it is, to be named as unusable."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
