"""Live progress of an experiment."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments import Run
from genesis_workbench.experiments.state import ExperimentState, fold


class ExperimentProgress(anywidget.AnyWidget):
    """Follows the events of an experiment and shows them.

    The widget only watches: the experiment goes on where it runs when the notebook is closed.
    """

    _esm = Path(__file__).with_suffix(".js")

    summary = traitlets.Dict().tag(sync=True)
    trials: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._events: list[Event] = [Event(**event) for event in run.events()]
        self._show()
        self.on_msg(self._command)
        threading.Thread(target=self._follow, name=f"progress-{run.id}", daemon=True).start()

    def _follow(self) -> None:
        try:
            for event in self._run.follow(self._events[-1].seq):
                self._events.append(Event(**event))
                self._show()
        except GenesisError as error:
            self.message = f"{error.message} The experiment itself goes on; run this cell again to watch it."

    def _show(self) -> None:
        state = fold(self._events)
        with self.hold_sync():
            self.trials = [_row(state, trial.number - 1) for trial in state.trials]
            self.summary = state.summary()

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        what = content.get("command") if isinstance(content, dict) else None
        actions = {"pause": self._run.pause, "resume": self._run.resume, "stop": self._run.stop}
        if what not in actions:
            return
        try:
            actions[what]()
            self.message = ""
        except GenesisError as error:
            self.message = error.message
            return
        if what == "resume" and not _following(self._run.id):
            threading.Thread(target=self._follow, name=f"progress-{self._run.id}", daemon=True).start()
        with contextlib.suppress(GenesisError):
            self.summary = self._run.status()


def _following(experiment: str) -> bool:
    return any(thread.name == f"progress-{experiment}" for thread in threading.enumerate())


def _row(state: ExperimentState, index: int) -> dict[str, Any]:
    trial = state.trials[index]
    value = trial.values.get(state.spec.objective.name)
    return {
        "trial": trial.number,
        "parameters": trial.parameters,
        "state": trial.state,
        "value": value["value"] if value else None,
        "proposer": trial.proposer,
        "reason": trial.reason,
    }
