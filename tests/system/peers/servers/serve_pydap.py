"""A pydap server over a folder, whose files are served by a handler in memory; prints its port.

pydap's own reader of NetCDF files fails with the libraries of today; its server, catalog and protocol do not.
"""

import json
import pathlib
import tempfile
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
from pydap.handlers.lib import BaseHandler
from pydap.model import BaseType, DatasetType
from pydap.wsgi.app import DapServer


class Memory(BaseHandler):
    """Gives the same small dataset for each file."""

    extensions = r"^.*\.mem$"

    def __init__(self, path):
        super().__init__()
        self.dataset = DatasetType(pathlib.Path(path).stem)
        self.dataset["depth"] = BaseType("depth", np.arange(5, dtype="f4"), dims=("x",), units="m")


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    (root / "deep").mkdir()
    for name in ("north.mem", "south.mem", "deep/trench.mem", "notes.txt"):
        (root / name).write_text("x")
    app = DapServer(folder)
    app.handlers = [Memory]
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
