"""A real MADSci node, the simulated hot plate, from its own package in an environment of its own, on loopback."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, Unavailable
from genesis_workbench.core.site import DeviceSection, LaboratorySection
from genesis_workbench.experiments.instruments import madsci
from genesis_workbench.experiments.instruments._base import Unknown
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.testing.instruments import InstrumentContract
from harness import free_ports
from system.peers.conftest import environment
from unit.laboratory.twins import do, ended, plan, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TWIN = Path(madsci.__file__).with_name("twin.py")
ACTIONS = {
    "heat": {
        "description": "Reach a temperature and hold it.",
        "parameters": {
            "temperature": {"unit": "kelvin", "low": 290, "high": 370},
            "duration": {"unit": "s", "low": 1, "high": 7 * 86400},
        },
        "outcomes": {"mean_temperature": "kelvin"},
        "longest_s": 8 * 86400,
    },
    "record": {
        "description": "Read the thermometer.",
        "parameters": {"duration": {"unit": "s", "low": 1, "high": 86400}},
    },
    "fly": {"description": "What the node cannot."},
}


class Node:
    """The simulated hot plate as a process: half a minute goes by on a busy machine until a node answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.port = folder, (folder / "node.log").open("w"), free_ports(1)[0]
        (folder / "actions.json").write_text(json.dumps(ACTIONS))
        self.on()

    def settings(self, folder: Path) -> dict[str, str | bool]:
        return {
            "url": f"http://127.0.0.1:{self.port}",
            "actions": str(self.folder / "actions.json"),
            "folder": str(folder / "intentions"),
            "simulated": True,
        }

    def on(self, *, simulated=True):
        program = self.folder / "node.py"
        program.write_text(TWIN.read_text().replace('"simulated": True', f'"simulated": {simulated}'))
        command = [str(environment("madsci")), str(program), str(self.port), "--time-scale", "600"]
        home = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(command, env=home, cwd=self.folder, stdout=self.log, stderr=self.log)

    def off(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = Node(tmp_path_factory.mktemp("madsci"))
    yield made
    made.off()
    made.log.close()


class _Hotplate:
    action, arguments = "heat", {"temperature": 310.0, "duration": 300.0}
    lasting = "heat", {"temperature": 320.0, "duration": 86400.0}

    @pytest.fixture
    def instrument(self, node, tmp_path):
        self.settings = node.settings(tmp_path)
        made = self.again(None)
        wait_until(lambda: _answers(made), 120)
        made.stop()
        made.release()
        yield made
        made.close()

    def again(self, instrument):
        return plugins.load("instruments", "madsci")(self.settings)

    def claiming(self, simulated):
        return plugins.load("instruments", "madsci")(self.settings | {"simulated": simulated})


class TestContract(_Hotplate, InstrumentContract):
    """All that any instrument must do."""

    @pytest.fixture(autouse=True)
    def _twin_again(self, node):
        self.node, self.exchanged = node, False
        yield
        if self.exchanged:
            node.off()
            node.on()

    def exchange(self):
        self.exchanged = True
        self.node.off()
        self.node.on(simulated=False)
        return True

    def test_silence_is_told_as_silence(self, instrument):
        # The node itself is left running for the other tests: nobody listens at this port.
        silent = plugins.load("instruments", "madsci")(
            self.settings | {"url": f"http://127.0.0.1:{free_ports(1)[0]}"}
        )
        super().test_silence_is_told_as_silence(silent)
        silent.close()

    def switch_off(self):
        pass


class TestHotplate(_Hotplate):
    def test_a_gateway_runs_it_within_its_limits_and_keeps_its_files(self, instrument, tmp_path):
        device = DeviceSection(name="plate", instrument="madsci", settings=self.settings)
        lab = Gateway(LaboratorySection(name="lab", devices=[device]), tmp_path / "lab")
        lab.start()
        warm = {
            "temperature": {"value": 40, "unit": "degC"},
            "duration": {"value": 10, "unit": "minute"},
        }
        lab.submit(
            plan("p", do("plate", "heat", **warm), do("plate", "record", duration={"value": 60, "unit": "s"}))
        )
        found = ended(lab, "p")
        assert found["state"] == "done", found
        assert found["simulated"] is True
        value = found["values"]["mean_temperature"]
        assert value["value"] == pytest.approx(313.15, abs=0.3)
        assert value["uncertainty"] > 0
        rows = lab.files.read(found["files"]["trace.csv"]).splitlines()
        assert rows[0].strip() == b"time_s,temperature_K"
        assert len(rows) == 7
        with pytest.raises(ValueError, match="limits are 290 to 370 kelvin"):
            lab.submit(
                plan("q", do("plate", "heat", **warm | {"temperature": {"value": 140, "unit": "degC"}}))
            )
        lab.close()

    def test_a_stop_locks_the_node_for_everybody_until_it_is_released(self, instrument):
        instrument.start("first", *self.lasting)
        instrument.stop()
        status = instrument._rest.get("status")
        assert status["locked"]
        assert status["running_actions"] == []
        instrument.release()
        instrument.start("second", self.action, self.arguments)
        found = wait_until(lambda: getattr(instrument.outcome("second"), "values", None), 60)
        assert found["mean_temperature"] == pytest.approx(310, abs=0.5)

    def test_what_only_the_file_says_is_not_started(self, instrument):
        with pytest.raises(Conflict, match="has no action 'fly'"):
            instrument.start("up", "fly", {})

    def test_a_node_that_was_started_again_knows_nothing_and_nothing_runs_again(self, instrument, node):
        instrument.start("lost", *self.lasting)
        node.off()
        node.on()
        after = self.again(None)
        wait_until(lambda: _answers(after), 120)
        assert isinstance(after.outcome("lost"), Unknown)
        after.start("lost", *self.lasting)
        assert after.state().status == "idle"
        assert isinstance(after.outcome("lost"), Unknown)
        after.close()


def _answers(instrument):
    try:
        return instrument.state()
    except (Unavailable, DeadlineExceeded):
        return None
