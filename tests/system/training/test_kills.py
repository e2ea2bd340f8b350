"""Killed at any moment, a run ends with the same bits as one that was not."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.core import clock
from genesis_workbench.training import metrics
from genesis_workbench.training.checkpoint import Checkpoints
from system.training.jobs import job_folder

EVERY = 3  # steps between two checkpoints: one is written nearly always


@pytest.mark.parametrize(
    ("kills", "epochs"),
    [
        pytest.param(5, 20, marks=pytest.mark.slow),
        pytest.param(60, 120, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_run_that_is_killed_at_random_ends_with_the_same_weights(tmp_path, forks, kills, epochs):
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
        job_folder(folder, epochs=epochs, checkpoint_steps=EVERY, log_steps=1)
    forks.start(folders[0])
    assert forks.ended() == 0, (folders[0] / "stderr").read_text()
    first, *_, last = (clock.seconds_since(line["time"]) for line in metrics.read(folders[0] / metrics.FILE))

    when, killed = random.Random(7), 0
    while killed < kills:
        starts = begun(folders[1])
        child = forks.start(folders[1])
        if killed % 5:  # every fifth is killed whatever it does, the others while they train
            deadline = time.monotonic() + 60
            while begun(folders[1]) == starts and time.monotonic() < deadline:
                time.sleep(0.002)
        time.sleep(when.uniform(0, 1.5 * (first - last) / kills))
        os.kill(child, signal.SIGKILL)
        ended = forks.ended()
        assert ended == -signal.SIGKILL, (
            f"ended with {ended} after {killed} kills: the run is too short for so many"
        )
        killed += 1
    forks.start(folders[1])
    assert forks.ended() == 0, (folders[1] / "stderr").read_text()

    whole, parted = ((folder / "artifact.bin").read_bytes() for folder in folders)
    assert whole == parted
    states = [Checkpoints(folder / "checkpoints").last() for folder in folders]
    assert [state.step for state in states] == [epochs * 12] * 2  # 355 samples, 32 a step
    names = [f"checkpoints/step-{epochs * 12:012}.safetensors" for _ in folders]
    assert len({(folder / name).read_bytes() for folder, name in zip(folders, names, strict=True)}) == 1
    assert not list((folders[1] / "checkpoints").glob(".new-*"))

    assert begun(folders[1]) > kills / 2, "most were killed while they trained"
    curve = [line["step"] for line in metrics.read(folders[1] / metrics.FILE) if line["kind"] == metrics.STEP]
    assert curve == list(range(1, epochs * 12 + 1)), "each step is in the curve once"


def test_told_to_end_it_saves_the_step_it_is_at_and_told_to_save_it_goes_on(tmp_path, forks):
    folder = job_folder(tmp_path, epochs=10_000, checkpoint_s=10_000, log_steps=1)
    child = forks.start(folder)
    wait_for(folder, metrics.STEP)
    os.kill(child, signal.SIGUSR1)
    wait_for(folder, metrics.CHECKPOINT)
    os.kill(child, signal.SIGTERM)
    assert forks.ended() == 143
    last = metrics.read(folder / metrics.FILE)
    assert [line["kind"] for line in last].count(metrics.CHECKPOINT) == 2
    assert last[-1]["ended"] == "told to end"
    done = max(line["step"] for line in last if line["kind"] == metrics.STEP)
    assert Checkpoints(folder / "checkpoints").last().step == done, "no step is lost"


def test_a_recipe_whose_files_were_changed_is_not_run(tmp_path, forks):
    folder = job_folder(tmp_path, epochs=1)
    (folder / "recipe" / "__init__.py").write_text("raise SystemExit(0)")
    forks.start(folder)
    assert forks.ended() == 1
    assert "__init__.py differ" in (folder / "stderr").read_text()


def begun(folder):
    """Return how many attempts have begun to train."""
    path = folder / metrics.FILE
    return path.read_bytes().count(b'"kind": "start"') if path.exists() else 0


def wait_for(folder, kind, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not any(line["kind"] == kind for line in metrics.read(folder / metrics.FILE)):
        assert time.monotonic() < deadline, (folder / "stderr").read_text()
        time.sleep(0.02)
