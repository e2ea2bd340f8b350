"""A training run as it goes: curves, speed, node-hours, checkpoints; stop it, resume it, put it into the zoo."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import traitlets

from genesis_workbench import training
from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.service import local_state
from genesis_workbench.core.storage import write_whole
from genesis_workbench.training import courier, record
from genesis_workbench.training.report import curves, report
from genesis_workbench.training.run import TrainingRun
from genesis_workbench.widgets._base import Widget
from genesis_workbench.widgets._latest import Latest
from genesis_workbench.widgets._script import script, styles

_EVERY_S = 1.0
_SELDOM_S = 5.0
_MOST_RUNS = 200


class TrainingMonitor(Widget):
    """Follows a training run of this person; run the cell tomorrow, and it shows the same one as it is then.

    Parameters
    ----------
    run : TrainingRun or str, optional
        What to show. Without it, what was looked at last, or the newest; and a list to choose from.

    Attributes
    ----------
    chosen : str
        Identifier of the run that is shown: ``gw.training.get(monitor.chosen)``.
    """

    _esm = script("training_monitor.js")
    _css = styles("training_monitor.css")

    runs: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    shown = traitlets.Dict().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Unicode().tag(sync=True)
    only = traitlets.Bool().tag(sync=True)

    def __init__(self, run: TrainingRun | str | None = None) -> None:
        super().__init__()
        self.only = run is not None
        self._acts = Latest("training-acts")
        self._wake, self._closed = threading.Event(), threading.Event()
        self._list()
        self._choose(run.id if isinstance(run, TrainingRun) else run or self._last())
        self.on_msg(self._command)
        courier.start()  # runs that were begun elsewhere are told of, too
        threading.Thread(target=self._follow, name="training-monitor", daemon=True).start()

    def close(self) -> None:
        """Stop following; the run goes on."""
        self._closed.set()
        self._wake.set()
        self._acts.stop()
        super().close()

    # --- what is shown ---

    def _list(self) -> None:
        found = [record.summary(each) for each in record.load_all()[:_MOST_RUNS]]
        self.runs = [{name: each[name] for name in ("run", "name", "model")} for each in found]

    def _choose(self, run: str) -> None:
        if not run:
            return
        training.get(run)  # NotFound where there is none
        with self.hold_sync():
            self.chosen, self.shown, self.curves, self.message = run, {}, {}, ""
        if not self.only:
            _remember(run)
        self._look()

    def _last(self) -> str:
        known = [each["run"] for each in self.runs]
        looked_at = _remembered()
        return looked_at if looked_at in known else next(iter(known), "")

    def _follow(self) -> None:
        """Look again every second while it goes, and more seldom afterwards: it may be resumed elsewhere."""
        while not self._closed.is_set():
            goes = self.shown.get("can_stop", False)
            self._wake.wait(_EVERY_S if goes else _SELDOM_S)
            self._wake.clear()
            if self._closed.is_set():
                return
            if not self.only:
                self._list()
                if not self.chosen and self.runs:
                    self._choose(self._last())
            self._look()

    def _look(self) -> None:
        run = self.chosen
        if not run:
            return
        try:
            found = training.get(run)
            lines = found.lines()
            now = report(found, lines).model_dump(mode="json")
        except GenesisError as error:
            self.message = f"{error.message} The run itself goes on."
            return
        if run == self.chosen:
            with self.hold_sync():
                self.shown, self.curves = now, curves(lines)

    # --- what the page says ---

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        content = content if isinstance(content, dict) else {}
        command, run = content.get("command"), content.get("run")
        if command == "choose" and isinstance(run, str) and not self.only:
            self._do("", lambda: self._choose(run))
        elif command in _ACTS and run == self.chosen:
            words, act = _ACTS[command]
            self._do(words, lambda: act(training.get(self.chosen), content))

    def _do(self, words: str, act: Any) -> None:
        with self.hold_sync():
            self.busy, self.message = words, ""
        self._acts.run(lambda: self._done(act))

    def _done(self, act: Any) -> None:
        try:
            act()
            told = ""
        except GenesisError as error:
            told = error.message
        self._look()
        with self.hold_sync():
            self.busy, self.message = "", told
        self._wake.set()


def _resume(run: TrainingRun, content: dict[str, Any]) -> None:
    budget = content.get("budget_node_hours")
    if budget is None:
        run.resume()
        return
    if not isinstance(budget, int | float) or isinstance(budget, bool) or budget <= 0:
        raise InvalidInput(f"{budget!r:.40} is no number of node-hours. Type one above 0, such as 0.5.")
    run.resume(budget_node_hours=float(budget))


_ACTS: dict[str, tuple[str, Any]] = {
    "stop": ("It is told to save and to end …", lambda run, _: run.stop()),
    "resume": ("It is submitted again …", _resume),
    "register": ("It is tested and put into the zoo …", lambda run, _: run.wait(60)),
}


def _file() -> Path:
    return local_state() / "drafts" / "training"


def _remember(run: str) -> None:
    _file().parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(_file(), run.encode())


def _remembered() -> str:
    try:
        return _file().read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""  # nothing was looked at yet
