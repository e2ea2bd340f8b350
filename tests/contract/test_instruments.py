"""Every simulated device keeps the contract of an instrument, and the forgetful one says that it does not know."""

from __future__ import annotations

import time

import pytest

from genesis_workbench.core import plugins
from genesis_workbench.testing.instruments import InstrumentContract
from unit.laboratory.twins import Twin


class _Simulated(InstrumentContract):
    device: str
    forgetful = False

    @pytest.fixture
    def instrument(self, tmp_path):
        self.twin = Twin(tmp_path, time_scale=200.0, forgetful=self.forgetful)
        if self.device == "furnace":
            self._did("handler", "mix", {"sample": "s1", "iodide": 60.0, "bromide": 40.0})
            self._did("furnace", "load", {"sample": "s1"})
        yield self.again(None)
        if self.twin:
            self.twin.off()

    def again(self, instrument):
        return plugins.load("instruments", f"simulated_{self.device}")({"folder": str(self.twin.folder)})

    def switch_off(self):
        self.twin.off()
        self.twin = None

    def _did(self, device, action, arguments):
        self.twin.world.start(device, "before", action, arguments, "test")
        while self.twin.world.outcome(device, "before", "test")["state"] == "running":
            time.sleep(0.01)


class TestHandler(_Simulated):
    device = "handler"
    action, arguments = "mix", {"sample": "s2", "iodide": 20.0, "bromide": 20.0}
    lasting = "mix", {"sample": "s3", "iodide": 200.0, "bromide": 200.0}


class TestFurnace(_Simulated):
    device = "furnace"
    action, arguments = "anneal", {"temperature": 40.0, "duration": 30.0}
    lasting = "anneal", {"temperature": 200.0, "duration": 3600.0}


class TestSpectrometer(_Simulated):
    device = "spectrometer"
    action, arguments = "measure", {"sample": "s1", "integration": 1.0}
    lasting = "measure", {"sample": "s1", "integration": 600.0}

    @pytest.fixture
    def instrument(self, tmp_path):
        self.twin = Twin(tmp_path, time_scale=200.0)
        self.twin.world._facts["samples"]["s1"] = {"bromide": 0.3, "grown": 2.0, "lost": 0.0, "place": "rack"}
        yield self.again(None)
        if self.twin:
            self.twin.off()


class TestForgetfulHandler(TestHandler):
    forgetful = True
