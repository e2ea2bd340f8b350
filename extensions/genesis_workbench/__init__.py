"""Genesis Workbench: data, models, compute and experiments in one call each.

``import genesis_workbench as gw`` is light (under 0.3 s): a public name is imported when it is first used, and
nothing heavy lives here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> (module, attribute); a module alone where the attribute is None
_PUBLIC: dict[str, tuple[str, str | None]] = {
    "me": ("genesis_workbench.core.service", "me"),
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the names above, resolved by __getattr__

if TYPE_CHECKING:
    from genesis_workbench.core.service import me


def __getattr__(name: str) -> Any:
    try:
        module, attribute = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module 'genesis_workbench' has no attribute {name!r}") from None
    value = importlib.import_module(module)
    if attribute is not None:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
