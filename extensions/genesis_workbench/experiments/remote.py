"""Experiments behind the service, over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from genesis_workbench.core.service import Service
from genesis_workbench.experiments.calling import attended
from genesis_workbench.experiments.hypothesis import Hypothesis
from genesis_workbench.experiments.people import Became, Returned
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.verification import Report


class RemoteExperiments:
    """Experiments behind the service."""

    alone = False

    def __init__(self, service: Service) -> None:
        self._service = service

    def choices(self) -> dict[str, Any]:
        """Return what can be chosen. See :class:`Experiments`."""
        found: dict[str, Any] = self._service.get("experiments/choices")
        return found

    def preview(self, spec: ExperimentSpec) -> dict[str, Any]:
        """Return what launching would do. See :class:`Experiments`."""
        found: dict[str, Any] = self._service.post("experiments/preview", spec.model_dump(mode="json"))
        return found

    def create(self, spec: ExperimentSpec, *, key: str | None = None) -> str:
        """Commit and create. See :class:`Experiments`."""
        answer = self._service.post("experiments", spec.model_dump(mode="json"), key=key)
        return str(answer["id"])

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return a summary. See :class:`Experiments`."""
        found: dict[str, Any] = self._service.get(f"experiments/{experiment}")
        return found

    def summaries(self) -> list[dict[str, Any]]:
        """Return all summaries. See :class:`Experiments`."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = self._service.get("experiments", cursor=cursor)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def events(self, experiment: str, after: int = 0) -> list[dict[str, Any]]:
        """Return events. See :class:`Experiments`."""
        found: list[dict[str, Any]] = self._service.get(f"experiments/{experiment}/events", after=after)[
            "items"
        ]
        return found

    def follow(
        self, experiment: str, after: int = 0, *, beat_s: float | None = None
    ) -> Generator[dict[str, Any] | None, None, None]:
        """Iterate over server-sent events, and make the calls that they ask this process for. See :class:`Experiments`."""

        def events(beat_s: float | None) -> Generator[dict[str, Any] | None, None, None]:
            return self._service.events(f"experiments/{experiment}/events", after, beat_s=beat_s)

        return attended(self, experiment, events, beat_s)

    def command(self, experiment: str, what: str, reason: str = "") -> None:
        """Pause, resume or stop. See :class:`Experiments`."""
        self._service.post(f"experiments/{experiment}/{what}", {"reason": reason})

    def change_hypothesis(self, experiment: str, hypothesis: Hypothesis, reason: str) -> None:
        """Record a change as a deviation. See :class:`Experiments`."""
        body = {"hypothesis": hypothesis.model_dump(mode="json"), "reason": reason}
        self._service.post(f"experiments/{experiment}/hypothesis", body)

    def pending(self, experiment: str) -> list[dict[str, Any]]:
        """Return what waits for a person. See :class:`Experiments`."""
        found: list[dict[str, Any]] = self._service.get(f"experiments/{experiment}/pending")["items"]
        return found

    def queue(self, experiment: str) -> list[dict[str, Any]]:
        """Return the executions under way. See :class:`Experiments`."""
        found: list[dict[str, Any]] = self._service.get(f"experiments/{experiment}/queue")["items"]
        return found

    def approve(self, experiment: str, trial: int, digest: str = "") -> None:
        """Approve a trial. See :class:`Experiments`."""
        self._service.post(f"experiments/{experiment}/trials/{trial}/approval", {"digest": digest})

    def refuse(self, experiment: str, trial: int, reason: str) -> None:
        """Refuse a trial. See :class:`Experiments`."""
        self._service.post(f"experiments/{experiment}/trials/{trial}/refusal", {"reason": reason})

    def say(
        self,
        experiment: str,
        trial: int,
        became: Became,
        *,
        step: str | None = None,
        values: Mapping[str, Any] | None = None,
        reason: str = "",
    ) -> None:
        """Say what became of a trial. See :class:`Experiments`."""
        body = {"became": became, "step": step, "values": values and dict(values), "reason": reason}
        self._service.post(f"experiments/{experiment}/trials/{trial}/outcome", body)

    def tell(self, experiment: str, trial: int, key: str, became: Returned) -> None:
        """Tell what became of an execution. See :class:`Experiments`."""
        body = {"key": key, "became": became.model_dump(mode="json")}
        self._service.post(f"experiments/{experiment}/trials/{trial}/call", body)

    def add_points(self, experiment: str, points: Sequence[Mapping[str, Any]]) -> None:
        """Add points. See :class:`Experiments`."""
        body = {"points": [dict(point) for point in points]}
        self._service.post(f"experiments/{experiment}/points", body)

    def file(self, experiment: str, digest: str) -> bytes:
        """Return an attachment. See :class:`Experiments`."""
        return self._service.download(f"experiments/{experiment}/files/{digest}")

    def keep_file(self, data: bytes) -> str:
        """Keep a file. See :class:`Experiments`."""
        text = base64.b64encode(data).decode()
        return str(self._service.post("experiments/files", {"base64": text})["digest"])

    def open_budget(
        self, name: str, limits: Mapping[str, float], *, groups: Sequence[str] = (), currency: str = "USD"
    ) -> dict[str, Any]:
        """Open a shared budget. See :class:`Experiments`."""
        body = {"limits": dict(limits), "groups": list(groups), "currency": currency}
        found: dict[str, Any] = self._service.post(f"budgets/{name}", body)
        return found

    def budget(self, name: str) -> dict[str, Any]:
        """Return a shared budget. See :class:`Experiments`."""
        found: dict[str, Any] = self._service.get(f"budgets/{name}")
        return found

    def verify(self, experiment: str) -> Report:
        """Check it, where the ledger is. See :class:`Experiments`."""
        return Report.from_dict(self._service.get(f"experiments/{experiment}/verification"))
