"""Files at a facility: each operation is a task that is started, then asked how far it is."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from genesis_workbench.compute.iri import client as http
from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable

MAX_FILE_BYTES = 5 * 2**20
"""Most bytes of a file that goes up or down through the API (5,242,880 in its specification)."""

_TASK_S = 120.0
_ABSENT = re.compile(r"no such file|not found|does not exist|errno 2\b|enoent", re.IGNORECASE)


class TaskFailed(InvalidInput):
    """The facility tried to do it, and could not."""

    code = InvalidInput.code


class Files:
    """Files on one storage resource.

    Parameters
    ----------
    client : Client
        Connections to the facility.
    version : str
        Version of the API.
    storage : callable
        Returns the identifier of the storage resource.
    """

    def __init__(self, client: http.Client, version: str, storage: Callable[[], str]) -> None:
        self._client, self._version, self._storage = client, version, storage

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, for its owner alone; nothing where it is there."""
        try:
            self._task("mkdir", {"path": path, "parent": True}, method="POST")
        except TaskFailed:
            if self.size(path) is None:  # some refuse to make what is there
                raise
        self._task("chmod", {"path": path, "mode": "700"}, method="PUT")

    def claim(self, path: str) -> bool:
        """Make one folder; False where it was there."""
        try:
            self._task("mkdir", {"path": path, "parent": False}, method="POST")
        except TaskFailed:
            return False
        return True

    def upload(self, path: str, content: bytes) -> None:
        """Write a file."""
        name = PurePosixPath(path).name
        self._task("upload", {"path": path}, method="POST", file=(name, content))

    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes; None where there is none."""
        try:
            output = self._task("stat", {"path": path, "dereference": True})
        except TaskFailed as error:
            if _ABSENT.search(error.message):
                return None
            raise
        return whole(output.get("size")) if isinstance(output, dict) else 0

    def download(self, path: str) -> bytes:
        """Return the content of a file."""
        output = self._task("download", {"path": path})
        if isinstance(output, dict):
            output = output.get("content") or output.get("content_base64")
        try:
            return base64.b64decode(str(output or ""), validate=True)
        except (ValueError, binascii.Error) as error:
            raise Unavailable(f"The facility sent the file {path} in a form that cannot be read.") from error

    def tail(self, path: str, size: int) -> str:
        """Return the last `size` bytes of a text file."""
        output = self._task("tail", {"path": path, "bytes": size})
        return str(output.get("content", "") if isinstance(output, dict) else output or "")

    def _task(
        self,
        command: str,
        arguments: dict[str, Any],
        *,
        method: str = "GET",
        file: tuple[str, bytes] | None = None,
    ) -> Any:
        """Start an operation on files, wait for its task and return the output."""
        link = self._client.at(f"filesystem/{command}/{segment(self._storage())}")
        what = f"{command} {arguments['path']}"
        if file is not None or (self._version == "v1" and method == "GET"):
            params = {
                name: str(value).lower() if value is True else value for name, value in arguments.items()
            }
            said = self._client.call(method, link, what=what, params=params, file=file)
        else:
            said = self._client.call(
                "POST" if self._version == "v2" else method, link, what=what, body=arguments
            )
        task = said.value if isinstance(said.value, dict) else {}
        if not isinstance(task.get("task_uri"), str):
            raise Unavailable(f"The facility took '{what}' and named no task for it.")
        return self._outcome(task["task_uri"], what)

    def _outcome(self, link: str, what: str) -> Any:
        for _ in _moments(_TASK_S):
            said = self._client.call("GET", link, what=f"say how far '{what}' is").value
            status = said.get("status") if isinstance(said, dict) else None
            result = said.get("result") if isinstance(said, dict) else None
            if status == "completed":
                return result.get("output") if isinstance(result, dict) else result
            if status in ("failed", "canceled"):
                words = result or status
                if isinstance(result, dict):
                    words = result.get("error") or result.get("message") or result.get("output") or result
                raise TaskFailed(f"The facility could not {what}: {str(words)[:300]}")
        raise DeadlineExceeded(f"The facility had not done '{what}' within {_TASK_S:g} s. Try again later.")


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; nothing of what is none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def whole(value: Any) -> int:
    """Read a count that may come as text; 0 where it is none."""
    try:
        return max(int(value), 0)
    except (TypeError, ValueError, OverflowError):
        return 0


def segment(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def _moments(deadline_s: float) -> Iterator[None]:
    until, wait_s = time.monotonic() + deadline_s, 0.02
    while time.monotonic() < until:
        yield
        http.pause(wait_s)
        wait_s = min(wait_s * 2, 2)
