"""Export an experiment as an RO-Crate: everything that somebody elsewhere needs to compute its decision again.

A folder with ``events.jsonl``, ``hypothesis.json``, ``trials.csv``, ``finding.json``, what instruments left in ``files`` by its hash, and
``ro-crate-metadata.json``, which describes them after RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and its profile Process Run
Crate 0.5 (https://w3id.org/ro/wfrun/process/0.5), with terms of PROV-O (W3C, 2013). A pure function of the events and files.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Event
from genesis_workbench.core.storage import BlobStore, key_of
from genesis_workbench.experiments.state import ExperimentState, fold
from genesis_workbench.experiments.steps import Step, before
from genesis_workbench.experiments.trial import Executed, Trial

CONTEXT: list[Any] = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
    {"prov": "http://www.w3.org/ns/prov#"},
]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
NO_LICENSE = "No licence was stated. Ask the owner of the experiment before using it."
FILES = "files"
_SPREAD = "-uncertainty"
_MOST_BYTES = 500 * 2**20
_KINDS = {
    "events.jsonl": ("application/jsonl", "All events of the experiment, one a line, each with its hash"),
    "hypothesis.json": ("application/json", "The hypothesis as it was committed before the first trial"),
    "trials.csv": ("text/csv", "One row for each trial: parameters, outcomes, state"),
    "finding.json": ("application/json", "The decision and its evidence"),
}
Entity = dict[str, Any]


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
    graph = [*_about(state, events, files, license), *_people(state, events), *_software(state)]
    graph += [*_trials(state, events), *_attachments(state, held), *_earlier(state)]
    if state.finding is not None:
        graph.append(_decision(state, events))
    metadata = {"@context": CONTEXT, "@graph": graph}
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


def _about(
    state: ExperimentState, events: Sequence[Event], files: dict[str, bytes], terms: str
) -> Iterator[Entity]:
    yield {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    actions = [name for trial in state.trials for name in (_name(trial), *_step_names(trial))]
    actions += ["#decision"] if state.finding else []
    parts = [*files, *_attached(state)]
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
        "hasPart": [{"@id": name} for name in parts],
        "mentions": [{"@id": action} for action in actions],
        **(
            {"prov:wasDerivedFrom": [{"@id": _source(each)} for each in state.imports]}
            if state.imports
            else {}
        ),
    }
    if terms.startswith(("https://", "http://")):
        yield {"@id": terms, "@type": "CreativeWork", "name": terms}
    yield {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
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
    for step in state.spec.graph:
        where = (
            "the laboratory"
            if step.name in state.laboratory
            else "a person"
            if step.executor == "person"
            else "simulation"
        )
        yield {
            "@id": _executor(step.name),
            "@type": kind,
            "name": f"{step.executor} ({where})",
            "isPartOf": {"@id": "#workbench"},
            **(
                {"description": json.dumps(dict(step.arguments), ensure_ascii=False)}
                if step.arguments
                else {}
            ),
        }
    hypothesis = state.spec.hypothesis
    rule = {"@id": "#rule", "@type": kind, "name": hypothesis.rule.type, "description": str(hypothesis.rule)}
    yield {**rule, **({"softwareVersion": hypothesis.analysis} if hypothesis.analysis else {})}


def _name(trial: Trial) -> str:
    return f"#trial-{trial.number}"


def _step_names(trial: Trial) -> list[str]:
    return [f"{_name(trial)}-{quote(name, safe='')}" for name in trial.steps]


def _executor(step: str) -> str:
    return f"#executor-{quote(step, safe='')}"


def _person(state: ExperimentState, name: str) -> str:
    return "#owner" if name == state.owner else f"#person-{quote(name, safe='')}"


def _said(events: Sequence[Event]) -> dict[int, set[str]]:
    """Return who had a part in each trial: added its point, approved it, or said what became of it."""
    actors = {event.id: event.actor for event in events}
    found: dict[int, set[str]] = {}
    for event in events:
        body = event.body
        who = {
            "trial.proposed": actors.get(str(body.get("added", "")).rpartition("/")[0]),
            "approval.used": actors.get(str(body.get("approval", ""))),
            "outcome.entered": event.actor,
            "trial.refused": body.get("by"),
        }.get(event.kind)
        if who:
            found.setdefault(body["trial"], set()).add(who)
    return found


def _people(state: ExperimentState, events: Sequence[Event]) -> Iterator[Entity]:
    for name in sorted({state.owner}.union(*_said(events).values())):
        yield {"@id": _person(state, name), "@type": ["Person", "prov:Agent"], "name": name}


def _trials(state: ExperimentState, events: Sequence[Event]) -> Iterator[Entity]:
    units = {parameter.name: parameter.unit for parameter in state.spec.space}
    said, steps = _said(events), {step.name: step for step in state.spec.graph}
    for trial in state.trials:
        given = {
            name: {"value": value, "unit": units.get(name, "")} for name, value in trial.parameters.items()
        }
        used, gave = list(_values(trial, "took", given)), list(_values(trial, "gave", trial.values))
        people = [_person(state, name) for name in sorted({state.owner} | said.get(trial.number, set()))]
        first = next(iter(steps.values()))
        tools = [_executor(name) for name in trial.steps or [first.name]]
        yield {
            **_action(_name(trial), f"Trial {trial.number}", trial, used, gave, tools, people),
            "description": f"Point {trial.point}, arm {trial.arm}, proposed by {trial.proposer}; key {trial.key}",
            **({"prov:wasInformedBy": [{"@id": name} for name in _step_names(trial)]} if trial.steps else {}),
        }
        yield from used
        yield from gave
        for name, one in trial.steps.items():
            yield _step(state, trial, steps[name], one, used, gave)


def _step(
    state: ExperimentState, trial: Trial, step: Step, one: Executed, used: list[Entity], gave: list[Entity]
) -> Entity:
    """Return the execution of one step, with what it gave of what the trial gave."""
    name = f"{_name(trial)}-{quote(step.name, safe='')}"
    earlier = [f"{_name(trial)}-{quote(each, safe='')}" for each in before(step) if each in trial.steps]
    own = [each for each in gave if each.get("name") in one.values]
    title = f"Trial {trial.number}: {step.name}"
    return {
        **_action(name, title, one, used, own, [_executor(step.name)], [_person(state, state.owner)]),
        "description": f"Key {one.key}",
        **({"prov:wasInformedBy": [{"@id": each} for each in earlier]} if earlier else {}),
    }


def _action(
    name: str,
    title: str,
    one: Executed,
    used: list[Entity],
    gave: list[Entity],
    tools: list[str],
    people: list[str],
) -> Entity:
    took = [{"@id": each["@id"]} for each in used if "value" in each and not each["@id"].endswith(_SPREAD)]
    results = [{"@id": each["@id"]} for each in gave if not each["@id"].endswith(_SPREAD)]
    results += [{"@id": _place(digest)} for digest in one.attachments.values()]
    action: Entity = {
        "@id": name,
        "@type": ["CreateAction", "prov:Activity"],
        "name": title,
        "instrument": [{"@id": tool} for tool in tools],
        "agent": [{"@id": person} for person in people],
        "object": took,
        "prov:used": took,
        "prov:wasAssociatedWith": [{"@id": each} for each in (*tools, *people)],
    }
    if one.started:
        action |= {"startTime": one.started, "prov:startedAtTime": one.started}
    if one.ended:
        action |= {"endTime": one.ended, "prov:endedAtTime": one.ended}
    if one.state == "observed":
        return {
            **action,
            "result": results,
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        }
    if one.state in ("failed", "refused"):
        failed = {"actionStatus": {"@id": "http://schema.org/FailedActionStatus"}, "error": one.reason}
        return {**action, **failed}
    began = "Active" if one.started else "Potential"
    return {**action, "actionStatus": {"@id": f"http://schema.org/{began}ActionStatus"}}


def _values(trial: Trial, what: str, values: Mapping[str, Mapping[str, Any]]) -> Iterator[Entity]:
    """Yield what a trial `took` or `gave`, and beside a value its standard uncertainty where it has one."""
    for name, seen in values.items():
        own = f"{_name(trial)}-{what}-{quote(name, safe='')}"
        unit = {"unitText": seen["unit"]} if seen.get("unit") else {}
        made = {"prov:wasGeneratedBy": {"@id": _name(trial)}} if what == "gave" else {}
        spread = seen.get("uncertainty")
        yield {
            "@id": own,
            "@type": ["PropertyValue", "prov:Entity"],
            "name": name,
            "value": seen["value"],
            **unit,
            **made,
            **({"valueReference": {"@id": own + _SPREAD}} if spread is not None else {}),
        }
        if spread is not None:
            yield {
                "@id": own + _SPREAD,
                "@type": "PropertyValue",
                "name": f"standard uncertainty of {name}",
                "value": spread,
                **unit,
            }


def _attached(state: ExperimentState) -> list[str]:
    return sorted({_place(digest) for trial in state.trials for digest in trial.attachments.values()})


def _place(digest: str) -> str:
    """Return where in a crate an attachment is."""
    return f"{FILES}/{key_of(digest)}"


def _attachments(state: ExperimentState, held: Mapping[str, int]) -> Iterator[Entity]:
    """Yield the files that trials left, those that are not in this crate too."""
    about: dict[str, list[tuple[Trial, str]]] = {}
    for trial in state.trials:
        for name, mark in trial.attachments.items():
            about.setdefault(mark, []).append((trial, name))
    for mark, trials in sorted(about.items()):
        here = {"contentSize": str(held[mark])} if mark in held else {}
        words = ", ".join(f"{name} of trial {trial.number}" for trial, name in trials)
        yield {
            "@id": _place(mark),
            "@type": ["File", "prov:Entity"],
            "name": trials[0][1],
            "description": words if here else f"{words}; named here, and not part of this crate",
            "sha256": mark.removeprefix("sha256:"),
            "prov:wasGeneratedBy": [{"@id": _name(trial)} for trial, _ in trials],
            **here,
        }


def _source(imported: Mapping[str, Any]) -> str:
    return f"#experiment-{imported['experiment']}"


def _earlier(state: ExperimentState) -> Iterator[Entity]:
    """Yield the experiments from whose trials this one's proposer learned."""
    for each in state.imports:
        yield {
            "@id": _source(each),
            "@type": ["CreativeWork", "prov:Entity"],
            "name": each["title"],
            "identifier": each["experiment"],
            "description": f"An earlier experiment, as of its event {each['head']}, of which the proposer knew the trials",
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
