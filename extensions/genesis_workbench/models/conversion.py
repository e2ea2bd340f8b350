"""From the units that data are in to those of a signature."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.units import check_unit, convert, registry
from genesis_workbench.models.signature import TensorSpec

if TYPE_CHECKING:
    import xarray as xr

_POWER = re.compile(r"(?<=[A-Za-z])([+-]?\d+)(?=$|[\s*/.)])")
_BESIDE = re.compile(r"(?<=[\w)])\s+(?=[A-Za-z])")
# The CF conventions write these; pint does not know them.
_CF_UNITS = {
    **dict.fromkeys(
        ["degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"], "degree"
    ),
    **dict.fromkeys(
        ["degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"], "degree"
    ),
    **dict.fromkeys(["1", "-", "none", "unitless"], ""),
    "dimensionless": "",
}


def in_unit(array: xr.DataArray, spec: TensorSpec) -> xr.DataArray:
    """Convert to the unit of the signature where the array says that it is in another one; lazy where it is.

    Raises
    ------
    InvalidInput
        If its unit is none, or measures something else.
    """
    scale, zero = conversion(array.attrs.get("units"), spec)
    if scale == 1 and zero == 0:
        return array
    converted = array * scale + zero
    converted.attrs = {**array.attrs, "units": spec.unit}
    return converted


def conversion(given: object, spec: TensorSpec) -> tuple[float, float]:
    """Return by what numbers in the unit `given` are multiplied, and what is added then; None is the signature's unit.

    Raises
    ------
    InvalidInput
        If it is no unit, or measures something else.
    """
    text = "" if given is None else str(given).strip()
    unit = spec.unit if given is None else _unit(_CF_UNITS.get(text, text))
    if unit == spec.unit:
        return 1.0, 0.0
    # Also keeps angles and pure numbers apart, which pint converts into each other.
    if _root(unit) != _root(spec.unit):
        raise InvalidInput(
            f"{spec.name} is given in {text!r}, which cannot be converted to {spec.unit or 'a pure number'!r}. "
            "Correct the array or its attribute 'units'."
        )
    zero, one, three = (convert(value, unit, spec.unit) for value in (0.0, 1.0, 3.0))
    scale = one - zero
    if not np.isclose(three, 3 * scale + zero, rtol=1e-9):
        raise InvalidInput(f"{spec.name} is given in {text!r}, a scale that is not linear. Convert it first.")
    return scale, zero


def _unit(text: str) -> str:
    """Return a unit as pint has it; of one that is none there, as UDUNITS writes it: "W m-2" is "W*m**-2"."""
    try:
        return check_unit(text)
    except InvalidInput:
        raised = _BESIDE.sub("*", _POWER.sub(r"**\1", text))
        if raised == text:
            raise
        return check_unit(raised)


def _root(unit: str) -> str:
    return str(registry().Quantity(1.0, unit).to_root_units().units)
