"""The base of what an experiment is described with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from genesis_workbench.core.errors import GenesisError, InvalidInput
from genesis_workbench.core.units import check_unit

NAME = r"^[a-z][a-z0-9_]{0,79}$"
A_NAME = "a name has lower-case letters, digits and _, and begins with a letter, such as tilt_deg"
"""What a text is told that is none."""
Name = Annotated[str, Field(pattern=NAME, description="Lower-case name, such as tilt_deg.")]
Unit = Annotated[str, AfterValidator(check_unit)]


class Record(BaseModel):
    """A value that does not change; unknown keys are errors; infinities and NaN are no numbers here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise unusable(f"{type(self).__name__} cannot be made so", error, type(self)) from None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # Only who writes Real("x", 0, 1) gets there: read as a part of something, a record is made out of its fields, and
        # what is wrong is told with the path to it.
        cls.__init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


def given(**values: Any) -> dict[str, Any]:
    """Return those values that a caller gave: ``...`` stands for one that was not."""
    return {name: value for name, value in values.items() if value is not ...}


def unusable(what: str, error: ValidationError, kind: type[BaseModel] | None = None) -> InvalidInput:
    """Return the error that says in one line why something cannot be used.

    Parameters
    ----------
    what : str
        What cannot be done, such as ``The experiment cannot be used``.
    kind : type, optional
        The record that was to be made: its fields are named where there is none of a name.
    """
    faults = [fault for fault in error.errors() if fault["type"] != "too_short"] or error.errors()
    paths = [_path(fault) for fault in faults]
    # A list that seems too short because one of its members is wrong has that one fault only.
    told = [_told(fault, path, kind) for fault, path in zip(faults, paths, strict=True)]
    return InvalidInput(f"{what}: {'; '.join(dict.fromkeys(told))}.", where=paths[0])


def _path(fault: Mapping[str, Any]) -> str:
    raised = getattr(fault.get("ctx", {}).get("error"), "where", "")
    return ".".join(filter(None, (*map(str, fault["loc"]), raised)))


def _told(fault: Mapping[str, Any], path: str, kind: type[BaseModel] | None = None) -> str:
    words = str(fault["msg"]).removeprefix("Value error, ").rstrip(".").replace("Input should", "it should")
    seen = fault.get("input")
    if fault["type"] == "missing":
        return f"{path} is needed"
    if fault["type"] == "extra_forbidden":
        known = "" if kind is None or len(fault["loc"]) > 1 else f"; there are {', '.join(kind.model_fields)}"
        return f"there is no {path}{known}"
    if fault["type"] == "string_pattern_mismatch" and fault["ctx"]["pattern"] == NAME:
        words = A_NAME
    if fault["type"] == "model_type":
        words = f"{fault['ctx']['class_name']}(...) is needed here"
    elif fault["type"] == "model_attributes_type":
        words = "a plain value is of no use here, only what has a name and fields, such as Real('x', 0, 1)"
    if not path:
        return words
    # A whole record would say less than the path to it.
    shown = isinstance(seen, str | int | float | list | tuple) or seen is None
    return f"{path}{f' ({seen!r:.80})' if shown else ''}: {words}"


def number(value: Any) -> Any:
    """Return a number or text of numpy's as Python's own, and anything else as it is: a masked one is no number."""
    if getattr(value, "ndim", None) != 0 or not hasattr(value, "item"):
        return value
    import numpy as np

    return value if np.ma.is_masked(value) or value.dtype.kind not in "biufU" else value.item()


@contextmanager
def about(where: str) -> Iterator[None]:
    """Let errors say which part of the description they are about."""
    try:
        yield
    except GenesisError as error:
        error.where = ".".join(filter(None, (where, error.where)))
        raise
