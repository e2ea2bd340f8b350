"""A model is never less strict than what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from genesis_workbench.core.access import CLEARANCE, Access, Label, Person
from genesis_workbench.core.errors import InvalidInput, NotFound, PermissionRefused
from genesis_workbench.models.record import DatasetVersion, ModelCard


def rules(
    dataset: DatasetVersion,
    person: Person,
    catalog: Callable[[str, Person], Access] | None,
    *,
    must_exist: bool = True,
) -> list[Access]:
    """Return what a dataset demands: as the card says, and as the catalog says where there is one.

    Raises
    ------
    NotFound
        If there is a catalog, `person` sees no such dataset in it, and it must exist.
    """
    if catalog is None:
        return [Access(Label.parse(dataset.label))]
    try:
        return [Access(Label.parse(dataset.label)), catalog(dataset.identifier, person)]
    except NotFound as error:
        if not must_exist:
            return [Access(Label.parse(dataset.label))]
        raise NotFound(
            f"The catalog has no dataset {dataset.identifier[:120]!r} that you may see. Name datasets from elsewhere in the "
            "card's `trained_on`."
        ) from error


def check(card: ModelCard, made_from: Iterable[tuple[str, Access]]) -> None:
    """Refuse a card that lets more people see the model than what it was made from.

    Raises
    ------
    InvalidInput
        Names what is stricter, and its label or groups.
    """
    label = Label.parse(card.label)
    for what, rule in made_from:
        if label < rule.label:
            raise InvalidInput(
                f"The model is labelled {str(label)!r}, but {what} is {str(rule.label)!r}: "
                f"register it with label={str(rule.label)!r} or a stricter one."
            )
        others = sorted(set(card.groups) - rule.groups)
        # A rule without groups says nothing of them where it comes from a card.
        if rule.label is not Label.PUBLIC and (rule.groups or rule.owner) and others:
            raise InvalidInput(
                f"The model is for the group {others[0]!r}, which may not see {what} ({rule.label}): "
                f"register it for {', '.join(sorted(rule.groups)) or 'no group'}."
            )


def check_own(card: ModelCard, owner: str, person: Person) -> None:
    """Refuse a model that whoever registers it could not see themselves.

    Raises
    ------
    PermissionRefused
        Names the right that is missing.
    """
    label = Label.parse(card.label)
    if not Access(label, frozenset(card.groups), owner).permits(person):
        raise PermissionRefused(
            f"You may not register a model labelled {str(label)!r}, for you could not see it: you do not hold "
            f"{CLEARANCE.get(label, 'a place in one of its groups')}. Ask an administrator for it."
        )
