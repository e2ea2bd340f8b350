"""An OPTIMADE server with its own test data in memory, run by the tests in an environment of its own; prints its port."""

import json
import os
import socket

os.environ["OPTIMADE_DATABASE_BACKEND"] = "mongomock"
os.environ["OPTIMADE_INSERT_TEST_DATA"] = "true"
# How its own test data call things.
os.environ["OPTIMADE_ALIASES"] = json.dumps(
    {
        "structures": {
            "id": "task_id",
            "immutable_id": "_id",
            "chemical_formula_descriptive": "pretty_formula",
            "chemical_formula_reduced": "pretty_formula",
            "chemical_formula_anonymous": "formula_anonymous",
        }
    }
)

import uvicorn
from optimade.server.main import app

bound = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[bound])
