"""Units at the edges: numbers travel with a unit's text, and are converted where they meet."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any
from unicodedata import digit

from genesis_workbench.core.errors import InvalidInput

if TYPE_CHECKING:
    import pint


_LONGEST = 200
_LARGEST = 1000.0
"""Of all exponents of a unit together. pint computes powers to their last digit, which for 9**9**9 takes for ever."""
_NUMBER = r"[+-]?\d{1,3}(?:\.\d{1,6})?(?:\s*/\s*\d{1,3})?"
# What is raised may be a power itself; an exponent may not.
_POWER = re.compile(rf"(?:\*\*|\^)\s*(?:\(\s*({_NUMBER})\s*\)|({_NUMBER}))(?!\s*(?:\*\*|\^|[\w.]))")
_SUPERSCRIPTS = re.compile("[⁰¹²³⁴-⁹]+")


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
        found = float(registry().Quantity(value, _parse(unit)).to(_parse(to)).magnitude)
    except (pint.DimensionalityError, OverflowError) as error:
        raise InvalidInput(f"{value!r:.40} {unit} cannot be given in {to}: {error}.") from error
    if math.isinf(found) and not math.isinf(value):
        raise InvalidInput(f"{value!r:.40} {unit} cannot be given in {to}: it is too large a number there.")
    return found


def _parse(text: str) -> pint.Unit:
    import pint

    _check_powers(text)
    try:
        return registry().parse_units(text)
    except (pint.UndefinedUnitError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidInput(f"{text!r} is no unit. Write it like 'kW*h/m**2', 'degC' or 'eV'.") from error
    except Exception as error:  # pint's tokenizer raises its own kinds for malformed text
        raise InvalidInput(
            f"{text!r} is no unit: {error}. Write it like 'kW*h/m**2', 'degC' or 'eV'."
        ) from error


def _check_powers(text: str) -> None:
    """Refuse what would be computed for longer than anybody waits: units come from strangers too."""
    if len(text) > _LONGEST:
        raise InvalidInput(
            f"{text[:40]!r}… is no unit: it has {len(text)} characters, and at most {_LONGEST} are read."
        )
    plain = _SUPERSCRIPTS.sub(lambda found: "^" + "".join(str(digit(each)) for each in found[0]), text)
    powers = [float((one or other).partition("/")[0]) for one, other in _POWER.findall(plain)]
    many = plain.count("**") + plain.count("^")
    if len(powers) < many or math.prod(max(abs(power), 1.0) for power in powers) > _LARGEST:
        raise InvalidInput(
            f"{text!r} is no unit: its exponents are too large, or no numbers. Write it like 'kW*h/m**2', 'm**-3' or 'm**(1/2)'."
        )
    if re.search(r"\d{20}", text) or re.search(r"\d[eE][+-]?\d", text):
        raise InvalidInput(
            f"{text!r} is no unit: the numbers in it are too large. Write it like 'kW*h/m**2', 'degC' or 'eV'."
        )
