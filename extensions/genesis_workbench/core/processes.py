"""What tells a process from all others: its number alone is another's after a restart of its machine or container."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any


def identity(number: int) -> list[Any] | None:
    """Return machine, boot, number and start of a process of this machine, as JSON values; None where there is none.

    Parameters
    ----------
    number : int
        Process number, as this process sees it.
    """
    try:
        # The 22nd field, counted behind the name, which may hold anything: when it began, in ticks since the boot.
        began = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except OSError:
        return None
    return [socket.gethostname(), _boot(), number, int(began)]


def is_of_here(kept: Any) -> bool:
    """Whether an :func:`identity` is of this machine (or container) since it was started last."""
    if not isinstance(kept, list) or len(kept) != 4:
        return False
    return bool(kept[:2] == [socket.gethostname(), _boot()])


def lives(kept: Any) -> bool:
    """Whether the process with this :func:`identity` is there still; False of one that cannot be seen from here."""
    return is_of_here(kept) and identity(kept[2]) == kept


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
