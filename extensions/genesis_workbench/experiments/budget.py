"""What an experiment may use, of which amounts, and what one trial uses of them.

One idea for trials, machines, material, instruments and money: an amount is reserved before a trial starts and settled
with what it really cost once it has ended. What is reserved and spent together never passes the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.expression import Expression, Undefined
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.experiments.parameters import AnyParameter
from genesis_workbench.experiments.record import Name, Record, given

AmountName = Literal["trials", "node_hours", "samples", "instrument_minutes", "money"]
Amounts = dict[str, float]
"""How much of each amount, by its name; what is left out is nothing of it."""

UNITS: dict[str, str] = {
    "trials": "",
    "node_hours": "hour",
    "samples": "",
    "instrument_minutes": "minute",
    "money": "",
}
"""The amounts and their units, as pint writes them; money is counted in the budget's currency."""

_ROUNDING = 1e-9  # relative: a sum of reservations must not miss its limit by the last digit
Limit = Annotated[float | None, Field(gt=0)]


class Budget(Record):
    """What may be used.

    Attributes
    ----------
    trials : int
        Trials that are proposed at most; those that fail count.
    node_hours, samples, instrument_minutes, money : float, optional
        Limits of the other amounts: hours of machines, samples, minutes of instruments, and money in `currency`.
    account : str, optional
        Name of a shared budget from which this experiment draws as well.
    """

    trials: int = Field(gt=0, le=100_000)
    node_hours: Limit = None
    samples: Limit = None
    instrument_minutes: Limit = None
    money: Limit = None
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of the currency of `money`."
    )
    account: str = Field("", max_length=120)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.account:
            check_slug(self.account, "shared budget")
        return self

    @property
    def limits(self) -> Amounts:
        """The limit of each amount that has one."""
        return {name: float(limit) for name in UNITS if (limit := getattr(self, name)) is not None}

    def unit(self, amount: str) -> str:
        """Return what people read behind a number of this amount."""
        return {
            "trials": "trials",
            "node_hours": "node-hours",
            "samples": "samples",
            "instrument_minutes": "instrument minutes",
            "money": self.currency,
        }[amount]


class Cost(Record):
    """What one trial, or one step of it, uses of one amount.

    Attributes
    ----------
    planned : float or str
        Reserved before it starts: a number, or an expression over the names of parameters such as ``0.5 * nodes``, in
        which an inactive parameter counts as 0.
    actual : str, optional
        Outcome that says what it has really cost. Without it the executor's own word counts, and where it has none,
        what was planned.
    """

    planned: float | str = Field(union_mode="left_to_right")
    actual: Name | None = None

    def __init__(self, planned: Any = ..., actual: Any = ..., **more: Any) -> None:
        super().__init__(**given(planned=planned, actual=actual), **more)

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if isinstance(self.planned, str):
            if len(self.planned) > 500:
                raise ValueError("an expression of a cost has at most 500 characters")
            Expression(self.planned, condition=False)
        elif self.planned < 0:
            raise ValueError(f"a cost cannot be {self.planned:g}, below 0")
        return self

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse an expression over something else than these parameters."""
        if isinstance(self.planned, str):
            Expression(self.planned, condition=False).check_names(list(names))

    def of(self, space: Sequence[AnyParameter], parameters: Mapping[str, Any]) -> float:
        """Return what is reserved for a trial with these parameters.

        Raises
        ------
        InvalidInput
            If that is no number from 0 on.
        """
        if not isinstance(self.planned, str):
            return float(self.planned)
        values = {**{each.name: 0 for each in space}, **parameters}
        try:
            cost = float(Expression(self.planned, condition=False)(values))
        except (Undefined, ValueError) as error:
            raise InvalidInput(
                f"The cost {self.planned!r} has no value for {dict(parameters)}: {error}."
            ) from error
        if cost < 0:
            raise InvalidInput(f"The cost {self.planned!r} is {cost:g} for {dict(parameters)}, below 0.")
        return cost


def _as_cost(value: Any) -> Any:
    return {"planned": value} if isinstance(value, int | float | str) else value


Costs = dict[
    Literal["node_hours", "samples", "instrument_minutes", "money"],
    Annotated[Cost, BeforeValidator(_as_cost)],
]
"""What one trial or step costs, by amount; a number or an expression stands for a `Cost` of it."""


@dataclass
class Spending:
    """How much of a budget is reserved and spent.

    Attributes
    ----------
    reserved : dict
        By trial: what is reserved for it while its outcome is to come.
    spent : dict
        What trials that have ended have cost together.
    """

    reserved: dict[str, Amounts] = field(default_factory=dict)
    spent: Amounts = field(default_factory=dict)
    _held: Amounts = field(default_factory=dict)  # the sum over `reserved`, kept up to date

    def reserve(self, key: str, amounts: Mapping[str, float]) -> None:
        """Hold amounts for what has this key; a key that holds some already keeps those."""
        if key not in self.reserved:
            self.reserved[key] = dict(amounts)
            _add(self._held, amounts, 1)

    def settle(self, key: str, amounts: Mapping[str, float]) -> None:
        """Let go of what is reserved for a key and count what it has cost; nothing where it holds nothing."""
        if key in self.reserved:
            _add(self._held, self.reserved.pop(key), -1)
            if not self.reserved:
                self._held.clear()  # no rounding is carried along
            _add(self.spent, amounts, 1)

    def spend(self, amounts: Mapping[str, float]) -> None:
        """Count what was spent without a reservation."""
        _add(self.spent, amounts, 1)

    def used(self, amount: str) -> float:
        """Return what is reserved and spent of an amount."""
        return self._held.get(amount, 0.0) + self.spent.get(amount, 0.0)

    def held(self, amount: str) -> float:
        """Return what is reserved of an amount now."""
        return self._held.get(amount, 0.0)

    def lacks(self, limits: Mapping[str, float], wanted: Mapping[str, float]) -> str | None:
        """Return the first amount of which more is wanted than is left; None where all fits."""
        for name, limit in limits.items():
            amount = wanted.get(name, 0.0)
            # Where nothing is wanted of an amount, one that was overrun holds nothing up.
            if amount and self.used(name) + amount > limit * (1 + _ROUNDING):
                return name
        return None

    def summary(self, limits: Mapping[str, float], units: Mapping[str, str]) -> dict[str, Any]:
        """Return limit, what is reserved and what is spent, by amount, as JSON values."""
        return {
            name: {
                "limit": limit,
                "reserved": self.held(name),
                "spent": self.spent.get(name, 0.0),
                "unit": units[name],
            }
            for name, limit in limits.items()
        }


def _add(total: Amounts, amounts: Mapping[str, float], sign: int) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0.0) + sign * amount


def together(*parts: Mapping[str, float]) -> Amounts:
    """Return the sum of amounts."""
    total: Amounts = {}
    for part in parts:
        _add(total, part, 1)
    return total
