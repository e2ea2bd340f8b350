"""A gateway and its devices as processes, the gateway to be killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter

from genesis_workbench.core.site import DeviceSection, LaboratorySection, Site, load_site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.instruments.client import Client
from genesis_workbench.experiments.instruments.simulated import twin
from genesis_workbench.experiments.instruments.simulated.twin import quit_twin


class Laboratory:
    """A site file, the devices' process, and a gateway that is killed and started again."""

    def __init__(self, folder, *, forgetful=False, time_scale=2000.0):
        self.state, self.twin, self.site_file = State(folder / "state"), folder / "twin", folder / "site.toml"
        settings = {"folder": str(self.twin)}
        devices = [
            DeviceSection(name=name, instrument=f"simulated_{name}", settings=settings)
            for name in ("handler", "furnace", "spectrometer")
        ]
        section = LaboratorySection(name="lab", devices=devices, procedures=["perovskite_film"], patience_s=5)
        self.site_file.write_text(_toml(Site(name="test", laboratories=[section])))
        self.client = Client(section, self.state)
        options = ["--time-scale", str(time_scale), "--failure-rate", "0"]
        command = [sys.executable, "-m", twin.__name__, str(self.twin), *options]
        self._twin = subprocess.Popen([*command, *(["--forgetful"] if forgetful else [])])
        self.kills = 0

    def place(self):
        return Place(load_site(self.site_file), self.state)

    def start(self):
        module = "genesis_workbench.experiments.instruments"
        command = [
            sys.executable,
            "-m",
            module,
            "--site",
            str(self.site_file),
            "--state",
            str(self.state.folder),
        ]
        self.gateway = subprocess.Popen([*command, "lab"], stdout=subprocess.PIPE, text=True)
        assert self.gateway.stdout.readline().startswith("The laboratory lab is at")

    def kill(self):
        self.gateway.send_signal(signal.SIGKILL)
        self.gateway.wait()
        self.gateway.stdout.close()
        self.kills += 1

    def close(self):
        self.gateway.terminate()
        assert self.gateway.wait(timeout=30) == 0
        self.gateway.stdout.close()
        quit_twin(self.twin)
        self._twin.wait(timeout=30)

    def ran(self):
        """Return how often each key physically began, from the devices' own file."""
        with sqlite3.connect(self.twin / "world.sqlite") as file:
            rows = file.execute("SELECT device || '/' || key FROM runs").fetchall()
        file.close()
        return Counter(row[0] for row in rows)


def _toml(site):
    section = site.laboratories[0]
    lines = ['name = "test"', "[[laboratories]]", 'name = "lab"', f"patience_s = {section.patience_s}"]
    lines.append(f"procedures = {json.dumps(section.procedures)}")
    for device in section.devices:
        lines += [
            "[[laboratories.devices]]",
            f'name = "{device.name}"',
            f'instrument = "{device.instrument}"',
        ]
        lines.append(f"settings = {{folder = {json.dumps(device.settings['folder'])}}}")
    return "\n".join(lines)
