"""Trials as tasks of a Dask cluster: a function of an installed package, named by its module and never pickled.

What was asked for is written down before the cluster hears of it, and the cluster keeps each task under its key until its
outcome is written down too. Where a cluster is lost, tasks that may be repeated go to the next one; of the others nobody
knows, and a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from genesis_workbench.core.errors import NotFound, Unavailable
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Place,
    Signature,
    Unknown,
    allow_own_code,
)
from genesis_workbench.experiments.executors._notes import Notes
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit

if TYPE_CHECKING:
    from genesis_workbench.compute.cluster import GenesisCluster

_MOST_TIMES = 3


class DaskArguments(Record):
    """What a trial computes.

    Attributes
    ----------
    function : str
        ``package.module:function``, installed where the workers are. It takes the parameters and `arguments` by name, and returns a
        number, or a dictionary of outcomes.
    outcomes : dict
        Name to unit of what it returns.
    parameters : dict, optional
        Name to unit of what it takes; all of the space where left out.
    cluster : str
        Name of a cluster to attach to; where left out, one is made for the experiments of this process.
    workers : int
        Most workers of that one.
    repeatable : bool
        Whether a task whose cluster was lost may be computed again.
    simulated : bool
        Whether what it gives comes from a simulator.
    """

    function: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    outcomes: dict[str, Unit] = Field(min_length=1)
    parameters: dict[str, Unit] | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    cluster: str = ""
    workers: int = Field(2, gt=0, le=10_000)
    repeatable: bool = True
    simulated: bool = True


def call(function: str, parameters: dict[str, Any]) -> Any:
    """Import a function and call it, on a worker."""
    import importlib

    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(**parameters)


class DaskExecutor:
    """Submits each trial as one task whose key is the trial's."""

    name: ClassVar[str] = "dask"
    settings: ClassVar[type[Record]] = DaskArguments

    def __init__(self, place: Place) -> None:
        self._place, self._notes = place, Notes(place.state.folder / "tasks", "task")
        self._clusters: dict[str, GenesisCluster] = {}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse what is no function, or where the site does not allow people's own code. See :class:`Executor`."""
        allow_own_code(self._place, self.name)
        _read(arguments)

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what its arguments say. See :class:`Executor`."""
        given = _read(arguments)
        return Signature(given.parameters, given.outcomes, simulated=given.simulated)

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Write down what is asked for and hand it to the cluster. See :class:`Executor`."""
        given = _read(arguments)
        kept = self._notes.read(key)
        if kept is None:
            kept = {"parameters": dict(parameters), "arguments": given.model_dump(mode="json"), "times": 0}
            self._notes.write(key, kept)
        elif kept["times"] and not given.repeatable:
            return  # it may have begun: `observe` asks the cluster, and says where nobody knows
        if "outcome" not in kept:
            self._hand_over(key, kept, given)

    def observe(self, key: str) -> Outcome | None:
        """Ask the cluster what became of the task. See :class:`Executor`."""
        kept = self._notes.read(key)
        if kept is None:
            return Failure("What was asked for is gone from the state folder.")
        if "outcome" in kept:
            return _outcome(kept["outcome"], kept["arguments"]["outcomes"])
        given = _read(kept["arguments"])
        try:
            future = self._future(key, given)
        except _Lost as error:
            return self._lost(key, kept, given, str(error))
        if not future.done():
            return None
        if future.status in ("cancelled", "lost"):
            return self._lost(key, kept, given, "the cluster let go of it")
        raised = future.exception() if future.status == "error" else None
        kept["outcome"] = (
            {"failed": f"{type(raised).__name__}: {raised}"[:1000]} if raised else _plain(future.result())
        )
        self._notes.write(key, kept)
        self._cluster(given).client.unpublish_dataset(key)
        return _outcome(kept["outcome"], given.outcomes)

    def cancel(self, key: str) -> None:
        """Take the task from the cluster. See :class:`Executor`."""
        kept = self._notes.read(key)
        if kept is None or "outcome" in kept:
            return
        given = _read(kept["arguments"])
        try:
            future = self._future(key, given)
            future.cancel(force=True)
            self._cluster(given).client.unpublish_dataset(key)
        except (_Lost, Unavailable):
            pass  # nothing is left to cancel
        kept["outcome"] = {"failed": "It was canceled."}
        self._notes.write(key, kept)

    def close(self) -> None:
        """Leave the clusters that were attached to, and end the one that was made."""
        for each in self._clusters.values():
            each.close()
        self._clusters.clear()

    def _hand_over(self, key: str, kept: dict[str, Any], given: DaskArguments) -> None:
        client = self._cluster(given).client
        try:
            known = key in client.list_datasets()
            if known:
                return
            kept["times"] += 1
            self._notes.write(key, kept)
            parameters = {**given.arguments, **kept["parameters"]}
            future = client.submit(call, given.function, parameters, key=key, pure=False)
            client.publish_dataset(future, name=key)
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"The Dask cluster does not answer: {error}.") from error

    def _future(self, key: str, given: DaskArguments) -> Any:
        try:
            return self._cluster(given).client.get_dataset(key)
        except KeyError as error:
            raise _Lost("the cluster does not know it") from error
        except NotFound as error:
            raise _Lost(error.message) from error
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"The Dask cluster does not answer: {error}.") from error

    def _lost(self, key: str, kept: dict[str, Any], given: DaskArguments, why: str) -> Outcome | None:
        if not given.repeatable:
            return Unknown(f"Its Dask cluster was lost ({why}); whether the task was done is not known.")
        if kept["times"] >= _MOST_TIMES:
            return Failure(f"Its Dask cluster was lost {kept['times']} times; the last time, {why}.")
        try:
            self._hand_over(key, kept, given)
        except NotFound as error:
            return Failure(f"Its Dask cluster is gone: {error.message}")
        return None

    def _cluster(self, given: DaskArguments) -> GenesisCluster:
        from genesis_workbench.compute.cluster import cluster

        known = self._clusters.get(given.cluster)
        if known is not None and known.client.status == "running":
            return known
        made = cluster(attach=given.cluster) if given.cluster else cluster(workers=(0, given.workers))
        self._clusters[given.cluster] = made
        return made


class _Lost(Exception):
    """The cluster does not know a task that it was given."""


def _read(arguments: Mapping[str, Any]) -> DaskArguments:
    return read(DaskArguments, "dask", arguments)


def _plain(result: Any) -> dict[str, Any]:
    """Return a result as JSON values, or that it has failed."""
    values = result if isinstance(result, Mapping) else {"": result}
    found = {}
    for name, value in values.items():
        try:
            found[str(name)] = float(value)
        except (TypeError, ValueError):
            return {"failed": f"The function returned {value!r:.200}; a number was expected."}
    return {"values": found}


def _outcome(kept: Mapping[str, Any], outcomes: Mapping[str, str]) -> Outcome:
    if "failed" in kept:
        return Failure(kept["failed"])
    values = dict(kept["values"])
    if list(values) == [""] and len(outcomes) == 1:
        values = {next(iter(outcomes)): values[""]}
    missing = [name for name in outcomes if name not in values]
    if missing:
        return Failure(f"The function returned nothing for {', '.join(missing)}.")
    return Observation({name: (values[name], unit, None) for name, unit in outcomes.items()})
