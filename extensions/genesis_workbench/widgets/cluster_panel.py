"""A Dask cluster as it is now: workers, queue, memory, tasks."""

from __future__ import annotations

import threading
import time
from typing import Any

import traitlets

from genesis_workbench.compute.dask_cluster import GenesisCluster
from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput
from genesis_workbench.widgets._base import Widget
from genesis_workbench.widgets._script import script, styles

_EVERY_S = 1.0
_KEPT = 600
"""Points of the chart: ten minutes."""
_GIVE_UP_S = 60
"""After so long without an answer it stops asking; a click asks again."""


class ComputePanel(Widget):
    """Follows a cluster of this notebook, or one it is attached to, and scales or stops it.

    Parameters
    ----------
    cluster : GenesisCluster
        What ``gw.cluster(...)`` returned.
    """

    _esm = script("cluster_panel.js")
    _css = styles("cluster_panel.css")

    status = traitlets.Dict().tag(sync=True)
    history: traitlets.List[list[float]] = traitlets.List().tag(sync=True)
    dashboard = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(self, cluster: GenesisCluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._work = _Work()
        self._follower: threading.Thread | None = None
        self._wake = threading.Event()
        self._look()
        self.dashboard = cluster.dashboard_link
        self.on_msg(self._command)
        self._follow()

    def close(self) -> None:
        """Stop following; the cluster goes on."""
        self._wake.set()
        self._follower = None
        super().close()

    def _follow(self) -> None:
        if self._follower is None or not self._follower.is_alive():
            self._follower = threading.Thread(
                target=self._watch, name=f"panel-{self._cluster.name}", daemon=True
            )
            self._follower.start()

    def _watch(self) -> None:
        silent_since = None
        while self._follower is threading.current_thread():
            self._wake.wait(_EVERY_S)
            self._wake.clear()
            try:
                self._look()
                if silent_since is not None:  # what a command was refused for stays until the next
                    silent_since, self.message = None, ""
            except Conflict as error:  # closed in this notebook
                self._end(error.message)
                return
            except GenesisError as error:
                self.message = error.message
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > _GIVE_UP_S:
                    self._end(error.message)
                    return

    def _end(self, words: str) -> None:
        with self.hold_sync():
            self.status = {**self.status, "closed": True, "workers": []}
            self.message = words

    def _look(self) -> None:
        now = self._cluster.status()
        now.pop("script")  # long, and asked for by name
        work = self._work.note(now)
        working = [each for each in now["workers"] if each["state"] == "working"]
        used = sum(each["memory_bytes"] for each in working)
        point = [time.time(), len(working), work["left"], used]
        with self.hold_sync():
            self.status = {**now, "work": work, "attached": self._cluster.attached, "closed": False}
            self.history = [*self.history, point][-_KEPT:]

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        content = content if isinstance(content, dict) else {}
        self.message = ""
        try:
            if content.get("command") == "stop":
                self._cluster.stop()
            elif content.get("command") == "scale":
                self._cluster.scale(_workers(content))
            else:
                return
            self._follow()
            self._wake.set()
        except GenesisError as error:
            self.message = error.message


class _Work:
    """How far the present work is: it begins when something is to be done and nothing was before."""

    def __init__(self) -> None:
        self._before, self._seen, self._busy = 0, 0, False

    def note(self, status: dict[str, Any]) -> dict[str, int]:
        """Return how many tasks of the present work are done, failed and left."""
        tasks, finished = status["tasks"], int(status["finished"])
        left = sum(tasks[state] for state in ("waiting", "queued", "no-worker", "processing"))
        if left and not self._busy:
            self._before = self._seen  # it may have begun since the look before
        self._busy, self._seen = left > 0, finished
        return {"done": finished - self._before, "failed": tasks["erred"], "left": left}


def _workers(content: dict[str, Any]) -> int | tuple[int, int]:
    """Read a size that came from a page: a number, or fewest and most."""
    numbers = content.get("minimum"), content.get("maximum")
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in numbers):
        raise InvalidInput("A number of workers is a whole number, such as 4.")
    minimum, maximum = int(numbers[0] or 0), int(numbers[1] or 0)
    return maximum if minimum == maximum else (minimum, maximum)
