"""Publish dashboards and serve them: a Panel script with JSON parameters, shared with groups.

A dashboard runs with its owner's rights as a server of its own, behind the service, which lets in whom it was shared
with. Its script can never act as its viewer: it has an origin of its own, and no token of the viewer reaches it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.dashboards.publishing import (
        Dashboard,
        audience,
        parameters,
        search,
        share,
        title,
        unshare,
    )

_WHERE = dict.fromkeys(
    ("Dashboard", "audience", "parameters", "search", "share", "title", "unshare"), "publishing"
)

__all__ = ["Dashboard", "audience", "parameters", "search", "share", "title", "unshare"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
