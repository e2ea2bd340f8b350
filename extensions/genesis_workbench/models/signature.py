"""What a model takes and what it gives: names, types, shapes, units and ranges."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from genesis_workbench.core.units import check_unit

Dtype = Literal[
    "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
]  # fmt: skip


class Frozen(BaseModel):
    """A record that never changes and takes no unknown field."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorSpec(Frozen):
    """One input or output."""

    name: str = Field(min_length=1, description="Name of the tensor in the artifact.")
    dtype: Dtype = Field("float32", description="Type of its numbers, as numpy calls it.")
    shape: tuple[int | None, ...] = Field(
        (None,), description="Length of each axis; null where any length will do. The first counts samples."
    )
    unit: str = Field("", description="Unit of the numbers; empty for pure numbers.")
    low: float | None = Field(None, allow_inf_nan=False, description="Least value that it was made for.")
    high: float | None = Field(None, allow_inf_nan=False, description="Greatest value that it was made for.")
    description: str = Field("", description="What the numbers are.")

    @field_validator("unit")
    @classmethod
    def _unit_is_known(cls, value: str) -> str:
        return check_unit(value)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> TensorSpec:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: low ({self.low}) is above high ({self.high}).")
        return self

    @property
    def domain(self) -> str:
        """The range in words, such as ``0 to 4500 m``; empty where there is none."""
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            text = f"at least {self.low:g}"
        elif self.low is None:
            text = f"at most {self.high:g}"
        else:
            text = f"{self.low:g} to {self.high:g}"
        return f"{text} {self.unit}".strip()


class Signature(Frozen):
    """What a model takes and what it gives."""

    inputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Inputs, in order.")
    outputs: tuple[TensorSpec, ...] = Field(min_length=1, description="Outputs, in order.")

    @model_validator(mode="after")
    def _names_differ(self) -> Signature:
        for specs in (self.inputs, self.outputs):
            names = [spec.name for spec in specs]
            if len(set(names)) != len(names):
                raise ValueError(f"Two tensors of the signature have the same name: {', '.join(names)}.")
        return self
