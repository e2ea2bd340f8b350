"""The base of what an experiment is described with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.units import check_unit

Name = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$", description="Lower-case name, such as tilt_deg.")
]
Unit = Annotated[str, AfterValidator(check_unit)]


class Record(BaseModel):
    """A value that does not change; unknown keys are errors; infinities and NaN are no numbers here."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def given(**values: Any) -> dict[str, Any]:
    """Return those values that a caller gave: ``...`` stands for one that was not."""
    return {name: value for name, value in values.items() if value is not ...}


@contextmanager
def about(where: str) -> Iterator[None]:
    """Let errors say which part of the description they are about."""
    try:
        yield
    except GenesisError as error:
        error.where = ".".join(filter(None, (where, error.where)))
        raise
