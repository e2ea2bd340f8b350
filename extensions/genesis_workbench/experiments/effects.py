"""What the loop asks for, and the two who do it: for one experiment alone, and for many in lockstep.

The loop never touches the ledger or an executor: it yields what it wants and is sent the answer. So many experiments can
take each step together: their events are one transaction, their trials one submission to each executor.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillRunning
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from genesis_workbench.compute.job import QueueFull
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable
from genesis_workbench.core.leases import Lease
from genesis_workbench.core.ledger import Event, Ledger, NewEvent
from genesis_workbench.experiments.accounts import Accounts, Draw, Short
from genesis_workbench.experiments.executors._base import (
    Executor,
    Outcome,
    Request,
    Signature,
    cancel_all,
    observe_all,
    signature,
    submit_all,
)

if TYPE_CHECKING:
    from genesis_workbench.experiments.planning import Plan
    from genesis_workbench.experiments.state import ExperimentState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Append:
    """Write events; with an account, also what each of them draws. The answer is (events, what is short)."""

    events: tuple[NewEvent, ...]
    account: str = ""
    draws: tuple[Draw | None, ...] = ()


@dataclass(frozen=True)
class Observe:
    """Ask an executor what became of keys. The answer is {key: outcome}, without those under way."""

    executor: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Describe:
    """Ask an executor what it takes and gives. The answer is a signature for each of `arguments`, or None where it is away."""

    executor: str
    arguments: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Submit:
    """Submit. The answer is {key: why it was refused, or None where it is not taken yet}, or None where the executor is away."""

    executor: str
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Cancel:
    """End executions. No answer."""

    executor: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Propose:
    """Plan the next trials. The answer is a :class:`Plan`, or None where it is not ready yet."""

    state: ExperimentState
    count: int


Effect = Append | Observe | Describe | Submit | Cancel | Propose
Loop = Generator[Effect, Any, None]
Planner = Callable[["ExperimentState", int], "Plan | None"]


@dataclass
class Turn:
    """One experiment's turn: its loop, the lease under which it writes, and the error that ended it, if any."""

    loop: Loop
    lease: Lease | None = None
    error: BaseException | None = None


class Hands:
    """Does what loops ask for.

    Parameters
    ----------
    executors : mapping
        Executors by name.
    planner : callable
        Plans the next trials of a state.
    patience_s : float, optional
        How long an executor may take to answer before the others go on without it; for ever where left out.
    """

    def __init__(
        self,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        planner: Planner,
        *,
        patience_s: float | None = None,
    ) -> None:
        self._ledger, self._executors, self._planner = ledger, executors, planner
        self._patience_s = patience_s
        self._busy: dict[str, Future[Any]] = {}
        self._uncanceled: dict[str, list[Cancel]] = {}  # by executor: what one that hung has not heard of yet
        self._accounts = Accounts(ledger)

    def run(self, turns: Sequence[Turn]) -> None:
        """Take turns to their ends, each step of all of them together. Errors are left in the turns."""
        for name in list(self._uncanceled):
            if self._busy[name].done():
                self._cancel_late(name)
        wanted: list[tuple[Turn, Effect]] = []
        for turn in turns:
            self._next(turn, wanted)
        while wanted:
            doing, wanted = wanted, []
            for turn, answer in self._do(doing):
                self._next(turn, wanted, answer)

    def _next(self, turn: Turn, wanted: list[tuple[Turn, Effect]], answer: Any = None) -> None:
        try:
            if isinstance(answer, BaseException):
                wanted.append((turn, turn.loop.throw(answer)))
            else:
                wanted.append((turn, turn.loop.send(answer)))
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - one experiment must not stop the others; whoever runs the turns reads it
            turn.error = error

    def _do(self, doing: Sequence[tuple[Turn, Effect]]) -> Iterable[tuple[Turn, Any]]:
        yield from self._append([(turn, each) for turn, each in doing if isinstance(each, Append)])
        acts = (
            (Observe, self._observe), (Describe, self._describe), (Submit, self._submit), (Cancel, self._cancel),
        )  # fmt: skip
        for kind, act in acts:
            groups: dict[str, list[tuple[Turn, Any]]] = {}
            for turn, each in doing:
                if isinstance(each, kind):
                    groups.setdefault(each.executor, []).append((turn, each))
            for name, group in groups.items():
                yield from self._guarded(name, group, act)
        for turn, each in doing:
            if isinstance(each, Propose):
                yield turn, self._try(self._planner, each.state, each.count)

    @staticmethod
    def _try(act: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return act(*arguments)
        except Exception as error:  # noqa: BLE001 - sent into the loop that asked
            return error

    def _guarded(
        self, name: str, group: list[tuple[Turn, Any]], act: Callable[..., Any]
    ) -> Iterable[tuple[Turn, Any]]:
        """Do what several want of one executor at once; where that fails, each alone, so that one harms no other."""
        try:
            answers = self._within(name, act, [each for _, each in group])
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            if len(group) == 1:
                return [(group[0][0], error)]
            return [pair for single in group for pair in self._guarded(name, [single], act)]
        return [(turn, answer) for (turn, _), answer in zip(group, answers, strict=True)]

    def _within(self, name: str, act: Callable[..., list[Any]], wanted: list[Any]) -> list[Any]:
        """Ask an executor, in a thread of its own where patience has an end: what it has not answered is asked again later."""
        executor = self._executors[name]
        if self._patience_s is None:
            return act(executor, wanted)
        hangs = self._busy.get(name)
        if hangs is None or hangs.done():
            hangs = self._busy[name] = _begun(f"executor {name}", act, executor, wanted)
            try:
                answers: list[Any] = hangs.result(self._patience_s)
                return answers
            except StillRunning:
                log.warning("The executor %s has not answered for %g s", name, self._patience_s)
        # Keys are safe to submit and to observe again. Who wants an end does not come a second time.
        if ends := [each for each in wanted if isinstance(each, Cancel)]:
            self._uncanceled.setdefault(name, []).extend(ends)
        return [{} if isinstance(each, Observe) else None for each in wanted]

    def _cancel_late(self, name: str) -> None:
        wanted = self._uncanceled.pop(name)
        try:
            self._within(name, self._cancel, wanted)
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("Executions of %s cannot be ended now, and are asked to again: %s", name, error)
            self._uncanceled.setdefault(name, []).extend(wanted)
        except Exception:  # what is left runs to its own end, and no experiment asks for it any more
            log.exception("executions of %s could not be ended", name)

    @staticmethod
    def _observe(executor: Executor, wanted: Sequence[Observe]) -> list[dict[str, Outcome]]:
        try:
            found = observe_all(executor, [key for each in wanted for key in each.keys])
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("The executor %s is away: %s", executor.name, error)
            found = {}
        return [{key: found[key] for key in each.keys if key in found} for each in wanted]

    @staticmethod
    def _describe(executor: Executor, wanted: Sequence[Describe]) -> list[list[Signature] | None]:
        known: dict[str, Signature] = {}
        try:
            for each in wanted:
                for arguments in each.arguments:
                    mark = repr(arguments)
                    known[mark] = known.get(mark) or signature(executor, arguments)
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("The executor %s is away: %s", executor.name, error)
            return [None for _ in wanted]
        return [[known[repr(arguments)] for arguments in each.arguments] for each in wanted]

    @staticmethod
    def _submit(executor: Executor, wanted: Sequence[Submit]) -> list[dict[str, str | None] | None]:
        # In turns, so that where some only are taken, one experiment's thousands do not keep out another's two.
        turns = zip_longest(*(each.requests for each in wanted))
        try:
            refused = submit_all(executor, [one for turn in turns for one in turn if one is not None])
        except QueueFull:  # nothing to warn of: they wait for their turn
            return [None for _ in wanted]
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("The executor %s is away: %s", executor.name, error)
            return [None for _ in wanted]
        return [
            {request.key: refused[request.key] for request in each.requests if request.key in refused}
            for each in wanted
        ]

    @staticmethod
    def _cancel(executor: Executor, wanted: Sequence[Cancel]) -> list[None]:
        cancel_all(executor, [key for each in wanted for key in each.keys])
        return [None for _ in wanted]

    def _append(self, wanted: Sequence[tuple[Turn, Append]]) -> Iterable[tuple[Turn, Any]]:
        together = [(turn, each) for turn, each in wanted if not each.account]
        for turn, each in wanted:
            if each.account:
                items = list(zip(each.events, each.draws, strict=True))
                yield turn, self._try(self._accounts.append, each.account, items, turn.lease)
        if not together:
            return
        try:
            leases = [turn.lease for turn, _ in together if turn.lease is not None]
            events = self._ledger.append_many(
                [event for _, each in together for event in each.events], lease=leases
            )
        except Conflict as error:
            # Somebody else was first on one of them: the others go on.
            if len(together) == 1:
                yield together[0][0], error
            else:
                for pair in together:
                    yield from self._append([pair])
            return
        except Exception as error:  # noqa: BLE001 - the database is away, or a body is no JSON
            for turn, _ in together:
                yield turn, error
            return
        yield from _shared_out(together, events)


def _begun(name: str, act: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Call in a thread that keeps no process from ending, and return what will be its answer."""
    answer: Future[Any] = Future()

    def call() -> None:
        try:
            answer.set_result(act(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked
            answer.set_exception(error)

    threading.Thread(target=call, name=name, daemon=True).start()
    return answer


def _shared_out(
    together: Sequence[tuple[Turn, Append]], events: list[Event]
) -> Iterable[tuple[Turn, tuple[list[Event], Short | None]]]:
    at = 0
    for turn, each in together:
        yield turn, (events[at : at + len(each.events)], None)
        at += len(each.events)
