"""What a procedure says of itself before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.executors._base import Place, signature
from genesis_workbench.experiments.executors.perovskite_film import PerovskiteFilm


class Answers:
    """A gateway's client that knows of three devices."""

    def __init__(self, **simulated: bool) -> None:
        self._devices = [{"name": name, "simulated": value} for name, value in simulated.items()]

    def state(self) -> dict[str, Any]:
        return {"devices": self._devices}


@pytest.mark.parametrize("furnace", [True, False])
def test_a_trial_waits_for_a_person_where_one_of_its_devices_is_real(
    furnace: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Answers(handler=True, furnace=furnace, spectrometer=True, elsewhere=False)
    monkeypatch.setattr(PerovskiteFilm, "_client", lambda self: client)
    found = signature(PerovskiteFilm(Place(Site(name="here"), State(tmp_path))), {})
    assert found.laboratory is not furnace
    assert found.simulated
