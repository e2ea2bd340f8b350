"""The contract of an executor, and the base of those that run a simulation as a job."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from genesis_workbench.compute.job import JobSpec, JobState, Resources
from genesis_workbench.compute.schedulers._base import Scheduler
from genesis_workbench.core.errors import GenesisError, InvalidInput


@dataclass(frozen=True)
class Observation:
    """What a trial gave: a value with its unit, and its standard uncertainty where it has one.

    `attachments` names files, such as spectra, by their hash in the store of files.
    """

    values: Mapping[str, tuple[float, str, float | None]]
    attachments: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return it as the ledger keeps it."""
        return {
            name: {"value": value, "unit": unit, **({"uncertainty": u} if u is not None else {})}
            for name, (value, unit, u) in self.values.items()
        }


@dataclass(frozen=True)
class Failure:
    """A trial that gave nothing, and why."""

    reason: str


class Executor(Protocol):
    """Executes trials, each key once.

    `submit` may be called again with the same key after any crash. `observe` answers None while the trial is under
    way, and the same outcome each time afterwards. An executor that can do without some of its parameters names them in
    a class attribute `optional`; only those may depend on another parameter's value.
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

    def observe(self, key: str) -> Observation | Failure | None:
        """Return what became of it."""
        ...

    def cancel(self, key: str) -> None:
        """End it; nothing where it has ended."""
        ...


class ProcessSimulator:
    """A simulation that runs as a job: the subclass's module, as a program, reads arguments and leaves a result.

    A subclass says what differs in class constants and defines :meth:`simulate`; its module ends with
    ``run_as_job(TheClass)`` under ``if __name__ == "__main__"``.
    """

    name: ClassVar[str]
    simulated: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, str]]  # name -> unit of what may be varied
    outcomes: ClassVar[Mapping[str, str]]  # name -> unit of what comes out
    walltime_s: ClassVar[float] = 600
    memory_bytes: ClassVar[int] = 2 * 2**30

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return a value for each of `outcomes`, in its unit."""
        raise NotImplementedError

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Refuse arguments that no trial could run with. See :class:`Executor`."""

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Submit the job. See :class:`Executor`."""
        self._scheduler.submit(
            JobSpec(
                name=f"{self.name} simulation",
                command=(sys.executable, "-m", type(self).__module__),
                arguments={"parameters": dict(parameters), "arguments": dict(arguments)},
                # One thread each: several trials share the machine.
                environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                resources=Resources(memory_bytes=self.memory_bytes),
                walltime_s=self.walltime_s,
                key=key,
            )
        )

    def observe(self, key: str) -> Observation | Failure | None:
        """Read the job's outcome. See :class:`Executor`."""
        job = self._scheduler.status(key)
        if job is None:
            return Failure("Its job is gone from the scheduler's folder.")
        if not job.state.final:
            return None
        if job.state is not JobState.COMPLETED:
            return Failure(job.reason or f"The job ended as {job.state}.")
        try:
            result = self._scheduler.result(key)
        except GenesisError as error:
            return Failure(error.message)
        values = {}
        for name, unit in self.outcomes.items():
            value = result.get(name) if isinstance(result, dict) else None
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                return Failure(f"The simulation gave {value!r} for {name}; a finite number was expected.")
            values[name] = (float(value), unit, None)
        return Observation(values)

    def cancel(self, key: str) -> None:
        """Cancel the job. See :class:`Executor`."""
        self._scheduler.cancel(key)


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
