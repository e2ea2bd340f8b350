"""Who may see what: access labels, people, and the one rule that compares them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from genesis_workbench.core.errors import InvalidInput


class Label(IntEnum):
    """How far a dataset, model or result may travel; ordered from open to closed."""

    PUBLIC = 0
    RESTRICTED = 1
    CONTROLLED = 2
    EXPORT_CONTROLLED = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    @classmethod
    def parse(cls, text: str) -> Label:
        """Read a label from its written form, such as ``export-controlled``."""
        label = _BY_TEXT.get(text)
        if label is not None:
            return label
        known = ", ".join(_BY_TEXT)
        raise InvalidInput(f"{text!r} is no access label. Use one of: {known}.")


_BY_TEXT = {str(label): label for label in Label}

CLEARANCE = {
    Label.CONTROLLED: "custom:data:controlled",
    Label.EXPORT_CONTROLLED: "custom:data:export-controlled",
}
"""The scope that a person needs besides group membership."""


@dataclass(frozen=True)
class Person:
    """Somebody (or a service) as the hub knows them at this moment."""

    name: str
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    admin: bool = False


@dataclass(frozen=True)
class Access:
    """What a thing demands of those who look at it.

    A public thing is for everyone who is signed in. Anything else is for the members of `groups` and for `owner`;
    controlled and export-controlled things demand the clearance scope too, of everybody.
    """

    label: Label = Label.PUBLIC
    groups: frozenset[str] = field(default_factory=frozenset)
    owner: str = ""

    def permits(self, person: Person) -> bool:
        """Whether `person` may see the thing. Being an administrator of the hub gives no right to data."""
        if self.label is Label.PUBLIC:
            return True
        needed = CLEARANCE.get(self.label)
        if needed is not None and needed not in person.scopes:
            return False
        return bool(self.groups & person.groups) or (self.owner != "" and person.name == self.owner)


def strictest(labels: Iterable[Label]) -> Label:
    """Label of a thing derived from things with `labels`; public where it derives from nothing."""
    return max(labels, default=Label.PUBLIC)
