"""Budgets that several experiments, people and agents draw from: one stream of the ledger for each.

A reservation and the proposal that it is for are one transaction, and so are a settlement and the outcome; each expects
the version of the account that it was decided on. So whoever comes second decides again, and nothing is overdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from genesis_workbench.core.access import Access, Label, Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.identifiers import check_slug
from genesis_workbench.core.leases import Lease
from genesis_workbench.core.ledger import Event, Ledger, NewEvent
from genesis_workbench.experiments.budget import UNITS, Amounts, Budget, Spending

PREFIX = "budget/"
_TRIES = 50


@dataclass
class Account:
    """A shared budget as its events tell it."""

    name: str
    owner: str
    groups: tuple[str, ...]
    limits: Amounts
    currency: str
    spending: Spending = field(default_factory=Spending)
    version: int = 0
    seq: int = 0

    @property
    def access(self) -> Access:
        """Who may look and draw: the owner and the members of its groups."""
        return Access(Label.RESTRICTED, frozenset(self.groups), self.owner)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON values."""
        budget = Budget(trials=1, currency=self.currency)
        return {
            "name": self.name,
            "owner": self.owner,
            "groups": list(self.groups),
            "amounts": self.spending.summary(self.limits, {name: budget.unit(name) for name in self.limits}),
            "under_way": len(self.spending.reserved),
        }


@dataclass(frozen=True)
class Draw:
    """What an event does to an account: `reserved` for a key, `settled` with what that has really cost, or `spent` at once."""

    key: str
    amounts: Amounts
    does: Literal["reserved", "settled", "spent"]


@dataclass(frozen=True)
class Short:
    """An amount of which an account has too little left; `held` where what is reserved may come back to it."""

    amount: str
    held: bool


def stream(name: str) -> str:
    """Return the stream of a shared budget's events."""
    return PREFIX + check_slug(name, "shared budget")


def fold_on(account: Account | None, events: Iterable[Event]) -> Account | None:
    """Fold events of one account into it."""
    for event in events:
        body = event.body
        if event.kind == "account.opened":
            account = Account(
                event.stream.removeprefix(PREFIX),
                event.actor,
                tuple(body["groups"]),
                body["limits"],
                body["currency"],
            )
        if account is None:
            continue
        if event.kind == "account.changed":
            account.limits = body["limits"]
        elif event.kind == "amounts.reserved":
            account.spending.reserve(body["key"], body["amounts"])
        elif event.kind == "amounts.settled":
            account.spending.settle(body["key"], body["amounts"])
        elif event.kind == "amounts.spent":
            account.spending.spend(body["amounts"])
        account.version, account.seq = event.version, event.seq
    return account


class Accounts:
    """The shared budgets of a ledger. Keeps what it has folded, so that each look reads only what is new."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, Account] = {}

    def get(self, name: str) -> Account:
        """Return an account as it is now.

        Raises
        ------
        NotFound
            If nobody opened it.
        """
        known, after = self._known.get(name), 0
        if known is not None:
            after = known.seq
        while events := self._ledger.read(stream=stream(name), after=after):
            known, after = fold_on(known, events), events[-1].seq
        if known is None:
            raise NotFound(f"There is no shared budget {name!r}, or none that you may see.")
        self._known[name] = known
        return known

    def seen_by(self, name: str, person: Person) -> Account:
        """Return an account that a person may see and draw from; NotFound otherwise."""
        account = self.get(name)
        if not account.access.permits(person):
            raise NotFound(f"There is no shared budget {name!r}, or none that you may see.")
        return account

    def all_seen_by(self, person: Person) -> list[Account]:
        """Return the accounts that a person may see, by name."""
        found: list[str] = []
        after = 0
        while events := self._ledger.read(prefix=PREFIX, kinds=["account.opened"], after=after):
            found += [event.stream.removeprefix(PREFIX) for event in events]
            after = events[-1].seq
        accounts = (self.get(name) for name in sorted(set(found)))
        return [account for account in accounts if account.access.permits(person)]

    def open(
        self,
        name: str,
        limits: Amounts,
        person: Person,
        *,
        groups: Sequence[str] = (),
        currency: str = "USD",
    ) -> Account:
        """Open a shared budget. Its owner and the members of `groups` may draw from it.

        Raises
        ------
        Conflict
            If there is one of that name.
        """
        outside = set(groups) - person.groups
        if outside:
            raise PermissionRefused(
                f"You are not in the group {sorted(outside)[0]!r}, so you cannot open a budget for it."
            )
        body = {
            "limits": _checked(limits),
            "groups": sorted(set(groups)),
            "currency": Budget(trials=1, currency=currency).currency,
        }
        try:
            self._ledger.append(stream(name), "account.opened", body, actor=person.name, expect=0)
        except Conflict:
            raise Conflict(f"There is a shared budget {name!r} already. Choose another name.") from None
        return self.get(name)

    def change(self, name: str, limits: Amounts, person: Person, reason: str) -> Account:
        """Set other limits; what is reserved and spent already stays so."""
        account = self.seen_by(name, person)
        if account.owner != person.name:
            raise PermissionRefused(f"Only {account.owner}, who opened this budget, can change it.")
        body = {"limits": _checked(limits), "reason": reason[:500]}
        self._ledger.append(stream(name), "account.changed", body, actor=person.name)
        return self.get(name)

    def append(
        self, name: str, items: Sequence[tuple[NewEvent, Draw | None]], lease: Lease | None = None
    ) -> tuple[list[Event], Short | None]:
        """Append events together with what they draw, the first ones for which there is enough.

        Parameters
        ----------
        items : sequence of (NewEvent, Draw or None)
            Events of one experiment in order; each expects the version that the one before leaves.

        Returns
        -------
        list of Event, Short or None
            Those that were appended, and of what too little is left for the next one.

        Raises
        ------
        Conflict
            If the experiment has changed meanwhile.
        """
        for left in range(_TRIES - 1, -1, -1):
            account = self.get(name)
            fitting, short = _fitting(account, items)
            new = list(_with_draws(account, fitting))
            if not new:
                return [], short
            try:
                events = self._ledger.append_many(new, lease=lease)
            except Conflict:
                own = items[0][0]
                # Only the account has moved on: decide again on what is left now.
                if not left or self._ledger.version(own.stream) != own.expect:
                    raise
                continue
            return [event for event in events if not event.stream.startswith(PREFIX)], short
        raise AssertionError("the last try returns or raises")


def _fitting(
    account: Account, items: Sequence[tuple[NewEvent, Draw | None]]
) -> tuple[list[tuple[NewEvent, Draw | None]], Short | None]:
    """Return the first items that fit, and what the next one lacks."""
    so_far = Spending(spent={amount: account.spending.used(amount) for amount in account.limits})
    for place, (_, draw) in enumerate(items):
        held = draw is not None and draw.key in account.spending.reserved
        if draw is None or draw.does == "settled" or (draw.does == "reserved" and held):
            continue
        short = so_far.lacks(account.limits, draw.amounts)
        if short:
            return list(items[:place]), Short(short, bool(account.spending.reserved))
        so_far.spend(draw.amounts)
    return list(items), None


def _with_draws(account: Account, items: Sequence[tuple[NewEvent, Draw | None]]) -> Iterable[NewEvent]:
    version = account.version
    for event, draw in items:
        yield event
        held = draw is not None and draw.key in account.spending.reserved
        if draw is None or (draw.does, held) in (("reserved", True), ("settled", False)):
            continue
        body = {"key": draw.key, "amounts": draw.amounts, "experiment": event.stream}
        yield NewEvent(stream(account.name), f"amounts.{draw.does}", body, event.actor, version)
        version += 1


def _checked(limits: Amounts) -> Amounts:
    odd = sorted(set(limits) - set(UNITS))
    if odd or not limits:
        raise InvalidInput(
            f"A shared budget has limits of {', '.join(UNITS)}; {odd[0] if odd else 'none'!r} was given."
        )
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
            raise InvalidInput(f"The limit of {name} is {limit!r}; it must be a number above 0.")
    return {name: float(limit) for name, limit in limits.items()}
