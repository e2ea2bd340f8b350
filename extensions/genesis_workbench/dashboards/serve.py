"""Serve one dashboard: what the hub starts as a server of the dashboard's owner.

``python -m genesis_workbench.dashboards.serve`` listens where JUPYTERHUB_SERVICE_URL says and answers only requests that
carry the gate's key: everybody, the owner too, comes in through the service, which knows whom it was shared with.
"""

from __future__ import annotations

import hmac
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genesis_workbench.core import certificates
from genesis_workbench.core.errors import GenesisError, Unavailable
from genesis_workbench.core.service import service
from genesis_workbench.dashboards.publishing import DASHBOARD_VARIABLE, PARAMETERS_VARIABLE
from genesis_workbench.dashboards.viewers import IDLE_VARIABLE, Viewers

KEY_HEADER = "X-Genesis-Gate"


def main() -> None:
    """Fetch the script with the owner's token, and serve it until ended."""
    remote = service()
    if remote is None or DASHBOARD_VARIABLE not in os.environ:
        raise Unavailable(
            "This serves a dashboard below a hub, which starts it. Publish one with gw.share()."
        )
    app = remote.get(f"dashboards/{os.environ[DASHBOARD_VARIABLE]}/app")
    os.environ[PARAMETERS_VARIABLE] = json.dumps(app["parameters"])
    bind = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the folder below is removed
    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
        script = Path(folder) / "dashboard.py"
        script.write_text(app["source"], "utf-8")
        serve(
            script,
            title=app["title"],
            address=bind.hostname or "127.0.0.1",
            port=bind.port or 0,
            prefix=bind.path,
            key=app["gate_key"],
            origin=urlsplit(app["origin"]).netloc,
        )


def serve(script: Path, *, title: str, address: str, port: int, prefix: str, key: str, origin: str) -> None:
    """Serve a Panel script at the root of `origin`, though requests arrive below `prefix`."""
    import panel as pn
    from panel.io.server import get_server
    from tornado.web import Application, RequestHandler

    class Refused(RequestHandler):
        """For whoever does not come through the gate."""

        def prepare(self) -> None:
            self.set_status(403)
            self.finish("Open this dashboard by its own address.")

    pn.config.throttled = True
    server = get_server(
        {"/": str(script)},
        port=port,
        address=address,
        websocket_origin=[origin],
        title={"/": title},
        start=False,
        show=False,
        http_server_kwargs={"ssl_options": certificates.listening()},
    )
    refusing = Application([(r".*", Refused)])
    tornado: Any = server._tornado
    find_handler = tornado.find_handler
    viewers = Viewers(
        lambda: sum(each.connection_count for each in server.get_sessions("/")),
        float(os.environ.get(IDLE_VARIABLE, "0")),
    )

    def gated(request: Any, **more: Any) -> Any:
        given = request.headers.get(KEY_HEADER, "")
        if not hmac.compare_digest(given.encode(), key.encode()):
            return refusing.find_handler(request, **more)
        viewers.came()
        # Neither the key nor the prefix may reach the page: Panel copies headers into its page token.
        del request.headers[KEY_HEADER]
        if request.path.startswith(prefix):
            request.path = "/" + request.path[len(prefix) :]
            request.uri = "/" + request.uri[len(prefix) :]
        return find_handler(request, **more)

    tornado.find_handler = gated
    server.start()
    server.io_loop.add_callback(viewers.watch)
    server.io_loop.start()


if __name__ == "__main__":
    try:
        main()
    except GenesisError as error:
        sys.exit(error.message)
