"""What a description can choose from here: executors with their settings, proposers, rules, amounts."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.experiments.budget import UNITS
from genesis_workbench.experiments.executors._base import Executor
from genesis_workbench.experiments.rules import AnyRule


def choices(executors: Mapping[str, Executor], *, service: bool) -> dict[str, Any]:
    """Return everything that a form offers, as JSON values.

    Parameters
    ----------
    executors : mapping
        Executors by name, each made when it is asked for.
    service : bool
        Whether this is the service, in which some of them do not work.
    """
    return {
        "executors": [_executor(name, executors, service=service) for name in plugins.names("executors")],
        "proposers": [_plugin("proposers", name) for name in plugins.names("proposers")],
        "rules": [
            {"name": rule.model_fields["type"].default, **_described(rule)} for rule in get_args(AnyRule)
        ],
        "amounts": list(UNITS),
    }


def _executor(name: str, executors: Mapping[str, Executor], *, service: bool) -> dict[str, Any]:
    found = _plugin("executors", name)
    if found["refusal"]:
        return found
    kind = plugins.load("executors", name)
    if service and (why := getattr(kind, "code_only", "")):
        return {**found, "refusal": f"It is given in code only: {why}"}
    settings = getattr(kind, "settings", None)
    found |= {
        "parameters": _units(kind, "parameters"),
        "outcomes": _units(kind, "outcomes"),
        "schema": _schema(settings) if settings is not None else None,
        "laboratory": "",
    }
    try:
        found["laboratory"] = str(getattr(executors[name], "laboratory_name", ""))
    except GenesisError as error:
        found["refusal"] = error.message
    return found


def _plugin(group: str, name: str) -> dict[str, Any]:
    try:
        kind = plugins.load(group, name)
    except GenesisError as error:
        return {"name": name, "title": "", "about": "", "refusal": error.message}
    return {"name": name, **_presented(kind), "refusal": ""}


def _presented(kind: type) -> dict[str, str]:
    """Return what a plug-in is, in a few words for a list and in some sentences for whoever has chosen it.

    Its module's first line says what it does; its class's docstring, how.
    """
    module = sys.modules.get(kind.__module__)
    line = _plain(((module and module.__doc__) or "").strip().partition("\n")[0])
    return {"title": line.partition(":")[0].rstrip("."), "about": f"{line} {_first(kind)}".strip()}


def _units(kind: type, attribute: str) -> dict[str, str] | None:
    units = getattr(kind, attribute, None)
    return dict(units) if isinstance(units, Mapping) else None


def _described(record: type[BaseModel]) -> dict[str, Any]:
    return {"about": _first(record), "schema": _schema(record)}


def _schema(record: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a record, with the words of its docstring where a field has none of its own."""
    schema = record.model_json_schema()
    documented: dict[str, str] = {}
    for each in reversed(record.__mro__):
        documented |= _attributes(each.__doc__ or "")
    for name, field in schema.get("properties", {}).items():
        if name in documented:
            field["description"] = documented[name]
    return schema


def _first(documented: type) -> str:
    """Return the first sentence or two of a docstring, as plain text."""
    return _plain((documented.__doc__ or "").strip().split("\n\n")[0])


def _attributes(docstring: str) -> dict[str, str]:
    """Return what a numpydoc docstring says of each attribute."""
    _, heading, section = docstring.partition("Attributes\n")
    if not heading:
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines()[1:]:
        head = re.fullmatch(r" {4}([a-z_, ]+) : .*", line) or re.fullmatch(r"([a-z_, ]+) : .*", line)
        if head:
            names = [name.strip() for name in head[1].split(",")]
        elif not line.strip():
            break
        else:
            found |= {name: f"{found.get(name, '')} {line.strip()}".strip() for name in names}
    return {name: _plain(words) for name, words in found.items()}


def _plain(text: str) -> str:
    """Return text without the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return " ".join(text.replace("``", "").replace("`", "").split())
