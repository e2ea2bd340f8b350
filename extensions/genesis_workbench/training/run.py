"""A training run as a notebook holds it: follow it, stop it, resume it, and take the model that it became."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.compute.job import Job, JobState
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, GenesisError, NotFound
from genesis_workbench.training import metrics, record, registration
from genesis_workbench.training.recipe import Code
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.request import CHECKPOINTS, PARENT_FILE, RECIPE_FOLDER

if TYPE_CHECKING:
    import pandas as pd

    from genesis_workbench.compute.schedulers._base import Scheduler
    from genesis_workbench.models.record import ModelVersion


class TrainingRun:
    """A run, whatever becomes of the notebook: ``gw.training.get(run.id)`` finds it again."""

    def __init__(self, kept: RunRecord) -> None:
        self.record = kept

    @property
    def id(self) -> str:
        """Identifier of the run."""
        return self.record.run

    def status(self) -> Job:
        """Return its job as it is now: the last one, where it was resumed.

        Raises
        ------
        NotFound
            If its job was never submitted: the notebook was killed at that moment. ``resume()`` submits it.
        """
        job = self._scheduler().status(self.record.jobs[-1])
        if job is None:
            raise NotFound(f"The job of {self.id} was never submitted. Call resume().")
        return job

    def metrics(self) -> pd.DataFrame:
        """Return its curve so far: a row for each line, in order of steps, with ``kind``, ``step``, ``loss`` and others."""
        import pandas as pd

        return pd.DataFrame(self.lines())

    def lines(self) -> list[dict[str, Any]]:
        """Return its curve, the lines that count; empty before it has begun."""
        return metrics.current(self.whole())

    def whole(self) -> list[dict[str, Any]]:
        """Return its curve as it was written, with the steps that a kill has cost."""
        try:
            return metrics.whole(self._scheduler().output(self.record.jobs[-1], metrics.FILE))
        except NotFound:
            return []

    def plot(self) -> Any:
        """Return a HoloViews plot of training and validation loss over steps."""
        from genesis_workbench.training.plot import curves

        return curves(self.record.name, self.lines())

    def stop(self) -> None:
        """End it with a checkpoint; ``resume()`` goes on from there. Nothing where it has ended."""
        self._scheduler().cancel(self.record.jobs[-1])

    def resume(self, **configuration: Any) -> TrainingRun:
        """Go on from the last checkpoint in a new job, and return the same run.

        Parameters
        ----------
        **configuration
            What is to be other than before, such as ``budget_node_hours`` or ``epochs``.

        Raises
        ------
        Conflict
            If it still runs, or is finished.
        """
        from genesis_workbench.training.launching import submit
        from genesis_workbench.training.recipe import load_code

        before = self._scheduler().status(self.record.jobs[-1])
        if before is not None and not before.state.final:
            raise Conflict(f"The run {self.id} is {before.state}. Wait for it, or stop() it first.")
        if (
            before is not None
            and before.state is JobState.COMPLETED
            and self._result(before)["ended"] != "budget"
        ):
            raise Conflict(
                f"The run {self.id} is finished. Start a new one, with parent={self.record.name!r} to go on."
            )
        told, folder = self.record.request, Path(before.folder) if before else None
        if folder is None:
            raise NotFound(f"The job of {self.id} was never submitted. Start it again with gw.train.")
        recipe = load_code(folder / RECIPE_FOLDER, told.files)
        config = recipe.Config.model_validate({**told.configuration, **configuration}).model_dump(mode="json")
        files = _carried(folder)
        # At a facility they stay where the job was: its API brings back small files only.
        elsewhere = self._saved() and not any(name.startswith(CHECKPOINTS) for name in files)
        previous = self.record.jobs[::-1] if elsewhere else ()
        change = {"attempt": told.attempt + 1, "configuration": config, "previous": previous}
        kept = self.record.model_copy(update={"request": told.model_copy(update=change)})
        code = Code(told.recipe, folder / RECIPE_FOLDER, told.files)
        self.record = submit(kept, code, files).record
        return self

    def wait(self, timeout_s: float = 7 * 24 * 3600) -> ModelVersion:
        """Wait until it is finished, and put the model into the zoo.

        Raises
        ------
        DeadlineExceeded
            If it has not ended within `timeout_s` seconds; it goes on.
        Conflict
            If it ended without a model: it failed, was stopped, or its budget is spent; with the reason.
        """
        from genesis_workbench.compute.submission import patiently

        deadline, pause_s = time.monotonic() + timeout_s, 0.1
        while not (job := patiently(self.status, deadline)).state.final:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"The run {self.id} is still {job.state} after {timeout_s:g} s. It goes on; wait again."
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 5)
        if job.state is not JobState.COMPLETED:
            raise Conflict(f"The run {self.id} {job.state}. {job.reason} {self._where()}")
        result = self._result(job)
        if result["ended"] == "budget":
            hours = result["progress"]["node_hours"]
            raise Conflict(
                f"The budget of {self.id} is spent: {hours:.3g} node-hours. {self._where()} Give it more: "
                "run.resume(budget_node_hours=...)."
            )
        version = registration.register(self.record, self._scheduler(), job)
        self.record = self.record.model_copy(update={"model": version.reference})
        self.record.keep()
        return version

    def _where(self) -> str:
        if not (step := self._saved()):
            return "It had no checkpoint yet."
        return f"Its last checkpoint is of step {step}; resume() goes on from there."

    def _saved(self) -> int:
        """Return the step of the last checkpoint that the curve tells of; 0 where there is none."""
        return next(
            (line["step"] for line in reversed(self.lines()) if line["kind"] == metrics.CHECKPOINT), 0
        )

    def _result(self, job: Job) -> dict[str, Any]:
        result: dict[str, Any] = self._scheduler().result(job.key)
        return result

    def _scheduler(self) -> Scheduler:
        from genesis_workbench.compute.submission import scheduler

        return scheduler(self.record.facility)

    def __repr__(self) -> str:
        try:
            state = str(self.status().state)
        except GenesisError as error:
            state = error.message
        return f"<TrainingRun {self.id}: {self.record.name} by {self.record.request.recipe}, {state}>"

    def _repr_html_(self) -> str:
        lines = self.lines()
        best = next((each["best"] for each in reversed(lines) if each["kind"] == metrics.VALIDATION), None)
        last = lines[-1] if lines else {"step": 0}
        rows = {
            "run": self.id,
            "state": repr(self).rpartition(", ")[2].rstrip(">"),
            "step": last["step"],
            "best validation loss": "none yet" if best is None else f"{best:.4g}",
            "model": self.record.model or "not in the zoo yet",
        }
        body = "".join(
            f"<tr><th style='text-align:left'>{html.escape(k)}</th><td style='text-align:left'>{html.escape(str(v))}</td></tr>"
            for k, v in rows.items()
        )
        return f"<div><strong>{html.escape(self.record.name)}</strong><table>{body}</table></div>"


def _carried(folder: Path) -> dict[str, Path]:
    """Return what the next attempt takes over: the last whole checkpoint, the curve, and the parent."""
    from genesis_workbench.training.checkpoint import Checkpoints

    files = {f"{CHECKPOINTS}/{path.name}": path for path in Checkpoints(folder / CHECKPOINTS).files()}
    for name in (metrics.FILE, PARENT_FILE):
        if (folder / name).is_file():
            files[name] = folder / name
    return files


def get(run: str) -> TrainingRun:
    """Return a training run by its identifier."""
    return TrainingRun(record.load(run))


def runs() -> pd.DataFrame:
    """Return this person's training runs, newest first: recipe, data, attempts, and the model that each became."""
    import pandas as pd

    return pd.DataFrame([record.summary(each) for each in record.load_all()])
