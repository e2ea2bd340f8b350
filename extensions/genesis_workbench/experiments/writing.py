"""How the loop writes: entries to one experiment's stream, with what they draw from a shared budget."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from genesis_workbench.core.ledger import NewEvent
from genesis_workbench.experiments.accounts import Draw, Short
from genesis_workbench.experiments.budget import together
from genesis_workbench.experiments.effects import Append, Effect
from genesis_workbench.experiments.state import ExperimentState, fold_on, stream

_SETTLES = ("trial.observed", "trial.failed", "trial.refused")


@dataclass(frozen=True)
class Entry:
    """An event of the loop, before it has its place in the stream."""

    kind: str
    body: dict[str, Any]


class Writer:
    """Appends to one experiment's stream and folds what was written into its state.

    Each append expects the version that the state has: where a person's command came in between, nothing is written.
    """

    def __init__(self, state: ExperimentState, actor: str) -> None:
        self._state, self._actor = state, actor

    def __call__(self, entries: Sequence[Entry]) -> Generator[Effect, Any, Short | None]:
        """Write entries in one transaction; return of what a shared budget has too little, if it has."""
        state = self._state
        if not entries:
            return None
        events = tuple(
            NewEvent(stream(state.id), entry.kind, entry.body, self._actor, state.version + place)
            for place, entry in enumerate(entries)
        )
        account = state.spec.budget.account
        draws = tuple(self._draw(entry) for entry in entries) if account else ()
        short: Short | None
        written, short = yield Append(events, account, draws)
        fold_on(state, written)
        return short

    def _draw(self, entry: Entry) -> Draw | None:
        key = f"{self._state.id}/{entry.body.get('trial')}"
        if entry.kind == "trial.proposed":
            return Draw(key, together(entry.body.get("reserved", {}), {"trials": 1.0}), "reserved")
        if entry.kind == "trial.again":
            return Draw(key, entry.body.get("cost", {}), "spent")
        if entry.kind == "proposer.asking":
            return Draw(f"{self._state.id}/asking", entry.body["cost"], "reserved")
        if entry.kind == "proposer.asked" and self._state.asking:
            return Draw(f"{self._state.id}/asking", entry.body.get("cost", {}), "settled")
        if entry.kind in _SETTLES:
            return Draw(key, together(self._cost(entry.body), {"trials": 1.0}), "settled")
        return None

    def _cost(self, body: dict[str, Any]) -> dict[str, float]:
        cost: dict[str, float] = body.get("cost", self._state.trials[body["trial"] - 1].reserved)
        return cost
