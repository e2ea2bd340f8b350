"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# No test asserts a wall-clock time: the machine may be busy.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")
