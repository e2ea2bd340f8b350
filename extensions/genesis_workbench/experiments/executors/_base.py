"""The contract of an executor, and the base of those that run a simulation as a job."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field, create_model

from genesis_workbench.core.errors import (
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    PermissionRefused,
    Unavailable,
)
from genesis_workbench.experiments.executors._settings import NoSettings, read
from genesis_workbench.experiments.record import Record, number

if TYPE_CHECKING:
    from genesis_workbench.catalog.local import LocalCatalog
    from genesis_workbench.compute.job import Job, JobSpec
    from genesis_workbench.compute.schedulers._base import Scheduler
    from genesis_workbench.core.site import Site
    from genesis_workbench.core.state import State
    from genesis_workbench.core.storage import BlobStore


@dataclass(frozen=True)
class Observation:
    """What a trial gave: a value with its unit, and its standard uncertainty where it has one.

    `attachments` names files, such as spectra, by their hash in the store of files. `cost` is what it really cost, where
    the executor knows: amounts of a :class:`Budget` by name, such as ``{"instrument_minutes": 12.5}``. `simulated` says
    whether it comes from a simulator; None where it is as the executor's signature says now.
    """

    values: Mapping[str, tuple[float, str, float | None]]
    attachments: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    simulated: bool | None = None

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return it as the ledger keeps it."""
        return {
            name: {
                "value": number(value),
                "unit": unit,
                **({"uncertainty": number(u)} if u is not None else {}),
            }
            for name, (value, unit, u) in self.values.items()
        }


@dataclass(frozen=True)
class Failure:
    """A trial that gave nothing, why, and what it really cost where the executor knows."""

    reason: str
    cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Unknown:
    """Nobody can know what became of a trial, such as after a crash: a person decides, it is never run again by itself."""

    reason: str


Outcome = Observation | Failure | Unknown


@dataclass(frozen=True)
class Signature:
    """What an executor takes and gives with certain arguments.

    Attributes
    ----------
    parameters : mapping or None
        Name to unit of what may be varied; None where any parameter is taken, whatever its unit.
    outcomes : mapping
        Name to unit of what comes out.
    optional : frozenset of str
        Parameters that it can do without.
    simulated : bool
        Whether the outcomes come from a simulator. What is simulated is told as such everywhere.
    laboratory : bool
        Whether something in the world is touched, so that by default a person approves each trial.
    """

    parameters: Mapping[str, str] | None
    outcomes: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    simulated: bool = True
    laboratory: bool = False


@dataclass(frozen=True)
class Standing:
    """Where an execution stands that has not ended.

    Attributes
    ----------
    words : str
        Such as ``place 3 in the queue: waiting for resources``; empty where there is nothing to say.
    laboratory : str
        Name of the laboratory in whose queue it is.
    """

    words: str = ""
    laboratory: str = ""


@dataclass(frozen=True)
class Request:
    """One execution that is asked for.

    Attributes
    ----------
    laboratory : bool
        Whether it may touch something in the world: what had to be approved for that has been.
    owner : str
        The person who launched the experiment.
    approved_until : str
        When the approval expires under which it may touch something in the world; empty where it needs none. What has not
        begun by then must not begin.
    """

    key: str
    parameters: Mapping[str, Any]
    arguments: Mapping[str, Any]
    laboratory: bool = False
    owner: str = ""
    approved_until: str = ""


class Place:
    """Where executors work: the site's scheduler, store of files and settings.

    Attributes
    ----------
    service : bool
        Whether this is the service's runner, which acts for many people, and not a notebook's process.
    """

    def __init__(self, site: Site, state: State, *, service: bool = False) -> None:
        self.site, self.state, self.service = site, state, service

    @cached_property
    def scheduler(self) -> Scheduler:
        """The scheduler of this place."""
        from genesis_workbench.compute.submission import scheduler

        return scheduler()

    @cached_property
    def catalog(self) -> LocalCatalog:
        """The datasets of this place."""
        from genesis_workbench.catalog.local import LocalCatalog
        from genesis_workbench.core.ledger import Ledger

        site = self.site if self.service else None
        return LocalCatalog(Ledger.open(self.state.ledger_url(site)), site, self.state.folder)

    @cached_property
    def blobs(self) -> BlobStore:
        """The store of files by their hash."""
        from genesis_workbench.core.storage import BlobStore

        return BlobStore(self.state.blobs)


class Executor(Protocol):
    """Executes trials, each key once. It is made with the :class:`Place` where it works.

    `submit` may be called again with the same key after any crash. `observe` answers None while the trial is under
    way, and the same outcome each time afterwards. An executor that cannot be reached raises
    :class:`~genesis_workbench.core.errors.Unavailable` or ``DeadlineExceeded``, and is asked again later; any other
    `GenesisError` of `submit` fails the trial. Where `check` raises ``NotFound`` meanwhile, as for a function that a new
    kernel has not got yet, whoever waits in a notebook is told that.

    Instead of the four attributes it may have ``signature(arguments) -> Signature``, where what it takes and gives
    depends on its arguments. A class attribute ``settings``, a record of its arguments, makes a form of them; and
    ``standing(key) -> Standing`` says where an execution stands that has not ended. It may have ``submit_all(requests) -> {key: why it was refused, or None: later}`` and
    ``observe_all(keys) -> {key: outcome}``, and ``cancel_all(keys)``, to do many at once. A class attribute ``code_only`` says why no
    form offers it. An executor that is ``elsewhere`` hears what became of its trials from other processes, as
    ``outcome.entered`` in the ledger.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool]
    parameters: ClassVar[Mapping[str, str]]
    outcomes: ClassVar[Mapping[str, str]]

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that no trial could run with."""
        ...

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Start the trial unless its key is known."""
        ...

    def observe(self, key: str) -> Outcome | None:
        """Return what became of it."""
        ...

    def cancel(self, key: str) -> None:
        """End it; nothing where it has ended."""
        ...


def signature(executor: Executor, arguments: Mapping[str, Any]) -> Signature:
    """Return what an executor takes and gives with these arguments."""
    own = getattr(executor, "signature", None)
    if own is not None:
        found: Signature = own(arguments)
        return found
    return Signature(
        executor.parameters,
        executor.outcomes,
        frozenset(getattr(executor, "optional", ())),
        executor.simulated,
        getattr(executor, "laboratory", False),
    )


def submit_all(executor: Executor, requests: Sequence[Request]) -> dict[str, str | None]:
    """Submit many and return why keys were refused, or None for those that are to be submitted again later.

    Raises
    ------
    Unavailable, DeadlineExceeded
        If it cannot be reached: all may be submitted again.
    """
    many = getattr(executor, "submit_all", None)
    if many is not None:
        found: dict[str, str | None] = many(requests)
        return found
    refused: dict[str, str | None] = {}
    for request in requests:
        try:
            executor.submit(request.key, request.parameters, request.arguments)
        except (Unavailable, DeadlineExceeded):
            raise
        except GenesisError as error:
            refused[request.key] = error.message
    return refused


def observe_all(executor: Executor, keys: Sequence[str]) -> dict[str, Outcome]:
    """Return what became of those keys that are no longer under way."""
    many = getattr(executor, "observe_all", None)
    if many is not None:
        found: dict[str, Outcome] = many(keys)
        return found
    outcomes = {}
    for key in keys:
        outcome = executor.observe(key)
        if outcome is not None:
            outcomes[key] = outcome
    return outcomes


def cancel_all(where: Executor | Scheduler, keys: Sequence[str]) -> None:
    """End many, in as few calls as an executor or a scheduler allows."""
    many = getattr(where, "cancel_all", None)
    if many is not None:
        many(keys)
        return
    for key in keys:
        where.cancel(key)


class ProcessSimulator:
    """A simulation that runs as a job: the subclass's module, as a program, reads arguments and leaves a result.

    A subclass says what differs in class constants and defines :meth:`simulate`; its module ends with
    ``run_as_job(TheClass)`` under ``if __name__ == "__main__"``. Each of its parameters may also be among an experiment's
    arguments: then it is held at that value instead of varied.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, str]]  # name -> unit of what may be varied
    optional: ClassVar[frozenset[str]] = frozenset()  # parameters that `simulate` can do without
    outcomes: ClassVar[Mapping[str, str]]  # name -> unit of what comes out
    walltime_s: ClassVar[float] = 600
    memory_bytes: ClassVar[int] = 2 * 2**30
    settings: ClassVar[type[Record]] = NoSettings

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.settings = _with_held(cls.settings, cls.parameters)

    def __init__(self, place: Place) -> None:
        self._place = place

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what is left to vary, and what comes out. See :class:`Executor`."""
        held, _ = self._split(arguments)
        varied = {name: unit for name, unit in self.parameters.items() if name not in held}
        return Signature(varied, self.outcomes, self.optional & varied.keys(), simulated=self.simulated)

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return a value for each of `outcomes`, in its unit."""
        raise NotImplementedError

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that no trial could run with. See :class:`Executor`."""
        read(self.settings, self.name, arguments)

    def standing(self, key: str) -> Standing:
        """Return where its job stands. See :class:`Executor`."""
        return job_standing(self._place.scheduler, key)

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Submit the job. See :class:`Executor`."""
        self._place.scheduler.submit(self._job(Request(key, parameters, arguments)))

    def submit_all(self, requests: Sequence[Request]) -> dict[str, str | None]:
        """Submit the jobs, together. See :class:`Executor`."""
        return submit_jobs(self._place.scheduler, requests, self._job)

    def observe(self, key: str) -> Outcome | None:
        """Read the job's outcome. See :class:`Executor`."""
        return ended_job(self._place.scheduler, key, self.outcomes)

    def cancel(self, key: str) -> None:
        """Cancel the job. See :class:`Executor`."""
        self._place.scheduler.cancel(key)

    def cancel_all(self, keys: Sequence[str]) -> None:
        """Cancel many. See :class:`Executor`."""
        cancel_all(self._place.scheduler, keys)

    def _split(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters that are held at a value, and the other arguments."""
        held = {
            name: value for name, value in arguments.items() if name in self.parameters and value is not None
        }
        return held, {name: value for name, value in arguments.items() if name not in self.parameters}

    def _job(self, request: Request) -> JobSpec:
        from genesis_workbench.compute.job import JobSpec, Resources

        held, arguments = self._split(request.arguments)
        return JobSpec(
            name=f"{self.name} simulation",
            command=(sys.executable, "-m", type(self).__module__),
            arguments={"parameters": {**held, **request.parameters}, "arguments": arguments},
            # One thread each: several trials share the machine.
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            resources=Resources(memory_bytes=self.memory_bytes),
            walltime_s=self.walltime_s,
            key=request.key,
        )


def covered(
    parameters: Mapping[str, Any], limits: Mapping[str, tuple[float, float, str]]
) -> dict[str, float]:
    """Return parameters as numbers, where a simulator covers them.

    Parameters
    ----------
    limits : mapping
        Name to lowest value, highest value and unit.

    Raises
    ------
    InvalidInput
        Naming the first one that lies outside, and what is covered.
    """
    given = {name: float(parameters[name]) for name in limits}
    for name, (low, high, unit) in limits.items():
        if not low <= given[name] <= high:
            seen = f"{given[name]:g} {unit}".rstrip()
            raise InvalidInput(f"{name} is {seen}; the simulator covers {low:g} to {high:g}.")
    return given


def _with_held(settings: type[Record], parameters: Mapping[str, str]) -> type[Record]:
    """Return settings with a value for each parameter, at which it may be held."""
    fields: dict[str, Any] = {
        name: (
            float | None,
            Field(
                None, description=f"Held at this value{f' ({unit})' if unit else ''}; left out, it is varied."
            ),
        )
        for name, unit in parameters.items()
    }
    return create_model(settings.__name__, __base__=settings, __doc__=settings.__doc__, **fields)


def allow_own_code(place: Place, name: str) -> None:
    """Refuse people's own code where it would run with the rights of the service's account and the site has not said yes."""
    if place.service and not place.site.experiments.own_code:
        raise PermissionRefused(
            f"This site does not let experiments of the service run people's own code (the executor {name!r}): it would run "
            "with the service's rights. Ask the operator, who can set experiments.own_code."
        )


def submit_jobs(
    scheduler: Scheduler, requests: Sequence[Request], describe: Callable[[Request], JobSpec]
) -> dict[str, str | None]:
    """Submit a job for each request, in as few calls as the scheduler allows; return what :func:`submit_all` does."""
    jobs: list[JobSpec] = []
    refused: dict[str, str | None] = {}
    for request in requests:
        try:
            jobs.append(describe(request))
        except GenesisError as error:
            refused[request.key] = error.message
    return refused | (_submit(scheduler, jobs) if jobs else {})


def _submit(scheduler: Scheduler, jobs: Sequence[JobSpec]) -> dict[str, str | None]:
    try:
        made = scheduler.submit_all(jobs)
    except (Unavailable, DeadlineExceeded):
        raise
    except GenesisError as error:
        if len(jobs) == 1:
            return {jobs[0].key: error.message}
        # One that is refused must not hold up the others: find it. What was submitted already stays so.
        half = len(jobs) // 2
        return _submit(scheduler, jobs[:half]) | _submit(scheduler, jobs[half:])
    return {job.key: None for job in made if job.state == "new" and not job.native_id}


def job_standing(scheduler: Scheduler, key: str) -> Standing:
    """Return where a job stands: its state, its place in the queue, and why."""
    job = scheduler.status(key)
    if job is None:
        return Standing("not yet submitted")
    if job.state == "new" and not job.native_id:
        return Standing("not yet submitted: its queue has no room for now, or does not answer")
    place = f", place {job.position}" if job.position else ""
    machine = f" ({job.queue})" if job.queue else ""
    return Standing(f"job {job.state}{machine}{place}" + (f": {job.reason}" if job.reason else ""))


def ended_job(
    scheduler: Scheduler, key: str, outcomes: Mapping[str, str], *, nodes: int = 1
) -> Outcome | None:
    """Return what a job gave, None while it is under way.

    Its result is JSON: for each outcome a number in its unit, or ``{"value": ..., "uncertainty": ...}``.
    """
    job = scheduler.status(key)
    if job is None:
        return Failure("Its job is gone from the scheduler's folder.")
    if not job.state.final:
        return None
    cost = _node_hours(job, nodes)
    if job.state != "completed":
        return Failure(job.reason or f"The job ended as {job.state}.", cost)
    try:
        result = scheduler.result(key)
    except GenesisError as error:
        return Failure(error.message, cost)
    values = {}
    for name, unit in outcomes.items():
        given = result.get(name) if isinstance(result, dict) else None
        seen: dict[str, Any] = given if isinstance(given, dict) else {"value": given}
        value, uncertainty = seen.get("value"), seen.get("uncertainty")
        if not _finite(value) or not (uncertainty is None or _finite(uncertainty)):
            return Failure(f"The job gave {given!r:.200} for {name}; a finite number was expected.", cost)
        values[name] = (float(value or 0), unit, uncertainty)
    return Observation(values, cost=cost)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _node_hours(job: Job, nodes: int) -> dict[str, float]:
    """Return the machine time of a job."""
    from datetime import datetime

    if not job.started or not job.ended:
        return {}
    seconds = (datetime.fromisoformat(job.ended) - datetime.fromisoformat(job.started)).total_seconds()
    return {"node_hours": nodes * max(0.0, seconds) / 3600}


def run_as_job(simulator: type[ProcessSimulator]) -> None:
    """Run one simulation in a job's folder: arguments.json in, result.json out."""
    import json
    from pathlib import Path

    given = json.loads(Path("arguments.json").read_bytes())
    try:
        result = simulator.simulate(given["parameters"], given["arguments"])
    except InvalidInput as error:
        sys.exit(error.message)
    draft = Path("result.json.draft")
    draft.write_text(json.dumps(result))
    draft.replace("result.json")
