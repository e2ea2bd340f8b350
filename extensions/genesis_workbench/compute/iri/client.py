"""HTTP to a facility that speaks the IRI Facility API: sign-in, patience, links, and errors in plain words.

The token goes to the origin that the site file names and nowhere else: not to a link that leads away, not after a
redirect, not over a connection without encryption (loopback aside), and into no message, log or file.
"""

from __future__ import annotations

import ipaddress
import json
import random
import time
import weakref
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from genesis_workbench.compute.iri.token import Token
from genesis_workbench.core.connections import (
    CheckedBackend,
    Deadline,
    Refused,
    origin,
    parse_address,
    proxy_for,
    proxy_pool,
    refuse_local_name,
    shown,
)
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    SignInRequired,
    TooLarge,
    Unavailable,
)
from genesis_workbench.core.http import USER_AGENT, retry_after
from genesis_workbench.core.site import IriSection

MAX_ANSWER_BYTES = 16 * 2**20  # a file of the API's limit of 5 MiB, in base64, and room
_PATIENCE_S = 120.0  # for one call with all its pauses

pause = time.sleep  # a name of its own, so that tests see what is waited for


class AnswerLost(Unavailable):
    """No answer came. Where `sent`, whether the request was carried out is not known."""

    code = Unavailable.code

    def __init__(self, message: str, *, detail: str = "", sent: bool = True) -> None:
        super().__init__(message, detail=detail)
        self.sent = sent


class NotOffered(Unavailable):
    """The facility does not offer it (status 405 or 501)."""

    code = Unavailable.code


@dataclass(frozen=True)
class Answer:
    """What a facility answered with a status below 300.

    Attributes
    ----------
    status : int
        HTTP status.
    value : Any
        Its JSON; None where it sent nothing.
    """

    status: int
    value: Any = field(repr=False)


class Client:
    """Requests to one facility.

    Parameters
    ----------
    site : IriSection
        Address, version and the file with the token.
    retries : int
        How often a call is repeated after a lost answer or a status 429 or 503.
    timeout_s : float
        Seconds that one request may take.
    """

    def __init__(self, site: IriSection, *, retries: int = 5, timeout_s: float = 30) -> None:
        if not site.url:
            raise InvalidInput("The site file does not say where the facility is: set compute.iri.url.")
        self.site = site
        self._retries, self._timeout_s = retries, timeout_s
        self.token = Token(site.token_file)
        base = parse_address(site.url.rstrip("/"))
        # A bare host is the published layout: /api/v1, /api/v2.
        path = base.path.rstrip("/") or "/api"
        self.root = base.copy_with(path=f"{path}/{site.version}", query=None, fragment=None)
        self._loopback = _is_loopback(base.host)
        if base.scheme != "https" and not self._loopback:
            raise InvalidInput(
                f"compute.iri.url is {shown(base)}: a token is sent there, so it has to begin with https://."
            )
        self._limit = Deadline()
        self._pools: dict[str, httpcore.ConnectionPool] = {}
        weakref.finalize(self, _close, self._pools)

    def __repr__(self) -> str:
        return f"Client({shown(self.root)!r})"

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        _close(self._pools)

    def at(self, path: str) -> str:
        """Return the address of an entry point that the API's specification names, such as ``compute/resources``."""
        return f"{self.root}/{path}"

    def follow(self, link: str) -> httpx.URL:
        """Return the address that a link of the facility leads to.

        Raises
        ------
        InvalidInput
            If it leads to another origin: the token is not for others.
        """
        url = parse_address(link, base=self.root)
        if url.scheme == "http" and url.host == self.root.host and self.root.scheme == "https":
            url = url.copy_with(scheme="https", port=self.root.port)  # written behind a proxy that ends TLS
        if origin(url) != origin(self.root):
            raise InvalidInput(
                f"The facility at {shown(self.root)} gives a link to {shown(url)}, another origin, where its token must "
                "not go. Ask the facility, or set compute.iri.url to that origin."
            )
        return url

    def call(
        self,
        method: str,
        link: str,
        *,
        what: str,
        params: dict[str, Any] | None = None,
        body: Any = None,
        file: tuple[str, bytes] | None = None,
        key: str = "",
        signed: bool = True,
        repeat: bool = True,
    ) -> Answer:
        """Send one request and return the answer; wait and repeat where the facility asks for it.

        Parameters
        ----------
        method, link : str
            HTTP method, and an address that the facility gave or :meth:`at` made.
        what : str
            What it is for, to complete "could not ...".
        params, body, file : optional
            Query, JSON, or name and content of a file (multipart).
        key : str
            Idempotency-Key.
        signed : bool
            Whether the token goes along.
        repeat : bool
            Whether it may be sent again after its answer was lost.

        Raises
        ------
        SignInRequired, PermissionRefused, NotFound, Conflict, InvalidInput, Unavailable, TooLarge
            What the facility or the network said, in plain words. AnswerLost (Unavailable) where `repeat` is False and
            the connection broke off.
        """
        url = self.follow(link)
        if params:
            url = url.copy_merge_params(params)
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        if key:
            headers["Idempotency-Key"] = key
        until, renewed = time.monotonic() + _PATIENCE_S, False
        for attempt in range(self._retries + 1):
            token = self.token.read() if signed else ""
            request = _request(method, url, headers, token, body, file)
            try:
                status, fields, content = self._once(request, min(until, time.monotonic() + self._timeout_s))
            except AnswerLost as lost:
                if (lost.sent and not repeat) or attempt == self._retries:
                    raise
                failure: GenesisError = lost
                wait_s = None
            else:
                if status < 300:
                    return Answer(status, _json(content, url) if content.strip() else None)
                if token:
                    content = content.replace(token.encode(), b"(token)")  # some quote what they refuse
                failure = _refusal(status, content, f"could not {what}", shown(self.root))
                if status == 401 and signed and not renewed and self.token.read() != token:
                    renewed = True  # somebody renewed it meanwhile
                    continue
                # 409 to a keyed submission: the first one is still in flight.
                if not (status in (429, 503) or (status == 409 and key)) or attempt == self._retries:
                    raise failure
                wait_s = retry_after(fields)
            if wait_s is None:
                wait_s = 0.5 * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret
            if time.monotonic() + wait_s > until:
                raise failure
            pause(wait_s)
        raise AssertionError("unreachable")

    def _once(self, request: httpx.Request, until: float) -> tuple[int, httpx.Headers, bytes]:
        url = request.url
        if not self.site.allow_private:
            refuse_local_name(url.host)
        self._limit.at = until
        left = max(self._limit.remaining(), 0.001)
        timeouts = {"connect": min(left, 10.0), "read": left, "write": left, "pool": left}
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with self._pool(url).stream(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": timeouts},
            ) as response:
                content = bytearray()
                for chunk in response.iter_stream():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise TooLarge(
                            f"{shown(url)} sends more than {MAX_ANSWER_BYTES:,} bytes in one answer."
                        )
                if response.status in (502, 504):  # said by a gateway: the facility itself may have done it
                    raise AnswerLost(f"The gateway before {shown(url)} got no answer ({response.status}).")
                return response.status, httpx.Headers(response.headers), bytes(content)
        except Refused as refused:
            raise InvalidInput(
                f"The facility's {url.host!r} is at {refused}, which is not a public address. Set "
                "compute.iri.allow_private where that is meant."
            ) from None
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise AnswerLost(f"{shown(url)} cannot be reached.", detail=repr(error), sent=False) from error
        except httpcore.TimeoutException as error:
            raise AnswerLost(f"{shown(url)} did not answer in time.", detail=repr(error)) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise AnswerLost(
                f"{shown(url)} broke off the connection before it answered.", detail=repr(error)
            ) from error

    def _pool(self, url: httpx.URL) -> httpcore.ConnectionPool:
        proxy = "" if self._loopback else proxy_for(url)
        if proxy not in self._pools:
            context = httpx.create_ssl_context()
            backend = CheckedBackend(self._limit, check=not (self.site.allow_private or proxy))
            self._pools[proxy] = (
                proxy_pool(proxy, context, backend)
                if proxy
                else httpcore.ConnectionPool(
                    ssl_context=context, network_backend=backend, max_connections=4, keepalive_expiry=15
                )
            )
        return self._pools[proxy]


def _request(
    method: str,
    url: httpx.URL,
    headers: dict[str, str],
    token: str,
    body: Any,
    file: tuple[str, bytes] | None,
) -> httpx.Request:
    signed = {**headers, "Authorization": f"Bearer {token}"} if token else headers
    if file is not None:
        return httpx.Request(method, url, headers=signed, files={"file": file})
    return httpx.Request(method, url, headers=signed, json=body)


def _json(content: bytes, url: httpx.URL) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unavailable(
            f"{shown(url)} answered with something else than JSON. Check compute.iri.url.", detail=str(error)
        ) from error


def _refusal(status: int, content: bytes, what: str, where: str) -> GenesisError:  # noqa: PLR0911 - one for each kind
    """Turn a refusal (RFC 9457 where the facility keeps to it) into the error for the person."""
    problem, words = _problem(content)
    said = f" It says: {words}" if words else ""
    text = f"The facility at {where} {what} (status {status}).{said}"
    if status == 401:
        return SignInRequired(
            f"The facility at {where} does not accept the token: it has expired or was withdrawn (status 401).{said} "
            "Sign in at the facility again and write the new token to the token_file of the site; no restart is needed."
        )
    if status == 403:
        return PermissionRefused(
            f"{text} The token is good, but its owner may not do this: ask the facility for an allocation or account "
            "on this resource, or name another account."
        )
    if status in (404, 410):
        return NotFound(text)
    if status == 409:
        return Conflict(text)
    if status == 422 and not problem.get("invalid_params") and "idempotency" in words.lower():
        return Conflict(
            f"The facility at {where} has a job with this key already, and that one was another job.{said} Use a key "
            "of its own for each job."
        )
    if status in (400, 413, 415, 422):
        return InvalidInput(text)
    if 300 <= status < 400:
        return Unavailable(f"{text} It redirects, which is not followed with a token. Check compute.iri.url.")
    if status in (405, 501):
        return NotOffered(text)
    return Unavailable(f"{text} Try again later.")


def _problem(content: bytes) -> tuple[dict[str, Any], str]:
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return {}, ""
    if not isinstance(problem, dict):
        return {}, ""
    words = str(problem.get("detail") or problem.get("title") or "")
    words = " ".join(words.split())[:500]
    return problem, words + "." if words and words[-1] not in ".!?" else words


def _close(pools: dict[str, httpcore.ConnectionPool]) -> None:
    while pools:
        _, pool = pools.popitem()
        pool.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
