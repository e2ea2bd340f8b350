"""The simulated twin: a server of channel access with a stage and a detector that see one line.

``python -m genesis_workbench.experiments.instruments.epics.ioc PREFIX``. The counts are a Gaussian line over a
background, with shot noise; the stage moves at a constant speed and stops where it is when it is halted.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import socket
import sys
import time
from typing import Any

import numpy as np
from caproto.asyncio import server as caproto_server
from caproto.server import PVGroup, pvproperty, run

CENTRE_MM, WIDTH_MM, HEIGHT, BACKGROUND = 2.5, 0.4, 5000.0, 20.0


class StageTwin(PVGroup):
    """Says with `Simulated` that it is no instrument."""

    def __init__(self, *args: Any, seed: int = 0, speed_mm_per_s: float = 20.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._noise, self._speed = np.random.default_rng(seed), speed_mm_per_s

    async def _move(self, _instance: Any, target: float) -> None:
        """Move; the put completes at the end of the motion."""
        if self.halted.value:
            raise ValueError("the stage is halted")
        start, began = self.readback.value, time.monotonic()
        lasts_s = abs(target - start) / self._speed
        await self.moving.write(1)
        while not self.halted.value:
            share = min(1.0, (time.monotonic() - began) / lasts_s) if lasts_s else 1.0
            await self.readback.write(start + share * (target - start))
            if share >= 1.0:
                break
            await asyncio.sleep(0.02)
        await self.moving.write(0)

    async def _count(self, _instance: Any) -> float:
        """Count for a moment at the position."""
        at = self.readback.value
        expected = BACKGROUND + HEIGHT * math.exp(-0.5 * ((at - CENTRE_MM) / WIDTH_MM) ** 2)
        return float(self._noise.poisson(expected))

    readback = pvproperty(value=0.0, name="Readback", read_only=True, units="mm", precision=4)
    setpoint = pvproperty(value=0.0, name="Setpoint", units="mm", precision=4, put=_move)
    moving = pvproperty(value=0, name="Moving", read_only=True)
    halted = pvproperty(value=0, name="Halted")
    counts = pvproperty(value=0.0, name="Counts", read_only=True, get=_count)
    simulated = pvproperty(value=1, name="Simulated", read_only=True)


async def _quick_socket(address: str, port: int) -> socket.socket:
    # Named as TCP, so that asyncio turns Nagle's algorithm off: otherwise each reply waits 40 ms (caproto 1.3).
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setblocking(False)
    made.bind((address, port))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serve on loopback until it is ended."""
    parser = argparse.ArgumentParser(description="A simulated stage and detector on EPICS channel access.")
    parser.add_argument("prefix", help="Of its process variables, such as 'sim:stage:'.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=20.0, help="In mm/s.")
    given = parser.parse_args(arguments)
    caproto_server._create_bound_tcp_socket = _quick_socket
    twin = StageTwin(prefix=given.prefix, seed=given.seed, speed_mm_per_s=given.speed)
    run(twin.pvdb, module_name="caproto.asyncio.server", interfaces=["127.0.0.1"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
