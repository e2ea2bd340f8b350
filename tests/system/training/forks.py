"""Starts training processes fast: imports torch once, and forks one for each folder named on a line of its input."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sklearn.datasets  # noqa: F401 - what the processes need is imported before the fork
import torch

from genesis_workbench.training import process


def main() -> None:
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports what optimisers need
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            with Path(line.strip(), "stderr").open("ab") as errors:
                os.dup2(errors.fileno(), 2)
            status = 1
            try:
                status = process.main(Path(line.strip()))
            finally:
                sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
