"""Python's collector of cycles, for processes that hold much and run long."""

from __future__ import annotations

import gc


def collect_less() -> None:
    """Leave alone what was imported, and look for cycles less often. For processes of our own, at their start.

    With many objects in memory a full collection stops a process for longer than most requests take, and takes an eighth of a
    harvest's time. Most objects are freed without it, as soon as nobody refers to them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
