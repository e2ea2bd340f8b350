"""Where in a record the words of a search stand: as ranges of characters, so that nothing needs to be escaped here."""

from __future__ import annotations

import re
from functools import lru_cache

from genesis_workbench.catalog import query as language
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.index import terms

_WORD = re.compile(r"[^\W_]+")
_MOST = 40
_FIELDS = {"title": ("", "title"), "description": ("",)}

Ranges = dict[str, list[list[int]]]
"""Field to ``[start, end]`` pairs, in characters, the end not included."""


def highlights(tree: language.Node, dataset: Dataset) -> Ranges:
    """Return where the words of `tree` stand in title and description; without fields that have none."""
    wanted = _wanted(tree)
    found: Ranges = {}
    for name, fields in _FIELDS.items():
        mine = frozenset().union(*(wanted.get(field, frozenset()) for field in fields))
        ranges = _ranges(getattr(dataset, name), mine) if mine else []
        if ranges:
            found[name] = ranges
    return found


@lru_cache(1000)
def _wanted(tree: language.Node) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for word in language.words(tree):
        found.setdefault(word.field, set()).update(terms(word.text))
    return {field: frozenset(each) for field, each in found.items()}


def _ranges(text: str, wanted: frozenset[str]) -> list[list[int]]:
    found = []
    for match in _WORD.finditer(text):
        if wanted & _stems(match.group()):
            found.append([match.start(), match.end()])
            if len(found) == _MOST:
                break
    return found


@lru_cache(50_000)
def _stems(word: str) -> frozenset[str]:
    return frozenset(terms(word))
