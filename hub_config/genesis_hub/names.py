"""Names of people and groups where they become names of hosts, folders and containers."""

from __future__ import annotations

import hashlib
import re


def safe_name(name: str) -> str:
    """Return a name for hosts, files and containers: two different names never give the same one."""
    if re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", name) and len(name) <= 40:
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-")
    return f"{readable}--{hashlib.sha256(name.encode()).hexdigest()[:16]}"
