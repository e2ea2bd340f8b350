"""What the server of a full home uses in place of the usual, so that it writes nothing there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jupyter_server.services.contents.checkpoints import AsyncCheckpoints


class NoCheckpoints(AsyncCheckpoints):
    """Keeps no copy of what is saved. The usual ones make a folder beside every file that is opened or deleted."""

    async def create_checkpoint(self, contents_mgr: Any, path: str) -> dict[str, Any]:
        """Say that it is done: whoever saves a file asks for one."""
        return {"id": "none", "last_modified": datetime.now(UTC)}

    async def restore_checkpoint(self, contents_mgr: Any, checkpoint_id: str, path: str) -> None:
        """Leave the file as it is."""

    async def rename_checkpoint(self, checkpoint_id: str, old_path: str, new_path: str) -> None:
        """Have nothing to rename."""

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> None:
        """Have nothing to delete."""

    async def list_checkpoints(self, path: str) -> list[dict[str, Any]]:
        """Return that there are none."""
        return []
