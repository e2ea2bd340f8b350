"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

# xarray imports ecCodes by itself where it guesses a format. Its libldap would come before that of psycopg, and the process
# would crash at its end: see `ecmwf_library` in catalog/openers/grib.py.
with suppress(ImportError):
    import psycopg  # noqa: F401

# No test asserts a wall-clock time: the machine may be busy.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")


@pytest.fixture(scope="module", autouse=True)
def no_cluster_is_left():
    """A Dask client that a module leaves open would be what the next tests of this process compute on."""
    yield
    if "distributed" not in sys.modules:
        return
    from distributed.client import _get_global_client

    left = _get_global_client()
    if left is not None:
        left.close()
        pytest.fail(f"These tests have left a Dask client open: {left}")


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("REQUIRE_CHROMIUM") == "1":
            pytest.fail("Chromium is missing: apt-get install chromium")
        pytest.skip("Chromium is missing: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # its five seconds are too few for a busy machine
    with sync_playwright() as playwright:
        # As root Chromium runs only without its sandbox; everything it loads here is ours.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def screenshot():
    """Keep pictures to look at: in $GENESIS_PICTURES, or build/pictures."""
    folder = Path(os.environ.get("GENESIS_PICTURES", "build/pictures"))
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page, name):
        page.screenshot(path=folder / f"{name}.png")

    return keep
