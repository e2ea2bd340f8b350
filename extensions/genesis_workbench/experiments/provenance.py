"""What an exported experiment's metadata say: who did what with what, in RO-Crate's terms and in PROV-O's (W3C, 2013)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Event
from genesis_workbench.core.storage import key_of
from genesis_workbench.experiments.executing import RETURNED
from genesis_workbench.experiments.showing import computed
from genesis_workbench.experiments.state import ExperimentState
from genesis_workbench.experiments.steps import Step, before
from genesis_workbench.experiments.trial import Executed, Trial

CONTEXT: list[Any] = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
    {"prov": "http://www.w3.org/ns/prov#"},
]
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
FILES = "files"
_SPREAD = "-uncertainty"
_KINDS = {
    "events.jsonl": ("application/jsonl", "All events of the experiment, one a line, each with its hash"),
    "hypothesis.json": ("application/json", "The hypothesis as it was committed before the first trial"),
    "trials.csv": ("text/csv", "One row for each trial: parameters, outcomes, state"),
    "finding.json": ("application/json", "The decision and its evidence"),
}
Entity = dict[str, Any]


def described(
    state: ExperimentState,
    events: Sequence[Event],
    files: Mapping[str, bytes],
    held: Mapping[str, int],
    terms: str,
) -> dict[str, Any]:
    """Return the metadata of a crate, as JSON values.

    Parameters
    ----------
    files : mapping
        What the crate says of the experiment, by name.
    held : mapping
        Size of each attachment that it holds, by hash.
    terms : str
        Under what it may be used: a URL, or words.
    """
    graph = [*_about(state, events, files, terms), *_people(state, events), *_software(state)]
    graph += [*_trials(state, events), *_attachments(state, held), *_earlier(state).values()]
    if state.finding is not None:
        graph.append(_decision(state, events))
    return {"@context": CONTEXT, "@graph": graph}


def _about(
    state: ExperimentState, events: Sequence[Event], files: Mapping[str, bytes], terms: str
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
    earlier = [{"@id": name} for name in _earlier(state)]
    simulated = (
        f" {computed(sum(trial.simulated for trial in state.observed), len(state.observed))}"
        if state.simulated
        else ""
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
        **({"prov:wasDerivedFrom": earlier} if earlier else {}),
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
            "outcome.entered": None if body.get("as") == RETURNED else event.actor,
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


def _earlier(state: ExperimentState) -> dict[str, Entity]:
    """Return the experiment from which this one was made, and those from whose trials its proposer learned, by identifier."""
    told: dict[str, list[str]] = {}
    if (origin := state.spec.origin) is not None:
        then = f", as of its event {origin.head}" if origin.head else ""
        told[origin.experiment] = [f"The experiment of which this one is a {origin.how}{then}"]
    for each in state.imports:
        told.setdefault(each["experiment"], []).append(
            f"An earlier experiment, as of its event {each['head']}, of which the proposer knew the trials"
        )
    titles = {each["experiment"]: each["title"] for each in state.imports}
    return {
        f"#experiment-{name}": {
            "@id": f"#experiment-{name}",
            "@type": ["CreativeWork", "prov:Entity"],
            "name": titles.get(name, name),
            "identifier": name,
            "description": "; ".join(words),
        }
        for name, words in told.items()
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
