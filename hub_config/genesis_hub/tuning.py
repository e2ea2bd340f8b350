"""What keeps a hub of hundreds of people quick: JupyterHub does all its database work in its event loop.

Measured by tests/benchmarks/hub_load.py, against JupyterHub's defaults in the same run.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from genesis_hub import lookups
from genesis_workbench.core import garbage

ACTIVITY_INTERVAL_S = 300
"""How often a server reports activity; one that ends when idle for a short time reports more often."""


def tune(c: Any, database: Path) -> None:
    """Write the settings that matter with many people."""
    # One server that does not answer must not hold up the hub's start.
    c.JupyterHub.init_spawners_timeout = 1
    c.JupyterHub.activity_resolution = 60
    # The beginning of a class: whoever is beyond the limit is turned away, so it is far above what starts at once.
    c.JupyterHub.concurrent_spawn_limit = 500
    # A look at the proxy's own times would also count an open tab as work. Servers know better, and tell; that the proxy
    # still has every route is looked at by the supervisor.
    c.JupyterHub.last_activity_interval = 0
    c.JupyterHub.db_kwargs = {"creator": lambda: _connected(database)}
    lookups.find_in_memory()
    garbage.collect_less()


def put_together(database: Path) -> None:
    """Put what was written ahead into the file itself: JupyterHub copies that one alone before it upgrades its tables."""
    if database.exists():
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _connected(database: Path) -> sqlite3.Connection:
    """Open SQLite so that it writes ahead: a commit no longer waits for the disk.

    What a loss of power can take is the last second's sign-ins and starts, never the file's consistency.
    """
    connection = sqlite3.connect(database, check_same_thread=False)  # JupyterHub's own setting
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection
