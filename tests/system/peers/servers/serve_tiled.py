"""A Tiled server that everybody may read, run by the tests in an environment of its own; prints its port."""

import json
import socket

import numpy as np
import pandas as pd
import uvicorn
import xarray as xr
from tiled.adapters.array import ArrayAdapter
from tiled.adapters.mapping import MapAdapter
from tiled.adapters.table import TableAdapter
from tiled.adapters.xarray import DatasetAdapter
from tiled.config import Authentication
from tiled.server.app import build_app

table = pd.DataFrame({"energy": [1.5, 2.5], "counts": [3, 4]})
grid = xr.Dataset({"t": (("y", "x"), np.ones((2, 3)), {"units": "K"})}, attrs={"title": "Grid"})
tree = MapAdapter(
    {
        "image": ArrayAdapter.from_array(
            np.arange(12.0).reshape(3, 4), dims=("row", "column"), metadata={"title": "Image", "unit": "K"}
        ),
        "scans": MapAdapter(
            {"first": TableAdapter.from_pandas(table, npartitions=1, metadata={"title": "First scan"})}
        ),
        "grid": DatasetAdapter.from_dataset(grid),
    }
)
bound = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
app = build_app(tree, authentication=Authentication(allow_anonymous_access=True))
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[bound])
