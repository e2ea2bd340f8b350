"""Units at the edges: numbers travel with a unit's text, and are converted where they meet."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.errors import InvalidInput

if TYPE_CHECKING:
    import pint


@cache
def registry() -> pint.UnitRegistry[Any]:
    """Return the one unit registry of the process (0.3 s at first use, hence not at import)."""
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def check_unit(text: str) -> str:
    """Return `text` if it names a unit; the empty text stands for a pure number.

    Raises
    ------
    InvalidInput
        If it is no unit that pint knows.
    """
    if text:
        _parse(text)
    return text


def convert(value: float, unit: str, to: str) -> float:
    """Convert `value` from `unit` to the unit `to`.

    Raises
    ------
    InvalidInput
        If either is no unit or their dimensions differ.
    """
    import pint

    try:
        return float(registry().Quantity(value, _parse(unit)).to(_parse(to)).magnitude)
    except pint.DimensionalityError as error:
        raise InvalidInput(f"{value} {unit} cannot be given in {to}: {error}.") from error


def _parse(text: str) -> pint.Unit:
    import pint

    try:
        return registry().parse_units(text)
    except (pint.UndefinedUnitError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidInput(f"{text!r} is no unit. Write it like 'kW*h/m**2', 'degC' or 'eV'.") from error
    except Exception as error:  # pint's tokenizer raises its own kinds for malformed text
        raise InvalidInput(
            f"{text!r} is no unit: {error}. Write it like 'kW*h/m**2', 'degC' or 'eV'."
        ) from error
