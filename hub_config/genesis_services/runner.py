"""The runner: advances every experiment, and harvests sources when they are due.

Any number of runners may run: a lease on each experiment and each source decides which of them acts.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time

import psutil

from genesis_services.context import Context
from genesis_workbench.catalog import health
from genesis_workbench.catalog.harvest import harvest
from genesis_workbench.core.errors import Conflict, GenesisError
from genesis_workbench.core.leases import Lease, Leases
from genesis_workbench.core.site import SourceSection
from genesis_workbench.experiments import loop
from genesis_workbench.experiments.effects import Hands, Turn
from genesis_workbench.experiments.folding import Folds, Following
from genesis_workbench.experiments.guard import Apart
from genesis_workbench.experiments.state import PREFIX

HEARTBEAT = "runner"
_TTL_S = 20.0
_EVERY_S = 0.25
_MOST_PATIENCE_S = 60.0
_AT_ONCE = 4
_SOURCE = "catalog/source/"
log = logging.getLogger(__name__)


class Runner:
    """One runner: all experiments that it holds take their turns together, so that what they write is one transaction."""

    def __init__(self, context: Context) -> None:
        self._leases = Leases(context.ledger.engine)
        self._me = f"{socket.gethostname()}:{os.getpid()}"
        self._inherit()
        self._planner = Apart()
        self._following = Following(context.ledger, Folds(context.ledger))
        self._executors = context.executors
        self._hands = Hands(context.ledger, self._executors, self._planner, patience_s=_TTL_S / 4)
        self._due: dict[str, float] = {}  # experiment -> when to look at it again
        self._held: dict[
            str, tuple[Lease, float]
        ] = {}  # experiment -> its lease, and until when it needs no renewal
        self._troubles: dict[str, int] = {}

    def step(self) -> None:
        """Advance every experiment that is due, once."""
        for experiment in self._following.look():
            if self._troubles.get(experiment, 0) == 0:
                self._due[experiment] = 0.0
        now = time.monotonic()
        due = self._holding([each for each, when in self._due.items() if when <= now])
        turns: dict[str, Turn] = {}
        for experiment in due:
            try:
                state = self._following.state(experiment)
            except Exception as error:  # noqa: BLE001 - events of another version, or the database is away
                self._trouble(experiment, error)
                continue
            turns[experiment] = Turn(loop.turn(state, self._executors), self._held[experiment][0])
        self._hands.run(list(turns.values()))
        for experiment, turn in turns.items():
            self._after(experiment, turn.error)

    def _inherit(self) -> None:
        """Let go of what runners of this machine held that are dead: nobody need wait until their leases run out."""
        for holder in self._leases.holders():
            host, _, number = holder.rpartition(":")
            if host == socket.gethostname() and number.isdigit() and not psutil.pid_exists(int(number)):
                self._leases.let_go(holder)

    def close(self) -> None:
        """End the processes in which proposers run."""
        self._planner.close()

    def _holding(self, experiments: list[str]) -> list[str]:
        """Take or renew leases, and return the experiments that this runner may advance."""
        now = time.monotonic()
        wanted = [each for each in experiments if self._held.get(each, (None, 0.0))[1] <= now]
        taken = self._leases.acquire_all([PREFIX + each for each in wanted], self._me, _TTL_S)
        for each in wanted:
            lease = taken.get(PREFIX + each)
            if lease is None:
                self._held.pop(each, None)
                self._due[each] = now + _TTL_S / 4  # another runner has it
            else:
                self._held[each] = (lease, now + _TTL_S / 2)
        return [each for each in experiments if each in self._held]

    def _after(self, experiment: str, error: BaseException | None) -> None:
        if isinstance(error, Conflict):
            # A person's command came in between, or the lease went to another runner: look again.
            log.info("%s changed while it was advanced", experiment)
            self._held.pop(experiment, None)
            self._following.forget(experiment)
        elif error is not None:
            self._trouble(experiment, error)
        else:
            self._troubles.pop(experiment, None)
            state = self._following.state(experiment)
            if state.state == "ended":
                self._due.pop(experiment, None)
                self._following.forget(experiment)
                self._leases.release(self._held.pop(experiment)[0])
            elif state.state == "paused":
                # What is under way is still observed, so look again, but not often.
                self._due[experiment] = time.monotonic() + 2

    def _trouble(self, experiment: str, error: BaseException) -> None:
        """Note that it could not be advanced: it must not stop the others, and is tried again, more and more seldom."""
        patience = min(2.0 ** self._troubles.get(experiment, 0), _MOST_PATIENCE_S)
        self._troubles[experiment] = self._troubles.get(experiment, 0) + 1
        self._due[experiment] = time.monotonic() + patience
        self._following.forget(experiment)
        log.error("%s could not be advanced; it is tried again in %g s", experiment, patience, exc_info=error)


class Harvester(threading.Thread):
    """Harvests what is due, a few sources at a time: no experiment waits for the network, and no source for another."""

    def __init__(self, context: Context, stopping: threading.Event) -> None:
        super().__init__(name="harvester", daemon=True)
        self._context, self._stopping = context, stopping
        self._leases = Leases(context.ledger.engine)
        self._me = f"{socket.gethostname()}:{os.getpid()}"
        self._running: dict[str, threading.Thread] = {}
        self._asked: dict[str, str] = {}
        self._read_to = 0

    def run(self) -> None:
        """Look for what is due until told to stop."""
        while not self._stopping.wait(2):
            try:
                self._start_what_is_due()
            except Exception:  # the database may be away for a moment
                log.exception("what is due to be harvested could not be found out; it is tried again")

    def _start_what_is_due(self) -> None:
        self._learn()
        self._running = {name: thread for name, thread in self._running.items() if thread.is_alive()}
        every = self._context.site.catalog.harvest_every_s
        rows = {row.name: row for row in self._context.catalog.store.sources()}
        for section in self._context.catalog.harvestable():
            name = section.name
            waits = len(self._running) >= _AT_ONCE or name in self._running or not section.url
            if not waits and health.due(rows.get(name), every, self._asked.get(name, "")):
                # Daemons: a source that hangs does not keep the runner from ending.
                self._running[name] = threading.Thread(target=self._harvest, args=(section,), daemon=True)
                self._running[name].start()

    def _learn(self) -> None:
        """Read what was asked for since the last look."""
        ledger = self._context.ledger
        while events := ledger.read(prefix=_SOURCE, kinds=["source.requested"], after=self._read_to):
            self._read_to = events[-1].seq
            self._asked |= {event.stream.removeprefix(_SOURCE): event.time for event in events}

    def _harvest(self, section: SourceSection) -> None:
        lease = self._leases.acquire(_SOURCE + section.name, self._me, section.deadline_s + _TTL_S)
        if lease is None:
            return
        try:
            report = harvest(self._context.catalog, section)
            log.info(
                "%s: %d records, %d rejected. %s",
                section.name,
                report.records,
                report.rejected,
                report.reason,
            )
            self._learn_meanings()
        except Exception:  # it must not stop the others; it is due again
            log.exception("%s could not be harvested", section.name)
        finally:
            self._leases.release(lease)

    def _learn_meanings(self) -> None:
        try:
            self._context.catalog.learn_meanings()
        except GenesisError as error:  # no searches by meaning then; everything else goes on
            log.warning("searches by meaning: %s", error.message)


def run() -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    context = Context.from_environment()
    runner, leases = Runner(context), Leases(context.ledger.engine)
    me, beat = f"{socket.gethostname()}:{os.getpid()}", 0.0
    Harvester(context, stopping).start()
    took = 0.0
    while not stopping.wait(max(_EVERY_S - took, _EVERY_S / 10)):
        began = time.monotonic()
        if time.monotonic() - beat > _TTL_S / 4:
            leases.acquire(HEARTBEAT, me, _TTL_S)
            beat = time.monotonic()
        runner.step()
        took = time.monotonic() - began
    runner.close()
    context.ledger.close()
