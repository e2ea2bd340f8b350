"""What a service knows of people's training runs: what their servers tell it, and what was asked of them there.

A run's job has no token and belongs to a person's account, so the service can neither look at it nor end it. The person's own
server does both (courier.py): it brings reports and curves, and takes along what was asked.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, NotFound, TooLarge
from genesis_workbench.core.identifiers import canonical_json, check_slug
from genesis_workbench.core.ledger import Event, Ledger, NewEvent
from genesis_workbench.core.storage import write_whole
from genesis_workbench.training import metrics
from genesis_workbench.training.report import Report
from genesis_workbench.training.request import Frozen

PREFIX = "training/"
MOST_BYTES = 64 * 2**20
"""Of one run's curve."""
STOP, RESUME = "stop", "resume"


class Line(Frozen):
    """A line of a curve."""

    kind: Literal["start", "step", "validation", "checkpoint", "end"]
    step: int = Field(ge=0)
    time: str = Field(max_length=40)
    epoch: int | None = None
    samples: int | None = None
    processes: int | None = None
    loss: float | None = None
    best: float | None = None
    samples_per_s: float | None = None
    node_hours: float | None = None
    utilisation: float | None = None
    ended: str | None = Field(None, max_length=40)
    device: str | None = Field(None, max_length=120)
    precision: str | None = Field(None, max_length=20)
    compiled: bool | None = None
    fused: bool | None = None
    recomputed: bool | None = None
    damaged: list[str] | None = Field(None, max_length=100)


class ToldRuns:
    """The runs of all people, each for its owner, and for them only as long as they may see what it is trained on.

    Parameters
    ----------
    ledger : Ledger
        Keeps who told of which run, how it changed, and who asked what.
    folder : Path
        For what is told every second: the last report, and the curve.
    look : callable
        Called with identifiers of datasets, the reference of a parent model or '', and a person; raises NotFound where catalog or zoo
        would not show that person one of them at this moment.
    """

    def __init__(
        self, ledger: Ledger, folder: Path, look: Callable[[Sequence[str], str, Person], None]
    ) -> None:
        self._ledger, self._folder, self._look = ledger, folder, look

    def tell(self, report: Report, lines: Sequence[Line], offset: int, person: Person) -> int:
        """Take a report and lines of the curve from number `offset` on, and return how many are here.

        Raises
        ------
        NotFound
            If the run is somebody else's, or the person may not see what it is trained on.
        Conflict
            If lines are missing before these.
        """
        events = self._events(report.run)
        if events:
            self._check(events, report.run, person)
        self._look(report.data, report.parent, person)
        before = self._report(report.run)
        new = [] if events else [_first(report, person)]
        if before is None or _standing(before) != _standing(report):
            body = {**_standing(report), "reason": report.reason}
            new.append(NewEvent(PREFIX + report.run, "training.changed", body, person.name))
        self._ledger.append_many(new)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        here = self._append(report.run, lines, offset)
        write_whole(self._folder / f"{report.run}.json", report.model_dump_json().encode())
        return here

    def all(self, person: Person) -> Iterator[dict[str, Any]]:
        """Iterate over a person's runs, oldest first."""
        after = 0
        while batch := self._ledger.read(prefix=PREFIX, kinds=["training.told"], after=after):
            after = batch[-1].seq
            for event in batch:
                if event.actor == person.name and self._permits(event, person):
                    yield self.get(event.stream.removeprefix(PREFIX), person)

    def get(self, run: str, person: Person) -> dict[str, Any]:
        """Return a run's last report, when it came, and what is asked of it; NotFound where it is not this person's."""
        events = self._seen(run, person)
        report = self._report(run)
        answered = [each.body for each in events if each.kind == "training.answered" and each.body["fault"]]
        return {
            **(report.model_dump(mode="json") if report else {"run": run}),
            "id": run,
            "owner": events[0].actor,
            "told": self._when(run),
            "asked": [_asked(each) for each in _open(events)],
            "refused": answered[-1]["fault"] if answered else "",
        }

    def lines(self, run: str, person: Person) -> list[dict[str, Any]]:
        """Return a run's curve, the lines that count."""
        self._seen(run, person)
        return metrics.read(self._folder / f"{run}.jsonl")

    def ask(self, run: str, what: str, person: Person, **told: Any) -> dict[str, Any]:
        """Ask for a run to be stopped or resumed; its owner's server does it as soon as it is there.

        Raises
        ------
        Conflict
            If it cannot be, with the reason.
        """
        events, report = self._seen(run, person), self._report(run)
        can = report is not None and (report.can_stop if what == STOP else report.can_resume)
        if report is None or not can:
            state = report.state if report else "not reported yet"
            words = (
                "There is nothing to stop."
                if what == STOP
                else "Only what has ended before it is finished is resumed."
            )
            raise Conflict(f"The run {run} is {state}. {words}")
        if _open(events):
            raise Conflict(
                f"Something is asked of {run} already; its owner's server has not done it yet. Wait for that."
            )
        body = {"what": what, "attempt": report.attempt, **told}
        # Of two who ask at once one is refused: `expect` is the version that was looked at.
        self._ledger.append(
            PREFIX + run, "training.asked", body, actor=person.name, expect=events[-1].version
        )
        return self.get(run, person)

    def asked(self, person: Person) -> list[dict[str, Any]]:
        """Return what a person asked of their runs and is not done yet."""
        kinds, after, found = ["training.asked", "training.answered"], 0, []
        while batch := self._ledger.read(prefix=PREFIX, kinds=kinds, after=after):
            after = batch[-1].seq
            found += [each for each in batch if each.actor == person.name]
        return [_asked(each) for each in _open(found)]

    def answer(self, run: str, asked: int, fault: str, person: Person) -> None:
        """Note what became of something that was asked: done, or `fault` says why not. Twice is once."""
        if asked in {each.seq for each in _open(self._seen(run, person))}:
            body = {"asked": asked, "fault": fault}
            self._ledger.append(PREFIX + run, "training.answered", body, actor=person.name)

    # --- what is kept ---

    def _events(self, run: str) -> list[Event]:
        return list(self._ledger.all(stream=PREFIX + check_slug(run, "run")))

    def _seen(self, run: str, person: Person) -> list[Event]:
        events = self._events(run)
        self._check(events, run, person)
        return events

    def _check(self, events: Sequence[Event], run: str, person: Person) -> None:
        if not events or events[0].actor != person.name or not self._permits(events[0], person):
            raise NotFound(f"There is no training run {run[:60]!r} of yours here.")

    def _permits(self, first: Event, person: Person) -> bool:
        """Whether the person may see all that the run is trained on: who has left a group no longer sees what came of its data."""
        try:
            self._look(first.body["data"], first.body["parent"], person)
        except NotFound:
            return False
        return True

    def _report(self, run: str) -> Report | None:
        try:
            return Report.model_validate_json((self._folder / f"{run}.json").read_bytes())
        except FileNotFoundError:
            return None

    def _when(self, run: str) -> str:
        path = self._folder / f"{run}.json"
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat() if path.exists() else ""

    def _append(self, run: str, lines: Sequence[Line], offset: int) -> int:
        with self._alone(run) as path:
            here = len(metrics.whole(path))
            if offset > here:
                raise Conflict(
                    f"The curve of {run} has {here} lines here, not {offset}. Send those in between first."
                )
            fresh = [canonical_json(each.model_dump(exclude_none=True)) for each in lines[here - offset :]]
            data = b"".join(each + b"\n" for each in fresh)
            size = path.stat().st_size if path.exists() else 0
            if size + len(data) > MOST_BYTES:
                raise TooLarge(
                    f"The curve of {run} is larger than {MOST_BYTES:,} bytes. Raise log_steps in the next run."
                )
            if size and not metrics.ends_line(path):
                # What a kill or a full disk has left of a line: the next one would be glued to it.
                os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
            with path.open("ab") as file:
                file.write(data)
            return here + len(fresh)

    @contextmanager
    def _alone(self, run: str) -> Iterator[Path]:
        with (self._folder / f"{run}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._folder / f"{run}.jsonl"


def _first(report: Report, person: Person) -> NewEvent:
    body = report.model_dump(mode="json", include={"name", "recipe", "data", "parent"})
    return NewEvent(PREFIX + report.run, "training.told", body, person.name, expect=0)


def _standing(report: Report) -> dict[str, Any]:
    return report.model_dump(mode="json", include={"state", "attempt", "ended", "model"})


def _open(events: Sequence[Event]) -> list[Event]:
    """Return what was asked and is not answered."""
    answered = {each.body["asked"] for each in events if each.kind == "training.answered"}
    return [each for each in events if each.kind == "training.asked" and each.seq not in answered]


def _asked(event: Event) -> dict[str, Any]:
    return {
        "id": event.seq,
        "run": event.stream.removeprefix(PREFIX),
        "time": event.time,
        "by": event.actor,
        **event.body,
    }
