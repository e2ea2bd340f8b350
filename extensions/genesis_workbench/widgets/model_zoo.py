"""The model zoo to look through: words, cards, versions side by side, lineage, a try, and the line that loads."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import traitlets

from genesis_workbench import models
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.models.ancestry import levels
from genesis_workbench.models.standing import Entry
from genesis_workbench.widgets._base import Widget
from genesis_workbench.widgets._latest import Latest
from genesis_workbench.widgets._script import script, styles

_SIDE_BY_SIDE = 6
_ROWS = 12


class ModelZoo(Widget):
    """Search as you type; see what each model is good for, where it is from and where it stands; load it in one line.

    Parameters
    ----------
    text : str
        Words to begin with.

    Attributes
    ----------
    chosen : str
        Name of the model that was looked at last: ``gw.model(zoo.chosen)``.
    """

    _esm = script("model_zoo.js")
    _css = styles("model_zoo.css")

    text = traitlets.Unicode().tag(sync=True)
    found: Any = traitlets.List().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)
    tried = traitlets.Dict().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    busy = traitlets.Bool().tag(sync=True)

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.text = text
        self._searches, self._looks = Latest("zoo-search"), Latest("zoo-look")
        self.on_msg(self._command)
        self._search(text)

    def close(self) -> None:
        """End its threads."""
        self._searches.stop()
        self._looks.stop()
        super().close()

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        content = content if isinstance(content, dict) else {}
        what = content.get("command")
        if what == "search" and isinstance(content.get("text"), str):
            self.text, self.busy = content["text"][:500], True
            self._searches.run(lambda: self._search(self.text))
        elif what == "look" and isinstance(content.get("name"), str):
            self.chosen, self.detail = content["name"], {"name": content["name"], "wait": True}
            self._looks.run(lambda: self._look(content["name"]))
        elif what == "try" and isinstance(content.get("reference"), str):
            self.tried = {"reference": content["reference"], "wait": True}
            self._looks.run(lambda: self._try(content["reference"]))

    def _search(self, text: str) -> None:
        try:
            found = [_row(entry) for entry in models.entries(text)]
        except GenesisError as error:
            with self.hold_sync():
                self.message, self.busy = error.message, False
            return
        with self.hold_sync():
            self.found, self.message, self.busy = found, "", False

    def _look(self, name: str) -> None:
        try:
            versions = models.versions(name)
            lineage = models.lineage(versions[0].version.reference)
            history = models.history(name)
        except GenesisError as error:
            self.detail = {"name": name, "fault": error.message}
            return
        self.detail = {
            "name": name,
            "versions": [_row(entry) for entry in versions[:_SIDE_BY_SIDE]],
            "more": max(len(versions) - _SIDE_BY_SIDE, 0),
            "columns": [
                [{"id": n.id, "kind": n.kind, "label": n.label, "detail": n.detail} for n in column]
                for column in levels(lineage)
            ],
            "edges": lineage.as_dict()["edges"],
            "history": [_told(event) for event in history],
        }

    def _try(self, reference: str) -> None:
        try:
            self.tried = {"reference": reference, **trial(reference)}
        except GenesisError as error:
            self.tried = {"reference": reference, "fault": error.message}


def trial(reference: str) -> dict[str, Any]:
    """Run a model on its shipped example, and put the answers beside the reference outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", models.DeprecatedModel)  # the page shows it
        model = models.model(reference)
    test, signature = model.version.self_test, model.signature
    inputs = {spec.name: np.asarray(test.inputs[spec.name], dtype=spec.dtype) for spec in signature.inputs}
    answers = model.run(inputs)
    off, ok = {}, True
    for spec in signature.outputs:
        said, wanted = np.asarray(answers[spec.name], float), np.asarray(test.outputs[spec.name], float)
        off[spec.name] = float(np.max(np.abs(said - wanted)))
        ok &= np.allclose(said, wanted, rtol=test.rtol, atol=test.atol)
    columns = [{"title": spec.name, "unit": spec.unit, "kind": "input"} for spec in signature.inputs]
    values = [inputs[spec.name] for spec in signature.inputs]
    for spec in signature.outputs:
        columns += [
            {"title": spec.name, "unit": spec.unit, "kind": "answer"},
            {"title": f"{spec.name}, reference", "unit": spec.unit, "kind": "reference"},
        ]
        values += [answers[spec.name], np.asarray(test.outputs[spec.name])]
    count = min(len(value) for value in values)
    rows = [[_words(value[at]) for value in values] for at in range(min(count, _ROWS))]
    allowed = f"{test.atol:g} and {test.rtol:g} of the value"
    return {"columns": columns, "rows": rows, "samples": count, "off": off, "ok": ok, "allowed": allowed}


def _row(entry: Entry) -> dict[str, Any]:
    """Return what a page shows of a version."""
    version, standing = entry.version, entry.standing
    shown: dict[str, Any] = version.model_dump(
        mode="json", include={"name", "version", "format", "size_bytes", "artifact", "owner", "card"}
    )
    said = standing.deprecation
    return {
        **shown,
        "reference": version.reference,
        "cite": version.cite(),
        "takes": [
            f"{spec.name} ({spec.domain or spec.unit or 'a number'})" for spec in version.signature.inputs
        ],
        "gives": [f"{spec.name} ({spec.unit or 'a number'})" for spec in version.signature.outputs],
        "domain": version.domain.rows if version.domain else 0,
        "intervals": version.intervals.rows if version.intervals else 0,
        "registered_at": standing.registered_at,
        "stage": standing.stage,
        "approved_by": standing.approved_by,
        "aliases": list(standing.aliases),
        "deprecation": said.warning(version.reference) if said else "",
        "code": _code(entry),
    }


def _code(entry: Entry) -> str:
    """Return the lines that load a version and use it on the first sample of its self-test."""
    version = entry.version
    load = f'model = gw.model("{version.reference}")'
    simple = all(
        spec.shape and spec.shape[0] is None and set(spec.shape[1:]) <= {1}
        for spec in version.signature.inputs
    )
    names = [spec.name for spec in version.signature.inputs]
    if not simple or not all(name.isidentifier() for name in names):
        return f"{load}\nmodel"
    values = {name: np.ravel(version.self_test.inputs[name])[0] for name in names}
    return f"{load}\nmodel({', '.join(f'{name}={value:g}' for name, value in values.items())})"


def _told(event: dict[str, Any]) -> dict[str, str]:
    """Return one event of a history as a line."""
    name = f"version {event['version']}" if event.get("version") else "nothing"
    lines = {
        "alias.moved": f"@{event.get('alias')} points to {name}",
        "stage.changed": f"{name} is {event.get('stage')}",
        "deprecated": f"{name} is deprecated",
        "deprecation.lifted": f"{name} is no longer deprecated",
    }
    line = lines.get(event["what"], event["what"])
    return {"when": event["when"], "who": event["who"], "line": line, "reason": str(event.get("reason", ""))}


def _words(value: Any) -> str:
    if np.ndim(value):
        flat = np.ravel(value)
        return ", ".join(_words(each) for each in flat[:4]) + (" …" if flat.size > 4 else "")
    number = float(value)
    return f"{number:.6g}" if math.isfinite(number) else "no number"
