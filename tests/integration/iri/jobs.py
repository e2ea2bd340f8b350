"""Small jobs, and waiting for them."""

from __future__ import annotations

import sys
import time

from genesis_workbench.compute import JobSpec
from genesis_workbench.compute.job import JobState

COUNT = "import pathlib; pathlib.Path('starts').open('a').write('x')"


def python(code, **fields):
    return JobSpec(name="test", command=(sys.executable, "-c", code), **fields)


def counted(**fields):
    return python(COUNT, stage_out=("starts",), **fields)


def ended(scheduler, spec, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (job := scheduler.status(spec.key)).state.final:
        assert time.monotonic() < deadline, f"still {job}"
        time.sleep(0.02)
    return job


def runs_once(scheduler, spec):
    assert ended(scheduler, spec).state is JobState.COMPLETED, scheduler.status(spec.key)
    assert scheduler.output(spec.key, "starts").read_text() == "x"
