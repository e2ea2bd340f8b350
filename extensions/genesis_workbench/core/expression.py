"""A small language for constraints and formulas: arithmetic, comparisons and a few functions over names.

The text is parsed by `ast` and each node is looked up in a list of what is allowed; it is never compiled, never
evaluated by Python and has no attributes, no indexing, no assignment and no names but those that are given. Numbers
are floats, each in its own unit. `Expression.tree` is the checked tree, for those who evaluate it over arrays.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from genesis_workbench.core.errors import InvalidInput

MOST_CHARACTERS, MOST_NODES, MOST_DEPTH = 500, 200, 25

FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {  # name: function, fewest and most arguments
    "abs": (abs, 1, 1),
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "sqrt": (math.sqrt, 1, 1),
    "exp": (math.exp, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "tan": (math.tan, 1, 1),
}
_ARITHMETIC: dict[type[ast.AST], Callable[[float, float], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_SIGNS: dict[type[ast.AST], Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARISONS: dict[type[ast.AST], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_EQUALITIES: dict[type[ast.AST], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}


class Undefined(ArithmeticError):
    """The expression has no value here: a division by zero, a root of a negative number, an overflow."""


class Expression:
    """A checked expression.

    Parameters
    ----------
    text : str
        Such as ``x**2 + y**2 <= 1`` or ``solver == "cg" or steps < 100``.
    condition : bool
        Whether it must be true or false (the default); otherwise it must be a number.

    Raises
    ------
    InvalidInput
        If it is none of this language's, with the place.
    """

    def __init__(self, text: str, *, condition: bool = True) -> None:
        self.text, self.tree = text, _parsed(text)
        called = {id(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call)}
        self.names = frozenset(
            node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name) and id(node) not in called
        )
        kind = _kind(self.tree, 1)
        if condition != (kind == "condition"):
            wanted = "a condition, such as x + y <= 1" if condition else "a number, such as 2 * x"
            raise InvalidInput(f"{text!r} is a {kind}; it must be {wanted}.")

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Return its value for the values of its names.

        Raises
        ------
        Undefined
            If it has none there.
        """
        try:
            result = _value(self.tree, values)
        except (ArithmeticError, ValueError, TypeError) as error:
            raise Undefined(str(error)) from error
        if isinstance(result, float) and not math.isfinite(result):
            raise Undefined("it is not finite")
        return result

    def check_names(self, known: Mapping[str, str] | Collection[str]) -> None:
        """Refuse names that are not among those known."""
        odd = sorted(self.names - set(known))
        if odd:
            raise InvalidInput(
                f"{self.text!r} names {odd[0]!r}, which is none of: {', '.join(sorted(known))}."
            )


@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.expr:
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(
            f"An expression has at most {MOST_CHARACTERS} characters; this one has {len(text)}."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidInput(f"{text!r} cannot be read as an expression: {error}.") from error
    if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        raise InvalidInput(f"{text!r} has more than {MOST_NODES} parts; divide it.")
    return tree


def _kind(node: ast.AST, depth: int) -> str:  # noqa: PLR0911, PLR0912 - the grammar, in one place
    """Check a node and all below it; return whether it is a number, a text or a condition."""
    if depth > MOST_DEPTH:
        raise InvalidInput(f"The expression is nested deeper than {MOST_DEPTH} levels; divide it.")
    match node:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float() as number):
            _finite(number)
            return "number"
        case ast.Constant(value=str()):
            return "text"
        case ast.Name():
            return "name"
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            return _all_numbers("number", depth, node.left, node.right)
        case ast.UnaryOp() if type(node.op) in _SIGNS:
            return _all_numbers("number", depth, node.operand)
        case ast.UnaryOp(op=ast.Not()):
            return _all_conditions(depth, node.operand)
        case ast.BoolOp():
            return _all_conditions(depth, *node.values)
        case ast.Compare() if all(type(each) in _COMPARISONS for each in node.ops):
            return _all_numbers("condition", depth, node.left, *node.comparators)
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()]):
            for part in (node.left, node.comparators[0]):
                if _kind(part, depth + 1) == "condition":
                    break
            else:
                return "condition"
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
            _, fewest, most = FUNCTIONS[name]
            if fewest <= len(node.args) <= most:
                return _all_numbers("number", depth, *node.args)
    raise InvalidInput(
        f"{ast.unparse(node)[:80]!r} is not allowed here. Use numbers, names, + - * / **, "
        f"< <= > >= == !=, and, or, not, and {', '.join(FUNCTIONS)}."
    )


def _all_numbers(gives: str, depth: int, *parts: ast.AST) -> str:
    for part in parts:
        kind = _kind(part, depth + 1)
        if kind not in ("number", "name"):
            raise InvalidInput(f"{ast.unparse(part)[:80]!r} is a {kind}; a number is needed there.")
    return gives


def _all_conditions(depth: int, *parts: ast.AST) -> str:
    for part in parts:
        kind = _kind(part, depth + 1)
        if kind != "condition":
            raise InvalidInput(f"{ast.unparse(part)[:80]!r} is a {kind}; a condition is needed there.")
    return "condition"


def _finite(value: Any) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidInput("A number in the expression is too large.")
    return number


def _value(node: Any, values: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one line for each kind of node
    """Evaluate a node that :func:`_kind` has checked."""
    match node:
        case ast.Constant():
            return node.value if isinstance(node.value, str) else _finite(node.value)
        case ast.Name():
            value = values[node.id]
            return value if isinstance(value, str) else float(value)
        case ast.BinOp():
            return _ARITHMETIC[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, values)
        case ast.UnaryOp():
            return _SIGNS[type(node.op)](_value(node.operand, values))
        case ast.BoolOp(op=ast.And()):
            return all(_value(each, values) for each in node.values)
        case ast.BoolOp():
            return any(_value(each, values) for each in node.values)
        case ast.Compare():
            return _compared(node, values)
        case _:
            return FUNCTIONS[node.func.id][0](*(_value(each, values) for each in node.args))


def _compared(node: ast.Compare, values: Mapping[str, Any]) -> bool:
    left = _value(node.left, values)
    for compare, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, values)
        if not (_COMPARISONS | _EQUALITIES)[type(compare)](left, right):
            return False
        left = right
    return True
