"""How a model is written: ``name``, ``name@3`` or ``name@champion``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import check_slug

_ALIAS = re.compile(r"[a-z](?:[a-z0-9_-]{0,38}[a-z0-9])?")
_TAKEN = frozenset({"latest", "history", "versions", "aliases"})
"""Words that mean something else in addresses."""
_TAKEN_NAMES = frozenset({"uploads", "artifacts"})


@dataclass(frozen=True)
class Reference:
    """A name, and either a number, an alias or neither: then its newest version is meant."""

    name: str
    version: int | None = None
    alias: str = ""

    def __str__(self) -> str:
        after = self.alias or ("" if self.version is None else str(self.version))
        return f"{self.name}@{after}" if after else self.name


def parse(text: str) -> Reference:
    """Read a reference.

    Raises
    ------
    InvalidInput
        If it is not written like ``name``, ``name@1`` or ``name@champion``.
    """
    name, at, after = text.partition("@")
    check_slug(name, "model")
    if not at:
        return Reference(name)
    if after.isascii() and after.isdigit() and len(after) < 10 and int(after) > 0:
        return Reference(name, int(after))
    if _ALIAS.fullmatch(after) and after not in _TAKEN:
        return Reference(name, alias=after)
    raise InvalidInput(
        f"{text[:140]!r} names no model. Write it like 'clear-sky-irradiation@1' or 'clear-sky-irradiation@champion'."
    )


def check_alias(text: str) -> str:
    """Return `text` if it can be an alias.

    Raises
    ------
    InvalidInput
        If it cannot.
    """
    if _ALIAS.fullmatch(text) and text not in _TAKEN:
        return text
    raise InvalidInput(
        f"{text[:60]!r} cannot be an alias: use 1 to 40 of a-z, 0-9, '_' and '-', beginning with a letter; some words such as 'latest' are taken."
    )


def check_name(text: str) -> str:
    """Return `text` if a model can be registered under it.

    Raises
    ------
    InvalidInput
        If it cannot.
    """
    if check_slug(text, "model") in _TAKEN_NAMES:
        raise InvalidInput(f"{text!r} cannot be the name of a model: it means something else in addresses.")
    return text
