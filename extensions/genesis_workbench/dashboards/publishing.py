"""`gw.share`: publish a dashboard and share it with groups."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.identifiers import new_id
from genesis_workbench.core.service import Service, me, service

DASHBOARD_VARIABLE = "GENESIS_DASHBOARD"
PARAMETERS_VARIABLE = "GENESIS_DASHBOARD_PARAMETERS"


@dataclass(frozen=True)
class Dashboard:
    """A published dashboard.

    Attributes
    ----------
    url : str
        Where those it is shared with can open it.
    """

    id: str
    title: str
    url: str
    groups: tuple[str, ...]

    def _repr_html_(self) -> str:
        link = (
            f"<a class='genesis-dashboard-link' target='_blank' rel='noopener' href='{html.escape(self.url, quote=True)}'>"
            f"{html.escape(self.title)}</a>"
        )
        with_whom = ", ".join(self.groups) or "nobody but you"
        return f"<p>{link} · shared with {html.escape(with_whom)}</p>"


def share(
    app: str | Path,
    *,
    title: str,
    parameters: dict[str, Any] | None = None,
    groups: Sequence[str] | None = None,
) -> Dashboard:
    """Publish a dashboard and share it.

    It runs with your rights, on a server of its own: whoever can open it sees what it shows of your data.

    Parameters
    ----------
    app : str or Path
        Name of a dashboard that comes with the workbench, such as ``experiment``, or the path of a Panel script.
    title : str
        What people call it.
    parameters : dict, optional
        JSON that the script reads with :func:`parameters`.
    groups : sequence of str, optional
        Groups that may open it; all of your own where not given. An empty list shares with nobody.

    Raises
    ------
    Unavailable
        Outside a hub: there is nobody to share with.
    """
    remote = _service()
    body: dict[str, Any] = {"title": title, "parameters": parameters or {}}
    if str(app).endswith(".py"):
        try:
            body["source"] = Path(app).read_text("utf-8")
        except OSError as error:
            raise InvalidInput(f"The script {app} cannot be read ({error.strerror}).") from error
    else:
        body["app"] = str(app)
    body["groups"] = sorted(me().groups) if groups is None else list(groups)
    return _dashboard(remote.post("dashboards", body, key=new_id("key")))


def search() -> list[Dashboard]:
    """Return the dashboards that one may open, one's own included."""
    return [_dashboard(each) for each in _service().get("dashboards")["items"]]


def unshare(dashboard: str | Dashboard) -> None:
    """Take a dashboard back: nobody can open it any more, and open pages close."""
    _service().delete(f"dashboards/{dashboard.id if isinstance(dashboard, Dashboard) else dashboard}")


def parameters() -> dict[str, Any]:
    """Inside a dashboard's script: the parameters that it was published with."""
    values: dict[str, Any] = json.loads(os.environ.get(PARAMETERS_VARIABLE, "{}"))
    return values


def audience() -> tuple[str, ...]:
    """Inside a dashboard's script: the groups that can open it at this moment, besides its owner.

    A script shows its owner's data to all of them; what not each of them may see is for the script to leave out.
    """
    found = _service().get(f"dashboards/{os.environ[DASHBOARD_VARIABLE]}")
    return tuple(found["groups"])


def title() -> str:
    """Inside a dashboard's script: what it is called by whoever shared it."""
    return str(_service().get(f"dashboards/{os.environ[DASHBOARD_VARIABLE]}")["title"])


def _service() -> Service:
    remote = service()
    if remote is None:
        raise Unavailable(
            "Dashboards are shared through a hub, and this process is in none. Start one: make up."
        )
    return remote


def _dashboard(answer: dict[str, Any]) -> Dashboard:
    return Dashboard(answer["id"], answer["title"], answer["url"], tuple(answer["groups"]))
