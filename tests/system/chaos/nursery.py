"""Raises runner, API, worker, a laboratory's gateway, a cluster of Dask and a notebook as children of one warm process, and kills them at random moments.

``python nursery.py FOLDER PORT KILLS SEED TRIALS``: kills until it has killed so often, then lets everybody live; says at the
end of FOLDER/kills.json what it killed. A child that died is raised again at once. The cluster's workers are killed alone,
too. So are jobs: the process that watches one, or the work itself; or, where CHAOS_SLURM names the folder of a Slurm, its slurmctld and slurmd. The devices behind the
gateway are a process that lives on, as devices do.

FOLDER/share says which part of the kills is due: so they fall among the experiments also where a machine is so busy that
nobody would live long enough to do anything.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import kernel
import psutil
import scipy.stats  # noqa: F401 - what a proposer needs is there when a child is raised, not seconds later
import sqlalchemy as sa
from fastapi import APIRouter, FastAPI
from furnace import FurnaceExecutor, work

from genesis_services import problems
from genesis_services.routes import budgets, experiments
from genesis_services.runner import Runner
from genesis_workbench.compute.dask_cluster import cluster
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.core.access import Person
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.scopes import SCOPES
from genesis_workbench.core.site import ComputeSection, DeviceSection, LaboratorySection, Site, SlurmSection
from genesis_workbench.core.state import State
from genesis_workbench.core.units import registry
from genesis_workbench.experiments.executors._base import Place
from genesis_workbench.experiments.executors.dask import DaskExecutor
from genesis_workbench.experiments.executors.job import JobExecutor
from genesis_workbench.experiments.executors.perovskite_film import PerovskiteFilm
from genesis_workbench.experiments.instruments.__main__ import serve as serve_laboratory
from genesis_workbench.experiments.instruments.simulated import twin

SLURM = os.environ.get("CHAOS_SLURM", "")
DATABASE = os.environ.get("CHAOS_LEDGER", "")
CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    "pg_backend_pid() ORDER BY random() LIMIT 1"
)
MEAN_S = 0.25  # between two kills, so that there is something to kill
EVERYTHING = frozenset(scope.name for scope in SCOPES)


def laboratory(folder: Path) -> LaboratorySection:
    """A handler, a furnace and a spectrometer that are simulated."""
    devices = [
        DeviceSection(name=name, instrument=f"simulated_{name}", settings={"folder": str(folder / "twin")})
        for name in ("handler", "furnace", "spectrometer")
    ]
    return LaboratorySection(name="lab", devices=devices, procedures=["perovskite_film"], patience_s=60)


def scheduler(folder: Path) -> LocalScheduler | SlurmScheduler:
    """Where jobs run: this machine, or a Slurm."""
    jobs = State(folder).jobs
    if not SLURM:
        return LocalScheduler(jobs)
    return SlurmScheduler(jobs, ComputeSection(scheduler="slurm", slurm=SlurmSection(poll_s=1)))


def context(folder: Path) -> SimpleNamespace:
    """What runner and API work with, each with a ledger of its own."""
    state = State(folder)
    site = Site(name="chaos", experiments={"own_code": True}, laboratories=[laboratory(folder)])
    place = Place(site, state, service=True)
    place.__dict__["scheduler"] = scheduler(folder)
    executors = {
        "furnace": FurnaceExecutor(folder),
        "job": JobExecutor(place),
        "dask": DaskExecutor(place),
        "perovskite_film": PerovskiteFilm(place),
    }
    ledger = Ledger.open(DATABASE or state.ledger_url())
    return SimpleNamespace(site=site, state=state, ledger=ledger, executors=executors)


class Names:
    """Takes a token for the name of the person: there is no hub here."""

    async def person(self, token: str, *, fresh: bool = False) -> Person:
        """Return the person of a token."""
        return Person(token, groups=frozenset({"solar"}), scopes=EVERYTHING)


def serve(folder: Path, port: int) -> None:
    """Be the API."""
    import uvicorn

    app = FastAPI()
    app.state.context, app.state.identity = context(folder), Names()
    problems.install(app)
    api = APIRouter(prefix="/api")
    api.include_router(experiments.router)
    api.include_router(budgets.router)
    app.include_router(api)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical")


def advance(folder: Path) -> None:
    """Be the runner."""
    runner = Runner(context(folder))
    while True:
        runner.step()
        time.sleep(0.05)


def keep_cluster() -> None:
    """Be the owner of a cluster of Dask, with its scheduler."""
    with cluster(workers=1, threads=2, name="chaos"):
        threading.Event().wait()


class Daemons:
    """The daemons of a Slurm: each is killed and started again; what runs on a node goes on."""

    def __init__(self, folder: Path) -> None:
        self._conf, self._state = folder / "etc/slurm.conf", folder / "state"

    def kill(self, role: str, dice: random.Random) -> bool:
        """Kill one of a role and start it again; False where it is not there now."""
        file = dice.choice(sorted(self._state.glob(f"{role}*.pid")))
        node = file.name.removeprefix(role).removesuffix(".pid").removeprefix(".")
        try:
            process = psutil.Process(int(file.read_text()))
            process.kill()
            process.wait(20)
        except (ValueError, psutil.NoSuchProcess):
            return False
        command = [role, "-f", str(self._conf), *(["-N", node] if node else [])]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=60)
        self._take_back()
        return True

    def _take_back(self) -> None:
        """Do what an operator does then: take machines back that a controller which lost its memory has put aside.

        One that died before it wrote down that a job had begun begins it again; the job's machine refuses it, which costs it
        its place ("Duplicate jobid"). Where none is put aside Slurm refuses this.
        """
        command = ["scontrol", "update", "nodename=ALL", "state=resume"]
        environment = {**os.environ, "SLURM_CONF": str(self._conf)}
        subprocess.run(command, env=environment, check=False, capture_output=True, timeout=60)


class Nursery:
    """The children, and who of them is killed when."""

    def __init__(self, folder: Path, port: int, kills: int, seed: int, trials: int) -> None:
        self._folder, self._dice = folder, random.Random(seed)
        self._kills = self._left = kills
        self._roles = {
            "runner": (advance, folder),
            "api": (serve, folder, port),
            "worker": (work, folder),
            "gateway": (serve_laboratory, laboratory(folder), State(folder)),
            "dask_scheduler": (keep_cluster,),
            "notebook": (kernel.compute, folder, trials),
        }
        self._children: dict[str, int] = {}
        self._daemons = Daemons(Path(SLURM)) if SLURM else None
        jobs = ["slurmctld", "slurmd"] if SLURM else ["job"]
        self.killed = dict.fromkeys([*self._roles, "dask_worker", *jobs], 0)
        self._database = None
        if DATABASE:
            self._database = sa.create_engine(DATABASE, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
            self.killed["connection"] = 0

    def run(self) -> None:
        """Raise and kill until the file `stop` is there."""
        (self._folder / "twin").mkdir(exist_ok=True)
        registry()
        options = ["--time-scale", "36000", "--failure-rate", "0"]
        devices = subprocess.Popen(
            [sys.executable, "-m", twin.__name__, str(self._folder / "twin"), *options]
        )
        while not (self._folder / "stop").exists():
            self._raise()
            time.sleep(self._dice.expovariate(1 / MEAN_S))
            if self._due():
                self._kill()
                self._tell()
        for number in self._children.values():
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
        twin.quit_twin(self._folder / "twin")
        devices.wait(30)

    def _due(self) -> bool:
        """Whether fewer were killed than the share that is due."""
        share = self._folder / "share"
        return self._left > 0 and share.exists() and self._left > self._kills * (1 - float(share.read_text()))

    def _raise(self) -> None:
        for role, number in list(self._children.items()):
            if os.waitpid(number, os.WNOHANG)[0]:
                del self._children[role]
        for role, (act, *arguments) in self._roles.items():
            if role not in self._children:
                child = os.fork()
                if child == 0:
                    try:
                        act(*arguments)
                    finally:
                        os._exit(1)
                self._children[role] = child

    def _kill(self) -> None:
        role = self._dice.choice(list(self.killed))
        if role == "connection":
            if not self._cut():
                return
        elif self._daemons is not None and role in ("slurmctld", "slurmd"):
            if not self._daemons.kill(role, self._dice):
                return
        else:
            number = self._children.get(role)
            if role == "job":
                number = self._a_job()
            elif role.startswith("dask"):
                # A scheduler too is killed only where it has come as far as to have a worker.
                worker = self._a_dask_worker()
                number = worker if role == "dask_worker" else worker and number
            if number is None:
                return
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                return
        self.killed[role] += 1
        self._left -= 1
        if role in self._children:
            os.waitpid(self._children.pop(role), 0)

    def _cut(self) -> bool:
        """Cut one connection of somebody to the database."""
        assert self._database is not None
        with self._database.connect() as connection:
            return bool(connection.execute(sa.text(CUT)).scalar())

    def _a_dask_worker(self) -> int | None:
        """Return the process of a worker of the cluster, which its nanny starts again."""
        owner = self._children["dask_scheduler"]
        found = [
            each.pid
            for each in psutil.process_iter(["ppid", "cmdline"])
            if each.info["ppid"] == owner and "spawn_main" in " ".join(each.info["cmdline"] or ())
        ]
        return self._dice.choice(found) if found else None

    def _a_job(self) -> int | None:
        """Return a process of a job that runs now: the one that watches it, or the work."""
        mine = [
            each
            for each in psutil.process_iter(["pid", "cmdline"])
            if str(self._folder / "jobs") in " ".join(each.info["cmdline"] or ())
        ]
        try:
            found = [child for each in mine for child in [each, *each.children(recursive=True)]]
        except psutil.NoSuchProcess:
            return None
        return self._dice.choice(found).pid if found else None

    def _tell(self) -> None:
        draft = self._folder / "kills.draft"
        draft.write_text(json.dumps({**self.killed, "left": self._left}))
        draft.replace(self._folder / "kills.json")


if __name__ == "__main__":
    Nursery(Path(sys.argv[1]), *map(int, sys.argv[2:])).run()
