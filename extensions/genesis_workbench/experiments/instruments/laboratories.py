"""`gw.laboratories()`: which laboratories there are, what their devices do, what waits, and the emergency stop."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from genesis_workbench.core.clock import seconds_since
from genesis_workbench.core.errors import GenesisError, NotFound, Unavailable
from genesis_workbench.core.service import Service, local_state, me, service
from genesis_workbench.core.site import this_site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.client import STOP_TIMEOUT_S, Client, stopping
from genesis_workbench.experiments.instruments.emergency import tidied

_STALE_S = 60.0
_SERVICE_TIMEOUT_S = STOP_TIMEOUT_S + 5  # it waits for the gateway itself


class _Door(Protocol):
    """The way to one gateway: directly, or through the service."""

    def state(self) -> dict[str, Any]: ...

    def stop(self, who: str, why: str) -> dict[str, Any]: ...

    def reset(self, who: str, why: str) -> dict[str, Any]: ...

    def settle(self, key: str, **body: Any) -> dict[str, Any]: ...

    def reserve(self, device: str, who: str, until: str, why: str) -> dict[str, Any]: ...


class _Through:
    """A gateway behind the workbench's service, which says who asks."""

    def __init__(self, remote: Service, name: str) -> None:
        self._remote, self._path = remote, f"laboratories/{name}"

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.get(self._path)
        return found

    def stop(self, who: str, why: str) -> dict[str, Any]:
        body = {"why": tidied(why)}
        found: dict[str, Any] = self._remote.post(f"{self._path}/stop", body, timeout_s=_SERVICE_TIMEOUT_S)
        return found

    def reset(self, who: str, why: str) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.post(f"{self._path}/reset", {"why": why})
        return found

    def settle(self, key: str, **body: Any) -> dict[str, Any]:
        body.pop("who", None)
        found: dict[str, Any] = self._remote.post(f"{self._path}/plans/{key}/settle", body)
        return found

    def reserve(self, device: str, who: str, until: str, why: str) -> dict[str, Any]:
        body = {"until": until, "why": why}
        found: dict[str, Any] = self._remote.post(f"{self._path}/reservations/{device}", body)
        return found


class Laboratory:
    """One laboratory. Shows itself as it is when it is looked at.

    Attributes
    ----------
    procedures : tuple of str
        Executors whose trials run in it.
    """

    def __init__(self, name: str, door: _Door, procedures: Sequence[str] = ()) -> None:
        self.name, self._door, self.procedures = name, door, tuple(procedures)

    def state(self) -> dict[str, Any]:
        """Return everything that its gateway says: devices, queue, emergency stop, what people did last."""
        return self._door.state()

    def stop(self, why: str = "") -> None:
        """Emergency stop: every device goes into its safe state at once; nothing starts until :meth:`reset`.

        Raises
        ------
        Unavailable
            If a device did not confirm it, or it could not be written down: it holds all the same. If nobody answers: it
            may not have reached the devices.
        DeadlineExceeded
            If the answer takes too long.
        """
        with stopping():
            answer = self._door.stop(me().name, why)
        trouble = not_confirmed(answer)
        if trouble:
            raise Unavailable(trouble)

    def reset(self, why: str) -> None:
        """End the emergency stop, after you have looked that it is safe."""
        self._door.reset(me().name, why)

    def settle(self, plan: str, *, ran: bool, why: str, values: Mapping[str, float] | None = None) -> None:
        """Say what became of a plan that is `unknown`, after you have looked. Nothing is run again.

        Parameters
        ----------
        ran : bool
            Whether its last step ran to the end; `values` are then what it measured, in the action's units.
        """
        self._door.settle(plan, ran=ran, why=why, values=dict(values or {}), who=me().name)

    def reserve(self, device: str, until: str = "", why: str = "") -> None:
        """Keep a device for your own plans until a time (ISO 8601, UTC); without one, give it back.

        Without a time, and with a reason, it ends another person's reservation.
        """
        self._door.reserve(device, me().name, until, why)

    def __repr__(self) -> str:
        head, rows = self._shown()
        return "\n".join([head, *("  " + "  ".join(filter(None, row)) for row in rows)])

    def _repr_html_(self) -> str:
        head, rows = self._shown()
        body = "".join(
            "<tr>"
            + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row)
            + "</tr>"
            for row in rows
        )
        return f'<table><caption style="text-align:left"><b>{html.escape(head)}</b></caption>{body}</table>'

    def _shown(self) -> tuple[str, list[tuple[str, str, str, str]]]:
        try:
            state = self.state()
        except GenesisError as error:
            return f"{self.name}: {error.message}", []
        stop = state["stop"]
        head = f"{state['title']}{' (simulated)' if state['simulated'] else ''}"
        if stop:
            head += f": EMERGENCY STOP by {stop['who']} {_ago(stop['since'])}: {stop['why']}"
            for each in stop.get("later", ()):
                head += f"; again by {each['who']} {_ago(each['since'])}: {each['why']}"
        if seconds_since(state["heartbeat"]) > _STALE_S:
            head += f" (its devices were last looked at {_ago(state['heartbeat'])})"
        head += "".join(f" {each}" for each in state.get("warnings", ()))
        rows = [
            (
                each["name"] + (" (simulated)" if each["simulated"] else ""),
                _status(each),
                ", ".join(f"{name} {_number(value)}" for name, value in each.get("readings", {}).items()),
                f"reserved by {each['reserved']['who']} until {each['reserved']['until']}"
                if each["reserved"]
                else "",
            )
            for each in state["devices"]
        ]
        rows += [
            (
                f"plan {each['key'][:12]}",
                f"{each['state']}, step {each['step']} of {each['steps']}",
                each["title"],
                each["reason"]
                or f"asked by {each.get('owner') or each['asker'] or 'nobody named'} {_ago(each['submitted'])}",
            )
            for each in state["queue"]
        ]
        return head, rows


def not_confirmed(answer: Mapping[str, Any]) -> str:
    """Say what a stop did not reach; empty where every device confirmed it and it is written down."""
    silent = [f"{device} {said}" for device, said in answer["devices"].items() if said != "stopped"]
    words = (
        [f"Not every device confirmed the stop: {'; '.join(silent)}. Use the switch on the device itself."]
        if silent
        else []
    )
    return " ".join([*words, *filter(None, [answer.get("warning", "")])])


class Laboratories:
    """All laboratories of the site: iterate over it, or take one by its name."""

    def __init__(self, found: list[Laboratory]) -> None:
        self._found = {each.name: each for each in found}

    def __iter__(self) -> Iterator[Laboratory]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, name: str) -> Laboratory:
        if name not in self._found:
            raise NotFound(f"There is no laboratory {name!r}. There is {', '.join(self._found) or 'none'}.")
        return self._found[name]

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self)) or _NONE

    def _repr_html_(self) -> str:
        return "".join(each._repr_html_() for each in self) or f"<p>{html.escape(_NONE)}</p>"


_NONE = "No laboratory yet. `workbench laboratory --simulated` starts one that does not exist; the site file names real ones."


def laboratories() -> Laboratories:
    """Return the laboratories of the site, each with its devices, queue and emergency stop."""
    remote = service()
    if remote is not None:
        found = remote.get("laboratories")
        return Laboratories(
            [
                Laboratory(name, _Through(remote, name), found["procedures"].get(name, ()))
                for name in map(str, found["items"])
            ]
        )
    state = State(local_state())
    return Laboratories(
        [
            Laboratory(each.name, Client(each, state), each.procedures)
            for each in address.laboratories(this_site(), state)
        ]
    )


def _status(device: Mapping[str, Any]) -> str:
    words = [device["status"], device.get("reason", "")]
    if device["status"] == "does not answer" and device.get("seen"):
        words.insert(1, f"last heard of {_ago(device['seen'])}")
    return ", ".join(filter(None, words))


def _ago(time: str) -> str:
    seconds = seconds_since(time)
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
