"""Formulas: plain JSON with one expression for each output, in the workbench's own small language.

::

    {"constants": {"k": 8.617e-5}, "formulas": {"rate": "1e13 * exp(-barrier / (k * temperature))"}}

The language (``core.expression``) is looked up node by node and never compiled. Numbers are float64.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.core.expression import FUNCTIONS, Expression
from genesis_workbench.models.formats._base import Tensor, installed, library, read_json, refuse_carriers

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

MOST_BYTES, MOST_FORMULAS = 64 * 1024, 100
_WANTED = "a JSON file with 'formulas'"


class FormulaFormat:
    """One JSON file of formulas."""

    name: ClassVar[str] = "formula"
    suffix: ClassVar[str] = ".json"
    extra: ClassVar[str] = ""

    def check(self, data: bytes) -> None:
        """Refuse what is not formulas of the language over names.

        Raises
        ------
        VerificationFailed
            With the reason.
        """
        _read(data)

    def load(self, data: bytes, signature: Signature) -> FormulaModel:
        """Make it runnable. Its inputs are the names that its formulas use."""
        return FormulaModel(*_read(data))

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        return (installed("numpy", self.extra), "formula 1")

    def warm(self) -> None:
        """Import the libraries that check and run it."""
        library("numpy", self.extra)


class FormulaModel:
    """Formulas over arrays: one number for each sample."""

    def __init__(self, formulas: dict[str, Expression], constants: dict[str, float]) -> None:
        self._formulas, self._constants = formulas, constants
        names = sorted(set().union(*(each.names for each in formulas.values())) - set(constants))
        self.inputs = tuple(Tensor(name, "float64", (None,)) for name in names)
        self.outputs = tuple(Tensor(name, "float64", (None,)) for name in formulas)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name; NaN where a formula has no value."""
        import numpy as np

        missing = [tensor.name for tensor in self.inputs if tensor.name not in inputs]
        if missing:
            raise InvalidInput(f"The model cannot take these inputs: {', '.join(missing)} is missing.")
        values = {name: np.asarray(array, dtype="float64") for name, array in inputs.items()} | {
            name: np.float64(number) for name, number in self._constants.items()
        }
        shape = np.broadcast_shapes(*(np.shape(values[tensor.name]) for tensor in self.inputs)) or (1,)
        with np.errstate(all="ignore"):
            results = {name: _value(each.tree, values) for name, each in self._formulas.items()}
        return {name: np.broadcast_to(_finite(result), shape) for name, result in results.items()}


def _read(data: bytes) -> tuple[dict[str, Expression], dict[str, float]]:
    refuse_carriers(data, _WANTED, most_bytes=MOST_BYTES)
    document = read_json(data, "The artifact")
    if not isinstance(document, dict) or not {"formulas"} <= set(document) <= {"formulas", "constants"}:
        raise VerificationFailed(f"The artifact is not {_WANTED} and perhaps 'constants'. Write it so.")
    formulas, constants = document["formulas"], document.get("constants", {})
    if not isinstance(formulas, dict) or not 1 <= len(formulas) <= MOST_FORMULAS:
        raise VerificationFailed(f"'formulas' must name 1 to {MOST_FORMULAS} outputs, each with its formula.")
    if not isinstance(constants, dict) or not all(map(_is_number, constants.values())):
        raise VerificationFailed("'constants' must give a finite number for each name.")
    made = {}
    for name, text in formulas.items():
        if not (isinstance(text, str) and name.isidentifier()):
            raise VerificationFailed(f"{name[:80]!r} must be a name, with its formula as text.")
        try:
            made[name] = Expression(text, condition=False)
        except InvalidInput as error:
            raise VerificationFailed(f"The formula of {name} is refused: {error}") from error
        if any(
            isinstance(node, ast.Constant) and isinstance(node.value, str)
            for node in ast.walk(made[name].tree)
        ):
            raise VerificationFailed(f"The formula of {name} has a text in it; only numbers are known here.")
    if not set().union(*(each.names for each in made.values())) - set(constants):
        raise VerificationFailed("No formula names an input, so there is nothing to predict from.")
    return made, {name: float(number) for name, number in constants.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _value(node: Any, values: Mapping[str, Any]) -> Any:
    """Evaluate over arrays what :class:`Expression` has checked."""
    import numpy as np

    match node:
        case ast.Constant():
            return np.float64(float(node.value))  # type: ignore[arg-type]
        case ast.Name():
            return values[node.id]
        case ast.BinOp():
            return _operators()[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.UnaryOp():
            operand = _value(node.operand, values)
            return -operand if isinstance(node.op, ast.USub) else operand
        case ast.Call(func=ast.Name(id=name)):
            parts = [_value(each, values) for each in node.args]
            if name in ("min", "max"):
                return reduce(np.minimum if name == "min" else np.maximum, parts)
            return getattr(np, name)(*parts) if name in FUNCTIONS else None
    raise InvalidInput(f"A formula cannot have {type(node).__name__} in it.")


def _operators() -> dict[type[ast.AST], Callable[..., Any]]:
    import numpy as np

    return {
        ast.Add: np.add,
        ast.Sub: np.subtract,
        ast.Mult: np.multiply,
        ast.Div: np.divide,
        ast.Pow: np.power,
    }


def _finite(array: Any) -> Any:
    import numpy as np

    return np.where(np.isfinite(array), array, np.nan)
