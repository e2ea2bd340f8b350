"""One plan on its devices, from wherever it stands to an end, or to `unknown`.

A step is written down as intended before its device hears of it. Whoever finds an intended step without an outcome
asks the device, and starts it again only where the device is sure that it never began.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.instruments._base import (
    Done,
    Failed,
    NeverStarted,
    Outcome,
    Reading,
    Unknown,
    finite,
)
from genesis_workbench.experiments.instruments.device import Device
from genesis_workbench.experiments.instruments.emergency import EmergencyStop
from genesis_workbench.experiments.instruments.journal import Journal
from genesis_workbench.experiments.instruments.plan import Plan, Step

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_KEEP_EVERY_S = 10.0


class Execution:
    """Runs plans of one laboratory; one call of :meth:`run` for each plan at a time.

    Parameters
    ----------
    stopped : EmergencyStop
        Nothing starts while it holds.
    closing : threading.Event
        Set when the gateway ends; plans stay as they are and are gone on with later.
    readings : callable
        Gives the readings of the devices that are named, asked now.
    locks : mapping
        By device, held while it is told to start, so that a stop can come after it.
    """

    def __init__(
        self,
        devices: Mapping[str, Device],
        journal: Journal,
        files: BlobStore,
        *,
        patience_s: float,
        stopped: EmergencyStop,
        closing: threading.Event,
        readings: Callable[[Collection[str]], Mapping[str, Mapping[str, Reading]]],
        locks: Mapping[str, threading.Lock],
    ) -> None:
        self._devices, self._journal, self._files, self._patience_s = devices, journal, files, patience_s
        self._stopped, self._closing, self._readings = stopped, closing, readings
        self._locks = locks

    def run(self, key: str) -> None:
        """Bring a plan that is in the state `running` as far as it goes."""
        record = self._journal.plan(key)
        if record["state"] != "running":
            return
        plan, known = Plan.model_validate(record["plan"]), {step["number"]: step for step in record["steps"]}
        for number, step in enumerate(plan.steps):
            before = known.get(number)
            if before is not None and before["state"] == "done":
                continue
            if before is not None and before["state"] == "failed":  # it was settled, the plan not yet
                outcome: Outcome | None = Failed(before["outcome"]["reason"])
            elif lost := self.lost(step):
                outcome = Failed(lost) if before is None else Unknown(lost)
            else:
                outcome = self._step(plan, number, step, resumed=before is not None)
            if outcome is None:
                return  # the gateway is closing
            state, reason = self.settle(plan, number, outcome)
            if state != "done":
                where = f"{step.device}.{step.action}: {reason}"
                self._journal.move(key, state, where, expected=("running",))
                return
        self._journal.move(key, "done", expected=("running",))

    def settle(self, plan: Plan, number: int, outcome: Outcome) -> tuple[str, str]:
        """Write an outcome down; return the state and the reason of the plan that follow from it."""
        if isinstance(outcome, Done):
            try:
                kept = _kept(outcome, self.outcomes(plan.steps[number]), self._files)
            except InvalidInput as error:
                outcome = Failed(error.message)
            else:
                self._journal.settle(plan.key, number, "done", kept)
                return "done", ""
        if isinstance(outcome, Failed):
            self._journal.settle(plan.key, number, "failed", {"reason": outcome.reason})
            return "failed", outcome.reason + self._why_stopped()
        reason = outcome.reason if isinstance(outcome, Unknown) else "The device does not know of it."
        self._journal.settle(plan.key, number, "unknown", {"reason": reason})
        return "unknown", reason

    def lost(self, step: Step) -> str:
        """Say that a step's device, or its action, is gone from the site; empty where it is there."""
        device = self._devices.get(step.device)
        if device is None:
            return f"This site has no device {step.device!r} any more."
        return (
            "" if step.action in device.actions else f"{step.device} has no action {step.action!r} any more."
        )

    def outcomes(self, step: Step) -> Mapping[str, str]:
        """Return name and unit of what a step measures; nothing where its device or action is gone."""
        return {} if self.lost(step) else self._devices[step.device].actions[step.action].outcomes

    def _step(self, plan: Plan, number: int, step: Step, *, resumed: bool) -> Outcome | None:
        """Start a step, or find it, and watch it to its end; None where the gateway closes before.

        The journal adds up how long it was watched, by a clock that nobody sets: what instrument minutes are counted by.
        Not counted are the last seconds before a gateway died, all until the next one watched, and the time in which
        nobody knew what became of it.
        """
        watched = _Watched(self._journal, plan.key, number)
        try:
            return self._watch(plan, number, step, watched, resumed=resumed)
        finally:
            watched.keep()

    def _watch(
        self, plan: Plan, number: int, step: Step, watched: _Watched, *, resumed: bool
    ) -> Outcome | None:
        device, key, started = self._devices[step.device], plan.step_key(number), False
        silent_since, pause_s, begun = time.monotonic(), _FIRST_PAUSE_S, time.monotonic()
        asked_first = resumed
        while not self._closing.is_set():
            try:
                outcome = device.outcome(key) if asked_first else NeverStarted()
                silent_since = time.monotonic()
                if isinstance(outcome, Done | Failed | Unknown):
                    return outcome
                if isinstance(outcome, NeverStarted):
                    if started:
                        return Unknown("The device began it and knows nothing of it any more.")
                    watched.begin()
                    refused = self._start(plan, number, step)
                    if refused is not None:
                        return refused
                    started = asked_first = True
            except GenesisError as error:
                # A start that nobody answered may have been heard: from now on the device is asked first.
                asked_first = asked_first or bool(self._journal_knows(plan.key, number))
                if time.monotonic() - silent_since > self._patience_s:
                    why = f"The device does not answer: {error.message}"
                    return Unknown(why) if asked_first else Failed(why)
            if time.monotonic() - begun > device.actions[step.action].longest_s:
                return Unknown("It is still running after the longest time that this action may take.")
            self._closing.wait(pause_s)
            pause_s = min(pause_s * 1.3, _LONGEST_PAUSE_S)
            watched.keep(_KEEP_EVERY_S)
        return None

    def _start(self, plan: Plan, number: int, step: Step) -> Failed | None:
        """Check limits and interlocks once more, write the intention down, and start."""
        device = self._devices[step.device]
        try:
            check_simulated(plan, self._devices)
            arguments = device.accept(step.action, step.arguments)
            asked = device.asked_by(step.action, self._devices)
            device.check_interlocks(step.action, self._readings(asked))
        except (InvalidInput, NotFound, Conflict) as error:
            return Failed(error.message)
        with self._locks[step.device]:
            if self._stopped.is_set():
                return Failed("It was not started.")
            if number == 0 and (expired := _expired(plan)):
                return Failed(expired)
            self._journal.intend(plan.key, number, simulated=device.instrument.simulated)
            if self._stopped.is_set():  # a journal that is busy may have taken long
                return Failed("It was not started.")
            try:
                device.ask("start", plan.step_key(number), step.action, arguments)
            except (InvalidInput, Conflict) as error:
                return Failed(error.message)
        return None

    def _journal_knows(self, key: str, number: int) -> bool:
        return any(step["number"] == number for step in self._journal.plan(key)["steps"])

    def _why_stopped(self) -> str:
        stop = self._stopped.fact
        return f" Emergency stop by {stop['who']}: {stop['why']}" if stop else ""


class _Watched:
    """How long a step was watched. In between it is kept, so that little of it dies with the gateway."""

    def __init__(self, journal: Journal, key: str, number: int) -> None:
        self._journal, self._key, self._number = journal, key, number
        self.begin()

    def begin(self) -> None:
        """Count from now: it had not been started before."""
        self._since = time.monotonic()

    def keep(self, after_s: float = 0.0) -> None:
        """Write down what came since the last time, once it is so many seconds."""
        now = time.monotonic()
        if now - self._since >= after_s:
            # Of a journal that cannot be written others tell, and nothing is broken off for a count.
            with contextlib.suppress(sqlite3.Error):
                self._journal.watched(self._key, self._number, now - self._since)
                self._since = now


def _expired(plan: Plan) -> str:
    """Say that the approval of a plan that has not begun is over; empty where it holds, or none was needed."""
    until = plan.approved_until
    if until is None or datetime.now(UTC) < until:
        return ""
    return (
        f"Its approval expired at {until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, before it began. Nothing was started: have it "
        "approved again."
    )


def check_simulated(plan: Plan, devices: Mapping[str, Device]) -> None:
    """Raise Conflict where a plan was approved for simulated devices and meets a real one, or the other way round."""
    if plan.simulated is None:
        return
    known = {name: devices[name].instrument.simulated for name in sorted(plan.devices & set(devices))}
    if plan.simulated != all(known.values()):
        said = ", ".join(
            f"{name} is {'simulated' if simulated else 'real'}" for name, simulated in known.items()
        )
        raise Conflict(
            f"This plan was approved for {'simulated devices alone' if plan.simulated else 'real devices'}, and now {said}. "
            "Nothing was started: have it approved again for the devices as they are."
        )


def _kept(outcome: Done, outcomes: Mapping[str, str], files: BlobStore) -> dict[str, Any]:
    """Return what a step gave, with units, files by hash; InvalidInput where it is not what the action promises."""
    for name in outcomes:
        for value in (outcome.values.get(name), outcome.uncertainties.get(name, 0.0)):
            if not finite(value):
                raise InvalidInput(f"The device gave {value!r:.80} for {name}; a finite number was expected.")
    values = {
        name: {
            "value": float(outcome.values[name]),
            "unit": unit,
            **({"uncertainty": float(outcome.uncertainties[name])} if name in outcome.uncertainties else {}),
        }
        for name, unit in outcomes.items()
    }
    return {"values": values, "files": {name: files.put(data) for name, data in outcome.files.items()}}
