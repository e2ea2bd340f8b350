"""The way to a node: one HTTP request, one JSON answer, a deadline, and a limit on what is read.

Interface: madsci.node_module 0.8.1, rest_node_module.py.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable

_TIMEOUT_S = 8.0
_MOST_BYTES = 64 * 2**20


class Rest:
    """Asks one node.

    Parameters
    ----------
    url : str
        Where it listens, such as ``http://10.0.4.7:2000``.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            timeout=httpx.Timeout(_TIMEOUT_S, connect=3), trust_env=False, follow_redirects=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return the JSON object at a path; see :meth:`_read` for errors."""
        return self._object(path, self._read("GET", path))

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """Return the JSON object that answers a request."""
        return self._object(path, self._read("POST", path, body))

    def file(self, path: str) -> bytes:
        """Return the bytes at a path."""
        return self._read("GET", path)

    def _read(self, method: str, path: str, body: Any = None) -> bytes:
        """Return what was answered.

        Raises
        ------
        DeadlineExceeded
            If nothing came: the node may have acted on it all the same.
        Unavailable
            If it does not answer, fails, has been asked too often, or sends too much.
        Conflict
            If it refuses; it has then done nothing.
        """
        read = bytearray()
        try:
            with self._client.stream(method, f"{self._url}/{path}", json=body) as answer:
                for part in answer.iter_bytes():
                    read += part
                    if len(read) > _MOST_BYTES:
                        raise Unavailable(f"The node sent more than {_MOST_BYTES} bytes for {path}.")
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"The node at {self._url} did not answer in {_TIMEOUT_S:g} s.") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"The node at {self._url} does not answer.", detail=str(error)) from error
        if answer.status_code == 429 or not 400 <= answer.status_code < 500:
            if answer.status_code != 200:
                raise Unavailable(f"The node at {self._url} answered {answer.status_code} to {path}.")
            return bytes(read)
        words = bytes(read[:300]).decode("utf-8", "replace")
        raise Conflict(f"The node refuses {path} ({answer.status_code}): {words}")

    def _object(self, path: str, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unavailable(f"What answers at {self._url}/{path} is no MADSci node.")
        return found
