"""Which trials wait for a person, and for what exactly that person's word is good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.experiments.budget import AmountName
from genesis_workbench.experiments.record import Record, given


class Approval(Record):
    """Which trials a person must approve before anything is executed.

    An approval is good for one trial with exactly the arguments that were shown, for one execution, and for a time.
    Nobody approves trials of an experiment that they launched themselves; in a bare notebook, where there is nobody
    else, the one person may, and the ledger says so.

    Attributes
    ----------
    policy : str
        ``laboratory``: each trial that touches something in the world. ``never``; ``each``; ``above``: those that are planned to
        cost more than `above`; ``first``: the first `first` trials. All but ``never`` include the laboratory's.
    above : dict, optional
        Amounts by name, such as ``{"money": 100}``.
    first : int, optional
        Number of trials.
    valid_s : float
        Seconds for which an approval can be used.
    """

    policy: Literal["laboratory", "never", "each", "above", "first"] = "laboratory"
    above: dict[AmountName, float] = Field(default_factory=dict)
    first: int | None = Field(None, gt=0)
    valid_s: float = Field(7 * 86400.0, gt=0, le=90 * 86400.0)

    def __init__(self, policy: Any = ..., **more: Any) -> None:
        super().__init__(**given(policy=policy), **more)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.policy == "above" and not self.above:
            raise InvalidInput("say above which amount a trial waits, such as 100 of money", where="above")
        if self.policy == "first" and self.first is None:
            raise InvalidInput("say how many of the first trials wait, such as 3", where="first")
        for name in ("above", "first"):
            if self.policy != name and getattr(self, name):
                raise InvalidInput(
                    f"this goes with the policy {name!r} only, not with {self.policy!r}: leave it out",
                    where=name,
                )
        return self

    def needed(
        self,
        number: int,
        reserved: Mapping[str, float],
        laboratory: tuple[str, ...],
        twins: tuple[str, ...] = (),
    ) -> str:
        """Return why a trial needs a person's approval; the empty text where it needs none.

        Parameters
        ----------
        laboratory : tuple of str
            Names of its steps that touch something in the world.
        twins : tuple of str
            Names of its steps that did so before, and whose devices are simulated by now.
        """
        if self.policy == "never":
            return ""
        if laboratory or twins:
            words = [f"It touches the laboratory ({', '.join(laboratory)})."] if laboratory else []
            words += [f"Devices that were real are simulated now ({', '.join(twins)})."] if twins else []
            return " ".join(words)
        if self.policy == "each":
            return "Each trial of this experiment needs a person's approval."
        if self.first is not None and number <= self.first:
            return f"It is among the first {self.first} trials."
        for name, limit in self.above.items():
            if reserved.get(name, 0.0) > limit:
                return f"It is planned to cost {reserved[name]:g} {name}, more than {limit:g}."
        return ""


def arguments_digest(experiment: str, trial: int, parameters: Mapping[str, Any], executions: Any) -> str:
    """SHA-256 of everything that an approval is good for.

    Parameters
    ----------
    executions : list of dict
        Step, executor, arguments and key of each execution.
    """
    return digest_json(
        {"experiment": experiment, "trial": trial, "parameters": parameters, "executions": executions}
    )


def expiry(now: str, valid_s: float) -> str:
    """Return the time until which an approval given now can be used, as the ledger writes times."""
    until = datetime.fromisoformat(now) + timedelta(seconds=valid_s)
    return until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
