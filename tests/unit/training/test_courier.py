"""What the service is told last of a run is its end, however it falls between two looks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from genesis_workbench.training import courier, metrics
from genesis_workbench.training.report import Report

STEP = {"kind": metrics.STEP, "step": 1, "time": "2026-01-01T00:00:00Z", "loss": 0.5}
END = {"kind": metrics.END, "step": 1, "time": "2026-01-01T00:00:01Z", "ended": "told to end"}


class Service:
    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "training/runs"
        self.told.append(body)
        return {"offset": body["offset"] + len(body["lines"])}


class Ending:
    """A run whose job has ended by the time that it is asked for, and whose curve had not when it was read."""

    id = "trn_1"
    record = SimpleNamespace(run="trn_1")

    def __init__(self) -> None:
        self.looked = 0

    def whole(self) -> list[dict[str, Any]]:
        self.looked += 1
        return [STEP] if self.looked == 1 else [STEP, END]


def test_a_run_that_ends_between_two_looks_is_told_with_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(_run: Ending, lines: list[dict[str, Any]]) -> Report:
        ended = lines[-1].get("ended", "")
        return Report(run="trn_1", name="n", recipe="r", state="canceled", ended=ended, can_stop=False)

    monkeypatch.setattr(courier, "report", report)
    service = Service()
    carrying = courier.Courier(service)  # type: ignore[arg-type]
    run = Ending()
    for _ in range(2):
        carrying._tell(run)  # type: ignore[arg-type]
    (told,) = service.told
    assert told["report"]["ended"] == "told to end"
    assert told["lines"][-1]["ended"] == "told to end"
    assert run.looked == 2, "what has ended is not looked at again"
