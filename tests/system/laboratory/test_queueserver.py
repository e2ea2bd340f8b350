"""A real bluesky-queueserver with Redis on loopback, its worker over EPICS, as an instrument of a laboratory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import Conflict, GenesisError
from genesis_workbench.experiments.instruments import queueserver
from genesis_workbench.experiments.instruments._base import Done, Failed, Unknown
from genesis_workbench.experiments.instruments.queueserver import manager
from genesis_workbench.testing.instruments import InstrumentContract
from harness import free_ports
from system.peers.conftest import environment
from unit.laboratory.twins import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IOC = "genesis_workbench.experiments.instruments.epics.ioc"
ROOT = Path(__file__).parents[3]
WORKER = Path(queueserver.__file__).with_name("worker.py")


PERMISSIONS = """
user_groups:
  root:
    allowed_plans: [null]
    allowed_devices: [null]
  primary:
    allowed_plans: [":^stage_scan$"]
    allowed_devices: [null]
"""


class Server:
    """Redis, a RE Manager with its worker, and the simulated stage, all of them processes of ours."""

    def __init__(self, folder: Path) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            message = "redis-server is missing: apt-get install redis-server"
            pytest.fail(message) if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip(message)
        self.bin = environment("queueserver").parent
        self.prefix, self.documents = f"sim{uuid.uuid4().hex[:8]}:", folder / "documents"
        self.control, self.info, self.redis = free_ports(3)
        server, repeater = free_ports(2)
        loopback = ("EPICS_CAS_INTF_ADDR_LIST", "EPICS_CAS_BEACON_ADDR_LIST", "EPICS_CA_ADDR_LIST")
        self.variables = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "extensions"),
            **dict.fromkeys(("EPICS_CA_SERVER_PORT", "EPICS_CAS_SERVER_PORT"), str(server)),
            **dict.fromkeys(("EPICS_CA_REPEATER_PORT", "EPICS_CAS_BEACON_PORT"), str(repeater)),
            **dict.fromkeys(loopback, "127.0.0.1"),
            **dict.fromkeys(("EPICS_CA_AUTO_ADDR_LIST", "EPICS_CAS_AUTO_BEACON_ADDR_LIST"), "NO"),
            "GENESIS_STAGE_PREFIX": self.prefix,
            "GENESIS_DOCUMENTS": str(self.documents),
        }
        self.known, self.rights = folder / "existing_plans_and_devices.yaml", folder / "permissions.yaml"
        self.rights.write_text(PERMISSIONS)
        self.log = (folder / "server.log").open("w")
        self.started = [
            self._start(
                redis, "--port", str(self.redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)
            ),
            self._start(sys.executable, "-m", IOC, self.prefix, "--speed", "20"),
        ]
        self.manager = self._manager()
        self.started.append(self.manager)
        self.asks = manager.Manager(self.address)
        wait_until(self._open, 120)

    @property
    def address(self):
        return f"tcp://127.0.0.1:{self.control}"

    def settings(self, folder: Path):
        return {
            "address": self.address,
            "folder": str(folder / "intentions"),
            "documents": str(self.documents),
            "simulated": True,
        }

    def _start(self, *command):
        return subprocess.Popen(
            command, stdout=self.log, stderr=self.log, env=self.variables, start_new_session=True
        )

    def _manager(self):
        return self._start(
            str(self.bin / "python"), str(self.bin / "start-re-manager"),
            "--startup-script", str(WORKER), "--keep-re",
            "--zmq-control-addr", f"tcp://127.0.0.1:{self.control}",
            "--zmq-info-addr", f"tcp://127.0.0.1:{self.info}",
            "--redis-addr", f"127.0.0.1:{self.redis}",
            "--redis-name-prefix", "genesis_test",
            "--update-existing-plans-devices", "ENVIRONMENT_OPEN",
            "--existing-plans-devices", str(self.known),
            "--user-group-permissions", str(self.rights),
            "--user-group-permissions-reload", "ON_STARTUP",
        )  # fmt: skip

    def _open(self):
        """Whether its worker is there; asked to open where it is not."""
        try:
            status = self.asks.ask("status")
            if status["manager_state"] == "idle" and not status["worker_environment_exists"]:
                self.asks.ask("environment_open")
            if status["manager_state"] != "idle" or not status["worker_environment_exists"]:
                return False
            # The first plan that a manager validates makes it import so much that on a busy machine its watchdog takes it
            # for dead after 5 s and starts another: it is ready once it has validated one.
            item = {"item_type": "plan", "name": "stage_scan", "args": [0, 1, 5]}
            added = self.asks.ask("queue_item_add", item=item, user="test", user_group="primary")
            self.asks.ask("queue_clear")
            return added["success"] and self.asks.ask("status")["items_in_queue"] == 0
        except GenesisError:
            return False

    def kill_manager(self):
        """Kill the watchdog with everything below it, as a machine that loses power."""
        family = [
            *psutil.Process(self.manager.pid).children(recursive=True),
            psutil.Process(self.manager.pid),
        ]
        for each in family:
            each.send_signal(signal.SIGKILL)
        self.manager.wait()

    def close(self):
        for process in reversed(self.started):
            try:
                family = psutil.Process(process.pid).children(recursive=True)
            except psutil.NoSuchProcess:
                family = []
            for each in [*family, process]:
                try:
                    each.kill()
                except psutil.NoSuchProcess:
                    continue
            process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("queueserver"))
    yield made
    made.close()


def idle(instrument):
    """Bring the manager back to where each test begins."""
    instrument.stop()
    instrument.release()
    wait_until(lambda: instrument.state().status == "idle", 60)


class TestContract(InstrumentContract):
    action, arguments = "scan", {"start": 0.0, "stop": 5.0, "points": 11.0}
    lasting = "scan", {"start": -40.0, "stop": 40.0, "points": 200.0}

    @pytest.fixture
    def instrument(self, server, tmp_path):
        self.server, self.settings = server, server.settings(tmp_path)
        made = self.again(None)
        idle(made)
        # The history outlives a test, and each test's keys are the contract's.
        server.asks.do("history_clear")
        about = server.documents / manager.ABOUT
        said = about.read_bytes()
        yield made
        about.write_bytes(said)
        made.close()

    def again(self, instrument):
        return plugins.load("instruments", "queueserver")(self.settings)

    def claiming(self, simulated):
        return plugins.load("instruments", "queueserver")(self.settings | {"simulated": simulated})

    def exchange(self):
        # What a worker writes that was started for the other stage.
        (self.server.documents / manager.ABOUT).write_text(json.dumps({"simulated": False}))
        return True

    def switch_off(self):
        # The manager itself is left running for the other tests: nobody listens at the next port.
        from genesis_workbench.experiments.instruments.queueserver import scan

        silent = self.settings | {"address": f"tcp://127.0.0.1:{free_ports(1)[0]}"}
        self._silent = scan.QueueserverScan(silent)

    def test_silence_is_told_as_silence(self, instrument):
        self.switch_off()
        try:
            super().test_silence_is_told_as_silence(self._silent)
        finally:
            self._silent.close()


@pytest.fixture
def scan(server, tmp_path):
    made = plugins.load("instruments", "queueserver")(server.settings(tmp_path))
    idle(made)
    yield made
    made.close()


def ended(instrument, key, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while type(found := instrument.outcome(key)).__name__ == "Running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def test_what_was_aborted_does_not_go_back_to_the_queue(server, scan):
    scan.start("aborted", *TestContract.lasting)
    scan.stop()
    assert isinstance(ended(scan, "aborted"), Failed)
    scan.release()
    queue = server.asks.do("queue_get")
    assert queue["items"] == []
    assert queue["running_item"] == {}


def test_a_stop_holds_for_everybody_who_uses_the_manager(server, scan):
    scan.stop()
    item = {"item_type": "plan", "name": "stage_scan", "args": [0, 1, 5]}
    answer = server.asks.ask("queue_item_execute", item=item, user="somebody", user_group="primary")
    assert answer["success"] is False
    assert "lock" in answer["msg"].lower()
    scan.release()
    assert scan.state().status == "idle"


def test_the_documents_of_the_run_are_the_outcome_s_file(scan):
    scan.start("kept", *(TestContract.action, TestContract.arguments))
    found = ended(scan, "kept")
    assert isinstance(found, Done), found
    kinds = [json.loads(line)[0] for line in found.files["documents.jsonl"].splitlines()]
    assert kinds[0] == "start"
    assert kinds[-1] == "stop"
    assert kinds.count("event") == 11
    assert json.loads(found.files["documents.jsonl"].splitlines()[0])[1]["simulated"] is True


def test_a_worker_that_does_not_say_what_it_is_gets_no_plan(server, scan):
    said = (server.documents / manager.ABOUT).read_bytes()
    (server.documents / manager.ABOUT).unlink()
    try:
        with pytest.raises(Conflict, match=r"this version's worker\.py"):
            scan.start("unsaid", *(TestContract.action, TestContract.arguments))
        scan.stop()
    finally:
        (server.documents / manager.ABOUT).write_bytes(said)
    scan.release()


def test_after_a_manager_was_killed_nothing_runs_again_and_nobody_claims_to_know(server, scan):
    """The last test: it leaves another manager behind."""
    scan.start("killed", *TestContract.lasting)
    wait_until(lambda: scan.state().running == "killed", 30)
    server.kill_manager()
    runs = len(list(server.documents.iterdir()))
    server.manager = server._manager()
    server.started.append(server.manager)
    wait_until(server._open, 120)
    assert isinstance(ended(scan, "killed"), Unknown | Failed)
    time.sleep(3)
    assert server.asks.do("queue_get")["running_item"] == {}
    assert len(list(server.documents.iterdir())) == runs
