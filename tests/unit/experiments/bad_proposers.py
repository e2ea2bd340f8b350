"""Proposers that do everything wrong."""

from __future__ import annotations

import time


class Hangs:
    """Never answers."""

    def propose(self, spec, trials, count):
        time.sleep(300)


class Raises:
    """Fails in its mathematics."""

    def propose(self, spec, trials, count):
        raise FloatingPointError("singular")


class Dies:
    """Takes its process with it."""

    def propose(self, spec, trials, count):
        import os

        os._exit(1)


class Leaves:
    """Leaves the space."""

    def propose(self, spec, trials, count):
        return [{"x": 7.0, "z": 0.0}] * count


class Few:
    """Proposes less than it was asked for."""

    def propose(self, spec, trials, count):
        return []
