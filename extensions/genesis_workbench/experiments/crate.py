"""Export an experiment as an RO-Crate, and check one: everything that somebody elsewhere needs to compute its decision again.

A folder with ``events.jsonl``, ``hypothesis.json``, ``trials.csv``, ``finding.json``, what instruments left in ``files`` by its hash, and
``ro-crate-metadata.json``, which describes them after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run
Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5), with terms of PROV-O (:mod:`.provenance`). A pure function of the events and files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from genesis_workbench.core.ledger import Event
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.provenance import FILES, described
from genesis_workbench.experiments.state import ExperimentState, fold
from genesis_workbench.experiments.verification import Check, Report, guarded, known_check, verify

NO_LICENSE = "No licence was stated. Ask the owner of the experiment before using it."
_METADATA = "ro-crate-metadata.json"
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
    (folder / _METADATA).write_bytes(_json(metadata))
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
    content = _content(file)
    if content is None:
        raise InvalidInput(f"{folder} is no exported experiment: it has no events.jsonl.")
    events = []
    # Lines of bytes: a text of an event may hold a line separator of Unicode, which ends no line here.
    for number, line in enumerate(content.splitlines(), start=1):
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


def verify_crate(folder: Path, *, known: str = "") -> Report:
    """Check an exported experiment: its events, and that the files beside them say what the events say.

    Parameters
    ----------
    known : str
        Hash of an event that somebody wrote down earlier, such as the last one's.

    Raises
    ------
    InvalidInput, TooLarge
        As :func:`read_events` does.
    """
    events = read_events(folder)
    report = verify(events, blobs=files_of(folder))
    beside = guarded("files", lambda: _beside(events, folder))
    earlier = known_check(known, {event.hash for event in events}.__contains__)
    return Report(report.experiment, (*report.checks, beside, *([earlier] if earlier else [])))


def _beside(events: Sequence[Event], folder: Path) -> Check:
    """Compare the files of a crate with those that the events give.

    Another version of the workbench may have laid out a file in another way, which only that version can tell from a
    forgery. What its events say word by word, the hypothesis and the finding, is compared whatever the version.
    """
    stated, here = _stated(folder), version("genesis-workbench")
    by = stated.get("#workbench", {}).get("softwareVersion", here)
    attached = {
        name: each for name, each in stated.items() if name.startswith(f"{FILES}/") and "contentSize" in each
    }
    expected = _expected(events, stated, attached.values(), by)
    found = {name: _content(folder / name) for name in expected}
    odd = [name for name in expected if found[name] != expected[name]]
    wrong = [name for name in odd if by == here or _other_words(name, found[name], expected[name])]
    wrong += [name for name, each in attached.items() if _size(folder / name) != each["contentSize"]]
    if wrong:
        return Check(
            "files",
            "fails",
            f"Missing, or not what the events give: {', '.join(wrong)}. Believe the events alone, or ask for a new export.",
        )
    if odd:
        return Check(
            "files",
            "unknown",
            f"Not what version {here} makes of the events: {', '.join(odd)}. The crate says that version {by} wrote it; "
            "verify it with that one.",
        )
    return Check("files", "holds", "What lies beside the events is what they give.")


def _expected(
    events: Sequence[Event], stated: Mapping[str, Any], attached: Iterable[Mapping[str, Any]], by: Any
) -> dict[str, bytes | None]:
    """Return the files that version `by` writes, under the licence and with the attachments that the metadata state."""
    state = fold(events)
    files = _files(state, events)
    held = {f"sha256:{each.get('sha256')}": each["contentSize"] for each in attached}
    terms = stated.get("./", {}).get("license", NO_LICENSE)
    terms = terms.get("@id") if isinstance(terms, dict) else terms
    metadata = described(state, events, files, held, str(terms))
    for each in metadata["@graph"]:
        if each["@id"] == "#workbench":
            each["softwareVersion"] = by
    return {"finding.json": None, **files, _METADATA: _json(metadata)}


def _stated(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the metadata describe, by its identifier; nothing where they cannot be read."""
    try:
        return {each["@id"]: each for each in json.loads(_content(folder / _METADATA) or b"")["@graph"]}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}


def _other_words(name: str, found: bytes | None, expected: bytes | None) -> bool:
    """Whether a file is missing or too many; or says, however it is laid out, something else than the event it is from."""
    if found is None or expected is None:
        return True
    try:
        return name in ("hypothesis.json", "finding.json") and json.loads(found) != json.loads(expected)
    except (ValueError, RecursionError):
        return True


def _content(file: Path) -> bytes | None:
    """Return what is in a file; None where there is no such file."""
    if not file.is_file():
        return None
    if file.stat().st_size > _MOST_BYTES:
        raise TooLarge(f"{file} has more than {_MOST_BYTES // 2**20} MiB.")
    return file.read_bytes()


def _size(file: Path) -> str | None:
    return str(file.stat().st_size) if file.is_file() else None


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
