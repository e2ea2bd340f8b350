"""The device as ophyd-async sees it: a stage that moves and a detector that counts."""

from __future__ import annotations

from typing import Annotated

from bluesky.protocols import Movable
from ophyd_async.core import (
    AsyncStatus,
    SignalR,
    SignalRW,
    StandardReadable,
    StandardReadableFormat,
    wait_for_value,
)
from ophyd_async.epics.core import EpicsDevice, PvSuffix

_TIMEOUT_S = 3.0


class Stage(StandardReadable, EpicsDevice, Movable[float]):
    """Moves in millimetres; a point is a position and the counts at it.

    The put to the setpoint completes when the stage has arrived, or was stopped. Nothing is read from a cache: what the
    last monitor said may be older than the put, and position and counts have to belong together.
    """

    readback: Annotated[SignalR[float], PvSuffix("Readback"), StandardReadableFormat.HINTED_UNCACHED_SIGNAL]
    counts: Annotated[SignalR[float], PvSuffix("Counts"), StandardReadableFormat.HINTED_UNCACHED_SIGNAL]
    setpoint: Annotated[SignalRW[float], PvSuffix("Setpoint")]
    moving: Annotated[SignalR[int], PvSuffix("Moving")]
    halted: Annotated[SignalRW[int], PvSuffix("Halted")]
    simulated: Annotated[SignalR[int], PvSuffix("Simulated")]

    @AsyncStatus.wrap
    async def set(self, value: float) -> None:
        """Move, and fail where the stage does not arrive."""
        start = await self.readback.get_value(cached=False)
        longest_s = 10 * abs(value - start) + _TIMEOUT_S
        await self.setpoint.set(value, timeout=longest_s)
        at = await self.readback.get_value(cached=False)
        if abs(at - value) > 1e-3:
            raise RuntimeError(f"The stage is at {at:g} mm, not at {value:g} mm.")

    async def halt(self, how: int) -> None:
        """Stop and hold with 1, and return once it stands; let it move again with 0."""
        await self.halted.set(how)
        if how:
            await wait_for_value(self.moving, 0, timeout=_TIMEOUT_S)
