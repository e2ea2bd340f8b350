"""An incubator over SiLA 2: a real server with TLS on loopback, in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading

import pytest

pytest.importorskip("sila2", reason="the extra sila is not installed")

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import DeadlineExceeded, Unavailable
from genesis_workbench.experiments.instruments._base import Failed, NeverStarted, Running, Unknown
from genesis_workbench.testing.instruments import InstrumentContract
from unit.laboratory.twins import wait_until

TWIN = "genesis_workbench.experiments.instruments.sila.twin"
REAL = f"""
from {TWIN.rpartition(".")[0]} import twin
twin.IncubatorTwin.get_Simulated = lambda self, *, metadata: False
twin.main()
"""


class _Incubator:
    action, arguments = "incubate", {"temperature": 310.0, "duration": 30.0}
    lasting = "incubate", {"temperature": 320.0, "duration": 86400.0}

    @pytest.fixture
    def instrument(self, tmp_path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.settings = {
            "address": "127.0.0.1",
            "port": self.port,
            "certificate": str(tmp_path / "ca.pem"),
            "folder": str(tmp_path / "executions"),
            "simulated": True,
        }
        self.switch_on()
        made = self.again(None)
        wait_until(lambda: _answers(made), 30)
        yield made
        made.close()
        self.switch_off()

    def again(self, instrument):
        return plugins.load("instruments", "sila")(self.settings)

    def claiming(self, simulated):
        return plugins.load("instruments", "sila")(self.settings | {"simulated": simulated})

    def switch_on(self, *program):
        command = [sys.executable, *(program or ("-m", TWIN)), str(self.port), self.settings["certificate"]]
        self.process = subprocess.Popen([*command, "--time-scale", "2000"])

    def exchange(self):
        self.switch_off()
        self.switch_on("-c", REAL)
        return True

    def switch_off(self):
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
class TestContract(_Incubator, InstrumentContract):
    """All that any instrument must do."""


class TestIncubator(_Incubator):
    def test_the_plate_was_as_warm_as_asked_for(self, instrument):
        instrument.start("warm", "incubate", {"temperature": 310.15, "duration": 600.0})
        found = wait_until(lambda: getattr(instrument.outcome("warm"), "values", None))
        assert found["mean_temperature"] == pytest.approx(310.15, abs=0.3)

    def test_a_stop_leaves_while_other_calls_hang(self, instrument):
        instrument.start("hot", *self.lasting)
        gate = threading.Event()
        for _ in range(20):
            instrument._line._calls.submit(gate.wait)
        with instrument._starting, instrument._line._connecting:
            instrument.stop()
        gate.set()
        assert isinstance(wait_until(lambda: _final(instrument, "hot")), Failed)
        instrument.release()

    def test_nothing_leaves_late_for_a_server_that_hung(self, instrument):
        self.process.send_signal(signal.SIGSTOP)
        threads = [threading.Thread(target=lambda: _answers(instrument)) for _ in range(12)]
        for thread in threads:
            thread.start()
        with pytest.raises((Unavailable, DeadlineExceeded)):
            instrument.stop()
        with pytest.raises((Unavailable, DeadlineExceeded)):
            instrument.start("late", *self.lasting)
        for thread in threads:
            thread.join()
        line = instrument._line
        wait_until(line._calls._work_queue.empty, 30)
        self.process.send_signal(signal.SIGCONT)
        wait_until(lambda: _answers(instrument), 30)
        assert isinstance(instrument.outcome("late"), NeverStarted | Unknown)
        assert instrument.state().status in ("idle", "stopped"), "and nothing runs"

    def test_what_a_server_forgot_with_its_end_is_unknown(self, instrument):
        action, arguments = self.lasting
        instrument.start("lost", action, arguments)
        self.switch_off()
        self.switch_on()
        after = self.again(None)
        wait_until(lambda: _answers(after), 90)
        found = after.outcome("lost")
        after.close()
        assert isinstance(found, Unknown)
        assert "started again" in found.reason


def _final(instrument, key):
    found = instrument.outcome(key)
    return None if isinstance(found, Running) else found


def _answers(instrument):
    try:
        return instrument.state()
    except (Unavailable, DeadlineExceeded):
        return None
