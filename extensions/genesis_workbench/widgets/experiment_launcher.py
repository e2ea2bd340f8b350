"""Describe an experiment, see what it would cost, launch it, and watch it: one form and one view for all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import traitlets

from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput
from genesis_workbench.core.service import me
from genesis_workbench.experiments import notebook
from genesis_workbench.experiments.executors import function as functions
from genesis_workbench.experiments.experiment import Experiment, described
from genesis_workbench.experiments.preview import preview
from genesis_workbench.experiments.run import Run
from genesis_workbench.widgets._base import Widget
from genesis_workbench.widgets._draft import EMPTY, Draft
from genesis_workbench.widgets._latest import Latest
from genesis_workbench.widgets._script import script, styles
from genesis_workbench.widgets._watch import Watch

_WATCHED = ("summary", "trials", "pending", "slices", "queue", "laboratories", "message")
_LISTED = ("id", "title", "owner", "created", "state", "simulated", "trials", "finding")


class ExperimentLauncher(Widget):
    """A form that the engine checks as one types, and a live view of what was launched.

    The draft and what was looked at last are kept in the person's own folder, for each notebook: run the cell tomorrow, and it
    is as it was.

    Parameters
    ----------
    experiment : str, Run or Experiment, optional
        What to watch; or a description to begin the form with. Without it, and with the description that it had before,
        what was there last.
    functions : sequence of callable
        In a bare notebook, functions that the form offers as executors.
    only : bool
        Whether only this experiment is shown, without form and list.
    """

    _esm = script("experiment_launcher.js")
    _css = styles("experiment_launcher.css")

    choices = traitlets.Dict().tag(sync=True)
    person = traitlets.Dict().tag(sync=True)
    draft = traitlets.Dict().tag(sync=True)
    unsaved = traitlets.Bool().tag(sync=True)
    checked = traitlets.Dict().tag(sync=True)
    mine: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    view = traitlets.Unicode("describe").tag(sync=True)
    only = traitlets.Bool().tag(sync=True)
    summary = traitlets.Dict().tag(sync=True)
    trials: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    pending: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    slices: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    queue: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    laboratories: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        experiment: str | Run | Experiment | None = None,
        *,
        functions: Sequence[Callable[..., Any]] = (),
        only: bool = False,
    ) -> None:
        super().__init__()
        self.only = only
        self._store, self._draft = notebook.store(), Draft()
        self._checks = Latest("launcher-checks")
        self._watches: dict[str, Watch] = {}
        self._shown = ""
        self._safe = EMPTY  # a description that is elsewhere too: in a cell, or launched
        self.on_msg(self._command)
        self._introduce()
        if not only:
            self._offer(functions)
        if isinstance(experiment, Experiment):
            self._safe = _fields(experiment)
            self._draft.begin(self._safe)
        self._begin(experiment)

    def close(self) -> None:
        """Stop following; experiments of the service go on."""
        self._checks.stop()
        for watch in self._watches.values():
            watch.close()
        super().close()

    def _introduce(self) -> None:
        person = me()
        self.person = {
            "name": person.name,
            "groups": sorted(person.groups),
            "scopes": sorted(person.scopes),
            "alone": self._store.alone,
        }

    def _offer(self, callables: Sequence[Callable[..., Any]]) -> None:
        known = [functions.named(each, {}, [])[1]["function"] for each in callables]
        self.choices = {**self._store.choices(), "functions": known}

    def _begin(self, experiment: str | Run | Experiment | None) -> None:
        self._show_draft()
        if not self.only:
            self._check()
            self._list()
        if isinstance(experiment, Run):
            self._open(experiment)
        elif isinstance(experiment, str):
            self._open(notebook.get(experiment))
        elif self._draft.experiment in {each["id"] for each in self.mine}:
            self._open(notebook.get(self._draft.experiment))

    # --- the form ---

    def _show_draft(self) -> None:
        """Let the page know what was typed: it is not told with each key, which would take back what is typed meanwhile."""
        self.draft = self._draft.fields
        self._weigh()

    def _weigh(self) -> None:
        self.unsaved = self._draft.fields not in (EMPTY, self._safe)

    def _check(self, turn: int = 0) -> None:
        try:
            told = preview(self._draft.fields, self._store.preview)
        except GenesisError as error:
            told = {"faults": [{"where": "", "message": error.message}]}
        self.checked = {**told, "turn": turn}

    def _launch(self) -> None:
        spec = described(self._draft.fields)
        try:
            run = Run(self._store.create(spec, key=self._draft.key), self._store)
        except Conflict:
            # Another view of this draft has launched something else with its key.
            self._draft.replace(self._draft.fields)
            run = Run(self._store.create(spec, key=self._draft.key), self._store)
        # The same description launched again is another experiment.
        self._draft.replace(self._draft.fields)
        self._safe = self._draft.fields
        self._weigh()
        self._open(run)
        self._list()

    def _list(self) -> None:
        self.mine = [{name: each[name] for name in _LISTED} for each in self._store.summaries()[:200]]

    # --- what is watched ---

    def _open(self, run: Run) -> None:
        if run.id not in self._watches:
            self._watches[run.id] = Watch(run, lambda told: self._tell(run.id, told))
        self._shown = run.id
        with self.hold_sync():
            self.summary, self.view, self.message = {}, "watch", ""
            self.trials, self.pending, self.slices, self.queue, self.laboratories = [], [], [], [], []
        if not self.only:
            self._draft.look_at(run.id)
        self._watches[run.id].refresh()

    def _tell(self, experiment: str, told: dict[str, Any]) -> None:
        if experiment != self._shown:
            return
        with self.hold_sync():
            for name in _WATCHED:
                if name in told:
                    setattr(self, name, told[name])

    # --- what the page says ---

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        content = content if isinstance(content, dict) else {}
        name = content.get("command")
        acts = _WATCHING if self.only else {**_WATCHING, **_DESCRIBING}
        if name not in acts:
            return
        try:
            acts[name](self, content)
            self.message = ""
        except GenesisError as error:
            self.message = error.message

    @property
    def run(self) -> Run:
        """The experiment that is shown.

        Raises
        ------
        InvalidInput
            If none is.
        """
        if not self._shown:
            raise InvalidInput("No experiment is shown: launch one, or choose one from the list.")
        return self._watches[self._shown].run

    def _typed(self, content: dict[str, Any]) -> None:
        if isinstance(content.get("draft"), dict):
            self._draft.change(content["draft"])
            self._weigh()
            turn = content.get("turn")
            self._checks.run(lambda: self._check(turn if isinstance(turn, int) else 0))

    def _describe(self, fields: dict[str, Any]) -> None:
        # First what the page shows: from there to the same fields as before the first key is a change too.
        self._show_draft()
        self._draft.replace(fields)
        self._safe = fields
        self._show_draft()
        self._check()
        self._turn("describe")

    def _turn(self, view: str) -> None:
        self._draft.look_at("")
        if view == "list":
            self._list()
        elif self.view != view:  # a form in sight knows best what was typed last
            self._show_draft()
        self.view = view

    def _enter(self, content: dict[str, Any]) -> None:
        values = content.get("values")
        self.run.enter(_number(content), values if isinstance(values, dict) else {}, step=content.get("step"))

    def _resolve(self, content: dict[str, Any]) -> None:
        became = _word(content, "became")
        if became not in ("failed", "again"):
            raise InvalidInput(f"A trial cannot have become {became!r} here; use failed or again.")
        reason = _word(content, "reason")
        self.run.resolve(
            _number(content),
            "failed" if became == "failed" else "again",
            reason=reason,
            step=content.get("step"),
        )


Act = Callable[[ExperimentLauncher, dict[str, Any]], None]

_WATCHING: dict[str, Act] = {
    "pause": lambda launcher, _: launcher.run.pause(),
    "resume": lambda launcher, _: launcher.run.resume(),
    "stop": lambda launcher, said: launcher.run.stop(_word(said, "reason")),
    "approve": lambda launcher, said: launcher.run.approve(_number(said), _word(said, "digest")),
    "refuse": lambda launcher, said: launcher.run.refuse(_number(said), _word(said, "reason")),
    "enter": ExperimentLauncher._enter,
    "resolve": ExperimentLauncher._resolve,
}
_DESCRIBING: dict[str, Act] = {
    "draft": ExperimentLauncher._typed,
    "launch": lambda launcher, _: launcher._launch(),
    "clear": lambda launcher, _: launcher._describe(EMPTY),
    "fork": lambda launcher, _: launcher._describe(_fields(launcher.run.fork())),
    "open": lambda launcher, said: launcher._open(notebook.get(_word(said, "experiment"))),
    "describe": lambda launcher, _: launcher._turn("describe"),
    "list": lambda launcher, _: launcher._turn("list"),
}


def _fields(experiment: Experiment) -> dict[str, Any]:
    """Return a description as a form takes it: what has its default is left out."""
    return experiment.spec.model_dump(mode="json", exclude_defaults=True) | {
        "space": [each.model_dump(mode="json") for each in experiment.spec.space],
        "hypothesis": {
            "statement": experiment.spec.hypothesis.statement,
            "stopping": experiment.spec.hypothesis.stopping,
            "rule": experiment.spec.hypothesis.rule.model_dump(mode="json"),
        },
    }


def _word(content: dict[str, Any], name: str) -> str:
    value = content.get(name, "")
    return value[:2000] if isinstance(value, str) else ""


def _number(content: dict[str, Any]) -> int:
    value = content.get("trial")
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{value!r:.40} is no number of a trial.")
    return value
