"""States of experiments, brought up to date by reading only what is new; long ones begin at a snapshot.

A snapshot is a cache and nothing else: it is made from the events, names the event up to which it goes by its hash, is
left aside where code or ledger do not fit it, and is never looked at by a verification.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy as sa

from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.ledger import Event, Ledger
from genesis_workbench.experiments.budget import Spending
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import PREFIX, ExperimentState, fold_on, stream
from genesis_workbench.experiments.trial import from_plain, plain

EVERY = 5_000
"""After so many new events a snapshot is made."""

_metadata = sa.MetaData()
_snapshots = sa.Table(
    "experiment_snapshots",
    _metadata,
    sa.Column("experiment", sa.String(200), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("head", sa.String(71), nullable=False),
    sa.Column("code", sa.String(71), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)
_PLAIN = (
    "id", "owner", "created", "simulated", "hypothesis_digest", "state", "reason", "stopping", "spent", "deviations",
    "finding", "version", "seq", "head", "added", "imports", "proposer_failures", "advice", "asking",
)  # fmt: skip


class Folds:
    """Folds experiments of one ledger.

    Parameters
    ----------
    every : int
        After how many new events a snapshot is made.
    """

    def __init__(self, ledger: Ledger, *, every: int = EVERY) -> None:
        self._ledger, self._every = ledger, every
        _prepare(ledger.engine)

    def load(self, experiment: str) -> ExperimentState:
        """Return the state of an experiment as it is now.

        Raises
        ------
        NotFound
            If there is none.
        """
        with _without_collector():
            state = self._snapshot(experiment)
            began = state.version if state else 0
            found = fold_on(state, events_after(self._ledger, experiment, state.seq if state else 0))
        if found is None:
            raise NotFound("There is no such experiment, or none that you may see.")
        if found.version - began >= self._every:
            self.keep(found)
        return found

    def keep(self, state: ExperimentState) -> None:
        """Make a snapshot, unless there is a newer one."""
        row = {
            "version": state.version,
            "head": state.head,
            "code": _code(),
            "state": json.dumps(to_plain(state)),
        }
        with self._ledger.engine.begin() as connection:
            known = connection.execute(
                sa.select(_snapshots.c.version, _snapshots.c.code)
                .where(_snapshots.c.experiment == state.id)
                .with_for_update()
            ).first()
            if known is None:
                try:
                    with connection.begin_nested():
                        connection.execute(sa.insert(_snapshots).values(experiment=state.id, **row))
                except sa.exc.IntegrityError:
                    return  # another process was first
            elif known.version < state.version or known.code != row["code"]:
                connection.execute(
                    sa.update(_snapshots).where(_snapshots.c.experiment == state.id).values(**row)
                )

    def _snapshot(self, experiment: str) -> ExperimentState | None:
        query = sa.select(_snapshots).where(_snapshots.c.experiment == experiment)
        with self._ledger.reader.connect() as connection:
            row = connection.execute(query).first()
        if row is None or row.code != _code():
            return None
        state = state_of(json.loads(row.state))
        at = self._ledger.read(stream=stream(experiment), after=state.seq - 1, limit=1)
        # A ledger that was restored from an older copy has another event there, or none.
        return state if at and at[0].seq == state.seq and at[0].hash == row.head else None


def _prepare(engine: sa.Engine) -> None:
    # Two processes may start at once: the second finds the table made, or fails to make it and finds it then.
    try:
        _metadata.create_all(engine)
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError):
        _metadata.create_all(engine)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Hold Python's collector of cycles back: its walks over so many new objects, none in a cycle, cost most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def events_after(ledger: Ledger, experiment: str, after: int) -> Iterator[Event]:
    """Iterate over an experiment's events after a number."""
    while events := ledger.read(stream=stream(experiment), after=after, limit=5000):
        yield from events
        after = events[-1].seq


def catch_up(ledger: Ledger, state: ExperimentState) -> ExperimentState:
    """Fold what has come since into a state, and return it."""
    fold_on(state, events_after(ledger, state.id, state.seq))
    return state


class Following:
    """The states of all experiments that go on, kept up to date by one read for all of them."""

    def __init__(self, ledger: Ledger, folds: Folds) -> None:
        self._ledger, self._folds = ledger, folds
        self._states: dict[str, ExperimentState] = {}
        self._kept: dict[str, int] = {}
        self._read_to = 0

    def look(self) -> set[str]:
        """Read what is new and return the experiments about which there is something."""
        changed: set[str] = set()
        first = self._read_to == 0
        # At the beginning only what was created and what has ended matters; states are loaded when they are asked for.
        kinds = ["experiment.created", "experiment.ended"] if first else None
        head = self._ledger.head()[0]
        while events := self._ledger.read(prefix=PREFIX, after=self._read_to, kinds=kinds, limit=5000):
            self._read_to = events[-1].seq
            for event in events:
                experiment = event.stream.removeprefix(PREFIX)
                changed.add(experiment)
                if first and event.kind == "experiment.ended":
                    changed.discard(experiment)
                state = self._states.get(experiment)
                if state is not None and event.version == state.version + 1:
                    fold_on(state, [event])
        self._read_to = max(self._read_to, head) if first else self._read_to
        return changed

    def state(self, experiment: str) -> ExperimentState:
        """Return the state of an experiment; the same object until it is forgotten."""
        state = self._states.get(experiment)
        if state is None:
            state = self._states[experiment] = self._folds.load(experiment)
            self._kept[experiment] = state.version
        elif state.version - self._kept[experiment] >= EVERY:
            self._folds.keep(state)
            self._kept[experiment] = state.version
        return state

    def forget(self, experiment: str) -> None:
        """Drop a state: it has ended, or what is known of it is in doubt."""
        self._states.pop(experiment, None)


def to_plain(state: ExperimentState) -> dict[str, Any]:
    """Return a state as JSON values."""
    return {
        **{name: getattr(state, name) for name in _PLAIN},
        "spec": state.spec.model_dump(mode="json"),
        "trials": [plain(trial) for trial in state.trials],
        "earlier": [plain(trial) for trial in state.earlier],
        "laboratory": sorted(state.laboratory),
        "real": sorted(state.real),
        "reserved": state.spending.reserved,
        "amounts": state.spending.spent,
    }


def state_of(found: Mapping[str, Any]) -> ExperimentState:
    """Return the state that :func:`to_plain` wrote."""
    trials = [from_plain(each) for each in found["trials"]]
    spending = Spending(spent=dict(found["amounts"]))
    for key, amounts in found["reserved"].items():
        spending.reserve(key, amounts)
    return ExperimentState(
        **{name: found[name] for name in _PLAIN},
        spec=ExperimentSpec.model_validate(found["spec"]),
        trials=trials,
        earlier=[from_plain(each) for each in found["earlier"]],
        under_way={trial.number: trial for trial in trials if trial.open},
        spending=spending,
        laboratory=frozenset(found["laboratory"]),
        real=frozenset(found["real"]),
    )


@cache
def _code() -> str:
    """SHA-256 of the source that folds: a snapshot of other code is of no use."""
    import inspect

    from genesis_workbench.experiments import budget, state, trial

    return digest_json([inspect.getsource(module) for module in (budget, state, trial)])
