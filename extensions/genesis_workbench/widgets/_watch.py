"""Follow one experiment and tell a page of it: what happened, what waits for a person, where executions stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from genesis_workbench.core.errors import GenesisError, PermissionRefused
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import people
from genesis_workbench.experiments.instruments.laboratories import Laboratory, laboratories
from genesis_workbench.experiments.run import Run
from genesis_workbench.experiments.state import ExperimentState, fold_on
from genesis_workbench.experiments.surrogate import slices
from genesis_workbench.experiments.trial import Trial
from genesis_workbench.widgets._latest import Latest

_SHOW_S = 0.25
_LOOK_S = 2.0
_MOST = 2000
"""Trials that a page shows; the latest of more."""


class Watch:
    """Follows an experiment until it has ended; in a bare notebook that also advances it.

    Parameters
    ----------
    run : Run
        The experiment.
    show : callable
        Called with what has changed, by name, from threads of its own.
    """

    def __init__(self, run: Run, show: Callable[[dict[str, Any]], None]) -> None:
        self.run, self._show = run, show
        self._lock, self._changed, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._fits = Latest(f"slices-{run.id}")
        self._fitted, self._state = -1, run.state()
        self._laboratories: list[Laboratory] | None = None
        for work in (self._follow, self._look):
            threading.Thread(target=work, name=f"watch-{run.id}", daemon=True).start()

    @property
    def state(self) -> ExperimentState:
        """What is known now, as a copy that nothing changes any more."""
        with self._lock:
            return replace(
                self._state, trials=list(self._state.trials), under_way=dict(self._state.under_way)
            )

    def close(self) -> None:
        """Stop following. The experiment goes on where it runs."""
        self._closed.set()
        self._changed.set()
        self._fits.stop()

    def refresh(self) -> None:
        """Tell everything again."""
        self._fitted = -1
        self._changed.set()

    def _follow(self) -> None:
        while not self._closed.is_set():
            try:
                for event in self.run.follow(self._state.seq):
                    with self._lock:
                        fold_on(self._state, [Event(**event)])
                    self._changed.set()
                    if self._closed.is_set():
                        return
                if self._state.state == "ended":
                    return
            except GenesisError as error:
                self._show({"message": f"{error.message} The experiment itself goes on."})
            self._closed.wait(1)  # it is paused, or could not be reached: look again

    def _look(self) -> None:
        looked = -_LOOK_S
        self._changed.set()
        while not self._closed.is_set():
            if self._changed.wait(_LOOK_S):
                self._changed.clear()
                self._tell()
            state = self.state
            if state.state == "ended" or time.monotonic() - looked >= _LOOK_S:
                looked = time.monotonic()
                self._show(self._elsewhere(state))
            if state.state == "ended":
                self._changed.wait()
            self._closed.wait(_SHOW_S)

    def _tell(self) -> None:
        state = self.state
        self._show(
            {
                "summary": state.summary(),
                "trials": [_row(state, trial) for trial in state.trials[-_MOST:]],
                "pending": people.pending(state) if state.state != "ended" else [],
            }
        )
        seen = len(state.observed)
        if seen != self._fitted:
            self._fitted = seen
            self._fits.run(lambda: self._show({"slices": slices(state)}))

    def _elsewhere(self, state: ExperimentState) -> dict[str, Any]:
        """Return what only executors and laboratories know; an answer that is missing says so itself."""
        under_way = state.state != "ended" and state.under_way
        try:
            queue = self.run.queue() if under_way else []
        except GenesisError as error:
            queue = [{"words": error.message}]
        return {"queue": queue, "laboratories": self._in_use(state)}

    def _in_use(self, state: ExperimentState) -> list[dict[str, Any]]:
        """Return the laboratories in which trials are executed, as they are now. One that is silent says so and hides no other."""
        try:
            if self._laboratories is None:
                used = {step.executor for step in state.spec.graph}
                self._laboratories = [each for each in laboratories() if used & set(each.procedures)]
        except PermissionRefused:
            return []
        except GenesisError as error:
            return [_silent("Laboratory", error)]
        return [told for each in self._laboratories if (told := _state_of(each)) is not None]


def _state_of(laboratory: Laboratory) -> dict[str, Any] | None:
    try:
        return laboratory.state()
    except PermissionRefused:
        return None
    except GenesisError as error:
        return _silent(laboratory.name, error)


def _silent(title: str, error: GenesisError) -> dict[str, Any]:
    return {"title": title, "devices": [], "queue": [], "trouble": error.message}


def _row(state: ExperimentState, trial: Trial) -> dict[str, Any]:
    values = {
        objective.name: seen["value"]
        for objective in state.spec.objectives
        if (seen := trial.values.get(objective.name)) is not None
    }
    return {
        "trial": trial.number,
        "parameters": trial.parameters,
        "state": trial.state,
        "values": values,
        "arm": trial.arm,
        "decisive": trial.decisive,
        "proposer": trial.proposer,
        "reason": trial.reason,
        "rationale": trial.rationale,
        "since": trial.ended or trial.started or trial.proposed,
    }
