"""Folders of training jobs, and processes that train in them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from genesis_workbench.training.recipe import read_code

TINY = Path(__file__).parent / "tiny"


def job_folder(folder, **configuration):
    """Make the folder of a job as a scheduler does, and return it."""
    shutil.copytree(TINY, folder / "recipe", ignore=shutil.ignore_patterns("__pycache__"))
    code = read_code("tiny", TINY)
    told = {"run": "trn_test", "recipe": "tiny", "files": code.files, "code": code.digest}
    told |= {"configuration": {"batch_size": 32, "warmup_steps": 3, **configuration}}
    (folder / "arguments.json").write_text(json.dumps(told))
    return folder


class Forks:
    """A process that forks training processes."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "forks.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._process.stdout.readline() == "ready\n"

    def start(self, folder):
        """Start one, and return its process number."""
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def ended(self):
        """Wait for its end, and return its exit status; negative for a signal."""
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
