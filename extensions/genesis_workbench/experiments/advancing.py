"""An experiment that is advanced by whoever follows it, in a bare notebook: one process at a time, the others look on."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Self
from weakref import WeakValueDictionary

import psutil

from genesis_workbench.core import busy
from genesis_workbench.core.errors import Conflict, GenesisError, NotFound, Unavailable
from genesis_workbench.core.leases import Lease, Leases
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.experiments import loop, people
from genesis_workbench.experiments.executing import ready, running
from genesis_workbench.experiments.executors._base import Executor
from genesis_workbench.experiments.folding import catch_up
from genesis_workbench.experiments.state import ExperimentState, stream

log = logging.getLogger(__name__)

_TTL_S = 15.0
_ASK_AGAIN_S = 0.5
_in_turn: WeakValueDictionary[tuple[Ledger, str], threading.Lock] = WeakValueDictionary()
"""In one process, too, one thread at a time takes an experiment's turns: a cell that waits, or a widget."""


class Turns:
    """Takes an experiment's turns under a lease, which it lets go at the end of the ``with`` block.

    Parameters
    ----------
    state : ExperimentState
        The experiment; it is brought up to date.
    """

    def __init__(self, ledger: Ledger, state: ExperimentState, executors: Mapping[str, Executor]) -> None:
        self._ledger, self._state, self._executors = ledger, state, executors
        self._leases, self._me = Leases(ledger.engine), f"{socket.gethostname()}:{os.getpid()}"
        self._lease: Lease | None = None
        self._asked = -_TTL_S
        self._one = _in_turn.setdefault((ledger, state.id), threading.Lock())
        self._turning, self._over = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._hold_on, name=f"lease-{self._state.id}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._lease is not None:
            self._leases.release(self._lease)

    @property
    def over(self) -> bool:
        """Whether no turn changes anything any more: it has ended, or is paused and what was begun is done."""
        state = self._state
        if state.state == "paused":
            return _rests(state) and not ready(state, only_begun=True)
        return state.state == "ended"

    def take(self) -> None:
        """Take a turn, or look at what another process or thread has done where that takes them.

        Raises
        ------
        Unavailable
            If nothing can go on because this process lacks something, such as a function.
        """
        if not self._one.acquire(blocking=False):
            catch_up(self._ledger, self._state)
            return
        try:
            lease = self._held()
            if lease is None:
                catch_up(self._ledger, self._state)
            else:
                self._advance(lease)
        finally:
            self._one.release()

    def _advance(self, lease: Lease) -> None:
        state = self._state
        if _rests(state) and (lacks := self._lacks()):
            raise Unavailable(lacks)
        self._turning.set()
        try:
            # Said for as long as a turn takes, in which a proposer may think for minutes, and until the next one.
            what = f"the experiment {state.spec.title}"
            with nullcontext() if people.waits(state) else busy.working(what):
                loop.advance(
                    self._ledger, state.id, lease, self._executors, state=catch_up(self._ledger, state)
                )
        except Conflict:
            # Somebody said something in between, in another notebook, or has taken the lease: look again.
            self._asked = -_TTL_S
        finally:
            self._turning.clear()

    def _lacks(self) -> str:
        """Return what an executor lacks in this process for executions that are due; empty where it lacks nothing."""
        steps = {each.step.name: each.step for each in ready(self._state)}
        for step in steps.values():
            try:
                self._executors[step.executor].check(step.arguments)
            except NotFound as error:
                return error.message
            except GenesisError:
                continue  # it is away, or refuses its arguments now: the turn finds out
        return ""

    def _held(self) -> Lease | None:
        """Return the lease, taken or renewed; None while another process has it."""
        now = time.monotonic()
        if now - self._asked > (_ASK_AGAIN_S if self._lease is None else _TTL_S / 3):
            name = stream(self._state.id)
            self._lease = self._leases.acquire(name, self._me, _TTL_S)
            if self._lease is None and _died(self._leases.holder(name)):
                self._leases.let_go(self._leases.holder(name) or "")
                self._lease = self._leases.acquire(name, self._me, _TTL_S)
            self._asked = now
        return self._lease

    def _hold_on(self) -> None:
        """Renew the lease during turns that take long. Between turns it runs out where nobody asks for the next event."""
        while not self._over.wait(_TTL_S / 3):
            lease = self._lease
            if lease is not None and self._turning.is_set():
                try:
                    self._leases.renew(lease, _TTL_S)
                except Exception:  # the database may be away; appends say so where they must
                    log.exception("the lease on %s could not be renewed", lease.name)


def _rests(state: ExperimentState) -> bool:
    """Whether nothing that is under way would move by itself in a turn."""
    return not state.stopping and all(
        each.execution.answer is None
        and (each.execution.state == "unknown" or each.step.executor == "person")
        for each in running(state)
    )


def _died(holder: str | None) -> bool:
    """Whether the holder of a lease was a process of this machine that has ended."""
    host, _, number = (holder or "").rpartition(":")
    return host == socket.gethostname() and number.isdigit() and not psutil.pid_exists(int(number))
