"""Several people on one Slurm, and Slurm as an ordinary person: nobody touches what is another's."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from system.accounts import Account, shared_python
from system.slurm.cluster import PATH, SlurmCluster
from system.slurm.conftest import needed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several people")

SITE = """
name = "test"
[compute]
scheduler = "slurm"
interface = "lo"
python = "{python}"
worker_memory_bytes = 314572800
[compute.slurm]
poll_s = 0.3
"""
HOLD = """
import json
from genesis_workbench import compute
with compute.cluster(workers=1, name="mine") as cluster:
    cluster.wait(timeout_s=90)
    print(json.dumps({"address": cluster.client.scheduler.address, "folder": str(cluster._folder)}), flush=True)
    input()
    print(cluster.client.submit(sum, [1, 2]).result(timeout=30), len(cluster.status()["workers"]), flush=True)
"""
BREAK_IN = """
import os, subprocess, sys
from distributed import Client
from genesis_workbench import compute
from genesis_workbench.compute.clusters import _security
address, folder, job = sys.stdin.readline().split()

def tried(name, act):
    try:
        print(name, "WORKED", act())
    except Exception as error:
        print(name, "failed", type(error).__name__, str(error).replace(chr(10), " ")[:200])

tried("attach", lambda: compute.cluster(attach="mine"))
tried("key", lambda: open(f"{folder}/key.pem").read())
tried("list", lambda: os.listdir(folder))
tried("connect", lambda: Client(address, timeout=3, set_as_default=False))
with compute.cluster(workers=1, name="mine") as own:
    stolen = _security.load(own._folder)
    tried("own-certificate", lambda: Client(address, security=stolen, timeout=3, set_as_default=False))
done = subprocess.run(["scancel", job], capture_output=True, text=True)
print("scancel", "failed" if done.returncode else "WORKED", done.stderr)
"""


@pytest.fixture(scope="module")
def python():
    """A Python for everybody, and the folder it is in."""
    needed()
    folder = Path(tempfile.mkdtemp(prefix="people-", dir="/tmp"))
    folder.chmod(0o755)
    yield shared_python(folder / "python")
    shutil.rmtree(folder)


@pytest.fixture
def person(python, tmp_path_factory):
    """Return a function that makes somebody of one Slurm."""
    folder = Path(tempfile.mkdtemp(prefix="homes-", dir="/tmp"))
    folder.chmod(0o755)

    def make(name, slurm):
        site = folder / "site.toml"
        site.write_text(SITE.format(python=python))
        site.chmod(0o644)
        account = Account(
            name, folder, python, {"SLURM_CONF": str(slurm.conf), "GENESIS_SITE": str(site), "PATH": PATH}
        )
        out, err = account.run("import genesis_workbench, tantivy; print('ready')")
        if out.strip() != "ready":
            pytest.skip(f"other accounts cannot read this checkout: {err.strip()[-200:]}")
        return account

    yield make
    shutil.rmtree(folder)


def test_two_people_cannot_touch_each_others_clusters(person):
    with SlurmCluster() as slurm:
        alice, bob = person("games", slurm), person("news", slurm)
        with alice.start(HOLD) as notebook:
            try:
                about = json.loads(notebook.stdout.readline() or notebook.stderr.read())
                (job,) = slurm.jobs()
                assert slurm.run("squeue", "-h", "-o", "%u").strip() == "games"
                with bob.start(BREAK_IN) as intruder:
                    out, err = intruder.communicate(
                        f"{about['address']} {about['folder']} {job}\n", timeout=180
                    )
                tried = {line.split()[0]: line for line in out.splitlines() if line}
                assert set(tried) == {
                    "attach",
                    "key",
                    "list",
                    "connect",
                    "own-certificate",
                    "scancel",
                }, out + err
                assert [line for line in tried.values() if "WORKED" in line] == []
                assert "NotFound" in tried["attach"]
                assert "PermissionError" in tried["key"]
                assert "denied" in out
                # Alice has noticed nothing.
                after, _ = notebook.communicate("go on\n", timeout=90)
                assert after.split() == ["3", "1"]
            finally:
                notebook.kill()


@pytest.mark.slow
def test_slurm_that_an_ordinary_person_runs_serves_that_person(person):
    with SlurmCluster(nodes=2, account="games") as slurm:
        scientist = person("games", slurm)
        out, err = scientist.run(
            "import os, sys\n"
            "from genesis_workbench import compute\n"
            "job = compute.submit(compute.JobSpec(name='who', command=(sys.executable, '-c',"
            ' \'import json, os; json.dump(os.getuid(), open("result.json", "w"))\')))\n'
            "ended = compute.wait(job, timeout_s=60)\n"
            "print(ended.state, compute.scheduler().result(job.key))\n"
            "with compute.cluster(workers=2) as cluster:\n"
            "    cluster.wait(timeout_s=90)\n"
            "    print(sorted(set(cluster.client.run(os.getuid).values())))\n"
        )
        assert out.split("\n")[:2] == ["completed 5", "[5]"], out + err
