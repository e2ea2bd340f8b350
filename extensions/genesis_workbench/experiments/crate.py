"""Export an experiment as an RO-Crate: everything that somebody elsewhere needs to compute its decision again.

A folder with ``events.jsonl``, ``hypothesis.json``, ``trials.csv``, ``finding.json``, what instruments left in ``files`` by its hash, and
``ro-crate-metadata.json``, which describes them after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run
Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5), with terms of PROV-O (:mod:`.provenance`). A pure function of the events and files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from genesis_workbench.core.ledger import Event
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.provenance import FILES, described
from genesis_workbench.experiments.state import ExperimentState, fold

NO_LICENSE = "No licence was stated. Ask the owner of the experiment before using it."
_MOST_BYTES = 500 * 2**20


def write_crate(
    events: Sequence[Event],
    folder: Path,
    *,
    license: str = NO_LICENSE,  # noqa: A002 - RO-Crate's word
    attached: Callable[[str], bytes] | None = None,
) -> Path:
    """Write an experiment into a new or empty folder and return the folder.

    Parameters
    ----------
    events : sequence of Event
        All events of the experiment, in order.
    license : str
        Under what it may be used: a URL, or words.
    attached : callable, optional
        Gives the bytes of an attachment by its hash; without it the crate names attachments and does not hold them.

    Raises
    ------
    Conflict
        If something is in the folder already.
    """
    state = fold(events)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty. Name a new folder.")
    files = _files(state, events)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    held = _bring(state, folder, attached)
    metadata = described(state, events, files, held, license)
    (folder / "ro-crate-metadata.json").write_bytes(_json(metadata))
    return folder


def files_of(folder: Path) -> BlobStore | None:
    """Return the attachments that an exported experiment brings along; None where it holds none."""
    return BlobStore(folder / FILES) if (folder / FILES).is_dir() else None


def read_events(folder: Path) -> list[Event]:
    """Read the events of an exported experiment.

    Raises
    ------
    InvalidInput
        If there are none, or a line is no event.
    TooLarge
        If there are more than 500 MiB of them.
    """
    file = folder / "events.jsonl"
    if not file.is_file():
        raise InvalidInput(f"{folder} is no exported experiment: it has no events.jsonl.")
    if file.stat().st_size > _MOST_BYTES:
        raise TooLarge(f"{file} has more than {_MOST_BYTES // 2**20} MiB.")
    events = []
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), start=1):
        try:
            event = Event(**json.loads(line, parse_constant=_no_number))
            if (
                not isinstance(event.body, dict)
                or not isinstance(event.seq, int)
                or not isinstance(event.kind, str)
            ):
                raise TypeError("a field has a wrong type")  # noqa: TRY301 - told below with its line
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidInput(f"Line {number} of {file.name} is no event: {error}.") from error
        events.append(event)
    return events


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number in JSON")


def _bring(state: ExperimentState, folder: Path, attached: Callable[[str], bytes] | None) -> dict[str, int]:
    """Copy attachments into the crate, and return the size of each by its hash. One that is lost is left out."""
    held: dict[str, int] = {}
    named = {name for trial in state.trials for name in trial.attachments.values()}
    if attached is None or not named:
        return held
    store = BlobStore(folder / FILES)
    store.folder.mkdir()
    for name in sorted(named):
        try:
            data = attached(name)
        except NotFound:
            continue
        if store.put(data) == name:
            held[name] = len(data)
    return held


def _files(state: ExperimentState, events: Sequence[Event]) -> dict[str, bytes]:
    files = {
        "events.jsonl": b"".join(
            json.dumps(event.as_dict(), ensure_ascii=False).encode() + b"\n" for event in events
        ),
        "hypothesis.json": _json({**events[0].body, "committed": events[0].time}),
        "trials.csv": _table(state).encode(),
    }
    return files if state.finding is None else {**files, "finding.json": _json(state.finding)}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _table(state: ExperimentState) -> str:
    names = [parameter.name for parameter in state.spec.space]
    metrics = sorted({name for trial in state.trials for name in trial.values})
    text = io.StringIO()
    table = csv.writer(text)
    header = [column for name in metrics for column in (name, f"{name}_uncertainty")]
    table.writerow(
        ["trial", "point", "arm", "state", "proposer", *names, *header, "started", "ended", "reason"]
    )
    for trial in state.trials:
        values = [
            trial.values.get(name, {}).get(part, "") for name in metrics for part in ("value", "uncertainty")
        ]
        given = [trial.parameters.get(name, "") for name in names]
        row = [trial.number, trial.point, trial.arm, trial.state, trial.proposer, *given, *values]
        table.writerow(
            [_plain(cell) for cell in [*row, trial.started or "", trial.ended or "", trial.reason]]
        )
    return text.getvalue()


def _plain(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t")) else cell
