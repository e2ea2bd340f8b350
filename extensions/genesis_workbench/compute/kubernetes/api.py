"""The few requests that jobs and workers need of a Kubernetes API, as plain JSON.

Written against the API itself (v1 and batch/v1, the same from Kubernetes 1.20 to 1.34) over httpx: the generated
client is 75 MB of models for eight requests. Each request may be repeated: objects are made under a name of ours, so
that a second making is answered with AlreadyExists.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import httpx

from genesis_workbench.compute.kubernetes import access
from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    TooLarge,
    Unavailable,
)
from genesis_workbench.core.site import KubernetesSection

Object = dict[str, Any]
"""A Kubernetes object or answer, as JSON."""

_TIMEOUT = httpx.Timeout(30, connect=10)
_TRIES = 4
_RETRIED = frozenset({409, 429, 500, 502, 503, 504})  # 409 without AlreadyExists: two changed a quota at once
_LIMIT = 64 * 2**20
_PAGE = 500
_GROUPS = {
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "events": "/api/v1",
    "resourcequotas": "/api/v1",
    "nodes": "/api/v1",
}


class QuotaFull(InvalidInput):
    """A quota of the namespace is used up, or too small."""


class Kubernetes:
    """One namespace of one cluster.

    Parameters
    ----------
    site : KubernetesSection
        Namespace and context.

    Notes
    -----
    Nothing is asked before the first request. All methods may be called from several threads.
    """

    def __init__(self, site: KubernetesSection) -> None:
        self._site = site

    @cached_property
    def _access(self) -> access.Access:
        return access.find(self._site.context)

    @cached_property
    def _client(self) -> httpx.Client:
        found = self._access
        return httpx.Client(
            base_url=found.url,
            verify=found.verify,
            proxy=found.proxy,
            timeout=_TIMEOUT,
            trust_env=False,  # a proxy for the internet is no way into the cluster
            headers={"Accept": "application/json", "User-Agent": "genesis-workbench"},
        )

    @property
    def namespace(self) -> str:
        """Namespace of the pods."""
        return self._site.namespace or self._access.namespace

    def create(self, kind: str, manifest: Object) -> Object:
        """Make an object.

        Raises
        ------
        Conflict
            If there is one of that name.
        InvalidInput
            With Kubernetes' own words, where it refuses: not valid, a policy forbids it.
        QuotaFull
            If a quota leaves no room for it now.
        PermissionRefused
            If this account may not.
        """
        return self._ask("POST", self._path(kind), manifest)

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, or None where there is none."""
        try:
            return self._ask("GET", self._path(kind, name))
        except NotFound:
            return None

    def list(
        self, kind: str, labels: str = "", fields: str = "", *, everywhere: bool = False
    ) -> list[Object]:
        """Return all objects of a kind.

        Parameters
        ----------
        kind : str
            Such as ``"pods"``.
        labels, fields : str
            Selectors in Kubernetes' own form.
        everywhere : bool
            Whether those of all namespaces are meant.
        """
        path = f"{_GROUPS[kind]}/{kind}" if everywhere else self._path(kind)
        return list(self._pages(path, {"labelSelector": labels, "fieldSelector": fields}))

    def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        """Delete an object and what it owns; nothing where it is gone."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        with contextlib.suppress(NotFound):
            self._ask("DELETE", self._path(kind, name), options)

    def _path(self, kind: str, name: str = "") -> str:
        within = "" if kind == "nodes" else f"/namespaces/{self.namespace}"
        return f"{_GROUPS[kind]}{within}/{kind}" + (f"/{name}" if name else "")

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[Object]:
        query = {name: value for name, value in query.items() if value} | {"limit": str(_PAGE)}
        while True:
            page = self._ask("GET", path, query=query)
            yield from page["items"]
            if not (further := page["metadata"].get("continue")):
                return
            query["continue"] = further

    def _ask(
        self, method: str, path: str, body: Object | None = None, query: dict[str, str] | None = None
    ) -> Object:
        for attempt in range(_TRIES):
            try:
                status, answer = self._send(method, path, body, query)
            except httpx.TimeoutException as error:
                problem: GenesisError = DeadlineExceeded(
                    "The Kubernetes API did not answer in time. Try again."
                )
                problem.__cause__ = error
            except httpx.TransportError as error:
                problem = Unavailable(f"The Kubernetes API at {self._access.url} does not answer: {error}")
                problem.__cause__ = error
            else:
                if status < 300:
                    return answer
                problem = _refusal(status, answer)
                if not isinstance(problem, Unavailable):
                    raise problem
            if attempt < _TRIES - 1:
                time.sleep(0.2 * 2**attempt * (1 + random.random()))  # noqa: S311 - jitter, not a secret
        raise problem

    def _send(
        self, method: str, path: str, body: Object | None, query: dict[str, str] | None
    ) -> tuple[int, Object]:
        token = self._access.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self._client.stream(method, path, json=body, params=query, headers=headers) as response:
            content = bytearray()
            for piece in response.iter_bytes():
                content += piece
                if len(content) > _LIMIT:
                    raise TooLarge(f"The Kubernetes API sent more than {_LIMIT} bytes for {path}.")
        try:
            answer = json.loads(content)
        except ValueError:
            answer = {"message": content[:300].decode("utf-8", "replace")}
        return response.status_code, answer if isinstance(answer, dict) else {}


def _refusal(status: int, answer: Object) -> GenesisError:
    words = str(answer.get("message", ""))[:1000] or f"status {status}"
    # The same status says "you may not" and "a quota or policy is against it".
    if status == 401 or (status == 403 and ('User "' in words or not answer.get("reason"))):
        return PermissionRefused(
            f"Kubernetes does not let this account do it: {words}. Ask the operator for the rights that the chart gives "
            "notebooks with compute.enabled."
        )
    if status == 403 and "exceeded quota" in words:
        return QuotaFull(f"Kubernetes refused: {words}")
    if status == 404:
        return NotFound(f"Kubernetes has no such thing: {words}")
    if status == 409 and answer.get("reason") == "AlreadyExists":
        return Conflict(f"Kubernetes has one of that name: {words}")
    if status in _RETRIED:
        return Unavailable(f"The Kubernetes API cannot answer just now: {words}")
    return InvalidInput(f"Kubernetes refused: {words}")


__all__ = ["Kubernetes", "Object", "QuotaFull"]
