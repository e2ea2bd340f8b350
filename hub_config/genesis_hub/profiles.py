"""What people can choose when they start a server, and what they may."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ProfileSection


@dataclass(frozen=True)
class Quantity:
    """A number of a profile as the page shows it.

    Attributes
    ----------
    label : str
        Its name on the page.
    unit : str
        Unit on the page.
    per_unit : int
        How many of the profile's own units are one of the page's.
    """

    label: str
    unit: str
    per_unit: int

    def shown(self, value: float) -> str:
        """Return the number as the page shows it, without its unit."""
        try:
            return f"{value / self.per_unit:.2f}".rstrip("0").rstrip(".")
        except OverflowError:  # an integer of hundreds of digits
            return "a number that no machine has"

    def read(self, text: str) -> int:
        """Return what somebody typed, in the profile's units; InvalidInput where it is no number."""
        try:
            return round(float(text) * self.per_unit)
        except (ValueError, OverflowError) as error:
            raise InvalidInput(f"{self.label}: {text[:40]!r} is no number of {self.unit}.") from error


QUANTITIES = {
    "cpu_cores": Quantity("Processor cores", "cores", 1),
    "memory_bytes": Quantity("Memory", "GiB", 2**30),
    "walltime_s": Quantity("Time", "hours", 3600),
}


def permitted(profiles: Sequence[ProfileSection], groups: Collection[str]) -> list[ProfileSection]:
    """Return the profiles that somebody in `groups` may use."""
    return [profile for profile in profiles if not profile.groups or set(profile.groups) & set(groups)]


def asks(profiles: Sequence[ProfileSection]) -> bool:
    """Tell whether there is anything to choose."""
    return len(profiles) > 1 or any(each.limits or each.queues or each.images for each in profiles)


def from_form(fields: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the options that the fields of a page, or the words of a link, stand for.

    A page has fields for each profile, ``small.cpu_cores`` and so on: those of the chosen one count.
    """
    if not fields.get("profile"):
        return {}
    name = fields["profile"][0]
    options: dict[str, Any] = {"profile": name}
    readers: dict[str, Callable[[str], Any]] = {"queue": str, "image": str}
    readers |= {key: quantity.read for key, quantity in QUANTITIES.items()}
    for key, read in readers.items():
        if typed := (fields.get(f"{name}.{key}") or [""])[0].strip():
            options[key] = read(typed)
    return options


def chosen(
    profiles: Sequence[ProfileSection], groups: Collection[str], options: Mapping[str, Any]
) -> ProfileSection:
    """Return the profile that somebody asked for, or the first that they may use, with what they set in it.

    Options that are nothing of a profile's are not looked at: they set nothing.

    Raises
    ------
    InvalidInput
        If they may use none, or not that one, or set what it does not allow.
    """
    choices = permitted(profiles, groups)
    names = ", ".join(profile.name for profile in choices)
    if not choices:
        raise InvalidInput("None of this site's servers is open to your groups. Ask an administrator.")
    wanted = options.get("profile", choices[0].name)
    for profile in choices:
        if profile.name == wanted:
            return _with(profile, options)
    raise InvalidInput(
        f"You cannot start a server of the kind {str(wanted)[:40]!r}. You can choose: {names}."
    )


def _with(profile: ProfileSection, options: Mapping[str, Any]) -> ProfileSection:
    """Return the profile with the options that it allows; InvalidInput for others."""
    changes: dict[str, Any] = {
        key: _number(profile, key, options[key]) for key in QUANTITIES if key in options
    }
    for key, offered in (("queue", {name: name for name in profile.queues}), ("image", profile.images)):
        if offered:
            changes[key] = offered.get(str(options.get(key, next(iter(offered)))))
        if key in options and not changes.get(key):
            there = ", ".join(offered) or f"the site's {key} only"
            raise InvalidInput(
                f"{profile.title} has no {key} {str(options[key])[:40]!r} to choose. There is: {there}."
            )
    return profile.model_copy(update=changes)


def _number(profile: ProfileSection, key: str, value: object) -> float:
    quantity = QUANTITIES[key]
    if key not in profile.limits:
        raise InvalidInput(
            f"{profile.title}: {quantity.label.lower()} cannot be set here. Choose another profile."
        )
    lowest, highest = profile.limits[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value <= highest:
        shown = quantity.shown(value) if isinstance(value, int | float) else repr(value)[:40]
        raise InvalidInput(
            f"{profile.title}: {quantity.label.lower()} can be {quantity.shown(lowest)} to {quantity.shown(highest)} "
            f"{quantity.unit}, not {shown}."
        )
    return value
