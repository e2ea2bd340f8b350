"""What opened data say about where they are from, whatever kind of object they are."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from genesis_workbench.catalog.citation import cite
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.core.connections import shown

_FILES_OWN = ("title", "source")


def carried(opened: Any, dataset: Dataset, distribution: Distribution) -> Any:
    """Write the record's attributes on `opened` and on each variable of it, over whatever a file says of itself.

    A file may name a label or a dataset of its own; only the catalog's count. Title and source remain the file's, since
    CF gives them a meaning.
    """
    known = described(dataset, distribution)
    if _variables(opened):
        from genesis_workbench.catalog import accessor  # noqa: F401 - gives what was opened its `.genesis`
    for attributes in _attributes(opened):
        own = {name: attributes[name] for name in _FILES_OWN if attributes.get(name)}
        attributes.update({**known, **own})
    for variable in _variables(opened):
        variable.attrs.update({name: known[name] for name in ("genesis_dataset", "label", "cite_as")})
    return opened


def described(dataset: Dataset, distribution: Distribution) -> dict[str, str]:
    """Return identifier, version, licence, citation, label and checksum as text."""
    identifier = f"https://doi.org/{dataset.doi}" if dataset.doi else dataset.landing_page or dataset.id
    return {
        "genesis_dataset": dataset.id,
        "identifier": identifier,
        "version": dataset.modified or dataset.native_digest,
        "title": dataset.title,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "cite_as": cite(dataset),
        "label": dataset.label,
        "digest": dataset.native_digest,
        "checksum": distribution.checksum or "",
        "source": dataset.source,
        "opened_from": _place(distribution.url),
    }


def _place(url: str) -> str:
    return shown(url) if url.startswith(("http://", "https://")) else url


def _attributes(opened: Any) -> Iterator[MutableMapping[Any, Any]]:
    if hasattr(opened, "subtree"):
        yield from (node.attrs for node in opened.subtree)
    elif hasattr(opened, "attrs"):
        yield opened.attrs
        # A Dask table hands down what its empty table has, not its own: without this a column of it has no label.
        if hasattr(opened, "_meta"):
            yield opened._meta.attrs
    else:
        yield opened.info


def _variables(opened: Any) -> list[Any]:
    nodes = opened.subtree if hasattr(opened, "subtree") else [opened]
    return [variable for node in nodes for variable in getattr(node, "data_vars", {}).values()]
