"""The client of a gateway."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx

from genesis_workbench.core.errors import BY_CODE, DeadlineExceeded, GenesisError, Unavailable
from genesis_workbench.core.site import LaboratorySection
from genesis_workbench.core.state import State
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.emergency import tidied
from genesis_workbench.experiments.instruments.plan import Plan

_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 60.0
"""How long a client waits for the answer to a stop."""
_NOT_REACHED = "The stop may not have reached the devices: use the switch on the device itself."


class Client:
    """Talks to the gateway of one laboratory. A gateway that was started again elsewhere is found at the next call."""

    def __init__(self, section: LaboratorySection, state: State) -> None:
        self.section, self._state = section, state

    def state(self) -> dict[str, Any]:
        """Return how the laboratory is."""
        return self._json("GET", "laboratory")

    def check(self, plan: Plan) -> None:
        """Refuse a plan that could never run."""
        self._json("POST", "plans/check", plan.model_dump(mode="json"))

    def submit(self, plan: Plan) -> dict[str, Any]:
        """Queue a plan; sent twice it is queued once."""
        return self._json("POST", "plans", plan.model_dump(mode="json"))

    def plan(self, key: str) -> dict[str, Any]:
        """Return a plan and what its steps gave; NotFound where there is none."""
        return self._json("GET", f"plans/{key}")

    def cancel(self, key: str, who: str) -> dict[str, Any]:
        """Take a plan out of the queue."""
        return self._json("POST", f"plans/{key}/cancel", {"who": who})

    def settle(self, key: str, **body: Any) -> dict[str, Any]:
        """Say what became of an unknown plan. See :meth:`Gateway.settle`."""
        return self._json("POST", f"plans/{key}/settle", body)

    def stop(self, who: str, why: str) -> dict[str, Any]:
        """Emergency stop. It is not refused for its wording."""
        body = {"who": tidied(who, "somebody"), "why": tidied(why)}
        with stopping():
            return self._json("POST", "stop", body, timeout_s=STOP_TIMEOUT_S)

    def reset(self, who: str, why: str) -> dict[str, Any]:
        """End the emergency stop."""
        return self._json("POST", "reset", {"who": who, "why": why}, timeout_s=STOP_TIMEOUT_S)

    def reserve(self, device: str, who: str, until: str, why: str = "") -> dict[str, Any]:
        """Reserve a device; an empty time gives it back, with a reason also what another person reserved."""
        return self._json("PUT", f"reservations/{device}", {"who": who, "until": until, "why": why})

    def file(self, digest: str) -> bytes:
        """Return a file by its hash. The caller compares."""
        return self._send("GET", f"files/{digest}", None, _TIMEOUT_S).content

    def _json(
        self, method: str, path: str, body: Any = None, timeout_s: float = _TIMEOUT_S
    ) -> dict[str, Any]:
        found: dict[str, Any] = self._send(method, path, body, timeout_s).json()
        return found

    def _send(self, method: str, path: str, body: Any, timeout_s: float) -> httpx.Response:
        url, name = address.url(self.section, self._state), self.section.name
        token = address.token(self.section, self._state, others_may=path == "stop")
        headers = {"Authorization": f"Bearer {token}"}
        try:
            answer = httpx.request(
                method, f"{url}/{path}", json=body, headers=headers, timeout=httpx.Timeout(timeout_s, connect=3),
                trust_env=False, follow_redirects=False, verify=_trusted(),
            )  # fmt: skip
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"The gateway of {name!r} did not answer in {timeout_s:g} s.") from error
        except httpx.TransportError as error:
            raise Unavailable(
                f"The gateway of {name!r} does not answer. Start it again with `workbench laboratory {name}`; it goes on "
                "with what was under way.",
                detail=str(error),
            ) from error
        if answer.is_error:
            raise _error(answer, name)
        return answer


@contextlib.contextmanager
def stopping() -> Iterator[None]:
    """Say what to do first where a stop gets no answer."""
    try:
        yield
    except (Unavailable, DeadlineExceeded) as error:
        if error.message.startswith(_NOT_REACHED):
            raise
        raise type(error)(f"{_NOT_REACHED} {error.message}", detail=error.detail) from error


@cache
def _trusted() -> ssl.SSLContext:
    # httpx makes one for each request otherwise, which takes longer than all the rest of it.
    return httpx.create_ssl_context(trust_env=False)


def _error(answer: httpx.Response, name: str) -> GenesisError:
    """Return what a gateway answered as an error. Where it is about the gateway, and not what was asked, Unavailable."""
    try:
        problem = answer.json()
        kind, words = BY_CODE.get(str(problem["code"]), GenesisError), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The gateway of {name!r} answered {answer.status_code}.")
    if answer.status_code == 401:
        return Unavailable(
            f"The gateway of {name!r} does not take the token: {words} Compare the token's file with that of the account "
            f"that runs it, and start it again with `workbench laboratory {name}`."
        )
    if answer.status_code >= 500 and kind not in (Unavailable, DeadlineExceeded):
        return Unavailable(f"The gateway of {name!r} could not do it: {words} Try again in a moment.")
    return kind(words)
