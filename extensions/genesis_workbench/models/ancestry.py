"""From what a model came: datasets, training job, code, simulator and parents, as a graph and as a drawing."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from genesis_workbench.core.errors import NotFound
from genesis_workbench.models.record import DatasetVersion, ModelVersion

_DEEPEST = 20
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]*")
_SHORT = r"\1…"
_WIDE, _HIGH, _APART, _BETWEEN = 230, 46, 14, 70


@dataclass(frozen=True)
class Node:
    """One thing in the graph: `kind` is model, dataset, job, code, source or simulator; `detail` names exactly which."""

    id: str
    kind: str
    label: str
    detail: str = ""


@dataclass(frozen=True)
class Edge:
    """`start` went into `end`."""

    start: str
    end: str
    what: str


@dataclass(frozen=True)
class Lineage:
    """The graph; the first node is the model itself. Shown as a drawing in a notebook."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def as_dict(self) -> dict[str, list[dict[str, str]]]:
        """Return it as JSON values."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
        }

    def _repr_html_(self) -> str:
        return drawing(self)

    def __repr__(self) -> str:
        names = {node.id: node.label for node in self.nodes}
        lines = [f"{names[edge.start]} --{edge.what}--> {names[edge.end]}" for edge in self.edges]
        return "\n".join(lines) or f"{self.nodes[0].label}: nothing is known of where it came from"


def trace(version: ModelVersion, find: Callable[[str], ModelVersion] | None = None) -> Lineage:
    """Return the lineage of a version.

    Parameters
    ----------
    version : ModelVersion
        Where to begin.
    find : callable, optional
        Gives the record of a parent, whose own lineage is followed then; NotFound where one may not see it.
    """
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    at: ModelVersion | None = version
    for _ in range(_DEEPEST):
        if at is None:
            break
        model = _model(at)
        nodes.setdefault(model.id, model)
        for node, what in _sources(at):
            nodes.setdefault(node.id, node)
            edges[node.id, model.id] = Edge(node.id, model.id, what)
        parent, pinned = parent_of(at.lineage), str(at.lineage.get("parent_digest", ""))
        if not parent:
            break
        at = _found(parent, find)
        node = _model(at) if at else Node(f"model:{parent}", "model", parent, pinned)
        nodes.setdefault(node.id, node)
        edges[node.id, model.id] = Edge(node.id, model.id, "parent")
    return Lineage(tuple(nodes.values()), tuple(edges.values()))


def parent_of(lineage: Mapping[str, Any]) -> str:
    """Return the reference of the parent that a record names; empty where it names none."""
    parent = lineage.get("parent")
    if isinstance(parent, Mapping):
        parent = parent.get("reference")
    return parent if isinstance(parent, str) else ""


def datasets_of(lineage: Mapping[str, Any]) -> tuple[DatasetVersion, ...]:
    """Return the datasets that a lineage names beside the card."""
    named = lineage.get("datasets")
    found = (
        [each for each in named if isinstance(each, Mapping) and each.get("id")]
        if isinstance(named, list)
        else []
    )
    return tuple(
        DatasetVersion(
            identifier=str(each["id"])[:500],
            version=str(each.get("modified") or "")[:200],
            digest=str(each.get("record") or "")[:200],
            label=str(each.get("label") or "public"),
        )
        for each in found
    )


def _model(version: ModelVersion) -> Node:
    return Node(f"model:{version.reference}", "model", version.reference, version.artifact)


def _sources(version: ModelVersion) -> list[tuple[Node, str]]:
    lineage, found = version.lineage, []
    for each in {each.identifier: each for each in (*datasets_of(lineage), *version.card.datasets)}.values():
        detail = " ".join(filter(None, [each.version, each.digest]))
        found.append(
            (Node(f"dataset:{each.identifier} {detail}", "dataset", each.identifier, detail), "trained on")
        )
    told = lineage.get("recipe")
    recipe: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    code, digest = lineage.get("code") or recipe.get("name"), lineage.get("code_digest") or recipe.get("code")
    if code or digest:
        label = str(code or "code")
        found.append(
            (Node(f"code:{label} {digest}", "code", label.rpartition("/")[2], str(digest or "")), "made by")
        )
    told = lineage.get("job")
    job: Mapping[str, Any] = told if isinstance(told, Mapping) else {"run": told}
    name = job.get("run") or job.get("id")
    if name:
        found.append((Node(f"job:{name}", "job", str(name), str(job.get("native_id") or "")), "trained in"))
    source = lineage.get("source")
    if isinstance(source, Mapping):
        label = str(source.get("repository") or source.get("layout") or "elsewhere")
        detail = str(source.get("revision") or "")
        found.append((Node(f"source:{label} {detail}", "source", label, detail), "imported from"))
    simulator = lineage.get("simulator") or version.card.surrogate_of
    if simulator:
        found.append((Node(f"simulator:{simulator}", "simulator", str(simulator)), "imitates"))
    return found


def _found(parent: str, find: Callable[[str], ModelVersion] | None) -> ModelVersion | None:
    if find is None:
        return None
    try:
        return find(parent)
    except NotFound:  # it is named all the same: it was seen when the child was registered
        return None


def levels(lineage: Lineage) -> list[list[Node]]:
    """Return the nodes in columns: the model last, each other one before what it went into."""
    depth = {lineage.nodes[0].id: 0}
    for _ in lineage.nodes:
        for edge in lineage.edges:
            if edge.end in depth:
                depth[edge.start] = max(depth.get(edge.start, 0), depth[edge.end] + 1)
    columns: dict[int, list[Node]] = {}
    for node in lineage.nodes:
        columns.setdefault(depth[node.id], []).append(node)
    return [columns[each] for each in sorted(columns, reverse=True)]


def drawing(lineage: Lineage) -> str:
    """Draw the graph as SVG, in the colours of whatever page it is on."""
    columns = levels(lineage)
    tall = max(len(column) for column in columns) * (_HIGH + _APART)
    places: dict[str, tuple[float, float]] = {}
    for x, column in enumerate(columns):
        top = (tall - len(column) * (_HIGH + _APART)) / 2
        for y, node in enumerate(column):
            places[node.id] = (x * (_WIDE + _BETWEEN), top + y * (_HIGH + _APART))
    wide = len(columns) * (_WIDE + _BETWEEN) - _BETWEEN
    parts = [_line(edge, places) for edge in lineage.edges] + [
        _box(node, *places[node.id]) for node in lineage.nodes
    ]
    names = "; ".join(f"{node.kind} {node.label}" for node in lineage.nodes[1:]) or "nothing is known"
    return (
        f'<svg role="img" viewBox="-2 -2 {wide + 4} {tall + 4}" style="max-width:{wide}px;font:12px system-ui,sans-serif;'
        f'color:var(--jp-ui-font-color1,currentColor)" xmlns="http://www.w3.org/2000/svg">'
        f"<title>Lineage of {html.escape(lineage.nodes[0].label)}: {html.escape(names)}</title>{''.join(parts)}</svg>"
    )


def _line(edge: Edge, places: Mapping[str, tuple[float, float]]) -> str:
    (x, y), (to_x, to_y) = places[edge.start], places[edge.end]
    x, y, to_y = x + _WIDE, y + _HIGH / 2, to_y + _HIGH / 2
    middle = (x + to_x) / 2
    return (
        f'<path d="M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}" fill="none" stroke="currentColor" '
        f'opacity=".5"/><text x="{x + 4:g}" y="{y - 4:g}" fill="currentColor" font-size="9">{html.escape(edge.what)}</text>'
    )


def _box(node: Node, x: float, y: float) -> str:
    label = node.label if len(node.label) <= 32 else node.label[:31] + "…"
    below = f"{node.kind} {_DIGEST.sub(_SHORT, node.detail)}".strip()
    below = below if len(below) <= 40 else below[:39] + "…"
    bold = ' font-weight="600"' if node.kind == "model" else ""
    return (
        f"<g><title>{html.escape(f'{node.kind} {node.label} {node.detail}'.strip())}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDE}" height="{_HIGH}" rx="6" fill="none" stroke="currentColor"/>'
        f'<text x="{x + 10:g}" y="{y + 20:g}" fill="currentColor"{bold}>{html.escape(label)}</text>'
        f'<text x="{x + 10:g}" y="{y + 36:g}" fill="currentColor" font-size="10" opacity=".8">{html.escape(below)}</text></g>'
    )
