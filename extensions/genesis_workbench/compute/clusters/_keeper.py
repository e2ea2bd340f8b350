"""What keeps a cluster at strength: replaces lost workers, renews them before their walltime, releases idle ones.

Dask's own machinery does none of it well on a queue: a job that dies is not replaced (dask-jobqueue #611, #691),
workers that all end at once take their results with them, and a refused submission is a line in a log. The keeper
looks at the queue and the scheduler every second or two and corrects the difference. It lives in the event loop of
the scheduler, so it reads its state directly.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from genesis_workbench.core.busy import say
from genesis_workbench.core.errors import Conflict, DeadlineExceeded, GenesisError, Unavailable

if TYPE_CHECKING:
    from distributed import Worker

    SpecCluster = Any  # Dask's types know less than what is there

HOLDER = "holder"
_RETRY_S = 10  # after a refused submission
_LAST_CALL_S = 5  # before a job's end, from when on results that cannot be moved are given up
_SETTLE_S = 5  # a job that was just submitted may not be in the queue's answer yet
_TELL_S = 120  # how long a lost worker is spoken of
_SAY_EVERY_S = 20.0
_ADAPT_DOWN_AFTER = 5  # turns in a row that ask for fewer workers
_SPILL_EARLY = {
    "distributed.worker.memory.target": 0.25,
    "distributed.worker.memory.spill": 0.25,
    "distributed.worker.memory.pause": False,  # the keeper says when it takes results
}
_log = structlog.get_logger()
_MUST_AGREE = ("python", "dask", "distributed", "msgpack", "cloudpickle")


@dataclass(frozen=True)
class Seen:
    """What the queue says of one worker's job.

    Attributes
    ----------
    running : bool
        Whether it has machines.
    reason : str
        Why it waits.
    position : int or None
        Place in the queue.
    started_s : float or None
        When it started, seconds since the epoch.
    lost : bool
        Whether it has ended without being asked to, for `reason`.
    """

    running: bool
    reason: str = ""
    position: int | None = None
    started_s: float | None = None
    lost: bool = False


Look = Callable[[Iterable[Any]], Awaitable[dict[Any, Seen]]]
"""Asks the queue for the jobs of the workers with these names; leaves out those that are gone, or says why they are."""


@dataclass
class Size:
    """How many workers are wanted: the same numbers for a fixed size."""

    minimum: int
    maximum: int

    @property
    def fixed(self) -> bool:
        """Whether it does not follow the work."""
        return self.minimum == self.maximum


@dataclass
class Keeper:
    """Keeps one cluster as its owner asked for it.

    Parameters
    ----------
    cluster : SpecCluster
        Dask's object, running.
    size : Size
        Workers wanted.
    look : callable
        See :data:`Look`.
    walltime_s : float or None
        Seconds after which a worker's job is ended by the queue; None for no end.
    idle_release_s : float
        Seconds without work after which all workers are given back. Results stay, spilled to `scratch`.
    scratch : Path
        Folder on this machine for results that no worker holds any more.
    poll_s : float
        Seconds between two looks.
    """

    cluster: SpecCluster
    size: Size
    look: Look
    walltime_s: float | None
    idle_release_s: float
    scratch: Path
    poll_s: float = 1.0
    trouble: str = ""
    refusal: GenesisError | None = None
    released: bool = False
    replaced: int = 0
    renewed: int = 0
    seen: dict[Any, Seen] = field(default_factory=dict)
    _loss: str = ""
    _loss_s: float = -math.inf
    _asked_s: dict[Any, float] = field(default_factory=dict)
    _renewals: dict[Any, Any] = field(default_factory=dict)  # old name -> name of its replacement
    _queue_wait_s: float = 0.0
    _arrived: set[Any] = field(default_factory=set)
    _idle_since: float | None = None
    _said_at: float = -_SAY_EVERY_S
    _retry_at: float = 0.0
    _lower: int = 0
    _holder: Worker | None = None
    _task: asyncio.Task[None] | None = None
    _checked: set[str] = field(default_factory=set)

    async def start(self) -> None:
        """Ask for the first workers, then keep looking until :meth:`stop`.

        Raises
        ------
        GenesisError
            The queue's words, where it refuses the first workers.
        """
        await self._add(self.size.maximum if self.size.fixed else self.size.minimum)
        if self.refusal:
            raise self.refusal
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._close_holder()

    def resize(self, minimum: int, maximum: int) -> None:
        """Ask for another size; the next turn begins with it."""
        self.size, self.released, self.refusal, self._retry_at = Size(minimum, maximum), False, None, 0.0

    def workers(self) -> list[dict[str, Any]]:
        """Return each worker that is wanted, with where it is on its way."""
        # A worker counts from when its versions were compared.
        arrived = {name: ws for name, ws in self._by_name().items() if ws.address in self._checked}
        listed = []
        for name in [*self.cluster.worker_spec, *([HOLDER] if self._holder else [])]:
            ws, seen = arrived.get(name), self.seen.get(name)
            left = self._ends_s(name)
            listed.append(
                {
                    "name": str(name),
                    "state": _state(name, ws, seen),
                    "reason": _reason(name, ws, seen),
                    "position": None if ws or not seen else seen.position,
                    "host": ws.host if ws else "",
                    "threads": ws.nthreads if ws else 0,
                    "memory_bytes": ws.metrics.get("memory", 0) if ws else 0,
                    "memory_limit_bytes": ws.memory_limit if ws else 0,
                    "cpu_percent": ws.metrics.get("cpu", 0.0) if ws else 0.0,
                    "tasks": len(ws.processing) if ws else 0,
                    "ends_in_s": None if left is None else max(0.0, left - time.time()),
                }
            )
        return listed

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.poll_s)
            try:
                await self.turn()
                self.trouble = self._loss if time.monotonic() - self._loss_s < _TELL_S else ""
            except (Unavailable, DeadlineExceeded) as error:
                # The queue is away: what runs goes on, and nothing is decided until it answers.
                self.trouble = error.message
            except GenesisError as error:
                self.trouble = error.message
                self._retry_at = time.monotonic() + _RETRY_S
            except Exception as error:  # noqa: BLE001 - a keeper that ends leaves the cluster alone; told and logged
                self.trouble = f"The cluster is not looked after just now: {type(error).__name__}: {error}"
                _log.error("keeper failed", cluster=self.cluster.name, error=repr(error))

    async def turn(self) -> None:
        """Look once and correct what differs."""
        seen = await self.look(list(self.cluster.worker_spec))
        for each in seen.values():
            if each.lost and each.reason:
                self._loss, self._loss_s = f"A worker was lost: {each.reason}", time.monotonic()
        self.seen = {name: each for name, each in seen.items() if not each.lost}
        self._note_arrivals()
        await self._refuse_other_versions()
        await self._forget_the_dead()
        await self._renew()
        await self._keep_size()
        await self._give_back_what_is_held()

    # --- who is there -------------------------------------------------------------------------------------------

    def _by_name(self) -> dict[Any, Any]:
        return {ws.name: ws for ws in self.cluster.scheduler.workers.values()}

    def _note_arrivals(self) -> None:
        for name in set(self._by_name()) - self._arrived - {HOLDER}:
            self._arrived.add(name)
            if name in self._asked_s:
                waited = time.monotonic() - self._asked_s[name]
                # The longest wait counts, and is forgotten slowly.
                self._queue_wait_s = max(waited, 0.8 * self._queue_wait_s)

    async def _refuse_other_versions(self) -> None:
        from distributed.versions import get_versions

        for ws in list(self.cluster.scheduler.workers.values()):
            if ws.address in self._checked:
                continue
            self._checked.add(ws.address)
            different = "" if ws.name == HOLDER else differences(get_versions(), ws.versions)
            if different:
                self.refusal = Conflict(
                    f"The worker {ws.name} has {different}. Workers and notebook need the same: start the notebook from "
                    "the image that the workers use, or name its Python in compute.python of the site file."
                )
                self.size = Size(0, 0)
                return

    async def _forget_the_dead(self) -> None:
        now, arrived = time.monotonic(), self._by_name()
        dead = [
            name
            for name in list(self.cluster.worker_spec)
            if name not in self.seen and now - self._asked_s.get(name, now) > _SETTLE_S
        ]
        for name in dead:
            self.cluster.worker_spec.pop(name, None)
            if job := self.cluster.workers.pop(name, None):
                await job.close()
            if ws := arrived.get(name):
                # Its machine may have gone without a word: the connection would be trusted for minutes more.
                await self.cluster.scheduler.remove_worker(
                    ws.address, stimulus_id=f"genesis-lost-{time.time()}"
                )
            self._renewals.pop(name, None)
            self.replaced += 1

    # --- before the walltime ends -------------------------------------------------------------------------------

    def _ends_s(self, name: Any) -> float | None:
        seen = self.seen.get(name)
        if self.walltime_s is None or seen is None or seen.started_s is None:
            return None
        return seen.started_s + self.walltime_s

    async def _renew(self) -> None:
        """Ask for replacements so early that they arrive before the old ones end, then move the results over.

        At most a quarter is renewed at once, each wave longer than the longest wait in the queue that was seen, so
        that a cluster never loses all its workers in one moment.
        """
        if self.walltime_s is None:
            return
        now, arrived = time.time(), self._by_name()
        margin_s = min(self.walltime_s / 4, 60)
        lead_s = min(self.walltime_s / 2, margin_s + max(10, 5 * self._queue_wait_s))
        at_once = max(1, math.ceil(len(self.cluster.worker_spec) / 4))
        over = []
        for name in list(self.cluster.worker_spec):
            ends = self._ends_s(name)
            if ends is None or name not in arrived or name in self._renewals.values():
                continue
            if self._renewals.get(name) in arrived or now > ends - margin_s:
                over.append(name)
            elif now > ends - lead_s and name not in self._renewals and len(self._renewals) < at_once:
                self._renewals.update(
                    zip([name], await self._add(1), strict=False)
                )  # none where it was refused
        if over:
            self.renewed += len(over)
            await self._retire(over)
        for old, new in list(self._renewals.items()):
            if old not in self.cluster.worker_spec or new not in self.cluster.worker_spec:
                del self._renewals[old]

    # --- as many as are wanted ----------------------------------------------------------------------------------

    async def _keep_size(self) -> None:
        wanted = self._wanted()
        seats = len(self.cluster.worker_spec) - len(self._renewals)
        if seats < wanted and time.monotonic() >= self._retry_at:
            await self._add(wanted - seats)
        elif seats > wanted:
            await self._retire(self._least_useful(seats - wanted))

    def _wanted(self) -> int:
        scheduler, size = self.cluster.scheduler, self.size
        self._note_idleness()
        if self._idle_since is not None and time.monotonic() - self._idle_since > self.idle_release_s:
            self.released = True
        if self.released:
            if not (scheduler.queued or scheduler.unrunnable):
                return 0
            self.released = False
        if size.fixed:
            return size.maximum
        seats = len(self.cluster.worker_spec) - len(self._renewals)
        asked = min(size.maximum, max(size.minimum, scheduler.adaptive_target()))
        # Up at once, down only after it was asked for several times: work comes in waves.
        self._lower = self._lower + 1 if asked < seats else 0
        return seats if 0 < self._lower < _ADAPT_DOWN_AFTER else asked

    def _note_idleness(self) -> None:
        scheduler = self.cluster.scheduler
        busy = (
            scheduler.queued
            or scheduler.unrunnable
            or any(ws.processing or ws.actors for ws in scheduler.workers.values())
        )
        if busy:
            self._idle_since = None
            if time.monotonic() - self._said_at > _SAY_EVERY_S:
                self._said_at = time.monotonic()
                say("a Dask computation")
        elif self._idle_since is None:
            self._idle_since = time.monotonic()

    def _least_useful(self, count: int) -> list[Any]:
        arrived = self._by_name()
        names = list(self.cluster.worker_spec)
        names.sort(key=lambda name: (name in arrived, len(arrived[name].processing) if name in arrived else 0,
                                     arrived[name].nbytes if name in arrived else 0))  # fmt: skip
        return names[:count]

    async def _add(self, count: int) -> list[Any]:
        """Ask for workers; return the names of those that the queue took."""
        cluster, names = self.cluster, []
        for _ in range(count):
            # Never a name that was used: the scheduler may still know the worker that had it.
            cluster._i += 1
            spec = cluster.new_worker_spec()
            cluster.worker_spec.update(spec)
            names += list(spec)
        now = time.monotonic()
        self._asked_s.update(dict.fromkeys(names, now))
        if not names:
            return []
        try:
            await cluster._correct_state()
            self.refusal = None
        except GenesisError as error:
            self.refusal, self._retry_at = error, now + _RETRY_S
            for name in names:
                job = cluster.workers.get(name)
                if job is None or not getattr(job, "job_id", "local"):
                    cluster.worker_spec.pop(name, None)
                    cluster.workers.pop(name, None)
        return [name for name in names if name in cluster.worker_spec]

    async def _retire(self, names: list[Any]) -> None:
        """Move what workers hold to others, then end their jobs."""
        arrived = self._by_name()
        staying = set(arrived) - set(names) - {HOLDER}
        held = any(arrived[name].has_what for name in names if name in arrived)
        if held and not staying:
            await self._open_holder()
        addresses = [arrived[name].address for name in names if name in arrived]
        if addresses:
            moved = await self.cluster.scheduler.retire_workers(workers=addresses, close_workers=True)
            # What still holds results goes on, if the queue lets it; the next turn tries again.
            names = [
                name
                for name in names
                if name not in arrived
                or arrived[name].address in moved
                or (self._ends_s(name) or math.inf) < time.time() + _LAST_CALL_S
            ]
        if self._holder:
            from distributed.core import Status

            self._holder.status = Status.paused  # it keeps results; it does not work
        for name in names:
            self.cluster.worker_spec.pop(name, None)
        await self.cluster._correct_state()

    # --- results while there is no worker -----------------------------------------------------------------------

    async def _open_holder(self) -> None:
        """Start a worker beside the scheduler that takes no tasks: results wait there, on disk, for new workers."""
        import dask
        from distributed import Worker
        from distributed.core import Status

        if self._holder is None:
            scheduler = self.cluster.scheduler
            host = scheduler.address.rpartition("://")[2].rpartition(":")[0]
            with dask.config.set(_SPILL_EARLY):
                self._holder = await Worker(
                    scheduler.address,
                    nthreads=1,
                    name=HOLDER,
                    host=host,
                    local_directory=str(self.scratch),
                    memory_limit=2**30,
                    dashboard_address="127.0.0.1:0",
                    security=self.cluster.security,
                )
        self._holder.status = Status.running
        known = self.cluster.scheduler.workers[self._holder.address]
        for _ in range(200):  # until the scheduler knows: it moves nothing to a worker that is not running
            if known.status is Status.running:
                return
            await asyncio.sleep(0.05)

    async def _give_back_what_is_held(self) -> None:
        if not self._holder or not set(self._by_name()) - {HOLDER}:
            return
        # Empty where the results could not be moved yet: the next turn tries again.
        if await self.cluster.scheduler.retire_workers(names=[HOLDER], close_workers=False):
            await self._close_holder()

    async def _close_holder(self) -> None:
        holder, self._holder = self._holder, None
        if holder:
            await holder.close()


def _state(name: Any, ws: Any, seen: Seen | None) -> str:
    if name == HOLDER:
        return "holding"
    return "working" if ws else "starting" if seen and seen.running else "waiting"


def _reason(name: Any, ws: Any, seen: Seen | None) -> str:
    if name == HOLDER:
        return "It keeps results on disk until a worker is back."
    if ws:
        return ""
    return seen.reason if seen else "It is being submitted."


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Say which of the packages that must agree differ; empty where none does.

    Parameters
    ----------
    ours, theirs : dict
        As :func:`distributed.versions.get_versions` gives them.
    """
    found = []
    for name in _MUST_AGREE:
        here, there = _version(ours, name), _version(theirs, name)
        if here != there:
            found.append(f"{name} {there or 'missing'} (the notebook has {here or 'none'})")
    return " and ".join(found)


def _version(versions: dict[str, Any], name: str) -> str:
    if name == "python":
        return ".".join(str(versions.get("host", {}).get("python", "")).split(".")[:2])
    return str(versions.get("packages", {}).get(name) or "")
