"""A trial as a plan in a laboratory: the base of procedures. One small file for each procedure, such as perovskite_film.py.

A procedure runs in the laboratory whose section in the site file lists it. What the gateway answers stays the same: its
journal keeps the plan under the trial's key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    GenesisError,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.site import LaboratorySection
from genesis_workbench.experiments.budget import UNITS
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Outcome,
    Place,
    Request,
    Signature,
    Standing,
    Unknown,
)
from genesis_workbench.experiments.executors._settings import NoSettings
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.client import Client
from genesis_workbench.experiments.instruments.plan import FINAL, Plan, Step
from genesis_workbench.experiments.record import Record

ASKER = "experiments"


class InstrumentExecutor:
    """A procedure: parameters become the steps of a plan.

    A subclass says what differs in class constants and defines :meth:`steps`.
    """

    name: ClassVar[str]
    settings: ClassVar[type[Record]] = NoSettings
    parameters: ClassVar[Mapping[str, str]]  # name -> unit of what may be varied
    outcomes: ClassVar[
        Mapping[str, str]
    ]  # name -> unit of what its steps measure, by the names of their outcomes

    def __init__(self, place: Place) -> None:
        self._place = place

    @classmethod
    def steps(cls, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[Step]:
        """Return the steps of a trial. `key` may name its sample."""
        raise NotImplementedError

    @classmethod
    def example(cls) -> Mapping[str, Any]:
        """Return parameters of a trial that could run, with which arguments are checked."""
        raise NotImplementedError

    def signature(self, arguments: Mapping[str, Any]) -> Signature:
        """Return what it takes and gives, and whether a device that it uses is real. See :class:`Executor`."""
        return self._signature(_simulated(self._client()), arguments)

    def _signature(self, simulated: Mapping[str, bool], arguments: Mapping[str, Any]) -> Signature:
        used = {step.device for step in self.steps("check", self.example(), arguments)}
        kinds = [simulated.get(name, False) for name in used]
        return Signature(self.parameters, self.outcomes, simulated=any(kinds), laboratory=not all(kinds))

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Let the gateway refuse what could never run. See :class:`Executor`."""
        self._client().check(self._plan("check", self.example(), arguments))

    def submit(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Queue the plan; the gateway knows the key. See :class:`Executor`."""
        self._client().submit(self._plan(key, parameters, arguments))

    def submit_all(self, requests: Sequence[Request]) -> dict[str, str]:
        """Queue plans, each for its experiment's owner and as what was approved. See :class:`Executor`."""
        client, refused = self._client(), {}
        simulated = _simulated(client)
        for each in requests:
            if self._signature(simulated, each.arguments).laboratory != each.laboratory:
                raise Unavailable(
                    f"{self.name!r} was to run on {_kind(each.laboratory)} devices, which have become "
                    f"{_kind(not each.laboratory)}. Nothing was sent: it is asked for approval first."
                )
            plan = self._plan(each.key, each.parameters, each.arguments)
            until = each.approved_until
            told = {
                "owner": each.owner,
                # Of a laboratory that is partly simulated a plan may use only devices that are.
                "simulated": all(simulated.get(name, False) for name in plan.devices),
                "approved_until": datetime.fromisoformat(until) if until else None,
            }
            try:
                client.submit(plan.model_copy(update=told))
            except (Unavailable, DeadlineExceeded):
                raise
            except GenesisError as error:
                if _simulated(client) != simulated:
                    raise Unavailable(
                        f"The devices of {self.name!r} have just become others. It is looked again at what they are."
                    ) from error
                refused[each.key] = error.message
        return refused

    def observe(self, key: str) -> Outcome | None:
        """Read what the plan gave. See :class:`Executor`."""
        client = self._client()
        try:
            plan = client.plan(key)
        except NotFound as error:
            return Unknown(
                f"{error.message} It was queued there: the laboratory's journal is another one than then, and what became "
                "of the plan only a look at the devices can tell."
            )
        if plan["state"] == "unknown":
            return Unknown(plan["reason"])
        if plan["state"] not in FINAL:
            return None
        cost = _cost(plan)
        if plan["state"] != "done":
            return Failure(plan["reason"], cost)
        missing = [name for name in self.outcomes if name not in plan["values"]]
        if missing:
            return Failure(f"The plan gave no {missing[0]}.", cost)
        values = {name: plan["values"][name] for name in self.outcomes}
        return Observation(
            {name: (each["value"], each["unit"], each.get("uncertainty")) for name, each in values.items()},
            {name: self._brought(client, digest) for name, digest in plan["files"].items()},
            cost,
            plan["simulated"],
        )

    def standing(self, key: str) -> Standing:
        """Return where its plan stands in the laboratory's queue. See :class:`Executor`."""
        laboratory, client = self._section().name, self._client()
        try:
            plan = client.plan(key)
        except NotFound:
            return Standing("not yet sent", laboratory)
        done, of = sum(bool(step["ended"]) for step in plan["steps"]), len(plan["plan"]["steps"])
        why = f": {plan['reason']}" if plan["reason"] else ""
        if plan["state"] == "queued" and not why:
            why = _held_up(client.state(), {step["device"] for step in plan["plan"]["steps"]})
        return Standing(f"plan {plan['state']}, {done} of {of} steps done{why}", laboratory)

    @property
    def laboratory_name(self) -> str:
        """The laboratory that runs it; NotFound where none does."""
        return self._section().name

    def cancel(self, key: str) -> None:
        """Take the plan out of the queue; what runs ends by itself. See :class:`Executor`."""
        try:
            self._client().cancel(key, ASKER)
        except (Conflict, NotFound):
            return

    def _plan(self, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> Plan:
        return Plan(
            key=key,
            title=f"{self.name} {key[:8]}",
            asker=ASKER,
            steps=tuple(self.steps(key, parameters, arguments)),
        )

    def _client(self) -> Client:
        return Client(self._section(), self._place.state)

    def _section(self) -> LaboratorySection:
        for section in address.laboratories(self._place.site, self._place.state):
            if self.name in section.procedures:
                return section
        raise NotFound(
            f"No laboratory of this site runs {self.name!r}. Name it in the site file, under `procedures` of a laboratory; "
            "`workbench laboratory --simulated` runs one that does not exist."
        )

    def _brought(self, client: Client, digest: str) -> str:
        """Bring a file into the store of files here, and return its hash."""
        blobs = self._place.blobs
        if not blobs.has(digest) and blobs.put(client.file(digest)) != digest:
            raise VerificationFailed(f"The laboratory sent another file than the one with the hash {digest}.")
        return digest


def _held_up(laboratory: Mapping[str, Any], devices: set[str]) -> str:
    """Return why a queued plan does not begin, where that takes a person."""
    if laboratory["stop"]:
        return f": the laboratory was stopped by {laboratory['stop']['who']}: {laboratory['stop']['why']}"
    for each in laboratory["queue"]:
        if each["state"] == "unknown" and devices & set(each["devices"]):
            return (
                f": it waits for the plan {each['key']}, of which nobody knows what became. Who operates the laboratory says so "
                f"with gw.laboratories()[{laboratory['name']!r}].settle({each['key']!r}, ...)"
            )
    return ""


def _simulated(client: Client) -> dict[str, bool]:
    """Return by device whether it is simulated now."""
    return {each["name"]: each["simulated"] for each in client.state()["devices"]}


def _kind(laboratory: bool) -> str:
    return "real" if laboratory else "simulated"


def _cost(plan: Mapping[str, Any]) -> dict[str, float]:
    """Return what a plan that has ended has cost: the minutes for which its steps were seen to run.

    Where none began it has cost nothing of anything. There is no word on it where a step was begun before gateways kept that.
    """
    watched = [step.get("seconds") for step in plan["steps"]]
    if not watched:
        return {name: 0.0 for name in UNITS if name != "trials"}
    known = [float(each) for each in watched if each is not None]
    return {"instrument_minutes": sum(known) / 60} if len(known) == len(watched) else {}


def quantity(value: float, unit: str) -> dict[str, Any]:
    """Return a number with its unit as a step takes it."""
    return {"value": float(value), "unit": unit}
