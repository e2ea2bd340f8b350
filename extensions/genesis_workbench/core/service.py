"""The way from a notebook to the service beside the hub.

Inside a server that the hub started, :func:`service` gives a client that carries the server's own token. Outside
there is none, and every engine works on a local folder instead.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from genesis_workbench.core import certificates
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import BY_CODE, DeadlineExceeded, GenesisError, Unavailable

URL_VARIABLE = "GENESIS_SERVICE_URL"
TOKEN_VARIABLE = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the name of a variable, not a secret
STATE_VARIABLE = "GENESIS_STATE"
_AGAIN_S = 0.5  # from one connection that follows events to the next, at least


class Service:
    """Client of the workbench's REST API.

    Parameters
    ----------
    url : str
        Address of the service with its prefix, such as ``http://127.0.0.1:8003/services/workbench``.
    token : str
        A JupyterHub token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.url + "/api/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30, connect=5),
            # The token must not travel through a proxy of the environment, nor follow a redirect.
            trust_env=False,
            follow_redirects=False,
            verify=certificates.calling(),
        )

    def get(self, path: str, **params: Any) -> Any:
        """GET `path` below ``/api/`` and return the JSON answer."""
        return self._call("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, timeout_s: float | None = None
    ) -> Any:
        """POST `body` as JSON. `key` is the Idempotency-Key: sent twice, it happens once."""
        patience = {} if timeout_s is None else {"timeout": httpx.Timeout(timeout_s, connect=5)}
        return self._call(
            "POST", path, json=body, headers={"Idempotency-Key": key} if key else None, **patience
        )

    def patch(self, path: str, data: bytes, *, offset: int) -> Any:
        """PATCH a part of a file that begins at `offset`."""
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        return self._call("PATCH", path, content=data, headers=headers)

    def delete(self, path: str) -> Any:
        """DELETE `path`."""
        return self._call("DELETE", path)

    def download(self, path: str) -> bytes:
        """GET `path` and return its bytes."""
        return self._send("GET", path).content

    def events(
        self, path: str, after: int = 0, *, idle_s: float = 60, beat_s: float | None = None
    ) -> Generator[dict[str, Any] | None, None, None]:
        """Follow the server-sent events of `path`, each event once, through lost connections.

        Ends when the service says that no more will come (an event of kind ``end``).

        Parameters
        ----------
        beat_s : float, optional
            While nothing comes give None, at least about so often.
        """
        while True:
            began = time.monotonic()
            try:
                with self._http.stream(
                    "GET",
                    path,
                    params={"after": after},
                    headers={"Accept": "text/event-stream"},
                    timeout=httpx.Timeout(idle_s if beat_s is None else min(idle_s, beat_s), connect=5),
                ) as answer:
                    if answer.is_error:
                        answer.read()
                        raise _error(answer)
                    for line in answer.iter_lines():
                        if line == "event: end":
                            return
                        if line.startswith("data: "):
                            event = json.loads(line.removeprefix("data: "))
                            after = max(after, int(event.get("seq", after)))
                            yield event
                        elif beat_s is not None and line.startswith(":"):
                            yield None
            except (httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.ReadError):
                pass  # the service restarted, or a proxy cut a silent line: go on after the last event
            except httpx.TransportError as error:
                raise Unavailable(
                    f"The workbench service at {self.url} does not answer.", detail=str(error)
                ) from error
            if beat_s is not None:
                yield None
            time.sleep(max(0.0, _AGAIN_S - (time.monotonic() - began)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._send(method, path, **arguments)
        return answer.json() if answer.content else None

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **arguments)
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(
                f"The workbench service at {self.url} did not answer {method} {path} in time."
            ) from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"The workbench service at {self.url} does not answer. Ask the operator to run `workbench doctor`.",
                detail=str(error),
            ) from error
        if answer.is_error:
            raise _error(answer)
        return answer


def _error(answer: httpx.Response) -> GenesisError:
    """Turn problem+json (RFC 9457) back into the error that the service raised."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = BY_CODE.get(str(problem.get("code")), Unavailable if answer.status_code >= 500 else GenesisError)
    message = (
        problem.get("detail") or f"The service answered {answer.status_code} to {answer.request.url.path}."
    )
    return kind(str(message))


@cache
def service() -> Service | None:
    """Return the service of the hub that started this process, or None outside a hub."""
    url, token = os.environ.get(URL_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    return Service(url, token) if url and token else None


def me() -> Person:
    """Who runs this notebook, with their groups and rights as the hub knows them now.

    Outside a hub it is the account of the operating system, in no group.
    """
    remote = service()
    if remote is None:
        return Person(name=getpass.getuser())
    known = remote.get("me")
    return Person(
        name=known["name"],
        groups=frozenset(known["groups"]),
        scopes=frozenset(known["scopes"]),
        admin=bool(known.get("admin", False)),
    )


def local_state() -> Path:
    """Folder in which the engines keep their state outside a hub."""
    return Path(os.environ.get(STATE_VARIABLE) or Path.home() / ".local/share/genesis-workbench")
