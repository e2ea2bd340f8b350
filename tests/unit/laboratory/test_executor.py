"""What a procedure says of itself before it runs."""

from __future__ import annotations

from datetime import UTC, datetime
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
from genesis_workbench.experiments.instruments.plan import Plan, Step


class Answers:
    """A gateway's client that knows of three devices."""

    def __init__(self, **simulated: bool) -> None:
        self._devices = [{"name": name, "simulated": value} for name, value in simulated.items()]
        self.plans: list[Plan] = []
        self.answer: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        return {"devices": self._devices}

    def submit(self, plan: Plan) -> None:
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
    with pytest.raises(Unavailable, match="real devices, which have become simulated"):
        film.submit_all([Request("b", PARAMETERS, {}, laboratory=True)])
    real = Answers(handler=True, furnace=False, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: real)
    with pytest.raises(Unavailable, match="simulated devices, which have become real"):
        film.submit_all([Request("b", PARAMETERS, {}, owner="alice")])
    assert len(simulated.plans) == 1
    assert real.plans == []
    until = "2026-01-31T08:00:00.000000Z"
    assert film.submit_all([Request("b", PARAMETERS, {}, laboratory=True, approved_until=until)]) == {}
    assert [plan.simulated for plan in real.plans] == [False]
    assert real.plans[0].approved_until == datetime(2026, 1, 31, 8, tzinfo=UTC)


def test_a_plan_of_a_laboratory_that_is_partly_simulated_may_use_what_is_simulated_alone(
    film: PerovskiteFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=True, spectrometer=False)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    steps = PerovskiteFilm.steps

    def unmeasured(key: str, parameters: dict[str, Any], arguments: dict[str, Any]) -> list[Step]:
        found = steps(key, parameters, arguments)
        return found if key == "check" else [each for each in found if each.device != "spectrometer"]

    monkeypatch.setattr(PerovskiteFilm, "steps", staticmethod(unmeasured))
    assert film.submit_all([Request("a", PARAMETERS, {}, laboratory=True)]) == {}
    assert [plan.simulated for plan in client.plans] == [True]


def test_what_is_refused_while_devices_change_is_looked_at_again(
    film: PerovskiteFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=True, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    real = Answers(handler=True, furnace=False, spectrometer=True)

    def changed(_plan: Plan) -> None:
        monkeypatch.setattr(client, "state", real.state)
        raise Conflict("The furnace is real.")

    monkeypatch.setattr(client, "submit", changed)
    with pytest.raises(Unavailable, match="have just become others"):
        film.submit_all([Request("a", PARAMETERS, {})])
    assert film.submit_all([Request("a", PARAMETERS, {}, laboratory=True)]) == {"a": "The furnace is real."}


def test_a_plan_costs_the_minutes_for_which_its_steps_were_watched(
    film: PerovskiteFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=True, spectrometer=True)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    # The clock was set back in between, and the gateway was away for a day.
    times = {"started": "2026-01-31T08:00:00.000000Z", "ended": "2026-01-31T07:30:00.000000Z"}
    ended: dict[str, Any] = {"reason": "", "values": {}, "files": {}, **times}
    ended |= {"steps": [{"seconds": 600.0}, {"seconds": 1200.0}], "simulated": False}
    client.answer = {**ended, "state": "failed", "reason": "the lamp is out"}
    assert film.observe("a") == Failure("the lamp is out", {"instrument_minutes": 30.0})
    nothing = {"node_hours": 0.0, "samples": 0.0, "instrument_minutes": 0.0, "money": 0.0}
    client.answer = {**client.answer, "state": "canceled", "steps": []}
    assert film.observe("a") == Failure("the lamp is out", nothing)
    values = {name: {"value": 1.0, "unit": unit} for name, unit in film.outcomes.items()}
    client.answer = {**ended, "state": "done", "values": values}
    found = film.observe("a")
    assert isinstance(found, Observation)
    assert (found.cost, found.simulated) == ({"instrument_minutes": 30.0}, False)
    # Of a step that was begun before journals kept it there is no word: what was planned is charged.
    client.answer = {**client.answer, "steps": [{"seconds": 600.0}, {"seconds": None}]}
    found = film.observe("a")
    assert isinstance(found, Observation)
    assert found.cost == {}
    client.answer = {**ended, "state": "running", "ended": ""}
    assert film.observe("a") is None
