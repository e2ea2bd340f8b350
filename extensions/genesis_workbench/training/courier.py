"""Between a person's runs and the service: brings reports and curves there, and does here what was asked there.

Only the person's own processes reach their jobs. One of them at a time is the courier; it lives as long as a notebook that trains or
watches, and the next one goes on where it was. Outside a hub there is no service, and nothing of this runs.
"""

from __future__ import annotations

import fcntl
import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from genesis_workbench.core.errors import Conflict, GenesisError
from genesis_workbench.core.service import Service, local_state, service
from genesis_workbench.core.state import State
from genesis_workbench.training import metrics, record
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.report import Report, report
from genesis_workbench.training.run import TrainingRun
from genesis_workbench.training.told import STOP

_EVERY_S = 2.0
_LINES = 2000
_STARTED = threading.Lock()
_threads: list[threading.Thread] = []
log = logging.getLogger(__name__)


def start() -> None:
    """Begin to carry in a thread of this process, unless it does already or there is no service."""
    remote = service()
    with _STARTED:
        if remote is None or any(each.is_alive() for each in _threads):
            return
        thread = threading.Thread(target=_work, args=(Courier(remote),), name="training-courier", daemon=True)
        _threads[:] = [thread]
        thread.start()


class Courier:
    """Carries for all runs of this person.

    Parameters
    ----------
    remote : Service
        The service, as this person.
    """

    def __init__(self, remote: Service) -> None:
        self._remote = remote
        self._offsets: dict[str, int] = {}  # run -> lines of its curve that are there
        self._told: dict[str, tuple[RunRecord, Report]] = {}

    def carry(self) -> None:
        """Do what was asked, and tell of every run that has changed; nothing while another process is the courier."""
        with _one_of_all() as mine:
            if not mine:
                return
            for asked in self._remote.get("training/asked")["items"]:
                self._do(asked)
            for kept in record.load_all():
                try:
                    self._tell(TrainingRun(kept))
                except GenesisError as error:  # of one run; the others are told of still
                    log.warning("training run %s could not be told of: %s", kept.run, error.message)

    def _tell(self, run: TrainingRun) -> None:
        kept, last = self._told.get(run.id, (None, None))
        if last is not None and kept == run.record and not last.can_stop:
            return  # it has ended, and nobody went on with it
        now, lines = _standing(run)
        if not now.can_stop:
            # It may have ended between the look at its curve and the one at its job: this is the last time it is told of.
            now, lines = _standing(run)
        if now != last or len(lines) > self._offsets.get(run.id, 0):
            self._send(now, lines)
        self._told[run.id] = run.record, now

    def _send(self, now: Report, lines: list[dict[str, Any]]) -> None:
        """Send what is not there yet, in parts."""
        told, here = now.model_dump(mode="json"), -1
        offset = self._offsets.get(now.run, 0)
        while here < len(lines):
            part = {"report": told, "offset": offset, "lines": lines[offset : offset + _LINES]}
            try:
                here = self._remote.post("training/runs", part)["offset"]
            except Conflict:  # it has fewer lines than it said: it was restored, or a line was cut off
                if not offset:
                    raise
                offset = self._offsets[now.run] = 0
                continue
            if here == offset < len(lines):
                raise Conflict(f"The service took no line after {here}.")
            offset = self._offsets[now.run] = here

    def _do(self, asked: dict[str, Any]) -> None:
        fault = ""
        try:
            run = TrainingRun(record.load(asked["run"]))
            if asked["what"] == STOP:
                run.stop()
            elif run.record.request.attempt == asked["attempt"]:
                # A courier that died after it had resumed finds a later attempt, and only says that it is done.
                budget = asked.get("budget_node_hours")
                run.resume(**({"budget_node_hours": budget} if budget else {}))
        except GenesisError as error:
            fault = error.message
        self._remote.post(f"training/runs/{asked['run']}/asked/{asked['id']}", {"fault": fault[:1000]})


def _work(courier: Courier) -> None:
    wait = threading.Event()
    while True:
        try:
            courier.carry()
        except Exception:  # a run of another version, a full disk: the thread goes on for the others
            log.exception("training runs could not be told of")
        wait.wait(_EVERY_S)


def _standing(run: TrainingRun) -> tuple[Report, list[dict[str, Any]]]:
    lines = [_sound(each) for each in run.whole()]
    return report(run, metrics.current(lines)), lines


def _sound(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line without what JSON cannot say: a loss that is no number any more."""
    return {name: each for name, each in line.items() if not isinstance(each, float) or math.isfinite(each)}


@contextmanager
def _one_of_all() -> Iterator[bool]:
    """Give whether this process is the courier of this person now."""
    folder = State(local_state()).training
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "courier.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
