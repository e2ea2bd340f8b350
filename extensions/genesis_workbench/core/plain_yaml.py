"""YAML that came from elsewhere: plain values only, and nothing that grows without bound while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from genesis_workbench.core.errors import InvalidInput

MAX_DEPTH = 50
_OPENING = (
    "FlowSequenceStartToken",
    "FlowMappingStartToken",
    "BlockSequenceStartToken",
    "BlockMappingStartToken",
)
_CLOSING = ("FlowSequenceEndToken", "FlowMappingEndToken", "BlockEndToken")


def load(text: str | bytes, what: str) -> Any:
    """Return the values of a text.

    Parameters
    ----------
    what : str
        What it is, to begin a sentence with: "The catalog".

    Raises
    ------
    InvalidInput
        If it is no YAML, repeats parts of itself, or is nested too deep.
    """
    import yaml

    try:
        _check(yaml.scan(text, Loader=yaml.SafeLoader), what)
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(f"{what} cannot be read: {' '.join(str(error).split())[:200]}.") from error


def _check(tokens: Iterator[Any], what: str) -> None:
    """Refuse what could grow without bound: parts repeated by aliases, and deep nesting."""
    depth = 0
    for token in tokens:
        name = type(token).__name__
        if name == "AliasToken":
            raise InvalidInput(
                f"{what} repeats parts of itself by aliases, which can grow without bound; refused."
            )
        depth += name in _OPENING
        depth -= name in _CLOSING
        if depth > MAX_DEPTH:
            raise InvalidInput(f"{what} is nested more than {MAX_DEPTH} levels deep; refused.")
