"""What people can choose when they start a server, and what they may."""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ProfileSection

_STYLE = """<style>
.genesis-profiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); }
.genesis-profiles label { border: 1px solid var(--bs-border-color, #bbb); border-radius: 8px; padding: 12px 14px; cursor: pointer; }
.genesis-profiles label:has(:checked) { outline: 2px solid var(--bs-primary, #1565c0); }
.genesis-profiles small { display: block; }
</style>"""


def permitted(profiles: Sequence[ProfileSection], groups: Collection[str]) -> list[ProfileSection]:
    """Return the profiles that somebody in `groups` may use."""
    return [profile for profile in profiles if not profile.groups or set(profile.groups) & set(groups)]


def form(profiles: Sequence[ProfileSection], groups: Collection[str], last_words: str = "") -> str:
    """Return the fields of the page on which a person chooses; empty where there is nothing to choose or to say."""
    choices = permitted(profiles, groups)
    if len(choices) < 2 and not last_words:
        return ""
    cards = [
        f'<label><input type="radio" name="profile" value="{html.escape(profile.name, quote=True)}"'
        f"{' checked' if number == 0 else ''}> <b>{html.escape(profile.title)}</b>"
        f"<small>{html.escape(profile.description)}</small><small>{_size(profile)}</small></label>"
        for number, profile in enumerate(choices)
    ]
    told = f'<p class="alert alert-warning" role="alert">{html.escape(last_words)}</p>' if last_words else ""
    return f'{_STYLE}{told}<fieldset><legend>Which server?</legend><div class="genesis-profiles">{"".join(cards)}</div></fieldset>'


def from_form(fields: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the options that the form's fields stand for."""
    return {"profile": fields["profile"][0]} if fields.get("profile") else {}


def chosen(
    profiles: Sequence[ProfileSection], groups: Collection[str], options: Mapping[str, Any]
) -> ProfileSection:
    """Return the profile that somebody asked for, or the first that they may use.

    Raises
    ------
    InvalidInput
        If they may use none, or not that one.
    """
    choices = permitted(profiles, groups)
    names = ", ".join(profile.name for profile in choices)
    if not choices:
        raise InvalidInput("None of this site's servers is open to your groups. Ask an administrator.")
    wanted = options.get("profile", choices[0].name)
    for profile in choices:
        if profile.name == wanted:
            return profile
    raise InvalidInput(
        f"You cannot start a server of the kind {str(wanted)[:40]!r}. You can choose: {names}."
    )


def _size(profile: ProfileSection) -> str:
    cores = f"{profile.cpu_cores} core{'s' if profile.cpu_cores > 1 else ''}, " if profile.cpu_cores else ""
    memory = (
        f"{profile.memory_bytes / 2**30:,.1f}".removesuffix(".0") + " GiB of memory"
        if profile.memory_bytes
        else "as much memory as there is"
    )
    return cores + memory + (f", queue {html.escape(profile.queue)}" if profile.queue else "")
