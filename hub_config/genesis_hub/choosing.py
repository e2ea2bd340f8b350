"""The fields of the page on which a person chooses a server: cards, what is free now, what was chosen last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, Template

from genesis_hub.availability import Places
from genesis_hub.profiles import QUANTITIES
from genesis_workbench.core.site import ProfileSection

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Field:
    """One thing that a person may set."""

    name: str
    label: str
    value: str
    unit: str = ""
    lowest: str = ""
    highest: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """One profile as the page shows it."""

    profile: ProfileSection
    checked: bool
    facts: tuple[tuple[str, str], ...]
    free: str
    full: bool
    never: bool
    fields: tuple[Field, ...]


def page(
    choices: Sequence[ProfileSection],
    last: Mapping[str, Any],
    places: Places,
    default_queue: str,
    **told: Any,
) -> str:
    """Return the fields as HTML.

    Parameters
    ----------
    choices : sequence of ProfileSection
        What the person may use.
    last : mapping
        Options of the person's last server.
    places : mapping of str to Free
        What is free now, by queue.
    default_queue : str
        Queue of profiles that name none.
    **told
        What else the page says: ``last_words`` of the server before, ``home``.
    """
    names = [profile.name for profile in choices]
    picked = last.get("profile") if last.get("profile") in names else (names or [""])[0]
    cards = [_card(profile, profile.name == picked, last, places, default_queue) for profile in choices]
    return _template().render(cards=cards, **told)


def _card(
    profile: ProfileSection, checked: bool, last: Mapping[str, Any], places: Places, default_queue: str
) -> Card:
    queue = profile.queue or next(iter(profile.queues), default_queue)
    free = places.get("" if set(places) == {""} else queue)
    facts = [
        ("Processor", _count(profile.cpu_cores, "core") if profile.cpu_cores else "shared"),
        ("Memory", f"{QUANTITIES['memory_bytes'].shown(profile.memory_bytes)} GiB" if profile.memory_bytes else "shared"),
        ("Accelerator", profile.accelerator),
        ("Queue", queue if not profile.queues else ""),
        ("Image", _short(profile.image) if not profile.images else ""),
    ]  # fmt: skip
    fields = tuple(_fields(profile, last if checked else {}))
    full = free is not None and not free.holds(profile)
    never = free is not None and free.never_holds(profile)
    shown = tuple((name, value) for name, value in facts if value)
    return Card(profile, checked, shown, free.words() if free else "", full, never, fields)


def _fields(profile: ProfileSection, last: Mapping[str, Any]) -> list[Field]:
    found = []
    for key, (lowest, highest) in profile.limits.items():
        quantity = QUANTITIES[key]
        value = last.get(key) or getattr(profile, key)
        value = min(max(value, lowest), highest)  # the site may have changed since
        at, least, most = map(quantity.shown, (value, lowest, highest))
        found.append(Field(key, quantity.label, at, quantity.unit, least, most))
    for name, offered in (("queue", profile.queues), ("image", list(profile.images))):
        if offered:
            wanted = last.get(name)
            picked = wanted if wanted in offered else offered[0]
            found.append(Field(name, name.capitalize(), str(picked), choices=tuple(offered)))
    return found


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(image: str) -> str:
    """Return an image's name without the digits that nobody reads."""
    name, _, digest = image.partition("@")
    return name if digest else image[:19]


@cache
def _template() -> Template:
    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("profiles.html")
