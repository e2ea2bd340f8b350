"""A small OPeNDAP server on loopback: pydap with a dataset in memory. Needs pydap."""

from __future__ import annotations

import threading
import warnings
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np


class DapServer:
    """Serves ``/peer``: a packed array ``sst``, a grid ``air``, and their coordinates. Use it in a ``with`` block.

    `requests` has the address of each request.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        application = _application()

        def noting(environ: dict[str, Any], start: Any) -> Any:
            self.requests.append(f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
            return application(environ, start)

        self._http = make_server("127.0.0.1", 0, noting, handler_class=_Quiet)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> DapServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Address of the dataset."""
        return f"http://127.0.0.1:{self._http.server_port}/peer"


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep tests quiet."""


def _application() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # webob imports cgi, which goes with Python 3.13
        from pydap.handlers.lib import BaseHandler
        from pydap.model import BaseType, DatasetType, GridType
    time, latitude = np.arange(3.0), np.linspace(-10, 10, 4, dtype="f4")
    values = np.arange(12).reshape(3, 4)
    made = DatasetType("peer", attributes={"NC_GLOBAL": {"title": "Peer", "label": "export-controlled"}})
    made["time"] = BaseType("time", time, dims=("time",), attributes={"units": "days since 2000-01-01"})
    made["lat"] = BaseType("lat", latitude, dims=("lat",), attributes={"units": "degrees_north"})
    packing = {"scale_factor": 0.5, "units": "degC"}
    made["sst"] = BaseType("sst", values.astype("i2"), dims=("time", "lat"), attributes=packing)
    made["air"] = GridType("air")
    made["air"]["air"] = BaseType("air", values.astype("f4"), dims=("time", "lat"))
    made["air"]["time"] = BaseType("time", time, dims=("time",))
    made["air"]["lat"] = BaseType("lat", latitude, dims=("lat",))
    return BaseHandler(made)
