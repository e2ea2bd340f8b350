"""The time, written one way everywhere."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Time now as ISO 8601 in UTC with microseconds, such as ``2026-01-31T08:00:00.000000Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_since(text: str) -> float:
    """Seconds that have passed since a time written by :func:`now`."""
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
