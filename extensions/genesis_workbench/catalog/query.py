"""The query language: words, phrases, fields, exclusion, OR and brackets, read into a tree. See docs/reference/search.md.

Nothing here knows the index: what a person types becomes a tree of these few classes, and only the tree is searched
for. So no text can be a command of the engine below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from genesis_workbench.core.errors import InvalidInput

FIELDS = ("title", "agency", "format", "licence", "keyword", "field", "source", "label", "doi", "id", "year")
"""Names that may stand before a colon."""
_ALIASES = {"license": "licence", "publisher": "agency", "tag": "keyword"}
_NAMES = {**{name: name for name in FIELDS}, **_ALIASES}
MAX_LENGTH = 1000
MAX_DEPTH = 20
MAX_TERMS = 64
FIRST_YEAR, LAST_YEAR = 0, 9999
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<open>\() | (?P<close>\))
  | (?P<minus>-(?=[^\s)]))
  | (?P<field>[A-Za-z]+):
  | "(?P<phrase>(?:[^"\\]|\\.)*)"
  | (?P<quote>")
  | (?P<word>[^\s()"]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = ("AND", "OR", "NOT")
_YEARS = re.compile(r"(?P<first>\d{1,4})?(?P<dots>\.\.)?(?P<last>\d{1,4})?", re.ASCII)


class InvalidQuery(InvalidInput):
    """A query that cannot be read.

    Attributes
    ----------
    position : int
        Where in the text, counted from 0.
    hint : str
        What would be accepted.
    """

    def __init__(self, what: str, position: int, hint: str) -> None:
        super().__init__(f"The query cannot be read at character {position + 1}: {what}. {hint}")
        self.position, self.hint = position, hint


@dataclass(frozen=True)
class Word:
    """One word; with `field`, in this field only."""

    text: str
    field: str = ""


@dataclass(frozen=True)
class Phrase:
    """Words that stand side by side; for fields with exact values, the value."""

    text: str
    field: str = ""


@dataclass(frozen=True)
class Years:
    """Records of the years from `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class Not:
    """Everything but `part`."""

    part: Node


@dataclass(frozen=True)
class And:
    """What matches each of `parts`; everything where there are none."""

    parts: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Or:
    """What matches any of `parts`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Related:
    """What matches `part`, and after it what has one of `phrases`, each with its nearness from 0 to 1. Nobody types it."""

    part: Node
    phrases: tuple[tuple[str, float], ...]


Node = Word | Phrase | Years | Not | And | Or | Related
EVERYTHING = And()


def parse(text: str) -> Node:
    """Read a query.

    Parameters
    ----------
    text : str
        What a person typed, up to 1,000 characters.

    Returns
    -------
    Node
        The tree; ``And()`` where there is nothing to look for.

    Raises
    ------
    InvalidQuery
        With the position and a hint.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(
            f"it has {len(text):,} characters", MAX_LENGTH, f"Use up to {MAX_LENGTH:,} characters."
        )
    return _Parser(text).read()


def show(node: Node) -> str:
    """Write a tree as text that :func:`parse` reads back into the same tree."""
    while isinstance(node, Related):
        node = node.part
    if isinstance(node, And):
        return " ".join(_bracketed(part, And, Or) for part in node.parts)
    if isinstance(node, Or):
        return " OR ".join(_bracketed(part, Or) for part in node.parts)
    if isinstance(node, Not):
        return "-" + _bracketed(node.part, And, Or)
    if isinstance(node, Years):
        return f"year:{node.first}..{node.last}"
    prefix = f"{node.field}:" if node.field else ""
    if isinstance(node, Word):
        return prefix + node.text
    escaped = node.text.replace("\\", "\\\\").replace('"', '\\"')
    return f'{prefix}"{escaped}"'


def words(node: Node) -> Iterator[Word | Phrase]:
    """Yield what is looked for, in order, without what is excluded."""
    if isinstance(node, Word | Phrase):
        yield node
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from words(part)
    elif isinstance(node, Related):
        yield from words(node.part)
        yield from (Phrase(text) for text, _ in node.phrases)


def related(node: Node) -> tuple[str, ...]:
    """Return the phrases that are looked for because they are near in meaning."""
    if isinstance(node, And):
        return tuple(text for part in node.parts for text in related(part))
    return tuple(text for text, _ in node.phrases) if isinstance(node, Related) else ()


def _bracketed(node: Node, *kinds: type) -> str:
    return f"({show(node)})" if isinstance(node, kinds) else show(node)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [*_tokens(text), _Token("end", "", len(text))]
        self._next = 0
        self._terms = 0

    def read(self) -> Node:
        if self._now.kind == "end":
            return EVERYTHING
        tree = self._any(0)
        if self._now.kind != "end":
            raise InvalidQuery(
                "this bracket closes nothing", self._now.at, "Remove it, or put '(' before it."
            )
        return tree

    @property
    def _now(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._now
        self._next += 1
        return token

    def _is(self, operator: str) -> bool:
        return self._now.kind == "word" and self._now.text == operator

    def _any(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._is("OR"):
            self._take()
            parts.append(self._all(depth))
        return _joined(Or, parts)

    def _all(self, depth: int) -> Node:
        parts = [self._one(depth)]
        while self._now.kind not in ("end", "close") and not self._is("OR"):
            if self._is("AND"):
                self._take()
            parts.append(self._one(depth))
        return _joined(And, parts)

    def _one(self, depth: int) -> Node:
        token = self._take()
        if depth > MAX_DEPTH:
            raise InvalidQuery(
                "brackets or exclusions are nested too deep", token.at, f"Use at most {MAX_DEPTH} levels."
            )
        if token.kind == "minus" or (token.kind == "word" and token.text == "NOT"):
            return Not(self._one(depth + 1))
        if token.kind == "open":
            inside = self._any(depth + 1)
            if self._now.kind != "close":
                raise InvalidQuery("a bracket is not closed", token.at, "Add ')'.")
            self._take()
            return inside
        if token.kind == "field":
            return self._fielded(token)
        if token.kind == "word" and token.text not in _OPERATORS:
            return self._counted(Word(token.text), token)
        if token.kind == "phrase":
            return self._counted(Phrase(token.text), token)
        raise InvalidQuery(
            "a word is missing here", token.at, "Write a word, or put AND, OR and NOT in quotes."
        )

    def _fielded(self, token: _Token) -> Node:
        name, value = _NAMES[token.text], self._take()
        if value.kind not in ("word", "phrase") or not value.text.strip():
            raise InvalidQuery(
                f"nothing follows {token.text!r}:", token.at, f"Write {token.text}:word, without a space."
            )
        if name == "year":
            return self._counted(_years(value), token)
        return self._counted(
            Phrase(value.text, name) if value.kind == "phrase" else Word(value.text, name), token
        )

    def _counted(self, node: Node, token: _Token) -> Node:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise InvalidQuery("there are too many words", token.at, f"Use at most {MAX_TERMS}.")
        return node


def _tokens(text: str) -> Iterator[_Token]:
    at, after_field = 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        kind = match.lastgroup if match else None
        if match is None or kind is None:
            raise InvalidQuery("this cannot be read", at, "Remove it.")
        # A word such as "http://x" or a:b is no field; what follows a field is its value, whatever colons it has.
        if kind in ("field", "minus") and (after_field or (kind == "field" and not _is_field(match))):
            end = re.compile(r'[^\s()"]+').match(text, at)
            yield _Token("word", end.group() if end else "", at)
            at = end.end() if end else len(text)
            after_field = False
            continue
        if kind == "quote":
            raise InvalidQuery("a quote is not closed", at, 'Add ".')
        if kind == "space" and after_field:
            yield _Token("gap", "", at)
        elif kind != "space":
            found = match.group(kind)
            value = re.sub(r"\\(.)", r"\1", found, flags=re.DOTALL) if kind == "phrase" else found
            yield _Token(kind, value.lower() if kind == "field" else value, at)
        after_field = kind == "field"
        at = match.end()


def _is_field(match: re.Match[str]) -> bool:
    return match.group("field").lower() in _NAMES and not match.string.startswith("//", match.end())


def _years(value: _Token) -> Years:
    match = _YEARS.fullmatch(value.text.strip())
    if match is None or not (match["first"] or match["last"]):
        raise InvalidQuery(
            f"{value.text[:20]!r} is no year", value.at, "Write year:2020, year:2015..2020 or year:2015.."
        )
    first = int(match["first"]) if match["first"] else FIRST_YEAR
    last = int(match["last"]) if match["last"] else (LAST_YEAR if match["dots"] else first)
    if first > last:
        raise InvalidQuery(
            f"the years {first} to {last} run backwards", value.at, f"Write year:{last}..{first}."
        )
    return Years(first, last)


def _joined(kind: type[And | Or], parts: list[Node]) -> Node:
    if len(parts) == 1:
        return parts[0]
    flat: list[Node] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else [part])
    return kind(tuple(flat))
