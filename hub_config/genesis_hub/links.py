"""Links to something in everybody's own server: ``/hub/user-redirect/lab/tree/a.ipynb``."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode


def to_own_server(path: str, request: Any, user: Any, base_url: str) -> str:
    """Return the way to `path` in a person's own server, which starts first where it does not run.

    JupyterHub's own way names the server's host as where to go afterwards, which it then takes for a place outside the
    hub, and forgets. A path alone it keeps.
    """
    there = f"{base_url}user/{user.escaped_name}/{quote(path, safe='/~@:+,;=')}"
    if request.query:
        there += f"?{request.query}"
    return f"{base_url}hub/spawn/{user.escaped_name}?{urlencode({'next': there})}"
