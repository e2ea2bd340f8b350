"""A laboratory's devices, looked at again and again, and told to stop or that they are released, all at the same time.

Each has a thread of its own, so that one that is silent delays no other.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import Any, TypeVar

from genesis_workbench.core.clock import now
from genesis_workbench.core.errors import Conflict, GenesisError
from genesis_workbench.experiments.instruments._base import Reading
from genesis_workbench.experiments.instruments.device import Device
from genesis_workbench.experiments.instruments.emergency import EmergencyStop

_EVERY_S = 2.0
_START_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 45.0  # less than a client waits for the answer to a stop
_NOT_ASKED, _SILENT = "not asked yet", "does not answer"
_FRESH_FOR_S = 1.0
_LATE = "has not answered yet"
T = TypeVar("T")
log = logging.getLogger(__name__)


class Watch:
    """What devices were last heard to say; `seen` by their names.

    Parameters
    ----------
    stopped : EmergencyStop
        Whoever missed it is told again.
    closing : threading.Event
        Ends the threads.
    """

    def __init__(
        self, devices: Mapping[str, Device], stopped: EmergencyStop, closing: threading.Event
    ) -> None:
        self._devices, self._stopped, self._closing = devices, stopped, closing
        self.seen: dict[str, dict[str, Any]] = {
            name: {"status": _NOT_ASKED, "readings": {}} for name in devices
        }
        self.reads: dict[str, dict[str, Reading]] = {}
        """By device what it has ever read, for whoever has answered."""
        self.threads = [threading.Thread(target=self._look, args=(name,), daemon=True) for name in devices]
        self.starting = {name: threading.Lock() for name in devices}
        """Held while a device is told to start, so that a stop can come after it."""
        self.releasing = threading.Lock()
        """Held by a reset: until it has ended, nobody is told again of the stop that it ends."""
        self._telling = {name: threading.Lock() for name in devices}
        self._looked = dict.fromkeys(devices, now())

    @property
    def heartbeat(self) -> str:
        """Since when every device has been asked, whatever it answered; it grows old where nobody watches any more."""
        return min(self._looked.values(), default=now())

    def ask(self, name: str) -> dict[str, Any]:
        """Ask one device how it is now, and remember it."""
        try:
            found = {**asdict(self._devices[name].state()), "seen": now()}
            if found["readings"]:
                self.reads[name] = {**self.reads.get(name, {}), **found["readings"]}
        except GenesisError as error:
            last = self.seen[name].get("seen", "")
            found = {"status": _SILENT, "reason": error.message, "seen": last, "readings": {}}
        self.seen[name] = found
        return found

    def readings(self, names: Collection[str]) -> Mapping[str, Mapping[str, Reading]]:
        """Ask some devices for their readings as they are now, without those that cannot be read.

        Raises
        ------
        Conflict
            If one takes so long, twice, that what the others said is old by then.
        """
        for _ in range(2):
            begun = time.monotonic()
            late: tuple[dict[str, Any], float] = {}, _ANSWER_WITHIN_S
            found = _at_once(self._timed, names, late)
            if time.monotonic() - begun <= _FRESH_FOR_S:
                break
        else:
            slow = [
                f"{name} in {took_s:.1f} s" for name, (_, took_s) in found.items() if took_s > _FRESH_FOR_S
            ]
            raise Conflict(
                f"The interlocks cannot be checked: devices answered too late ({', '.join(slow) or 'together'}). A reading "
                f"that is older than {_FRESH_FOR_S:g} s may have changed. The step was not started: see what holds them up."
            )
        return {
            name: {
                reading: value
                for reading, value in each.get("readings", {}).items()
                if reading not in each.get("unreadable", ())
            }
            for name, (each, _) in found.items()
        }

    def _timed(self, name: str) -> tuple[dict[str, Any], float]:
        begun = time.monotonic()
        return self.ask(name), time.monotonic() - begun

    def stop_all(self, names: Collection[str] | None = None) -> dict[str, str]:
        """Tell devices to stop, all where none is named; return what each answered, in words. Waits for no reset."""
        return _at_once(self._stop, self._devices if names is None else names, _LATE)

    def release(self, names: Collection[str]) -> dict[str, str]:
        """Tell devices that they are released; return what each answered, in words."""
        return _at_once(self._release, names, _LATE)

    def _stop(self, name: str) -> str:
        device, lock = self._devices[name], self.starting[name]
        with contextlib.suppress(GenesisError):
            device.ask("stop")
        if not lock.acquire(timeout=_START_WITHIN_S):
            return f"{device.tell('stop')}, but a start that was on its way may still arrive"
        lock.release()  # a start that was on its way has arrived by now
        return device.tell("stop")

    def _release(self, name: str) -> str:
        with self._telling[name]:
            return self._devices[name].tell("release")

    def _look(self, name: str) -> None:
        while not self._closing.is_set():
            try:
                if self.seen[name]["status"] == _NOT_ASKED:
                    self._stop_again(name)  # the gateway may have died in the middle of a stop
                self.ask(name)
                self._stop_again(name)
                self._stopped.write_what_is_missing()
                self._looked[name] = now()
            except Exception:  # it is tried again; the heartbeat grows old meanwhile
                log.exception("%s could not be looked at", name)
            self._closing.wait(_EVERY_S)

    def _stop_again(self, name: str) -> None:
        """Tell a device of a stop that it missed: it was out of reach, or has been switched off and on since."""
        with self._telling[name]:
            # In this order: a reset that begins in between waits for `_telling` before it releases this device.
            if (
                self.releasing.locked()
                or not self._stopped.is_set()
                or self.seen[name]["status"] == "stopped"
            ):
                return
            number, before = self._stopped.number, self._stopped.fact.get("devices", {}).get(name)
            answer = self._devices[name].tell("stop")
            if answer != before:
                self._stopped.confirm(number, {name: answer})
                self._stopped.write(f"{name} was told again to stop: {answer}")


def _at_once(do: Callable[[str], T], names: Collection[str], late: T) -> dict[str, T]:
    """Do something to several devices at the same time; `late` stands for what has not ended after a while."""
    pool = ThreadPoolExecutor(max(1, len(names)))
    try:
        under_way = {name: pool.submit(do, name) for name in names}
        wait(under_way.values(), _ANSWER_WITHIN_S)
        return {name: each.result() if each.done() else late for name, each in under_way.items()}
    finally:
        pool.shutdown(wait=False)
