"""The simulated hot plate, a MADSci node: ``python twin.py PORT``, where `madsci.node_module` is installed.

A vessel follows Newton's law towards the heater; its thermometer is noisy. This file stands alone: the environment of a
node holds nothing of the workbench. Annotations are what they say and no texts: MADSci reads the types of results from them.
"""

import argparse
import csv
import math
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from madsci.common.types.node_types import RestNodeConfig
from madsci.node_module.helpers import action
from madsci.node_module.rest_node_module import RestNode

ROOM_K, TIME_CONSTANT_S, NOISE_K = 295.0, 60.0, 0.05
TIME_SCALE = 60.0
NOISE = random.Random(0)  # noqa: S311 - a thermometer's noise


class SimulatedHotplate(RestNode):  # type: ignore[misc]
    """Says in its state that it is no instrument."""

    node_state: dict[str, Any] = {"simulated": True, "temperature": ROOM_K}  # noqa: RUF012 - MADSci's own shape
    module_version = "1.0.0"
    halted = threading.Event()

    @action  # type: ignore[untyped-decorator]
    def heat(self, temperature: float, duration: float) -> dict:  # type: ignore[type-arg]
        """Reach a temperature, in K, and hold it for a duration, in s."""
        began, start, seen = time.monotonic(), float(self.node_state["temperature"]), []
        while (at := (time.monotonic() - began) * TIME_SCALE) < duration:
            if self.halted.wait(0.02):
                raise RuntimeError(f"stopped after {at:.0f} of {duration:.0f} s")
            now = temperature + (start - temperature) * math.exp(-at / TIME_CONSTANT_S)
            self.node_state["temperature"] = now
            seen.append((at, now + NOISE.gauss(0, NOISE_K)))
        late = [value for at, value in seen if at > duration / 2] or [temperature]
        mean = sum(late) / len(late)
        return {"mean_temperature": mean, "mean_temperature_uncertainty": NOISE_K / math.sqrt(len(late))}

    @action  # type: ignore[untyped-decorator]
    def record(self, duration: float) -> Path:
        """Read the thermometer for a duration, in s, and give the readings as a file."""
        path = Path(tempfile.mkdtemp()) / "trace.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["time_s", "temperature_K"])
            for at in range(0, max(1, int(duration)), 10):
                rows.writerow([at, round(self.node_state["temperature"] + NOISE.gauss(0, NOISE_K), 3)])
        return path

    def safety_stop(self) -> bool:
        """End what runs, and refuse everything until it is reset."""
        self.halted.set()
        self.node_status.stopped = True
        return True

    def startup_handler(self) -> None:
        """Be usable, at first and after a reset."""
        self.halted.clear()


def main() -> None:
    """Serve until it is killed."""
    global TIME_SCALE  # noqa: PLW0603 - actions are called without anything of ours
    parser = argparse.ArgumentParser(description="A simulated hot plate that is a MADSci node.")
    parser.add_argument("port", type=int)
    parser.add_argument("--time-scale", type=float, default=60.0)
    given = parser.parse_args()
    TIME_SCALE = given.time_scale
    # Without the registry: it would hold a dead process's name for half a minute.
    config = RestNodeConfig(
        node_url=f"http://127.0.0.1:{given.port}", node_name="hotplate", enable_registry_resolution=False
    )
    SimulatedHotplate(node_config=config).start_node()


if __name__ == "__main__":
    main()
