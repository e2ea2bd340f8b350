"""Every registered scheduler keeps the contract."""

from __future__ import annotations

import contextlib

import pytest

import system.kubernetes.test_contract  # noqa: F401 - Kubernetes keeps it on a cluster, among the system's tests
from genesis_workbench.compute.schedulers import local
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.compute.schedulers.local import LocalScheduler
from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ComputeSection, IriSection, SlurmSection
from genesis_workbench.testing.iri import IriFacility
from genesis_workbench.testing.schedulers import SchedulerContract
from system.slurm.conftest import slurm  # noqa: F401 - the fixture


class TestLocal(SchedulerContract):
    name = "local"

    @pytest.fixture(autouse=True)
    def _make(self, tmp_path, monkeypatch):
        self.scheduler = LocalScheduler(tmp_path / "jobs")
        self.patch = monkeypatch
        yield
        for watcher in local._watchers:
            watcher.wait(timeout=30)  # nothing goes on after its test

    @contextlib.contextmanager
    def held(self):
        with self.patch.context() as patch:
            patch.setattr(LocalScheduler, "_start", lambda *_: None)
            yield


@pytest.mark.parametrize("version", ["v1", "v2"], scope="class")
class TestIri(SchedulerContract):
    name = "iri"

    @pytest.fixture(autouse=True)
    def _make(self, tmp_path, version):
        (tmp_path / "token").write_text("first-token\n")
        with IriFacility(tmp_path / "facility") as self.facility:
            iri = IriSection(
                url=self.facility.url,
                version=version,
                folder=str(self.facility.folder / "jobs"),
                token_file=str(tmp_path / "token"),
                allow_private=True,
                poll_s=0.05,
            )
            self.site = ComputeSection(scheduler="iri", iri=iri)
            self.scheduler = IriScheduler(tmp_path / "jobs", self.site)
            yield

    def test_what_can_never_run_is_refused_and_not_kept(self, version):
        if version == "v2":
            super().test_what_can_never_run_is_refused_and_not_kept()
            return
        # Version 1 has no words for what machines have: the facility itself refuses.
        spec = self.job("pass", resources={"nodes": 9999})
        with pytest.raises(InvalidInput, match="node_count is too large: there are 4"):
            self.scheduler.submit(spec)
        assert self.status(spec).reason == "It has not been submitted yet."
        assert not self.facility.machine.jobs

    @contextlib.contextmanager
    def held(self):
        self.facility.machine.hold = True
        yield
        self.facility.machine.hold = False


class TestSlurm(SchedulerContract):
    name = "slurm"
    site = ComputeSection(scheduler="slurm", slurm=SlurmSection(poll_s=0.2))
    timeout_s = 120

    @pytest.fixture(autouse=True)
    def _make(self, slurm, tmp_path):  # noqa: F811
        self.slurm = slurm
        self.scheduler = SlurmScheduler(tmp_path / "jobs", self.site)

    @contextlib.contextmanager
    def held(self):
        self.slurm.run("scontrol", "update", "PartitionName=debug", "State=DOWN")
        try:
            yield
        finally:
            self.slurm.run("scontrol", "update", "PartitionName=debug", "State=UP")


def test_no_scheduler_is_left_out():
    assert {each.name for each in SchedulerContract.__subclasses__()} == set(plugins.names("schedulers"))
