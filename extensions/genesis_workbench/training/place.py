"""Which process of a job this is, by what those who start several leave in the environment. Imports nothing heavy."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

START_FILE = "start"
"""Written in the job's folder before its processes begin, where a facility's launcher starts them: other content at each start."""

_LAUNCHERS = (
    # rank, count, rank on this machine
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", ("SLURM_LOCALID",)),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ("OMPI_COMM_WORLD_LOCAL_RANK",)),  # Open MPI, PRRTE
    ("PMI_RANK", "PMI_SIZE", ("MPI_LOCALRANKID", "PALS_LOCAL_RANKID", "PMI_LOCAL_RANK")),  # MPICH, Cray PALS
)
_STARTS = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "PBS_JOBID")


@dataclass(frozen=True)
class Launched:
    """One of several processes that srun, mpiexec or another launcher has started.

    Attributes
    ----------
    rank, count, local : int
        Number of this process, how many there are, and its number on this machine.
    """

    rank: int
    count: int
    local: int


def launched(per_node: int = 1) -> Launched | None:
    """Return which process this is; None where nobody has started more than one.

    Parameters
    ----------
    per_node : int
        Processes of each machine, for launchers that do not say the number on this one; they fill machines in order.
    """
    env = os.environ
    for rank, count, local in _LAUNCHERS:
        if rank in env and int(env.get(count, "1")) > 1:
            here = next((int(env[name]) for name in local if name in env), int(env[rank]) % per_node)
            return Launched(int(env[rank]), int(env[count]), here)
    return None


def meeting(folder: Path) -> Path:
    """Return the file over which the processes of one start find each other: one that is left over would mislead them."""
    names = [os.environ[name] for name in _STARTS if name in os.environ]
    file = folder / START_FILE
    if file.is_file():
        names.append(file.read_text().strip())
    return folder / ("meeting-" + "-".join(names or ["0"]))
