"""Export an experiment as an RO-Crate: everything that somebody elsewhere needs to compute its decision again.

A folder with ``events.jsonl``, ``hypothesis.json``, ``trials.csv``, ``finding.json`` and ``ro-crate-metadata.json``, which describes
them after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run Crate 0.5
(https://w3id.org/ro/wfrun/process/0.5), with terms of PROV-O (W3C, 2013). A pure function of the events.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import Conflict, InvalidInput, TooLarge
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments.state import ExperimentState, fold
from genesis_workbench.experiments.trial import Trial

CONTEXT: list[Any] = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
    {"prov": "http://www.w3.org/ns/prov#"},
]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
NO_LICENSE = "No licence was stated. Ask the owner of the experiment before using it."
_MOST_BYTES = 500 * 2**20
_KINDS = {
    "events.jsonl": ("application/jsonl", "All events of the experiment, one a line, each with its hash"),
    "hypothesis.json": ("application/json", "The hypothesis as it was committed before the first trial"),
    "trials.csv": ("text/csv", "One row for each trial: parameters, outcomes, state"),
    "finding.json": ("application/json", "The decision and its evidence"),
}
Entity = dict[str, Any]


def write_crate(events: Sequence[Event], folder: Path, *, license: str = NO_LICENSE) -> Path:  # noqa: A002 - RO-Crate's word
    """Write an experiment into a new or empty folder and return the folder.

    Parameters
    ----------
    events : sequence of Event
        All events of the experiment, in order.
    license : str
        Under what it may be used: a URL, or words.

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
    graph = [*_about(state, events, files, license), *_software(state), *_trials(state)]
    if state.finding is not None:
        graph.append(_decision(state, events))
    metadata = {"@context": CONTEXT, "@graph": graph}
    (folder / "ro-crate-metadata.json").write_bytes(_json(metadata))
    return folder


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


def _about(
    state: ExperimentState, events: Sequence[Event], files: dict[str, bytes], terms: str
) -> Iterator[Entity]:
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    actions = [_name(trial) for trial in state.trials] + (["#decision"] if state.finding else [])
    simulated = (
        " Every observation comes from a simulator, none from an instrument." if state.simulated else ""
    )
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": state.spec.title,
        "description": f"An experiment on the hypothesis: {state.spec.hypothesis.statement}{simulated}",
        "identifier": state.id,
        "datePublished": events[-1].time,
        "license": {"@id": terms} if terms.startswith(("https://", "http://")) else terms,
        "conformsTo": {"@id": PROFILE},
        "author": {"@id": "#owner"},
        "hasPart": [{"@id": name} for name in files],
        "mentions": [{"@id": action} for action in actions],
    }
    if terms.startswith(("https://", "http://")):
        yield {"@id": terms, "@type": "CreativeWork", "name": terms}
    yield {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    yield {"@id": "#owner", "@type": ["Person", "prov:Agent"], "name": state.owner}
    for name, content in files.items():
        kind, description = _KINDS[name]
        yield {
            "@id": name,
            "@type": ["File", "prov:Entity"],
            "name": name,
            "description": description,
            "encodingFormat": kind,
            "contentSize": str(len(content)),
            "sha256": digest(content).removeprefix("sha256:"),
            **_origin(name, events),
        }


def _origin(name: str, events: Sequence[Event]) -> Entity:
    """Return where a file comes from, in the terms of PROV."""
    events_file = {"@id": "events.jsonl"}
    if name == "hypothesis.json":
        return {
            "prov:generatedAtTime": events[0].time,
            "prov:wasAttributedTo": {"@id": "#owner"},
            "prov:wasDerivedFrom": events_file,
        }
    if name == "finding.json":
        sources = [events_file, {"@id": "hypothesis.json"}]
        return {"prov:wasGeneratedBy": {"@id": "#decision"}, "prov:wasDerivedFrom": sources}
    return {} if name == "events.jsonl" else {"prov:wasDerivedFrom": events_file}


def _software(state: ExperimentState) -> Iterator[Entity]:
    from importlib.metadata import version

    kind = ["SoftwareApplication", "prov:SoftwareAgent"]
    yield {
        "@id": "#workbench",
        "@type": kind,
        "name": "Genesis Workbench",
        "softwareVersion": version("genesis-workbench"),
    }
    yield {
        "@id": "#executor",
        "@type": kind,
        "name": f"{', '.join(step.executor for step in state.spec.graph)} ({'simulation' if state.simulated else 'instrument'})",
        "isPartOf": {"@id": "#workbench"},
    }
    hypothesis = state.spec.hypothesis
    rule = {"@id": "#rule", "@type": kind, "name": hypothesis.rule.type, "description": str(hypothesis.rule)}
    yield {**rule, **({"softwareVersion": hypothesis.analysis} if hypothesis.analysis else {})}


def _name(trial: Trial) -> str:
    return f"#trial-{trial.number}"


def _trials(state: ExperimentState) -> Iterator[Entity]:
    for trial in state.trials:
        used = list(_values(state, trial))
        gave = [
            {
                "@id": f"{_name(trial)}-gave-{name}",
                "@type": ["PropertyValue", "prov:Entity"],
                "name": name,
                "value": seen["value"],
                **({"unitText": seen["unit"]} if seen["unit"] else {}),
                "prov:wasGeneratedBy": {"@id": _name(trial)},
            }
            for name, seen in trial.values.items()
        ]
        yield _action(trial, [{"@id": each["@id"]} for each in used], [{"@id": each["@id"]} for each in gave])
        yield from used
        yield from gave


def _action(trial: Trial, used: list[Entity], gave: list[Entity]) -> Entity:
    action: Entity = {
        "@id": _name(trial),
        "@type": ["CreateAction", "prov:Activity"],
        "name": f"Trial {trial.number}",
        "description": f"Point {trial.point}, arm {trial.arm}, proposed by {trial.proposer}; key {trial.key}",
        "instrument": {"@id": "#executor"},
        "agent": {"@id": "#owner"},
        "object": used,
        "prov:used": used,
        "prov:wasAssociatedWith": [{"@id": "#executor"}, {"@id": "#owner"}],
    }
    if trial.started:
        action |= {"startTime": trial.started, "prov:startedAtTime": trial.started}
    if trial.ended:
        action |= {"endTime": trial.ended, "prov:endedAtTime": trial.ended}
    if trial.state == "observed":
        return {**action, "result": gave, "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"}}
    if trial.state == "failed":
        failed = {"actionStatus": {"@id": "http://schema.org/FailedActionStatus"}, "error": trial.reason}
        return {**action, **failed}
    return {**action, "actionStatus": {"@id": "http://schema.org/ActiveActionStatus"}}


def _values(state: ExperimentState, trial: Trial) -> Iterator[Entity]:
    units = {parameter.name: parameter.unit for parameter in state.spec.space}
    for name, value in trial.parameters.items():
        yield {
            "@id": f"{_name(trial)}-took-{name}",
            "@type": ["PropertyValue", "prov:Entity"],
            "name": name,
            "value": value,
            **({"unitText": units[name]} if units.get(name) else {}),
        }


def _decision(state: ExperimentState, events: Sequence[Event]) -> Entity:
    assert state.finding is not None  # noqa: S101 - asked only then
    made = next(event.time for event in events if event.kind == "finding.made")
    used = [{"@id": name} for name in ("hypothesis.json", "events.jsonl", "trials.csv")]
    return {
        "@id": "#decision",
        "@type": ["CreateAction", "prov:Activity"],
        "name": f"The decision: {state.finding['decision']}",
        "description": state.finding.get("says", state.finding["rule"]),
        "instrument": {"@id": "#rule"},
        "agent": {"@id": "#owner"},
        "object": used,
        "prov:used": used,
        "prov:wasAssociatedWith": [{"@id": "#rule"}, {"@id": "#workbench"}],
        "result": {"@id": "finding.json"},
        "endTime": made,
        "prov:endedAtTime": made,
        "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
    }
