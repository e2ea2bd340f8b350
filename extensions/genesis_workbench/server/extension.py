"""Ends a server that has been idle for the time of its profile, through the hub, after a warning in JupyterLab.

The server itself decides: it alone knows what works in it at that moment. The hub ends only servers that have stopped telling
it anything (genesis_hub/culling.py).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from genesis_workbench.core import own_server
from genesis_workbench.core.errors import Unavailable
from genesis_workbench.server.activity import Activity

IDLE_VARIABLE = "GENESIS_IDLE_S"


class IdleServer:
    """One server, which may end.

    Parameters
    ----------
    activity : Activity
        What happens in it.
    idle_s : float
        Seconds without activity after which it ends.
    log : logger
        Where its end is written down.
    """

    def __init__(self, activity: Activity, idle_s: float, log: Any) -> None:
        self.activity, self.idle_s, self._log = activity, idle_s, log

    @property
    def warn_s(self) -> float:
        """Seconds before the end from which on the person is warned."""
        return min(600.0, self.idle_s / 4)

    def left_s(self) -> float:
        """Return the seconds that are left if nobody does anything."""
        return self.idle_s - (datetime.now(UTC) - self.activity.last()).total_seconds()

    async def watch(self) -> None:
        """Look ever again, and end the server when its time is over."""
        while True:
            await asyncio.sleep(min(15.0, self.idle_s / 10))
            if self.left_s() <= 0:
                self._log.warning("Idle for %.0f s: asking the hub to end this server", self.idle_s)
                await self._end()

    async def _end(self) -> None:
        try:
            await asyncio.to_thread(own_server.end)
        except Unavailable as error:
            self._log.warning("%s It is asked again. (%s)", error.message, error.detail)


class IdleHandler(APIHandler):
    """``GET`` says how long the server still runs and what it is busy with, ``POST`` that the person wants to keep it."""

    _track_activity = False

    def initialize(self, server: IdleServer) -> None:
        """Keep the server that is spoken of."""
        self._server = server

    @web.authenticated
    def get(self) -> None:
        """Say how long the server still runs."""
        self._tell()

    @web.authenticated
    def post(self) -> None:
        """Keep the server."""
        self._server.activity.touch()
        self._tell()

    def _tell(self) -> None:
        told = {
            "left_s": self._server.left_s(),
            "warn_s": self._server.warn_s,
            "busy": self._server.activity.busy(),
        }
        self.finish(json.dumps(told))


def _load_jupyter_server_extension(serverapp: Any) -> None:
    """Watch the server; one whose profile gives it no end is left alone."""
    idle_s = float(os.environ.get(IDLE_VARIABLE, "0"))
    if not idle_s or not os.environ.get("JUPYTERHUB_API_TOKEN"):
        return
    application = serverapp.web_app
    activity = Activity(application.settings)
    application.settings["log_function"] = _noting(activity, application.settings["log_function"])
    # The hub is told this, not the time of a tab's last question.
    application.last_activity = activity.last
    server = IdleServer(activity, idle_s, serverapp.log)
    route = url_path_join(application.settings["base_url"], "genesis", "idle")
    application.add_handlers(".*$", [(route, IdleHandler, {"server": server})])
    serverapp.io_loop.add_callback(lambda: asyncio.ensure_future(server.watch()))


def _noting(activity: Activity, log: Callable[[Any], None]) -> Callable[[Any], None]:
    def note(handler: Any) -> None:
        # The warning's own questions count for nothing, its button counts by itself.
        if not isinstance(handler, IdleHandler):
            request = handler.request
            kinds = request.query_arguments.get("type", [b""])
            activity.request(request.method, request.path, kinds[-1].decode("ascii", "replace"))
        log(handler)

    return note
