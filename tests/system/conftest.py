"""A real PostgreSQL, started by the tests from Debian's package."""

from __future__ import annotations

import os

import pytest

import postgresql as postgres


@pytest.fixture(scope="session")
def postgresql():
    """URL of a fresh server's database, on loopback."""
    if postgres.programs() is None:
        if os.environ.get("REQUIRE_POSTGRESQL") == "1":
            pytest.fail(postgres.MISSING)
        pytest.skip(postgres.MISSING)
    with postgres.server("ledger", fsync="off") as address:
        yield f"postgresql+psycopg://{address}"
