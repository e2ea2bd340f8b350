"""Several processes by torchrun train what one trains, and go on with another number of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.compute.last_words import last_words  # noqa: E402
from genesis_workbench.training import metrics  # noqa: E402
from genesis_workbench.training.checkpoint import Checkpoints  # noqa: E402
from genesis_workbench.training.recipe import read_code  # noqa: E402
from system.training.jobs import job_folder  # noqa: E402


def start(folder, processes):
    """Start the command of a job as the wrapper does."""
    path = folder / "arguments.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "processes_per_node": processes}))
    with (folder / "stderr").open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "genesis_workbench.training"],
            cwd=folder, stderr=errors, stdout=errors, start_new_session=True,
            env={**os.environ, "GENESIS_JOB_FOLDER": str(folder), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip


def finish(process, folder, status=0):
    try:
        assert process.wait(240) == status, (folder / "stderr").read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def weights(folder):
    return Checkpoints(folder / "checkpoints").last().state["best"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_what_one_trains(tmp_path, strategy):
    found = {}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        # Each process draws dropout for its own samples, so without it: then only the order of sums differs.
        job_folder(folder, epochs=2, strategy=strategy, log_steps=1)
        source = folder / "recipe" / "__init__.py"
        source.write_text(source.read_text().replace("Dropout(0.1)", "Dropout(0.0)"))
        told = json.loads((folder / "arguments.json").read_bytes())
        told["files"] = read_code("tiny", folder / "recipe").files
        (folder / "arguments.json").write_text(json.dumps(told))
        finish(start(folder, processes), folder)
        found[processes] = weights(folder)
    for name, tensor in found[1].items():
        torch.testing.assert_close(found[2][name], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_what_is_meant_for_accelerators_trains_the_same_model_here(tmp_path, strategy):
    """bf16, a compiled model and a fused optimiser, on processors: that they are quicker on an accelerator is not shown by this."""
    found = {}
    for name, more in (("plain", {}), ("quick", {"precision": "bfloat16", "compiled": "on", "fused": "on"})):
        folder = tmp_path / name
        folder.mkdir()
        job_folder(folder, epochs=3, strategy=strategy, **more)
        finish(start(folder, 2), folder)
        lines = metrics.read(folder / metrics.FILE)
        found[name] = [line["loss"] for line in lines if line["kind"] == metrics.VALIDATION]
    assert (lines[0]["precision"], lines[0]["compiled"], lines[0]["fused"]) == ("bfloat16", True, True)
    assert found["quick"] == pytest.approx(found["plain"], rel=0.02)
    assert found["quick"] != found["plain"], "it would be float32"


@pytest.mark.slow
def test_told_to_end_both_save_and_one_goes_on_where_they_were(tmp_path):
    folder = job_folder(tmp_path, epochs=100_000, log_steps=1)
    process = start(folder, 2)
    deadline = time.monotonic() + 120
    while not any(line["kind"] == metrics.STEP for line in metrics.read(folder / metrics.FILE)):
        assert process.poll() is None, (folder / "stderr").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(60)
    ended = metrics.read(folder / metrics.FILE)[-1]
    assert ended["ended"] == "told to end", (folder / "stderr").read_text()[-2000:]
    path = folder / "arguments.json"
    told = json.loads(path.read_bytes())
    epoch = Checkpoints(folder / "checkpoints").last().progress["epoch"]
    path.write_text(json.dumps({**told, "configuration": {**told["configuration"], "epochs": epoch + 1}}))
    finish(start(folder, 1), folder)
    began = [line["step"] for line in metrics.read(folder / metrics.FILE) if line["kind"] == metrics.START]
    assert began == [0, ended["step"]]


@pytest.mark.slow
def test_the_last_words_of_two_processes_are_why_one_failed(tmp_path):
    job_folder(tmp_path, epochs=2)
    source = tmp_path / "recipe" / "__init__.py"
    source.write_text(source.read_text().replace("from sklearn.datasets", "from nowhere.datasets"))
    told = json.loads((tmp_path / "arguments.json").read_bytes())
    code = read_code("tiny", tmp_path / "recipe")
    (tmp_path / "arguments.json").write_text(json.dumps({**told, "files": code.files, "code": code.digest}))
    finish(start(tmp_path, 2), tmp_path, status=1)
    assert last_words(tmp_path / "stderr") == "Its last words: ModuleNotFoundError: No module named 'nowhere'"
