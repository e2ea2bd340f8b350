"""A plan: steps on devices, in order. What a gateway queues, under a key that is its identity."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

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
    """Steps that run one after the other, with all their devices reserved from the first to the last.

    Attributes
    ----------
    asker : str
        Who sent it, a person or a program.
    owner : str
        The person on whose behalf it runs, for reservations; where empty, the asker.
    simulated : bool or None
        Whether all its devices are simulated, as whoever approved it was told; None where nobody was told anything. A
        gateway refuses a plan of which this is not so.
    approved_until : datetime or None
        When the approval expires under which it was sent; None where there is none. A plan that has not begun by then
        does not begin any more; one that has goes on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    title: str = Field("", max_length=200)
    asker: str = Field("", max_length=100)
    owner: str = Field("", max_length=100)
    simulated: bool | None = None
    approved_until: AwareDatetime | None = None
    steps: tuple[Step, ...] = Field(min_length=1, max_length=200)

    @property
    def devices(self) -> frozenset[str]:
        """Names of the devices that it needs."""
        return frozenset(step.device for step in self.steps)

    @property
    def person(self) -> str:
        """The person whose reservations let it through."""
        return self.owner or self.asker

    def same(self, other: Plan) -> bool:
        """Whether both do the same. For whom, and what somebody was told or allowed, is no part of what is done."""
        apart = {"owner", "simulated", "approved_until"}
        return self.model_dump(mode="json", exclude=apart) == other.model_dump(mode="json", exclude=apart)

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
