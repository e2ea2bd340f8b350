"""What is added to a person's Jupyter server: it knows whether it is busy, says when it will end, and ends when idle.

Nothing that a notebook imports belongs here; Jupyter Server is imported only by what it loads itself.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell Jupyter Server what to load."""
    return [{"module": "genesis_workbench.server.extension"}]
