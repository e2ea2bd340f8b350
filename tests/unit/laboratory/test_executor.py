"""What a procedure says of itself before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.core.errors import Conflict, Unavailable
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.executors._base import (
    Failure,
    Observation,
    Place,
    Request,
    signature,
)
from genesis_workbench.experiments.executors.perovskite_film import PerovskiteFilm
from genesis_workbench.experiments.instruments.plan import Plan


class Answers:
    """A gateway's client that knows of three devices."""

    def __init__(self, **simulated: bool) -> None:
        self._devices = [{"name": name, "simulated": value} for name, value in simulated.items()]
        self.plans: list[Plan] = []
        self.answer: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        return {"devices": self._devices}

    def submit(self, plan: Plan) -> None:
        if plan.simulated and not all(each["simulated"] for each in self._devices):
            raise Conflict("The furnace is real.")
        self.plans.append(plan)

    def plan(self, _key: str) -> dict[str, Any]:
        return self.answer


@pytest.mark.parametrize("furnace", [True, False])
def test_a_trial_waits_for_a_person_where_one_of_its_devices_is_real(
    furnace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=furnace, spectrometer=True, elsewhere=False)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    found = signature(PerovskiteFilm(Place(Site(name="here"), State(tmp_path))), {})
    assert found.laboratory is not furnace
    assert found.simulated


PARAMETERS = dict(PerovskiteFilm.example())


@pytest.fixture
def film(tmp_path: Path) -> PerovskiteFilm:
    return PerovskiteFilm(Place(Site(name="here"), State(tmp_path)))


def test_a_plan_is_its_owners_and_runs_only_on_what_was_approved(
    film: PerovskiteFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = Answers(handler=True, furnace=True, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: simulated)
    assert film.submit_all([Request("a", PARAMETERS, {}, owner="alice")]) == {}
    assert [(plan.owner, plan.simulated) for plan in simulated.plans] == [("alice", True)]
    real = Answers(handler=True, furnace=False, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: real)
    with pytest.raises(Unavailable, match="has become real"):
        film.submit_all([Request("b", PARAMETERS, {}, owner="alice")])
    assert real.plans == []
    assert film.submit_all([Request("b", PARAMETERS, {}, laboratory=True, owner="alice")]) == {}
    assert [plan.simulated for plan in real.plans] == [None]


def test_a_plan_costs_the_minutes_that_it_kept_its_devices(
    film: PerovskiteFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=True, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    times = {"started": "2026-01-31T08:00:00.000000Z", "ended": "2026-01-31T08:30:00.000000Z"}
    ended: dict[str, Any] = {"reason": "", "values": {}, "files": {}, **times}
    client.answer = {**ended, "state": "failed", "reason": "the lamp is out"}
    assert film.observe("a") == Failure("the lamp is out", {"instrument_minutes": 30.0})
    client.answer = {**client.answer, "state": "canceled", "started": ""}
    assert film.observe("a") == Failure("the lamp is out", {"instrument_minutes": 0.0})
    values = {name: {"value": 1.0, "unit": unit} for name, unit in film.outcomes.items()}
    client.answer = {**ended, "state": "done", "values": values}
    found = film.observe("a")
    assert isinstance(found, Observation)
    assert found.cost == {"instrument_minutes": 30.0}
    client.answer = {**ended, "state": "running", "ended": ""}
    assert film.observe("a") is None
