"""A run's job on every scheduler: what is asked for there, and which process each one finds itself to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.compute import Resources
from genesis_workbench.compute.iri import request
from genesis_workbench.compute.schedulers.kubernetes import KubernetesScheduler
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection, IriSection, KubernetesSection
from genesis_workbench.training.__main__ import main
from genesis_workbench.training.launching import configured, job
from genesis_workbench.training.place import Launched, launched, meeting
from genesis_workbench.training.recipe import find
from genesis_workbench.training.record import RunRecord
from genesis_workbench.training.request import Request

TINY = Path(__file__).parents[2] / "system" / "training" / "tiny"
IRI = ComputeSection(scheduler="iri", iri=IriSection(url="https://api.facility.example", launcher="mpiexec"))


def spec(scheduler, **resources):
    recipe, code = find(TINY)
    asked = Resources(**resources)
    told = Request(
        run="trn_1",
        recipe=code.name,
        files=code.files,
        code=code.digest,
        configuration=configured(recipe, {}),
        nodes=asked.nodes,
        processes_per_node=asked.processes_per_node,
    )
    return job(RunRecord(run="trn_1", name="tiny", resources=asked, request=told), code, {}, scheduler)


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    """A Slurm site with a Python of its own; facilities beside it have another."""
    (tmp_path / "site.toml").write_text(
        'name = "test"\n[compute]\nscheduler = "slurm"\npython = "/opt/site/python"\n'
    )
    monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))


def test_each_place_starts_its_own_python():
    assert spec("slurm").command == ("/opt/site/python", "-m", "genesis_workbench.training")
    assert spec("iri").command == ("python", "-m", "genesis_workbench.training")


def test_at_a_facility_its_launcher_starts_the_processes_and_each_start_is_told_apart():
    body = request.body(spec("iri", nodes=2, processes_per_node=4, gpus=1), IRI, "/jobs/one", "")
    assert (body["launcher"], body["resources"]["process_count"]) == ("mpiexec", 8)
    assert body["pre_launch"] == 'echo "$(date +%s)-$$" > "$GENESIS_JOB_FOLDER/start"'
    assert body["environment"] == {"GENESIS_JOB_FOLDER": "/jobs/one", "OMP_NUM_THREADS": "1"}
    warned = [body["executable"], *body["arguments"]]
    assert warned[:2] == ["timeout", "--signal=TERM"]
    assert warned[-3:] == ["python", "-m", "genesis_workbench.training"]
    alone = request.body(spec("iri"), IRI, "/jobs/one", "")
    assert "launcher" not in alone
    assert "pre_launch" not in alone


def test_on_kubernetes_it_is_a_job_that_is_tried_again(tmp_path):
    section = ComputeSection(
        scheduler="kubernetes",
        image="registry.example/user@sha256:0",
        kubernetes=KubernetesSection(jobs_claim="home", jobs_path=str(tmp_path)),
    )
    scheduler = KubernetesScheduler(tmp_path / "jobs", section)
    wanted = spec("kubernetes", processes_per_node=2, gpus=1, memory_bytes=2**30)
    manifest = json.loads(scheduler.render(wanted))["spec"]
    (container,) = manifest["template"]["spec"]["containers"]
    assert manifest["backoffLimit"] > 0
    assert container["image"] == "registry.example/user@sha256:0"
    assert "nvidia.com/gpu" in container["resources"]["limits"]
    with pytest.raises(InvalidInput, match="one pod on one machine"):
        scheduler.submit(spec("kubernetes", nodes=2))


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}, Launched(5, 8, 1)),
        (
            {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
            Launched(2, 4, 0),
        ),
        ({"PMI_RANK": "6", "PMI_SIZE": "8", "PALS_LOCAL_RANKID": "2"}, Launched(6, 8, 2)),
        ({"PMI_RANK": "6", "PMI_SIZE": "8"}, Launched(6, 8, 2)),
    ],
)
def test_a_process_knows_its_place_by_whoever_started_it(monkeypatch, environment, found):
    for name in ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched(4) == found


def test_two_starts_do_not_meet_in_one_file(tmp_path):
    (tmp_path / "start").write_text("1700000000-7\n")
    first = meeting(tmp_path)
    (tmp_path / "start").write_text("1700000060-9\n")
    assert meeting(tmp_path) != first


def test_on_several_machines_a_process_that_nobody_numbered_trains_nothing(tmp_path, monkeypatch):
    told = spec("iri", nodes=2).arguments
    (tmp_path / "arguments.json").write_text(json.dumps(told))
    monkeypatch.setenv("GENESIS_JOB_FOLDER", str(tmp_path))
    for name in ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit, match=r"has 2 machines.*set compute\.iri\.launcher"):
        main()
    assert not (tmp_path / "checkpoints").exists()
