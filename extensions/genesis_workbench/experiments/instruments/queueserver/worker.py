"""What the worker of a queue server runs: the stage, the plan, and documents kept as a file for each run.

Beside the documents it writes down whether its stage is simulated: a manager has no place for that. Give this file to ``start-re-manager --startup-script``, with the variables GENESIS_STAGE_PREFIX and GENESIS_DOCUMENTS.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
from bluesky.plan_stubs import mv
from bluesky.run_engine import RunEngine, call_in_bluesky_event_loop
from bluesky.utils import Msg

from genesis_workbench.core.storage import write_whole
from genesis_workbench.experiments.instruments.epics.stage import Stage
from genesis_workbench.experiments.instruments.queueserver.manager import ABOUT


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


class Documents:
    """One file for each run, named by its uid; its stop document is on disk before the plan is over."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._run = folder, ""
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, kind: str, document: dict[str, Any]) -> None:
        """Write one document down."""
        self._run = document["uid"] if kind == "start" else self._run
        with (self._folder / f"{self._run}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([kind, document], default=_plain) + "\n")
            file.flush()
            os.fsync(file.fileno())


documents = Path(os.environ["GENESIS_DOCUMENTS"])
RE = RunEngine({})
RE.subscribe(Documents(documents))
stage = Stage(os.environ["GENESIS_STAGE_PREFIX"], name="stage")
call_in_bluesky_event_loop(stage.connect(timeout=10))
about = {"simulated": bool(call_in_bluesky_event_loop(stage.simulated.get_value(), timeout=10))}
write_whole(documents / ABOUT, json.dumps(about).encode())


def stage_scan(start: float, stop: float, points: int) -> Generator[Msg, Any, Any]:
    """Scan the stage over a range in steps of equal length."""
    yield from mv(stage, start)
    yield from bp.scan([stage], stage, start, stop, points, md=about)
