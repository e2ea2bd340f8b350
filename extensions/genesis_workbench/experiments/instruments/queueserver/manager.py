"""The way to a RE Manager: one JSON request over ZeroMQ, one JSON answer, and a deadline."""

from __future__ import annotations

import json
from typing import Any

import zmq

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable

ABOUT = "worker.json"
"""File beside the documents in which a worker says of itself whether it is simulated."""
_TIMEOUT_MS = 8000


class Manager:
    """Asks one manager. Protocol: bluesky-queueserver 0.0.25, "RE Manager API".

    Parameters
    ----------
    address : str
        Of its control socket, such as ``tcp://127.0.0.1:60615``.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a request, whatever it says.

        Raises
        ------
        DeadlineExceeded
            If none came: the manager may have acted on it all the same.
        Unavailable
            If what came is no answer.
        """
        # A socket for each request: after an answer that did not come, a REQ socket is of no use any more; and no stop waits
        # for another request's answer.
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(self._address)
            socket.send(json.dumps({"method": method, "params": params}).encode())
            if not socket.poll(_TIMEOUT_MS):
                raise DeadlineExceeded(
                    f"The RE Manager at {self._address} did not answer {method} in {_TIMEOUT_MS / 1000:g} s."
                )
            answer = socket.recv()
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise Unavailable(f"What answers at {self._address} is no RE Manager.") from error
        if not isinstance(found, dict):
            raise Unavailable(f"What answers at {self._address} is no RE Manager.")
        return found

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a request that has to succeed.

        Raises
        ------
        Conflict
            If the manager refuses, with its own words; it has then done nothing.
        """
        answer = self.ask(method, **params)
        if answer.get("success") is False:
            raise Conflict(f"The RE Manager refuses {method}: {answer.get('msg') or 'it gives no reason'}")
        return answer
