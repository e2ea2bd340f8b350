"""Bluesky plans over ophyd-async on EPICS: real channel access on loopback, the twin in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

pytest.importorskip("caproto", reason="the extra bluesky is not installed")
pytest.importorskip("ophyd_async", reason="the extra bluesky is not installed")

from aioca import CANothing

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import DeadlineExceeded, Unavailable
from genesis_workbench.core.site import DeviceSection, LaboratorySection
from genesis_workbench.experiments.instruments._base import Failed, Running, Unknown
from genesis_workbench.experiments.instruments.epics.stage import Stage
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.testing.instruments import InstrumentContract
from harness import free_ports
from unit.laboratory.twins import do, ended, plan, wait_until

IOC = "genesis_workbench.experiments.instruments.epics.ioc"
REAL = f"""
from caproto.server import pvproperty
from {IOC.rpartition(".")[0]} import ioc
class Real(ioc.StageTwin):
    simulated = pvproperty(value=0, name="Simulated", read_only=True)
ioc.StageTwin = Real
ioc.main()
"""


@pytest.fixture(scope="module")
def loopback():
    """Ports of our own, and nothing that leaves this machine. libca reads this once in a process."""
    server, repeater = free_ports(2)
    names = {
        "EPICS_CA_SERVER_PORT": server,
        "EPICS_CAS_SERVER_PORT": server,
        "EPICS_CA_REPEATER_PORT": repeater,
        "EPICS_CAS_BEACON_PORT": repeater,
        **dict.fromkeys(
            ("EPICS_CAS_INTF_ADDR_LIST", "EPICS_CAS_BEACON_ADDR_LIST", "EPICS_CA_ADDR_LIST"), "127.0.0.1"
        ),
        **dict.fromkeys(("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"), "NO"),
    }
    os.environ.update({name: str(value) for name, value in names.items()})


@pytest.fixture
def stage(loopback, tmp_path):
    """A simulated stage with a prefix that nobody had before: old names are searched for with long pauses."""
    prefix = f"sim{uuid.uuid4().hex[:8]}:"
    process = subprocess.Popen(
        [sys.executable, "-m", IOC, prefix, "--speed", "20"], stdout=subprocess.DEVNULL
    )
    settings = {"prefix": prefix, "folder": str(tmp_path / "documents"), "simulated": True}
    made = plugins.load("instruments", "bluesky")(settings)
    wait_until(lambda: _answers(made), 30)
    yield made, settings, process
    made.close()
    process.kill()
    process.wait()


def _answers(instrument):
    try:
        return instrument.state()
    except Unavailable:
        return None


class _Stage:
    action, arguments = "scan", {"start": 0.0, "stop": 5.0, "points": 21.0}
    lasting = "scan", {"start": -40.0, "stop": 40.0, "points": 100.0}

    @pytest.fixture
    def instrument(self, stage):
        made, self.settings, self.process = stage
        yield made
        self.switch_off()

    def again(self, instrument):
        return plugins.load("instruments", "bluesky")(self.settings)

    def claiming(self, simulated):
        return plugins.load("instruments", "bluesky")(self.settings | {"simulated": simulated})

    def switch_off(self):
        self.process.kill()
        self.process.wait()

    def exchange(self):
        self.switch_off()
        command = [sys.executable, "-c", REAL, self.settings["prefix"]]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        return True


@pytest.mark.slow
class TestContract(_Stage, InstrumentContract):
    """All that any instrument must do."""


class TestStage(_Stage):
    def test_a_scan_finds_the_line_and_keeps_the_documents(self, instrument):
        instrument.start("scan", "scan", {"start": 0.0, "stop": 5.0, "points": 51.0})
        wait_until(lambda: instrument.state().status == "idle")
        found = instrument.outcome("scan")
        assert found.values["centre"] == pytest.approx(2.5, abs=0.02)
        kinds = [json.loads(line)[0] for line in found.files["documents.jsonl"].splitlines()]
        assert kinds[0] == "start"
        assert kinds[-1] == "stop"
        assert kinds.count("event") == 51

    def test_a_gateway_runs_it(self, instrument, tmp_path):
        device = DeviceSection(name="stage", instrument="bluesky", settings=self.settings)
        lab = Gateway(LaboratorySection(name="lab", devices=[device]), tmp_path / "lab")
        lab.start()
        mm = {name: {"value": value, "unit": "cm"} for name, value in (("start", 0.0), ("stop", 0.5))}
        lab.submit(plan("p", do("stage", "scan", **mm, points={"value": 21, "unit": ""})))
        found = ended(lab, "p")
        assert found["state"] == "done", found
        assert found["values"]["centre"]["value"] == pytest.approx(2.5, abs=0.05)
        assert json.loads(lab.files.read(found["files"]["documents.jsonl"]).splitlines()[0])[0] == "start"
        lab.close()


def _under_way(instrument, folder, key):
    instrument.start(key, *_Stage.lasting)
    file = Path(folder) / f"{key}.jsonl"
    wait_until(lambda: b'"event"' in file.read_bytes(), 30)
    return file


def _breaks_off(instrument, file):
    with pytest.raises((Unavailable, DeadlineExceeded)):
        instrument.stop()
    wait_until(lambda: not isinstance(instrument.outcome(file.stem), Running), 30)
    assert isinstance(instrument.outcome(file.stem), Failed)
    return file.read_bytes()


@pytest.mark.parametrize("refusal", [RuntimeError("denied"), CANothing("Halted", 376)])
def test_a_halt_that_is_refused_breaks_the_plan_off_all_the_same(stage, monkeypatch, refusal):
    instrument, settings, _ = stage
    file = _under_way(instrument, settings["folder"], "denied")

    async def denied(_stage, _how):
        raise refusal  # aioca's are false, which must not pass for no error at all

    monkeypatch.setattr(Stage, "halt", denied)
    _breaks_off(instrument, file)
    with pytest.raises(Unavailable):  # the device, not an engine that is idle
        instrument.stop()


def test_a_stage_that_is_silent_when_it_is_stopped_does_not_go_on_with_the_plan(stage):
    instrument, settings, process = stage
    file = _under_way(instrument, settings["folder"], "silent")
    process.send_signal(signal.SIGSTOP)
    try:
        documents = _breaks_off(instrument, file)
    finally:
        process.send_signal(signal.SIGCONT)
    time.sleep(2)  # long enough for a plan that would go on
    assert file.read_bytes() == documents


def test_an_engine_that_has_just_become_idle_is_no_error_of_a_stop(stage, monkeypatch):
    instrument, settings, _ = stage
    _under_way(instrument, settings["folder"], "ends")
    abort = instrument._engine.abort

    def late(why):
        abort(why)
        instrument._thread.join()
        return abort(why)

    monkeypatch.setattr(instrument._engine, "abort", late)
    instrument.stop()


def test_a_plan_that_died_with_its_process_is_unknown(stage):
    instrument, settings, _ = stage
    program = (
        "import sys, json, time\n"
        "from genesis_workbench.core import plugins\n"
        "made = plugins.load('instruments', 'bluesky')(json.loads(sys.argv[1]))\n"
        "made.start('p', 'scan', {'start': -40.0, 'stop': 40.0, 'points': 200.0})\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, json.dumps(settings)])
    file = Path(settings["folder"]) / "p.jsonl"
    wait_until(lambda: file.exists() and b'"event"' in file.read_bytes(), 30)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    found = instrument.outcome("p")
    assert isinstance(found, Unknown)
    assert "broken off after" in found.reason
