"""The gateway of one laboratory: it alone talks to the devices. The engine; `application.py` puts HTTP around it.

A plan waits until all its devices are free and takes them together, so plans cannot block each other half-way; no plan
overtakes an earlier one that needs the same device. A plan that is `unknown` keeps its devices until the device or a
person has settled it.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genesis_workbench.core.clock import now, seconds_since
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.site import LaboratorySection
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.instruments._base import Done, Failed, NeverStarted, Outcome, Reading
from genesis_workbench.experiments.instruments.device import Device
from genesis_workbench.experiments.instruments.execution import Execution
from genesis_workbench.experiments.instruments.journal import Journal
from genesis_workbench.experiments.instruments.plan import Plan

_LOOK_EVERY_S = 0.5
_WATCH_EVERY_S = 2.0
_STOP_WITHIN_S = 10.0
log = logging.getLogger(__name__)


class Gateway:
    """One laboratory.

    Parameters
    ----------
    section : LaboratorySection
        What the site says of it.
    folder : Path
        Where its journal and files are; one gateway at a time.

    Raises
    ------
    Conflict
        If another gateway has the folder.
    """

    def __init__(self, section: LaboratorySection, folder: Path) -> None:
        self.section, self.folder = section, folder
        self.devices = {each.name: Device(each) for each in section.devices}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._only_one = (folder / "lock").open("w")
        try:
            fcntl.flock(self._only_one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._only_one.close()
            raise Conflict(f"A gateway of {section.name!r} is running already on {folder}.") from None
        self.journal, self.files = Journal(folder / "journal.sqlite"), BlobStore(folder / "files")
        self._closing, self._stopped, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._execution = Execution(
            self.devices, self.journal, self.files, patience_s=section.patience_s,
            stopped=self._stopped, closing=self._closing, readings=self._readings,
        )  # fmt: skip
        self._seen: dict[str, dict[str, Any]] = {name: {"status": "not asked yet"} for name in self.devices}
        self._runs: dict[str, threading.Thread] = {}
        self._dispatching = threading.Lock()
        if self.journal.fact("stop"):
            self._stopped.set()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._dispatch, self._watch)]

    def start(self) -> None:
        """Go on with what was under way, and begin what waits."""
        if self._stopped.is_set():
            self._tell_all("stop")  # the gateway may have died in the middle of it
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End without touching the devices; the next start goes on."""
        self._closing.set()
        self._wake.set()
        for thread in [*self._threads, *self._runs.values()]:
            if thread.ident is not None:
                thread.join(timeout=10)
        for device in self.devices.values():
            device.instrument.close()
        self.journal.close()
        self._only_one.close()

    # --- plans ---

    def check(self, plan: Plan) -> None:
        """Refuse a plan that could never run: an unknown device or action, a limit that would be crossed."""
        for number, step in enumerate(plan.steps, start=1):
            if step.device not in self.devices:
                raise NotFound(
                    f"Step {number}: this laboratory has no device {step.device!r}; it has {', '.join(self.devices)}."
                )
            self.devices[step.device].accept(step.action, step.arguments)

    def submit(self, plan: Plan) -> dict[str, Any]:
        """Queue a plan; the same key again is the same plan."""
        self.check(plan)
        self.journal.add(plan)
        self._wake.set()
        return self.plan(plan.key)

    def plan(self, key: str) -> dict[str, Any]:
        """Return a plan, its state and what its steps gave."""
        found = self.journal.plan(key)
        values: dict[str, Any] = {}
        files: dict[str, str] = {}
        for step in found["steps"]:
            values |= step["outcome"].get("values", {})
            files |= step["outcome"].get("files", {})
        return {**found, "values": values, "files": files, "simulated": self._simulated(found["plan"])}

    def cancel(self, key: str, who: str) -> dict[str, Any]:
        """Take a plan out of the queue. One that runs is not broken off: stop the laboratory for that."""
        if not self.journal.move(key, "canceled", f"Canceled by {who}.", expected=("queued",)):
            state = self.journal.plan(key)["state"]
            if state == "running":
                raise Conflict("The plan is running. It can be ended only by stopping the laboratory.")
        return self.plan(key)

    def settle(
        self, key: str, *, ran: bool, values: Mapping[str, float], who: str, why: str
    ) -> dict[str, Any]:
        """Say what became of an unknown step, after somebody has looked. Nothing is run again.

        Parameters
        ----------
        ran : bool
            Whether it ran to its end. `values` are then its outcomes, in the action's units.
        """
        record = self.journal.plan(key)
        if record["state"] != "unknown":
            raise Conflict(f"The plan is {record['state']}, so there is nothing to settle.")
        plan, number = Plan.model_validate(record["plan"]), record["steps"][-1]["number"]
        action = self.devices[plan.steps[number].device].actions[plan.steps[number].action]
        if ran and set(values) != set(action.outcomes):
            raise InvalidInput(f"Give exactly the values of {', '.join(action.outcomes) or 'nothing'}.")
        outcome: Outcome = (
            Done(values) if ran else Failed(f"{who} found that it did not run to its end: {why}")
        )
        self._settled(plan, number, outcome, f"Settled by {who}: {why}")
        self.journal.keep(
            "settled", {"plan": key}, who, f"settled plan {key} as {'run' if ran else 'not run'}: {why}"
        )
        return self.plan(key)

    def _settled(self, plan: Plan, number: int, outcome: Outcome, how: str) -> None:
        state, reason = self._execution.settle(plan, number, outcome)
        if state == "done" and number + 1 < len(plan.steps):
            state, reason = "failed", f"Step {number + 1} did run. The steps after it were not started."
        self.journal.move(plan.key, state, f"{reason} {how}".strip(), expected=("unknown",))
        self._wake.set()

    # --- people ---

    def stop(self, who: str, why: str) -> dict[str, Any]:
        """Emergency stop: every device into its safe state, nothing starts until :meth:`reset`."""
        self._stopped.set()
        fact: dict[str, Any] = {"who": who, "why": why, "since": now(), "devices": {}}
        with ThreadPoolExecutor(1) as pool:  # the journal must not delay the devices, nor they the journal
            written = pool.submit(self.journal.keep, "stop", fact, who, f"emergency stop: {why}")
            self._tell_all("stop")
            for name in self.devices:  # a start that was on its way has arrived by now
                if self._execution.locks[name].acquire(timeout=_STOP_WITHIN_S):
                    self._execution.locks[name].release()
            told = self._tell_all("stop")
            written.result()
        fact = {**fact, "devices": told}
        self.journal.keep("stop", fact, who, f"stopped: {fact['devices']}")
        return fact

    def reset(self, who: str, why: str) -> None:
        """End the emergency stop, once every device can be released."""
        if not self._stopped.is_set():
            raise Conflict("There is no emergency stop to reset.")
        if self._runs_now():
            raise Conflict("A plan is still being brought to its end. Try again in a moment.")
        answers = self._tell_all("release")
        silent = [f"{name}: {answer}" for name, answer in answers.items() if answer != "released"]
        if silent:
            self._tell_all("stop")
            raise Unavailable(f"Not every device could be released, so all stay stopped. {'; '.join(silent)}")
        self.journal.keep("stop", {}, who, f"reset: {why}")
        self._stopped.clear()
        self._wake.set()

    def reserve(self, device: str, who: str, until: str) -> None:
        """Keep a device for one person's plans until a time; an empty time gives it back.

        Parameters
        ----------
        until : str
            ISO 8601, UTC.
        """
        if device not in self.devices:
            raise NotFound(f"This laboratory has no device {device!r}; it has {', '.join(self.devices)}.")
        holder = self._reservation(device)
        if holder and holder["who"] != who:
            raise Conflict(f"{device} is reserved by {holder['who']} until {holder['until']}.")
        try:
            ends = -seconds_since(until) if until else 0.0
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"{until!r:.60} is no time; write it like 2026-01-31T08:00:00Z.") from error
        if until and not 0 < ends <= 7 * 86400:
            raise InvalidInput(f"A reservation ends within the next 7 days; {until} does not.")
        self.journal.keep(
            f"reserved {device}", {"who": who, "until": until} if until else {}, who,
            f"reserved {device} until {until}" if until else f"gave {device} back",
        )  # fmt: skip
        self._wake.set()

    def state(self) -> dict[str, Any]:
        """Return how the laboratory is. Devices are as they were last heard of, so this never waits for one."""
        return {
            "name": self.section.name,
            "title": self.section.title or self.section.name,
            "simulated": all(each.instrument.simulated for each in self.devices.values()),
            "heartbeat": now(),
            "procedures": list(self.section.procedures),
            "stop": self.journal.fact("stop"),
            "devices": [
                {
                    "name": name,
                    "instrument": device.instrument.name,
                    "simulated": device.instrument.simulated,
                    **self._seen[name],
                    "reserved": self._reservation(name),
                    "actions": device.described(),
                }
                for name, device in self.devices.items()
            ],
            "queue": [
                {
                    "key": each["key"],
                    "title": each["plan"]["title"],
                    "asker": each["plan"]["asker"],
                    "state": each["state"],
                    "reason": each["reason"],
                    "submitted": each["submitted"],
                    "devices": sorted({step["device"] for step in each["plan"]["steps"]}),
                    "step": len(each["steps"]),
                    "steps": len(each["plan"]["steps"]),
                }
                for each in self.journal.open_plans()
            ],
            "log": self.journal.log(20),
        }

    # --- threads ---

    def _dispatch(self) -> None:
        while not self._closing.is_set():
            try:
                self._begin_what_can()
            except Exception:  # it is tried again; plans that run are not touched
                log.exception("the queue could not be looked at")
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()

    def _begin_what_can(self) -> None:
        taken: set[str] = set()
        plans = self.journal.open_plans()
        for each in [each for each in plans if each["state"] in ("running", "unknown")]:
            plan = Plan.model_validate(each["plan"])
            taken |= plan.devices
            if each["state"] == "running" and plan.key not in self._runs_now():
                self._run(plan.key)
            if each["state"] == "unknown":
                self._read_back(plan, each["steps"][-1]["number"])
        if self._stopped.is_set():
            return
        for each in [each for each in plans if each["state"] == "queued"]:
            plan = Plan.model_validate(each["plan"])
            if any(self._reservation(name).get("who", plan.asker) != plan.asker for name in plan.devices):
                continue
            if not plan.devices & taken and self.journal.move(plan.key, "running", expected=("queued",)):
                self._run(plan.key)
            taken |= plan.devices

    def _run(self, key: str) -> None:
        thread = threading.Thread(target=self._bring_to_its_end, args=(key,), daemon=True)
        self._runs[key] = thread
        thread.start()

    def _bring_to_its_end(self, key: str) -> None:
        try:
            self._execution.run(key)
        except Exception:  # it stays `running` in the journal, and is gone on with by asking the devices
            log.exception("plan %s was broken off; it is gone on with", key)
            self._closing.wait(_WATCH_EVERY_S)
        self._wake.set()

    def _runs_now(self) -> set[str]:
        self._runs = {key: thread for key, thread in self._runs.items() if thread.is_alive()}
        return set(self._runs)

    def _read_back(self, plan: Plan, number: int) -> None:
        try:
            outcome = self.devices[plan.steps[number].device].instrument.outcome(plan.step_key(number))
        except GenesisError:
            return  # it does not answer: the plan stays unknown
        if isinstance(outcome, NeverStarted):
            outcome = Failed("The device is sure that it never began.")
        if isinstance(outcome, Done | Failed):
            self._settled(plan, number, outcome, "The device itself said so later.")

    def _watch(self) -> None:
        while not self._closing.is_set():
            self._ask_all()
            self._closing.wait(_WATCH_EVERY_S)

    def _ask_all(self) -> Mapping[str, Mapping[str, Reading]]:
        def ask(name: str) -> Mapping[str, Reading]:
            try:
                state = self.devices[name].instrument.state()
            except GenesisError as error:
                last = self._seen[name].get("seen", "")
                self._seen[name] = {
                    "status": "does not answer",
                    "reason": error.message,
                    "seen": last,
                    "readings": {},
                }
                return {}
            self._seen[name] = {**asdict(state), "seen": now()}
            return state.readings

        with ThreadPoolExecutor(max(1, len(self.devices))) as pool:
            return dict(zip(self.devices, pool.map(ask, self.devices), strict=True))

    def _readings(self) -> Mapping[str, Mapping[str, Reading]]:
        return self._ask_all()

    def _tell_all(self, what: str) -> dict[str, str]:
        with ThreadPoolExecutor(max(1, len(self.devices))) as pool:
            answers = pool.map(lambda device: _told(device, what), self.devices.values())
            return dict(zip(self.devices, answers, strict=True))

    def _reservation(self, device: str) -> dict[str, Any]:
        kept = self.journal.fact(f"reserved {device}")
        return kept if kept and seconds_since(kept["until"]) < 0 else {}

    def _simulated(self, plan: Mapping[str, Any]) -> bool:
        names = {step["device"] for step in plan["steps"]} & set(self.devices)
        return any(self.devices[name].instrument.simulated for name in names)


def _told(device: Device, what: str) -> str:
    """Tell a device to stop or to be released; return what it did, once more where it was silent."""
    for last in (False, True):
        try:
            getattr(device.instrument, what)()
        except GenesisError as error:
            if last:
                return f"does not answer: {error.message}"
            time.sleep(0.2)
        else:
            break
    return {"stop": "stopped", "release": "released"}[what]
