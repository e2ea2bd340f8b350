"""Trials as tasks of a Dask cluster: a function of an installed package, named by its module and never pickled.

What was asked for is written down before the cluster hears of it, and the cluster keeps each task under its key until its
outcome is written down too. Where a cluster or a worker is lost, tasks that may be repeated are computed again; of the others
nobody knows, and a person decides. Dask itself gives the tasks of a worker that dies to another one, so a task that must not
be repeated says to the scheduler that it begins, and begins only where none of its name has said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from genesis_workbench.core.errors import NotFound, Unavailable
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Place,
    Signature,
    Standing,
    Unknown,
    allow_own_code,
)
from genesis_workbench.experiments.executors._notes import Notes
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record, Unit

if TYPE_CHECKING:
    from distributed import Future

    from genesis_workbench.compute.dask_cluster import GenesisCluster

_MOST_TIMES = 3
_ANSWER_S = 10  # how long a result may take to come from its worker; it is asked for again


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
        Whether a task whose worker or cluster was lost may be computed again.
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


class BegunBefore(Exception):
    """The worker on which a task had begun is lost, and the task must not be repeated."""


def call(function: str, parameters: dict[str, Any], once: str = "") -> Any:
    """Import a function and call it, on a worker.

    Parameters
    ----------
    once : str
        Name of which only one call is ever made; any number of them where empty.

    Raises
    ------
    BegunBefore
        If one of this name has begun.
    """
    import importlib

    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)
    if once:
        from distributed import get_client

        try:
            get_client().publish_dataset(True, name=_mark(once))
        except KeyError as error:
            raise BegunBefore(once) from error
    return found(**parameters)


def _mark(key: str) -> str:
    return f"{key} has begun"


class DaskExecutor:
    """Submits each trial as one task, published to other processes under the trial's key."""

    name: ClassVar[str] = "dask"
    settings: ClassVar[type[Record]] = DaskArguments

    def __init__(self, place: Place) -> None:
        self._place, self._notes = place, Notes(place.state.folder / "tasks", "task")
        self._clusters: dict[str, GenesisCluster] = {}
        # Kept, because a client hears of itself what became of a future that it has.
        self._futures: dict[str, Future[Any]] = {}

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse what is no function, or a cluster that is not there; or where the site does not allow people's own code.

        See :class:`Executor`.
        """
        allow_own_code(self._place, self.name)
        _check_cluster(_read(arguments))

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
        if kept["times"] or "outcome" in kept:
            return
        try:
            self._hand_over(key, kept, given)
        except NotFound as error:
            # The service goes on with others, and with this one when there is a cluster; whoever waits in a notebook is told.
            if not self._place.service:
                raise Unavailable(error.message) from error

    def observe(self, key: str) -> Outcome | None:
        """Ask the cluster what became of the task. See :class:`Executor`."""
        kept = self._notes.read(key)
        if kept is None:
            return Failure("What was asked for is gone from the state folder.")
        if "outcome" in kept:
            return _outcome(kept["outcome"], kept["arguments"]["outcomes"])
        given = _read(kept["arguments"])
        if not kept["times"]:
            with suppress(NotFound):  # it waits for a cluster of that name
                self._hand_over(key, kept, given)
            return None
        try:
            future = self._future(key, given)
            became = _became(future, repeatable=given.repeatable) if future.done() else None
        except _Lost as error:
            return self._lost(key, kept, given, str(error))
        return None if became is None else self._keep(key, kept, given, became)

    def standing(self, key: str) -> Standing:
        """Say where it waits for a cluster that is not there. See :class:`Executor`."""
        kept = self._notes.read(key)
        if kept and "outcome" not in kept:
            _check_cluster(_read(kept["arguments"]))
        return Standing()

    def cancel(self, key: str) -> None:
        """Take the task from the cluster. See :class:`Executor`."""
        kept = self._notes.read(key)
        if kept is None or "outcome" in kept:
            return
        given = _read(kept["arguments"])
        with suppress(_Lost, Unavailable):  # nothing is left to cancel
            self._future(key, given).cancel(force=True)
        self._keep(key, kept, given, {"failed": "It was canceled."})

    def close(self) -> None:
        """Leave the clusters that were attached to, and end the one that was made."""
        for each in self._clusters.values():
            each.close()
        self._clusters.clear()
        self._futures.clear()

    def _hand_over(self, key: str, kept: dict[str, Any], given: DaskArguments) -> None:
        client = self._cluster(given).client
        try:
            if client.get_dataset(key, default=None) is not None:
                return
            kept["times"] += 1
            self._notes.write(key, kept)
            parameters = {**given.arguments, **kept["parameters"]}
            once = "" if given.repeatable else key
            # A client that has just let go of a key still takes one of the same name for done.
            task = f"{key}-{kept['times']}"
            future = client.submit(call, given.function, parameters, once, key=task, pure=False)
            client.publish_dataset(future, name=key)
        except (OSError, TimeoutError) as error:
            _check_cluster(given)  # a client may not have heard yet that there is none any more
            raise Unavailable(f"The Dask cluster does not answer: {error}.") from error
        self._futures[key] = future

    def _future(self, key: str, given: DaskArguments) -> Future[Any]:
        try:
            client = self._cluster(given).client
            known = self._futures.get(key)
            if known is None or known.client is not client:
                known = self._futures[key] = client.get_dataset(key)
            return known
        except KeyError as error:
            raise _Lost("the cluster does not know it") from error
        except NotFound as error:
            raise _Lost(error.message) from error
        except (OSError, TimeoutError) as error:
            raise Unavailable(f"The Dask cluster does not answer: {error}.") from error

    def _lost(self, key: str, kept: dict[str, Any], given: DaskArguments, why: str) -> Outcome | None:
        self._forget(key, given)
        if not given.repeatable:
            reason = f"Its Dask worker or cluster was lost ({why}); whether the task was done is not known."
            return self._keep(key, kept, given, {"unknown": reason})
        if kept["times"] >= _MOST_TIMES:
            return Failure(f"Its Dask cluster was lost {kept['times']} times; the last time, {why}.")
        with suppress(NotFound):  # it waits for a cluster of that name
            self._hand_over(key, kept, given)
        return None

    def _keep(self, key: str, kept: dict[str, Any], given: DaskArguments, became: dict[str, Any]) -> Outcome:
        """Write down what became of a task; only then the cluster may forget it."""
        self._notes.write(key, {**kept, "outcome": became})
        self._forget(key, given)
        return _outcome(became, given.outcomes)

    def _forget(self, key: str, given: DaskArguments) -> None:
        self._futures.pop(key, None)
        known = self._clusters.get(given.cluster)
        if known is not None and known.client.status == "running":
            with suppress(OSError, TimeoutError):  # a cluster that is lost has forgotten it
                known.client.unpublish_dataset(key)
                known.client.unpublish_dataset(_mark(key))

    def _cluster(self, given: DaskArguments) -> GenesisCluster:
        from genesis_workbench.compute.dask_cluster import cluster

        known = self._clusters.get(given.cluster)
        if known is not None:
            if known.client.status == "running":
                return known
            known.close()
        made = cluster(attach=given.cluster) if given.cluster else cluster(workers=(0, given.workers))
        self._clusters[given.cluster] = made
        return made


class _Lost(Exception):
    """What was given to the cluster is lost: with it, or with the worker that had begun it."""


def _became(future: Future[Any], *, repeatable: bool) -> dict[str, Any] | None:
    """Return what became of a task that is done; None where its result is not here yet.

    Raises
    ------
    _Lost
        If the cluster has let go of it, or its worker died and it may not be repeated.
    """
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        if future.status != "error":
            return _plain(future.result(timeout=_ANSWER_S))
        raised = future.exception(timeout=_ANSWER_S)
    except FutureCancelledError as error:
        raise _Lost("the cluster let go of it") from error
    except Exception:  # noqa: BLE001 - it did not come in time, or has become another one: the next look finds what it is
        return None
    if isinstance(raised, BegunBefore) or (isinstance(raised, KilledWorker) and not repeatable):
        raise _Lost("its worker died")
    # Whatever a function raises is what became of the trial.
    return {"failed": f"{type(raised).__name__}: {raised}"[:1000]}


def _check_cluster(given: DaskArguments) -> None:
    from genesis_workbench.compute.dask_cluster import check_living

    if given.cluster:
        check_living(given.cluster)


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
    if "unknown" in kept:
        return Unknown(kept["unknown"])
    values = dict(kept["values"])
    if list(values) == [""] and len(outcomes) == 1:
        values = {next(iter(outcomes)): values[""]}
    missing = [name for name in outcomes if name not in values]
    if missing:
        return Failure(f"The function returned nothing for {', '.join(missing)}.")
    return Observation({name: (values[name], unit, None) for name, unit in outcomes.items()})
