"""Lists in pages, by an opaque cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from genesis_workbench.core.errors import InvalidInput

Limit = Annotated[int, Query(ge=1, le=200, description="Most items of one page.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


def page(items: Sequence[dict[str, Any]], limit: int, cursor: str | None) -> dict[str, Any]:
    """Return the page after `cursor` of items that each have an `id`, and where the next one begins."""
    start = 0
    if cursor is not None:
        last = decode(cursor)
        start = next((i + 1 for i, item in enumerate(items) if item["id"] == last), -1)
        if start < 0:
            raise InvalidInput("The list changed under this cursor. Begin again without one.")
    found = items[start : start + limit]
    more = start + limit < len(items)
    return {"items": list(found), "next": encode(found[-1]["id"]) if more else None}


def encode(text: str) -> str:
    """Make a cursor."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """Read a cursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(f"{cursor[:40]!r} is no cursor: pass on `next` of the page before.") from error
