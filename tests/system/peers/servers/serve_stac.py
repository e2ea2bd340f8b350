"""A STAC API (stac-fastapi on pgSTAC), run by the tests in an environment of its own; prints its port.

The database is a PostgreSQL with PostGIS, named by PGHOST and so on; one line on standard input has collections and items.
"""

import json
import socket
import sys

from pypgstac.db import PgstacDB
from pypgstac.load import Loader, Methods
from pypgstac.migrate import Migrate

wanted = json.loads(sys.stdin.readline())
with PgstacDB(dsn="") as database:
    Migrate(database).run_migration()
    loader = Loader(db=database)
    loader.load_collections(iter(wanted["collections"]), Methods.insert)
    loader.load_items(iter(wanted["items"]), Methods.insert)

import uvicorn  # noqa: E402
from stac_fastapi.pgstac.app import create_app  # noqa: E402

bound = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
uvicorn.Server(uvicorn.Config(create_app(), log_level="warning")).run(sockets=[bound])
