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

from genesis_services.context import Context
from genesis_workbench.catalog import health
from genesis_workbench.catalog.harvest import harvest
from genesis_workbench.core.errors import Conflict
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.site import SourceSection
from genesis_workbench.experiments import loop
from genesis_workbench.experiments.state import PREFIX

HEARTBEAT = "runner"
_TTL_S = 20.0
_EVERY_S = 0.25
_MOST_PATIENCE_S = 60.0
_AT_ONCE = 4
_SOURCE = "catalog/source/"
log = logging.getLogger(__name__)


class Runner:
    """One runner."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._leases = Leases(context.ledger.engine)
        self._me = f"{socket.gethostname()}:{os.getpid()}"
        self._executors = context.executors
        self._active: dict[str, float] = {}  # experiment -> when to look at it again
        self._troubles: dict[str, int] = {}
        self._read_to = 0

    def step(self) -> None:
        """Advance every experiment once."""
        self._learn()
        now = time.monotonic()
        for experiment in [each for each, due in self._active.items() if due <= now]:
            self._advance(experiment)

    def _learn(self) -> None:
        """Read what was created and what ended since the last look."""
        kinds = ["experiment.created", "experiment.resumed", "experiment.stopped", "experiment.ended"]
        while events := self._context.ledger.read(prefix=PREFIX, kinds=kinds, after=self._read_to):
            self._read_to = events[-1].seq
            for event in events:
                experiment = event.stream.removeprefix(PREFIX)
                if event.kind == "experiment.ended":
                    self._active.pop(experiment, None)
                else:
                    self._active[experiment] = 0.0

    def _advance(self, experiment: str) -> None:
        lease = self._leases.acquire(f"{PREFIX}{experiment}", self._me, _TTL_S)
        if lease is None:
            self._active[experiment] = time.monotonic() + _TTL_S / 4  # another runner has it
            return
        try:
            state = loop.advance(self._context.ledger, experiment, lease, self._executors)
            if state.state != "running":
                # Paused: what is under way is still observed, so look again, but not often.
                self._active[experiment] = time.monotonic() + 2
            if state.state == "ended":
                self._active.pop(experiment, None)
            self._troubles.pop(experiment, None)
        except Conflict:
            # A person's command came in between, or the lease went to another runner: look again.
            log.info("%s changed while it was advanced", experiment)
        except Exception:  # one experiment must not stop the others; it is tried again, more and more seldom
            patience = min(2.0 ** self._troubles.get(experiment, 0), _MOST_PATIENCE_S)
            self._troubles[experiment] = self._troubles.get(experiment, 0) + 1
            self._active[experiment] = time.monotonic() + patience
            log.exception("%s could not be advanced; it is tried again in %g s", experiment, patience)


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
        except Exception:  # it must not stop the others; it is due again
            log.exception("%s could not be harvested", section.name)
        finally:
            self._leases.release(lease)


def run() -> None:
    """Run until SIGTERM or SIGINT."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    context = Context.from_environment()
    runner, leases = Runner(context), Leases(context.ledger.engine)
    me, beat = f"{socket.gethostname()}:{os.getpid()}", 0.0
    Harvester(context, stopping).start()
    while not stopping.wait(_EVERY_S):
        if time.monotonic() - beat > _TTL_S / 4:
            leases.acquire(HEARTBEAT, me, _TTL_S)
            beat = time.monotonic()
        runner.step()
    context.ledger.close()
