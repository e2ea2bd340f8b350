"""The simulated incubator, a SiLA 2 server with TLS: ``python -m ...instruments.sila.twin PORT CERTIFICATE_FILE``.

The plate follows Newton's law towards the heater; its thermometer is noisy. The certificate that clients have to trust
is written into the file that is named.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sila2.framework import DefinedExecutionError, Feature
from sila2.server import FeatureImplementationBase, SilaServer
from sila2.server.encryption import generate_self_signed_certificate

FEATURE = Path(__file__).with_name("Incubator.sila.xml")
_ROOM_K, _TIME_CONSTANT_S, _NOISE_K = 295.0, 60.0, 0.05


class IncubatorTwin(FeatureImplementationBase):
    """Says with its property `Simulated` that it is no instrument."""

    Incubate_default_lifetime_of_execution = timedelta(days=1)

    def __init__(self, server: SilaServer, feature: Feature, seed: int, time_scale: float) -> None:
        super().__init__(server)
        self._errors = feature.defined_execution_errors
        self._noise, self._scale = np.random.default_rng(seed), time_scale
        self._busy, self._stopped, self._plate = threading.Lock(), threading.Event(), _ROOM_K

    def Incubate(self, Temperature: float, Duration: float, *, metadata: Any, instance: Any) -> float:  # noqa: N802, N803
        """Reach the temperature and hold it."""
        if self._stopped.is_set() or not self._busy.acquire(blocking=False):
            raise DefinedExecutionError(
                self._errors["NotReady"], "It is busy or stopped; nothing was started."
            )
        try:
            instance.begin_execution()
            start, began, total = self._plate, time.monotonic(), 5 * _TIME_CONSTANT_S + Duration
            while (at := (time.monotonic() - began) * self._scale) < total:
                self._plate = Temperature + (start - Temperature) * math.exp(-at / _TIME_CONSTANT_S)
                if self._stopped.wait(0.01):
                    raise DefinedExecutionError(
                        self._errors["Stopped"], f"It was stopped after {at:.0f} of {total:.0f} s."
                    )
            self._plate = Temperature
            return Temperature + _NOISE_K * float(self._noise.normal())
        finally:
            self._busy.release()

    def Stop(self, *, metadata: Any) -> None:  # noqa: N802
        """End what runs, and return once it has ended."""
        self._stopped.set()
        with self._busy:
            self._plate = min(self._plate, _ROOM_K + 1)

    def Release(self, *, metadata: Any) -> None:  # noqa: N802
        """Let it be used again."""
        self._stopped.clear()

    def get_Status(self, *, metadata: Any) -> str:  # noqa: N802
        """Return idle, busy or stopped."""
        return "busy" if self._busy.locked() else "stopped" if self._stopped.is_set() else "idle"

    def get_PlateTemperature(self, *, metadata: Any) -> float:  # noqa: N802
        """Return the temperature now, in K."""
        return self._plate + _NOISE_K * float(self._noise.normal())

    def get_Simulated(self, *, metadata: Any) -> bool:  # noqa: N802
        """Return True."""
        return True


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A simulated incubator that speaks SiLA 2.")
    parser.add_argument("port", type=int)
    parser.add_argument("certificate", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-scale", type=float, default=60.0)
    given = parser.parse_args(arguments)
    number, ended = uuid.uuid4(), threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: ended.set())
    feature = Feature(FEATURE.read_text())
    server = SilaServer(
        "Simulated incubator", "Incubator", "It does not exist.", "1.0", "https://sila-standard.org", number
    )
    server.set_feature_implementation(feature, IncubatorTwin(server, feature, given.seed, given.time_scale))
    key, certificate = generate_self_signed_certificate(number, "127.0.0.1")
    # Discovery would speak to the whole network.
    server.start("127.0.0.1", given.port, private_key=key, cert_chain=certificate, enable_discovery=False)
    given.certificate.write_bytes(certificate)
    ended.wait()
    server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
