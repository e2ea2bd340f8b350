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
    """Return the error that says how to install what the plug-in `name` of `group` could not import."""
    point = _registered(group)[name]
    extras = (point.dist.metadata.get_all("Provides-Extra") or []) if point.dist else []
    wanted = f"{point.dist.name}[{name}]" if point.dist and name in extras else str(error.name)
    return MissingDependency(
        f"The plug-in {name!r} of {group} needs the package {error.name!r}, which is not installed. "
        f'Install it with: pip install "{wanted}"'
    )
