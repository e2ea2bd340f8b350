"""What holds for all tests."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings

# xarray imports ecCodes by itself where it guesses a format. Its libldap would come before that of psycopg, and the process
# would crash at its end: see `ecmwf_library` in catalog/openers/grib.py.
with suppress(ImportError):
    import psycopg  # noqa: F401

# No test asserts a wall-clock time: the machine may be busy.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")
