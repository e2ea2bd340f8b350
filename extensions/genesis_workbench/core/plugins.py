"""Plug-ins by entry point: ours are found the same way as everybody's.

The name of an entry point is the name of the extra that installs what it needs, so a missing package answers with
the command that installs it.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from genesis_workbench.core.errors import MissingDependency, NotFound

PREFIX = "genesis_workbench."


@cache
def _registered(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PREFIX + group)}


def names(group: str) -> list[str]:
    """Names of the plug-ins registered in a group such as ``sources``, in alphabetical order."""
    return sorted(_registered(group))


def load(group: str, name: str) -> Any:
    """Import the plug-in `name` of `group`.

    Raises
    ------
    NotFound
        If no such plug-in is registered; names the nearest one.
    MissingDependency
        If a package it needs is not installed; carries the command that installs it.
    """
    points = _registered(group)
    if name not in points:
        near = get_close_matches(name, points, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise NotFound(
            f"There is no plug-in {name!r} among {group}.{hint} Known: {', '.join(sorted(points)) or 'none'}."
        )
    try:
        return points[name].load()
    except ImportError as error:
        raise missing(group, name, error) from error


def missing(group: str, name: str, error: ImportError) -> MissingDependency:
    """Return the error that says what the plug-in `name` of `group` could not import, and what helps."""
    point = _registered(group)[name]
    extras = (point.dist.metadata.get_all("Provides-Extra") or []) if point.dist else []
    extra = f"{point.dist.name}[{name}]" if point.dist and name in extras else ""
    absent = error.name if isinstance(error, ModuleNotFoundError) else None
    own = point.module.partition(".")[0]
    if absent and absent.partition(".")[0] != own:
        return MissingDependency(
            f"The plug-in {name!r} of {group} needs the package {absent!r}, which is not installed. "
            f'Install it with: pip install "{extra or absent}"'
        )
    # What is installed lacks something: a package of another version, or the plug-in itself.
    return MissingDependency(
        f"The plug-in {name!r} of {group} cannot be imported: {error}. What it needs is there in another "
        f'version, or in part. Try: pip install --upgrade "{extra or (point.dist.name if point.dist else own)}"'
    )
