"""`gw.compute.facilities()`: which facilities are reached, with what credential, and what to fix."""

from __future__ import annotations

import html
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from genesis_workbench.compute.iri.client import Client
from genesis_workbench.compute.iri.facility import Facility
from genesis_workbench.compute.slurm import duration
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import GenesisError, PermissionRefused, SignInRequired
from genesis_workbench.core.site import ComputeSection, IriSection, this_site

_TIMEOUT_S = 10.0
_SOON_S = 24 * 3600.0


@dataclass(frozen=True)
class Row:
    """One resource of one facility."""

    facility: str
    resource: str
    credential: str
    status: str
    fix: str = ""


class Facilities:
    """The rows, readable as text and in a notebook; iterate over it for the rows themselves.

    Parameters
    ----------
    rows : iterable of Row
        In the order of the site file.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __repr__(self) -> str:
        if not self.rows:
            return _EMPTY
        lines = [_HEADS, *(astuple(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<p>{html.escape(_EMPTY)}</p>"
        head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in _HEADS)
        cells = [
            "".join(f'<td style="text-align:left">{html.escape(text)}</td>' for text in astuple(row))
            for row in self.rows
        ]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return (
            f"<table><caption>Facilities</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def facilities(site: ComputeSection | None = None) -> Facilities:
    """Ask every facility of the site what it has and whether your token is good there.

    Parameters
    ----------
    site : ComputeSection, optional
        Whose facilities; this place's where left out.

    Returns
    -------
    Facilities
        A row for each resource, or one that says why there is none; nothing is raised for a facility that is away.
    """
    compute = site or this_site().compute
    sections = [each for each in (compute.iri, *compute.facilities) if each.url]
    if not sections:
        return Facilities([])
    with ThreadPoolExecutor(max_workers=min(8, len(sections))) as pool:
        return Facilities([row for rows in pool.map(_rows, sections) for row in rows])


def _rows(section: IriSection) -> list[Row]:
    try:
        client = Client(section, retries=1, timeout_s=_TIMEOUT_S)
    except GenesisError as error:
        return [Row(section.name or section.url, "", "", "not asked", error.message)]
    try:
        return _asked(Facility(section, client))
    finally:
        client.close()


def _asked(facility: Facility) -> list[Row]:
    where = facility.site.name or shown(facility.client.root)
    try:
        about = facility.about()
        name = facility.site.name or str(about.get("name") or where)[:80]
        there = {
            each.id: each for endpoint in ("compute", "filesystem") for each in facility.resources(endpoint)
        }
    except GenesisError as error:
        credential, fix = _on_disk(facility)
        return [Row(where, "", credential, "does not answer", " ".join([error.message, fix]).strip())]
    credential, fix = _credential(facility)
    missing = [] if there else [Row(name, "none", credential, "", fix or "The facility offers no resources.")]
    return missing + [
        Row(name, f"{each.name} ({each.kind})", credential, each.status, fix or _FIXES.get(each.status, ""))
        for each in there.values()
    ]


def _credential(facility: Facility) -> tuple[str, str]:
    """Return what is known of the token, the facility's own word included, and what to fix."""
    state, fix = _on_disk(facility)
    if state.startswith(("missing", "expired")):
        return state, fix
    try:
        facility.signed_in()
    except SignInRequired as error:
        return "refused: expired or withdrawn", error.message
    except PermissionRefused as error:
        return f"{state}, without rights", error.message
    except GenesisError as error:
        return f"{state}, not checked", error.message
    return state, fix


def _on_disk(facility: Facility) -> tuple[str, str]:
    token = facility.client.token
    try:
        ends = token.expires()
    except SignInRequired as error:
        return "missing", error.message
    file = Path(token.file).expanduser()
    open_to_all = file.stat().st_mode & stat.S_IROTH
    fix = f"Everybody on this machine can read {file}: chmod 600." if open_to_all else ""
    if ends is None:
        return "present", fix
    left = ends - time.time()
    if left <= 0:
        return (
            f"expired {duration(-left)} ago",
            f"Sign in at the facility and write the new token to {token.file}.",
        )
    renew = f"Sign in again before a job of more than {duration(left)}." if left < _SOON_S else ""
    return f"present, expires in {duration(left)}", fix or renew


_HEADS = tuple(field.name for field in fields(Row))
_EMPTY = "No facilities yet. Name one in the site file, under [compute.iri]: url, folder and token_file."
_FIXES = {
    "down": "Wait until the facility has it up again, or use another resource.",
    "degraded": "Jobs may wait or fail; the facility's status page says why.",
    "unknown": "The facility does not say; try a short job.",
}
