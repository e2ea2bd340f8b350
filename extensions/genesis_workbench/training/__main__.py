"""The command of a training job: one process, or several by torchrun where the scheduler starts the command once.

Run as ``python -m genesis_workbench.training`` in the job's folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from genesis_workbench.training.place import launched
from genesis_workbench.training.request import Request

_PROCESS = "genesis_workbench.training.process"


def main() -> int:
    """Become the process, or torchrun above several, and return the exit status."""
    folder = Path(os.environ["GENESIS_JOB_FOLDER"])
    told = Request.model_validate_json((folder / "arguments.json").read_bytes())
    alone = launched() is None
    if told.nodes > 1 and alone:
        sys.exit(
            f"This run has {told.nodes} machines, but nothing says which of its processes this is. They are to be started by srun, or "
            "by mpiexec of Open MPI, MPICH or PALS: set compute.iri.launcher, or ask for one machine."
        )
    if told.processes_per_node > 1 and alone:
        # gloo and torchrun's meeting point listen where the name of this machine leads; all processes are on it.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ["GENESIS_JOB_FOLDER"] = str(folder)
        words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={told.processes_per_node}"]
        words += ["--local-addr=127.0.0.1", "-m", _PROCESS]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - an argument list; signals reach torchrun itself
    from genesis_workbench.training import process

    return process.main(folder)


if __name__ == "__main__":
    raise SystemExit(main())
