"""One connection to the incubator's server. Whatever is asked over it has a deadline; the library's calls have none."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from sila2.client import SilaClient
from sila2.framework import SilaConnectionError, SilaError

from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable

TIMEOUT_S = 5.0


class Line:
    """Connects when it is first used, and again after the server was away.

    Parameters
    ----------
    settings : mapping
        The device's, of which it needs `address`, `port` and `certificate`.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings, self._client = settings, None
        self._calls, self._connecting = ThreadPoolExecutor(8), threading.Lock()

    def incubator(self) -> Any:
        """Return the server's feature."""
        client = self._client
        if client is None:
            with self._connecting:
                client = self._client or self.do(self._connect)
                self._client = client
        return client.Incubator

    def do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a call of the library answers.

        Raises
        ------
        Conflict
            If the server refuses.
        DeadlineExceeded
            If nothing came; what has not been sent by then is never sent.
        Unavailable
            If it does not answer.
        """
        under_way = self._calls.submit(call, *arguments)
        try:
            return under_way.result(TIMEOUT_S)
        except TimeoutError as error:
            under_way.cancel()
            raise DeadlineExceeded(f"The incubator did not answer in {TIMEOUT_S:g} s.") from error
        except SilaConnectionError as error:
            self._forget()
            raise Unavailable("The incubator does not answer on SiLA 2.", detail=str(error)) from error
        except SilaError as error:
            raise Conflict(str(error)) from error
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # gRPC has ValueError for a channel that was closed
            self._forget()
            raise Unavailable("The incubator cannot be reached on SiLA 2.", detail=str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._forget()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def _connect(self) -> SilaClient:
        address, port = str(self._settings["address"]), int(self._settings["port"])
        certificate = Path(self._settings["certificate"]).read_bytes()
        # The client reads the certificate without a deadline, so a server that hangs is found out here.
        ssl.get_server_certificate((address, port), timeout=TIMEOUT_S / 2)
        return _Client(address, port, root_certs=certificate)

    def _forget(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client._channel.close()


class _Client(SilaClient):
    """Makes its features on a channel that gives each call a deadline."""

    @property
    def _channel(self) -> Any:
        return self.__dict__["channel"]

    @_channel.setter
    def _channel(self, channel: grpc.Channel) -> None:
        self.__dict__["channel"] = grpc.intercept_channel(channel, _Deadline())


class _Deadline(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Send a call on its way, with a deadline."""
        return continuation(_Details(details), request)


class _Details(grpc.ClientCallDetails):
    def __init__(self, details: grpc.ClientCallDetails) -> None:
        self.method, self.timeout, self.metadata = details.method, TIMEOUT_S, details.metadata
        self.credentials, self.wait_for_ready, self.compression = details.credentials, None, None
