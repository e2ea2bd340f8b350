"""Which hardware this is, as far as it can change what a model answers."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

from genesis_workbench.core.identifiers import digest


@cache
def hardware() -> str:
    """Return the kind of processor in words, with a digest of what it can do.

    Two machines with one processor model and the same instructions are the same hardware.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    told: dict[str, str] = {}
    for line in text.split("\n\n")[0].splitlines():
        name, _, value = line.partition(":")
        told[name.strip()] = value.strip()
    name = told.get("model name") or told.get("CPU part") or platform.processor() or platform.machine()
    flags = told.get("flags") or told.get("Features") or ""
    return f"{platform.machine()} {name} {digest(' '.join(sorted(flags.split())).encode())[7:15]}"
