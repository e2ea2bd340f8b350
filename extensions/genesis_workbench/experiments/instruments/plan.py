"""A plan: steps on devices, in order. What a gateway queues, under a key that is its identity."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import check_slug, idempotency_key

FINAL = frozenset({"done", "failed", "canceled"})
"""States of a plan in which nothing more happens. `unknown` is none: a person, or the device, may still settle it."""


class Step(BaseModel):
    """One action of one device. `arguments`: ``{"value": 100, "unit": "degC"}`` for numbers, text for names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str = Field(max_length=40)
    action: str = Field(max_length=40)
    arguments: dict[str, Any] = Field(default_factory=dict)


class Plan(BaseModel):
    """Steps that run one after the other, with all their devices reserved from the first to the last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    title: str = Field("", max_length=200)
    asker: str = Field("", max_length=100)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=200)

    @property
    def devices(self) -> frozenset[str]:
        """Names of the devices that it needs."""
        return frozenset(step.device for step in self.steps)

    def step_key(self, number: int) -> str:
        """Key under which a step runs once."""
        return idempotency_key(self.key, number)

    @classmethod
    def read(cls, value: Any) -> Plan:
        """Check a plan that came from outside.

        Raises
        ------
        InvalidInput
            If it is none.
        """
        try:
            plan = cls.model_validate(value)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5]]
            raise InvalidInput(f"This is no plan: {'; '.join(faults)}.") from error
        check_slug(plan.key, "plan")
        return plan
