"""Names of people, groups and servers where they become names of hosts, folders and containers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

_DASHBOARD = re.compile(r"dsh-[0-9a-f]{16}")


def safe_name(name: str) -> str:
    """Return a name for hosts, files and containers: two different names never give the same one."""
    if re.fullmatch(r"[a-z0-9](-?[a-z0-9])*", name) and len(name) <= 40:
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:30].strip("-")
    return f"{readable}--{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def server_name(name: str) -> str:
    """Return the name of one of a person's servers; that of the default one, whose own is empty, is no other's."""
    if not name:
        return "lab"
    safe = safe_name(name)
    return f"lab--{hashlib.sha256(name.encode()).hexdigest()[:16]}" if safe == "lab" else safe


def dashboard_of(options: Mapping[str, Any], name: str) -> str:
    """Return the dashboard that a server with these options is for; empty where it is a person's Lab, whatever they say."""
    wanted = str(options.get("dashboard", ""))
    return wanted if wanted == name and _DASHBOARD.fullmatch(wanted) else ""
