"""Connections that go only where they may, and end when their time is over."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore
import httpx

from genesis_workbench.core.errors import InvalidInput

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")


class Refused(Exception):
    """The address may not be connected to."""


class Deadline(threading.local):
    """Monotonic time at which the request of this thread must be over."""

    at = float("inf")

    def remaining(self) -> float:
        """Seconds that are left; negative once it is over."""
        return self.at - time.monotonic()


class CheckedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, and holds every read and write to the deadline."""

    def __init__(self, limit: Deadline, *, check: bool) -> None:
        self._limit = limit
        self._check = check
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = list(_resolve(host, port)) if self._check else [host]
        for address in addresses:
            if self._check and not is_public(address):
                raise Refused(address)
        failure: Exception = httpcore.ConnectError(f"no address for {host}")
        for address in addresses[:4]:
            try:
                stream = self._plain.connect_tcp(
                    address, port, _least(timeout, self._limit), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._limit)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise Refused(path)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, max(self._limit.remaining(), 0)))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, limit: Deadline) -> None:
        self._stream = stream
        self._limit = limit

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._limit.remaining() <= 0:
            raise httpcore.ReadTimeout("the deadline has passed")
        return self._stream.read(max_bytes, _least(timeout, self._limit))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _least(timeout, self._limit))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._stream.start_tls(ssl_context, server_hostname, _least(timeout, self._limit))
        return _Stream(inner, self._limit)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public network.

    An IPv4 address inside an IPv6 one (mapped, 6to4, Teredo, NAT64) counts as itself.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and parsed in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


def _resolve(host: str, port: int) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} has no address: {error}") from error
    # IPv4 first: a name with both is often reachable by one only, and that is rarely IPv6 behind a firewall.
    for entry in sorted(found, key=lambda entry: entry[0] != socket.AF_INET):
        yield str(entry[4][0])


def refuse_local_name(host: str) -> None:
    """Raise InvalidInput for names and literal addresses that are not public, in whatever form."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(_LOCAL_SUFFIXES):
        raise InvalidInput(f"{host!r} names a machine of the local network; such addresses are refused.")
    try:
        # inet_aton also reads the short and octal forms (127.1, 0177.0.0.1) that resolvers accept.
        literal = name if ":" in name else socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        return
    if not is_public(literal):
        raise InvalidInput(f"{host!r} is not a public address; such addresses are refused.")


def proxy_for(url: httpx.URL) -> str:
    """Return the proxy that the environment names for `url`; empty where it is reached directly."""
    proxies = urllib.request.getproxies_environment()
    if not proxies or urllib.request.proxy_bypass(url.host):
        return ""
    proxy = proxies.get(url.scheme) or proxies.get("all") or ""
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def proxy_pool(proxy: str, context: ssl.SSLContext, backend: CheckedBackend) -> httpcore.ConnectionPool:
    """Return connections through a proxy."""
    url = httpx.URL(proxy)
    if url.scheme not in ("http", "https"):
        raise InvalidInput(f"The environment names a proxy of the kind {url.scheme!r}; use an http proxy.")
    auth = (url.username.encode(), url.password.encode()) if url.username else None
    return httpcore.HTTPProxy(
        proxy_url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
        proxy_auth=auth,
        ssl_context=context,
        network_backend=backend,
        max_connections=8,
        keepalive_expiry=15,
    )


def _least(timeout: float | None, limit: Deadline) -> float | None:
    remaining = max(limit.remaining(), 0.001)
    chosen = remaining if timeout is None else min(timeout, remaining)
    return None if chosen == float("inf") else chosen


def parse_address(text: str, base: httpx.URL | None = None) -> httpx.URL:
    """Read an address that may be fetched, relative to `base` where there is one."""
    try:
        url = base.join(text) if base is not None else httpx.URL(text)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise InvalidInput(f"{text[:200]!r} is not an address that can be fetched.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(f"{text[:200]!r} cannot be fetched: give an address with http or https.")
    if url.userinfo:
        raise InvalidInput(f"{shown(url)} carries a name and password in the address, which is refused.")
    return url


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Return scheme, host and port."""
    return url.scheme, url.host, url.port


def shown(url: httpx.URL | str) -> str:
    """Return an address for messages: without its query, which may hold a key."""
    parsed = httpx.URL(url)
    port = f":{parsed.port}" if parsed.port else ""
    return f"{parsed.scheme}://{parsed.host}{port}{parsed.path}"[:200]
