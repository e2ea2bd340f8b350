"""The gateway of one laboratory: it alone talks to the devices. The engine; `application.py` puts HTTP around it.

A plan waits until all its devices are free and takes them together, so plans cannot block each other half-way; no plan
overtakes an earlier one that needs the same device. A plan that is `unknown` keeps its devices until the device or a
person has settled it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.site import LaboratorySection
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.instruments._base import (
    Done,
    Failed,
    NeverStarted,
    Outcome,
    finite,
)
from genesis_workbench.experiments.instruments.device import Device
from genesis_workbench.experiments.instruments.emergency import UNWRITTEN, EmergencyStop
from genesis_workbench.experiments.instruments.execution import Execution, check_simulated
from genesis_workbench.experiments.instruments.journal import Journal
from genesis_workbench.experiments.instruments.plan import Plan
from genesis_workbench.experiments.instruments.reservations import Reservations
from genesis_workbench.experiments.instruments.watch import Watch

_LOOK_EVERY_S = 0.5
_AGAIN_AFTER_S = 2.0
_CLOSE_WITHIN_S = 10.0
_WRITE_WITHIN_S = 5.0
_PROBE_EVERY_S = 10.0
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
        self._closing, self._wake = threading.Event(), threading.Event()
        self._stopped, self._reservations = EmergencyStop(self.journal), Reservations(self.journal)
        self._watch = Watch(self.devices, self._stopped, self._closing)
        self._execution = Execution(
            self.devices, self.journal, self.files, patience_s=section.patience_s,
            stopped=self._stopped, closing=self._closing, readings=self._watch.readings, locks=self._watch.starting,
        )  # fmt: skip
        self._runs: dict[str, threading.Thread] = {}
        self._looks: dict[str, threading.Thread] = {}
        self._settling, self._misnamed = threading.Lock(), list[str]()
        self._broken_off: dict[str, str] = {}
        own = [threading.Thread(target=each, daemon=True) for each in (self._dispatch, self._probe)]
        self._threads = [*own, *self._watch.threads]

    def start(self) -> None:
        """Go on with what was under way, and begin what waits. It waits for no device: a stop may come at once."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End without touching the devices; the next start goes on."""
        self._closing.set()
        self._wake.set()
        deadline = time.monotonic() + _CLOSE_WITHIN_S
        for thread in [*self._threads, *self._runs.values(), *self._looks.values()]:
            if thread.ident is not None:
                thread.join(timeout=max(0.0, deadline - time.monotonic()))
        for device in self.devices.values():
            with contextlib.suppress(GenesisError):
                device.ask("close")
        self._stopped.write_what_is_missing()
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
        """Queue a plan; the same key again is the same plan, whatever the limits have become.

        Raises
        ------
        Conflict
            If its key belongs to another plan, or a device is real or simulated against what it was approved for.
        """
        if not self.journal.has(plan):
            self.check(plan)
            check_simulated(plan, self.devices)
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
        return {
            **found,
            "reason": self._reason(found),
            "values": values,
            "files": files,
            "simulated": self._simulated(found),
        }

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
        with self._settling:
            record = self.journal.plan(key)
            if record["state"] != "unknown":
                raise Conflict(f"The plan is {record['state']}, so there is nothing to settle.")
            plan, number = Plan.model_validate(record["plan"]), record["steps"][-1]["number"]
            outcomes = self._execution.outcomes(plan.steps[number])
            if ran and set(values) != set(outcomes):
                raise InvalidInput(f"Give exactly the values of {', '.join(outcomes) or 'nothing'}.")
            for name, value in values.items():
                if not finite(value):
                    raise InvalidInput(
                        f"{name} is {value!r:.80}; it must be a finite number. Nothing was written down."
                    )
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
        """Emergency stop: every device into its safe state, nothing starts until :meth:`reset`.

        Returns
        -------
        dict
            Who stopped it first, why and since when; `later`, who pressed again; `devices`, what each answered; `warning`,
            where it could not be written down.
        """
        number = self._stopped.tell(who, why)
        pool = ThreadPoolExecutor(1)  # the journal must not delay the devices, nor they the journal
        try:
            pool.submit(self._stopped.write, f"emergency stop: {why}", who)
            told = self._watch.stop_all()
            self._stopped.confirm(number, told)
            writing = pool.submit(self._stopped.write, f"stopped: {told}", who)
        finally:
            self._stopped.arrived(number)
            pool.shutdown(wait=False)
        try:
            warning = writing.result(_WRITE_WITHIN_S)
        except TimeoutError:
            warning = f"The journal has not been written in {_WRITE_WITHIN_S:g} s. {UNWRITTEN}"
        fact = {"who": who, "why": why, "devices": told, **self._stopped.fact}
        return {**fact, "warning": warning} if warning else fact

    def reset(self, who: str, why: str) -> None:
        """End the emergency stop, once every device can be released.

        Devices that hold a stop of which nothing is on record are released too. A stop that comes meanwhile holds on.
        """
        with self._watch.releasing:
            number, held = self._stopped.number, self._stopped.is_set()
            names = [name for name in self.devices if held or self._watch.ask(name)["status"] == "stopped"]
            if not names and not held:
                raise Conflict("There is no emergency stop to reset.")
            if self._stopped.on_its_way():
                raise Conflict("Devices are still being told to stop. Try again in a moment.")
            try:
                self.journal.probe()  # before a device is released: what cannot be written down is not ended
                if held and self._runs_now():
                    raise Conflict("A plan is still being brought to its end. Try again in a moment.")
                self._release(names, number, who, why)
            except sqlite3.Error as error:
                self._watch.stop_all(names)
                raise Unavailable(
                    f"{self.journal.unwritten(error)} So the reset cannot be written down, and all stay stopped."
                ) from error
        self._wake.set()

    def _release(self, names: list[str], number: int, who: str, why: str) -> None:
        answers = self._watch.release(names)
        silent = [f"{name}: {answer}" for name, answer in answers.items() if answer != "released"]
        if silent:
            self._watch.stop_all(names)
            raise Unavailable(f"Not every device could be released, so all stay stopped. {'; '.join(silent)}")
        if not self._stopped.end(number, who, f"reset: {why}"):
            self._watch.stop_all()
            raise Conflict(
                f"{self._stopped.fact.get('who', 'Somebody')} stopped the laboratory while it was being reset, so it "
                "stays stopped. Look again, and reset it then."
            )

    def reserve(self, device: str, who: str, until: str, why: str = "") -> None:
        """Keep a device for one person's plans until a time; an empty time gives it back. See :class:`Reservations`."""
        if device not in self.devices:
            raise NotFound(f"This laboratory has no device {device!r}; it has {', '.join(self.devices)}.")
        self._reservations.keep(device, who, until, why)
        self._wake.set()

    def state(self) -> dict[str, Any]:
        """Return how the laboratory is. Devices are as they were last heard of, so this never waits for one.

        `heartbeat` is since when every device has been asked: it grows old where the gateway no longer watches.
        """
        return {
            "name": self.section.name,
            "title": self.section.title or self.section.name,
            "simulated": all(each.instrument.simulated for each in self.devices.values()),
            "heartbeat": self._watch.heartbeat,
            "procedures": list(self.section.procedures),
            "stop": self._stopped.fact,
            "warnings": [*self._misnamed, *filter(None, [self.journal.trouble])],
            "devices": [
                {
                    "name": name,
                    "instrument": device.instrument.name,
                    "simulated": device.instrument.simulated,
                    **self._watch.seen[name],
                    "reserved": self._reservations.of(name),
                    "actions": device.described(),
                }
                for name, device in self.devices.items()
            ],
            "queue": [
                {
                    "key": each["key"],
                    "title": each["plan"]["title"],
                    "asker": each["plan"]["asker"],
                    "owner": each["plan"].get("owner", ""),
                    "state": each["state"],
                    "reason": self._reason(each),
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
                self._compare_names()
                self._begin_what_can()
            except Exception:  # it is tried again; plans that run are not touched
                log.exception("the queue could not be looked at")
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()

    def _compare_names(self) -> None:
        """Find names in interlocks that no device reads, by what devices have said by now."""
        reads = dict(self._watch.reads)
        found = [each for device in self.devices.values() for each in device.misnamed(reads, self.devices)]
        for each in found:
            if each not in self._misnamed:
                log.warning(each)
        self._misnamed = found

    def _probe(self) -> None:
        """Learn that the journal cannot be written before somebody needs it, and that it can be again."""
        while not self._closing.is_set():
            with contextlib.suppress(sqlite3.Error):
                self.journal.probe()
            self._closing.wait(_AGAIN_AFTER_S if self.journal.trouble else _PROBE_EVERY_S)

    def _begin_what_can(self) -> None:
        taken: set[str] = set()
        plans = self.journal.open_plans()
        for each in [each for each in plans if each["state"] in ("running", "unknown")]:
            plan = Plan.model_validate(each["plan"])
            taken |= plan.devices
            if each["state"] == "running" and plan.key not in self._runs_now():
                self._run(plan.key)
            if each["state"] == "unknown":
                self._look_back(plan, each["steps"][-1]["number"])
        if self._stopped.is_set():
            return
        for each in [each for each in plans if each["state"] == "queued"]:
            plan = Plan.model_validate(each["plan"])
            if any(
                self._reservations.of(name).get("who", plan.person) != plan.person for name in plan.devices
            ):
                continue
            if not plan.devices & taken and self.journal.move(plan.key, "running", expected=("queued",)):
                self._run(plan.key)
            taken |= plan.devices

    def _run(self, key: str) -> None:
        _begin(self._runs, key, self._bring_to_its_end, key)

    def _bring_to_its_end(self, key: str) -> None:
        try:
            self._broken_off.pop(key, None)
            self._execution.run(key)
        except Exception as error:
            # It stays `running` in the journal, and is gone on with by asking the devices.
            log.exception("plan %s was broken off; it is gone on with", key)
            self._broken_off[key] = f"It was broken off ({error!s:.200}), and is gone on with."
            self._closing.wait(_AGAIN_AFTER_S)
        self._wake.set()

    def _runs_now(self) -> set[str]:
        return {key for key, thread in list(self._runs.items()) if thread.is_alive()}

    def _look_back(self, plan: Plan, number: int) -> None:
        """Ask the device of an unknown step, in a thread: it may be silent, and the others need not wait for it."""
        if not self._execution.lost(plan.steps[number]):
            _begin(self._looks, plan.key, self._read_back, plan, number)

    def _read_back(self, plan: Plan, number: int) -> None:
        try:
            outcome = self.devices[plan.steps[number].device].outcome(plan.step_key(number))
        except GenesisError:
            return  # it does not answer: the plan stays unknown
        if isinstance(outcome, NeverStarted):
            outcome = Failed("The device is sure that it never began.")
        with self._settling:
            if isinstance(outcome, Done | Failed) and self.journal.plan(plan.key)["state"] == "unknown":
                self._settled(plan, number, outcome, "The device itself said so later.")

    def _reason(self, record: Mapping[str, Any]) -> str:
        """Return the reason of a plan's state; of one that was broken off why, and of one whose device is gone that."""
        reason = str(record["reason"])
        if record["state"] == "running":
            return reason or self._broken_off.get(str(record["key"]), "")
        if record["state"] != "unknown":
            return reason
        lost = self._execution.lost(Plan.model_validate(record["plan"]).steps[record["steps"][-1]["number"]])
        return reason if lost in reason else f"{reason} {lost}"

    def _simulated(self, record: Mapping[str, Any]) -> bool:
        """Return whether a device of a plan is simulated: as it was when its step began, and before that as it is now."""
        began = {step["number"]: step["simulated"] for step in record["steps"]}
        for number, step in enumerate(record["plan"]["steps"]):
            simulated, device = began.get(number), self.devices.get(step["device"])
            if simulated is None and device is not None:
                simulated = device.instrument.simulated
            if simulated:
                return True
        return False


def _begin(
    threads: dict[str, threading.Thread], key: str, work: Callable[..., None], *arguments: Any
) -> None:
    """Do something in a thread of its own, unless it is being done. Only the dispatcher calls it."""
    for old in [old for old, thread in threads.items() if not thread.is_alive()]:
        del threads[old]
    if key not in threads:
        threads[key] = threading.Thread(target=work, args=arguments, daemon=True)
        threads[key].start()
