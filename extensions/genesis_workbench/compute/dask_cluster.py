"""`gw.cluster`: a Dask cluster on what this place has, with the same words from laptop to supercomputer."""

from __future__ import annotations

import contextlib
import html
import json
import os
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from genesis_workbench.compute.clusters import _security
from genesis_workbench.compute.clusters._keeper import Keeper, Size
from genesis_workbench.compute.slurm import duration
from genesis_workbench.core import plugins, processes
from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from genesis_workbench.core.identifiers import check_slug, new_id
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import ComputeSection, this_site
from genesis_workbench.core.units import convert

if TYPE_CHECKING:
    from distributed import Client

    SpecCluster = Any  # Dask's types know less than what is there
    from distributed.security import Security

_CONNECT_S = 10
_LOOK_S = 1.0


class Workers(Protocol):
    """Where the workers of a cluster run: a plug-in of the group ``clusters``, named like its scheduler."""

    walltime_s: float | None
    poll_s: float
    memory_bytes: int

    def open(self, name: str, folder: Path, security: Security | None) -> SpecCluster:
        """Start the scheduler, without workers."""
        ...

    def script(self, cluster: SpecCluster) -> str:
        """Return how one worker is started."""
        ...

    async def look(self, cluster: SpecCluster, names: Any) -> dict[Any, Any]:
        """See :data:`genesis_workbench.compute.clusters._keeper.Look`."""
        ...


class GenesisCluster:
    """A Dask cluster with its client, which is the default of this notebook until :meth:`close`.

    Made by :func:`cluster`. The scheduler lives in the notebook that made it; others attach to it by its name. Use it
    in a ``with`` statement or close it; it ends with its notebook too.

    Attributes
    ----------
    name : str
        By which another notebook of the same person attaches to it.
    client : distributed.Client
        What sends work there.
    """

    def __init__(self, name: str, client: Client, folder: Path, owner: _Owner | None) -> None:
        self.name, self.client, self._folder, self._owner = name, client, folder, owner

    @property
    def attached(self) -> bool:
        """Whether another notebook owns it: closing it here only leaves it."""
        return self._owner is None

    @property
    def dashboard_link(self) -> str:
        """Address of Dask's own dashboard: inside a hub through the person's server, with their rights."""
        port = int(self.status()["dashboard_port"])
        prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX")
        return f"{prefix}proxy/{port}/status" if prefix else f"http://127.0.0.1:{port}/status"

    def status(self) -> dict[str, Any]:
        """Return what is known of it now.

        Returns
        -------
        dict
            ``workers`` (each with state, reason, position in the queue, memory in bytes, tasks), ``tasks`` (counts by
            state), ``finished`` (tasks computed since it began), ``minimum`` and ``maximum``, ``trouble`` (what keeps
            it from its size), ``released``.
        """
        return dict(self._ask("genesis_status"))

    def scale(self, workers: int | tuple[int, int]) -> None:
        """Ask for another number of workers, or for a range that follows the work."""
        minimum, maximum = _range(workers)
        self._ask("genesis_scale", minimum=minimum, maximum=maximum)

    def wait(self, workers: int | None = None, timeout_s: float = 600) -> GenesisCluster:
        """Wait until `workers` have arrived, or all that were asked for.

        Raises
        ------
        GenesisError
            With the queue's words, where it refuses more workers.
        DeadlineExceeded
            Why the first that is missing waits.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = self.status()
            if now["refusal"]:
                raise InvalidInput(now["refusal"])
            working = [each for each in now["workers"] if each["state"] == "working"]
            if len(working) >= (now["maximum"] if workers is None else workers):
                return self
            if time.monotonic() > deadline:
                missing = [each["reason"] for each in now["workers"] if each["state"] != "working"]
                raise DeadlineExceeded(
                    f"{len(working)} workers have come in {timeout_s:g} s. {' '.join(missing[:1]) or now['trouble']}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """Give all workers back, whatever they compute; :meth:`scale` asks for some again. Results move to disk."""
        self._ask("genesis_stop")

    def script(self) -> str:
        """Return how one worker is started, such as its batch script."""
        return str(self.status()["script"])

    def close(self) -> None:
        """End workers and scheduler; where it is attached, leave it as it is."""
        self.client.close()
        _forget_default()
        if self._owner:
            self._owner.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> GenesisCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.client.status != "running":
            return f"GenesisCluster({self.name!r}, closed)"
        now = self.status()
        working = sum(each["state"] == "working" for each in now["workers"])
        waiting = next((each["reason"] for each in now["workers"] if each["state"] == "waiting"), "")
        memory = f"{now['worker_memory_bytes'] / 2**30:.1f} GiB each"
        words = [
            f"{working} of {now['maximum']} workers on {now['scheduler']}",
            memory,
            waiting,
            now["trouble"],
        ]
        return f"GenesisCluster({self.name!r}, {', '.join(word for word in words if word)})"

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(repr(self))}</code>"

    def _ask(self, what: str, **arguments: Any) -> Any:
        if self.client.status != "running":
            raise Conflict(f"The cluster {self.name!r} is closed. Make another with gw.cluster().")
        try:
            answer = self.client.sync(_call, self.client, what, arguments)
        except OSError as error:
            raise Unavailable(
                f"The cluster {self.name!r} does not answer: the notebook that made it has ended. Make another with "
                "gw.cluster()."
            ) from error
        if isinstance(answer, dict) and "refused" in answer:
            raise InvalidInput(answer["refused"])
        return answer


class _Owner:
    """The side of a cluster that is in the notebook that made it: scheduler, keeper, files."""

    def __init__(self, name: str, workers: Workers, size: Size, site: ComputeSection, folder: Path) -> None:
        self._name, self._workers, self._site, self._folder = name, workers, site, folder
        self.security = _security.make(folder) if site.tls else None
        self.dask = workers.open(name, folder, self.security)
        try:
            self._keep(size)
        except BaseException:
            self.dask.close()
            raise

    def _keep(self, size: Size) -> None:
        scratch = self._folder / "held"
        scratch.mkdir(mode=0o700)
        self.keeper = Keeper(
            cluster=self.dask,
            size=size,
            look=lambda names: self._workers.look(self.dask, names),
            walltime_s=self._workers.walltime_s,
            idle_release_s=self._site.idle_release_s,
            scratch=scratch,
            poll_s=self._workers.poll_s,
        )
        handlers = self.dask.scheduler.handlers
        handlers["genesis_status"], handlers["genesis_scale"] = self._status, self._scale
        handlers["genesis_stop"] = self._stop
        self.dask.sync(self.keeper.start)
        _tell(self._folder, self.dask.scheduler_address)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(RuntimeError):  # its loop has ended with the interpreter
            self.dask.sync(self.keeper.stop)
        self.dask.close()

    def _status(self) -> dict[str, Any]:
        scheduler, keeper = self.dask.scheduler, self.keeper
        tasks = dict.fromkeys(("waiting", "queued", "no-worker", "processing", "memory", "erred"), 0)
        finished = 0
        for prefix in scheduler.task_prefixes.values():
            finished += prefix.state_counts["memory"]
            for state, count in prefix.states.items():
                if state in tasks:
                    tasks[state] += count
        http = scheduler.http_server
        refused = keeper.refusal.message if keeper.refusal else ""
        # A queue that is full or away is asked again: what waits for workers goes on waiting.
        passing = refused if isinstance(keeper.refusal, Unavailable | DeadlineExceeded) else ""
        return {
            "name": self._name,
            "scheduler": self._site.scheduler,
            "minimum": keeper.size.minimum,
            "maximum": keeper.size.maximum,
            "worker_memory_bytes": self._workers.memory_bytes,
            "walltime_s": self._workers.walltime_s,
            "workers": keeper.workers(),
            "tasks": tasks,
            "finished": finished,
            "trouble": keeper.trouble or passing,
            "refusal": "" if passing else refused,
            "released": keeper.released,
            "replaced": keeper.replaced,
            "renewed": keeper.renewed,
            "dashboard_port": http.port if http else 0,
            "script": self._workers.script(self.dask),
        }

    def _scale(self, minimum: int, maximum: int) -> dict[str, Any]:
        if maximum > self._site.max_workers:
            return {"refused": _too_many(maximum, self._site.max_workers)}
        self.keeper.resize(minimum, maximum)
        return {}

    def _stop(self) -> dict[str, Any]:
        """Give all workers back: the stop button, from any notebook that is attached."""
        self.keeper.resize(0, 0)
        return {}


def cluster(
    workers: int | tuple[int, int] = 2,
    *,
    threads: int = 1,
    memory_per_worker_bytes: int | None = None,
    walltime: str | float | None = None,
    queue: str = "",
    account: str = "",
    name: str = "",
    attach: str = "",
    **unknown: Any,
) -> GenesisCluster:
    """Start a Dask cluster on what this place has, and make it the default of this notebook.

    It returns at once; work waits for the first worker. What the queue refuses is raised here, with its words.

    Parameters
    ----------
    workers : int or (int, int)
        Workers, each a job of its own on a queue; or fewest and most, and it follows the work between them.
    threads : int
        Threads (cores) of each.
    memory_per_worker_bytes : int, optional
        Memory of each; what the site says, or what fits this machine, where not given.
    walltime : str or float, optional
        How long each worker's job may run, such as ``"2h"`` or seconds. The cluster itself goes on: its workers are
        renewed before they end, and their results move over.
    queue, account : str
        The site's where empty.
    name : str
        Name by which another notebook can attach.
    attach : str
        Name of a cluster that another notebook of yours has made: it is shared, and nothing else may be given.

    Raises
    ------
    InvalidInput
        If no machine can hold it, with the nearest that would do.
    NotFound
        If there is no cluster `attach`; names those there are.
    """
    if unknown:
        raise InvalidInput(
            f"A cluster knows no option {sorted(unknown)[0]!r}. Use workers, threads, memory_per_worker_bytes, "
            "walltime, queue, account, name or attach."
        )
    if attach:
        return _attach(attach)
    minimum, maximum = _range(workers)
    site = this_site().compute
    if threads < 1 or maximum < 1:
        raise InvalidInput(
            f"A cluster needs at least one worker and one thread, not {maximum} and {threads}."
        )
    if maximum > site.max_workers:
        raise InvalidInput(_too_many(maximum, site.max_workers))
    options = {"walltime_s": _seconds(walltime), "queue": queue, "account": account}
    kind = plugins.load("clusters", site.scheduler)
    place: Workers = kind(site, maximum, threads, memory_per_worker_bytes, **options)
    name = check_slug(name or new_id("cluster").replace("_", "-"), "cluster")
    folder = _clusters() / name
    _claim(folder, name)
    try:
        owner = _Owner(name, place, Size(minimum, maximum), site, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    from distributed import Client

    return GenesisCluster(name, Client(owner.dask), folder, owner)


def cluster_names() -> list[str]:
    """Names of the clusters of this account that live."""
    return sorted(each.name for each in _clusters().glob("*") if _alive(each))


def check_living(name: str) -> Path:
    """Return the folder of a cluster of this account that lives.

    Raises
    ------
    NotFound
        If there is none of this name; names those there are.
    """
    folder = _clusters() / check_slug(name, "cluster")
    if not _alive(folder):
        there = ", ".join(cluster_names()) or "none"
        raise NotFound(
            f"You have no cluster {name!r} now. Yours are: {there}. Make one with gw.cluster(name={name!r})."
        )
    return folder


def _attach(name: str) -> GenesisCluster:
    from distributed import Client

    folder = check_living(name)
    about = json.loads((folder / "cluster.json").read_text())
    if not about["address"]:
        raise Unavailable(f"The cluster {name!r} is being made at this moment. Try again in a few seconds.")
    security = _security.load(folder) if about["address"].startswith("tls") else None
    try:
        client = Client(about["address"], security=security, timeout=_CONNECT_S)
    except OSError as error:
        _forget_default()
        raise Unavailable(
            f"The cluster {name!r} does not answer at {about['address']}.", detail=str(error)
        ) from error
    return GenesisCluster(name, client, folder, None)


def _forget_default() -> None:
    """Let Dask compute here again once no cluster is left.

    Of several clients, each puts back what it found when it closes, so that closing them in another order than they
    were opened in (or failing to connect) leaves Dask asking for a cluster that is gone.
    """
    import dask
    from distributed import Client, default_client

    with contextlib.suppress(ValueError):
        if isinstance(default_client(), Client):
            return
    if dask.config.get("scheduler", None) == "dask.distributed":
        dask.config.set(scheduler=None)


def _clusters() -> Path:
    folder = local_state() / "clusters"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _claim(folder: Path, name: str) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if _alive(folder):
            raise Conflict(f"You have a cluster {name!r} already. Use gw.cluster(attach={name!r}).") from None
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    _tell(folder)  # who makes it lives, long before it can be reached


def _alive(folder: Path) -> bool:
    """Whether the notebook that makes or has made the cluster lives.

    The table of processes knows those of this machine or container; of others, with the same home, one asks at the address.
    """
    try:
        about = json.loads((folder / "cluster.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    if processes.is_of_here(about.get("process")):
        return processes.lives(about["process"])
    address = urlsplit(about.get("address", ""))
    try:
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=_LOOK_S):
            return True
    except OSError:
        return False


def _tell(folder: Path, address: str = "") -> None:
    _write(folder / "cluster.json", {"address": address, "process": processes.identity(os.getpid())})


def _write(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file)
    draft.replace(path)


async def _call(client: Client, what: str, arguments: dict[str, Any]) -> Any:
    return await getattr(client.scheduler, what)(**arguments)


def _range(workers: int | tuple[int, int]) -> tuple[int, int]:
    minimum, maximum = (workers, workers) if isinstance(workers, int) else workers
    if not 0 <= minimum <= maximum:
        raise InvalidInput(
            f"{workers!r} is no number of workers. Give one, such as 8, or fewest and most, such as (0, 8)."
        )
    return minimum, maximum


def _seconds(walltime: str | float | None) -> float | None:
    if walltime is None or isinstance(walltime, int | float):
        given = walltime
    else:
        number = walltime.rstrip("abcdefghijklmnopqrstuvwxyz ")
        try:
            given = convert(float(number), walltime[len(number) :].strip() or "s", "s")
        except ValueError as error:  # InvalidInput is one, too
            raise InvalidInput(
                f"{walltime!r} is no walltime. Write it like '2h', '90 min' or 7200 (seconds)."
            ) from error
    if given is not None and given < 10:
        raise InvalidInput(
            f"A walltime of {duration(given)} is too short for a worker to start. Ask for a minute or more."
        )
    return given


def _too_many(asked: int, most: int) -> str:
    return (
        f"{asked} workers are more than the {most} that this site allows one cluster. Ask for at most {most}."
    )


__all__ = ["GenesisCluster", "GenesisError", "Workers", "cluster", "cluster_names"]
