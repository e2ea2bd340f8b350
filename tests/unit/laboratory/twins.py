"""A simulated laboratory whose devices live in this process, behind their real protocol."""

from __future__ import annotations

import threading
import time

from genesis_workbench.core.site import DeviceSection, LaboratorySection
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.experiments.instruments.plan import FINAL, Plan, Step
from genesis_workbench.experiments.instruments.simulated import twin
from genesis_workbench.experiments.instruments.simulated.world import World


class Twin:
    """Devices that can be switched off and on; their laboratory is in a file."""

    def __init__(self, folder, **options):
        self.folder, self.options = folder, {"time_scale": 36_000.0, "failure_rate": 0.0, **options}
        folder.mkdir(parents=True, exist_ok=True)
        self.on()

    def on(self):
        self.world = World(self.folder, **self.options)
        self._server = twin.serve(self.world, self.folder)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def off(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.world.close()

    def ran(self):
        return [(run["device"], run["action"]) for run in self.world.history()]


def section(folder, **changes):
    """Return the laboratory's part of a site file."""
    devices = [
        DeviceSection(
            name=name,
            instrument=f"simulated_{name}",
            settings={"folder": str(folder)},
            **changes.pop(name, {}),
        )
        for name in ("handler", "furnace", "spectrometer")
    ]
    return LaboratorySection(name="lab", devices=devices, **{"patience_s": 1.0, **changes})


def gateway(twin_folder, folder, **changes):
    made = Gateway(section(twin_folder, **changes), folder)
    made.start()
    return made


def uL(value):
    return {"value": value, "unit": "uL"}


def mix(sample, iodide=60, bromide=40):
    arguments = {"sample": sample, "iodide": uL(iodide), "bromide": uL(bromide)}
    return Step(device="handler", action="mix", arguments=arguments)


def load(sample):
    return Step(device="furnace", action="load", arguments={"sample": sample})


def anneal(celsius=100.0, seconds=600.0, unit="degC"):
    arguments = {
        "temperature": {"value": celsius, "unit": unit},
        "duration": {"value": seconds, "unit": "s"},
    }
    return Step(device="furnace", action="anneal", arguments=arguments)


def do(device, action, **arguments):
    return Step(device=device, action=action, arguments=arguments)


def plan(key, *steps, asker="alice", **more):
    return Plan(key=key, steps=steps, asker=asker, **more)


def wait_until(check, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (seen := check()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return seen


def ended(lab, key):
    """Wait until a plan has ended or is unknown, and return it."""
    wait_until(lambda: lab.journal.plan(key)["state"] in FINAL | {"unknown"})
    return lab.plan(key)
