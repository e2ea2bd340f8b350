"""The Kubernetes scheduler keeps the contract of all schedulers, asked from a notebook's pod."""

from __future__ import annotations

import contextlib
import json

import pytest

from genesis_workbench.core.site import ComputeSection
from genesis_workbench.testing.schedulers import SchedulerContract
from system.kubernetes.notebook import HOME, RemoteScheduler, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class TestKubernetes(SchedulerContract):
    name = "kubernetes"
    python = "python"
    fields = {"resources": {"memory_bytes": 100 * 2**20}}
    timeout_s = 120

    # test_jobs.py kills it around the request itself, in the pod.
    test_a_submitter_killed_on_its_way_runs_it_once_when_repeated = None

    @pytest.fixture(autouse=True)
    def _make(self, notebook, image, tmp_path):
        self.notebook = notebook
        site = {"scheduler": "kubernetes", "image": image, "kubernetes": {"poll_s": 0.3}}
        self.site = ComputeSection.model_validate(site)
        folder = f"{HOME}/state/jobs-{tmp_path.name}"
        self.scheduler = RemoteScheduler(notebook, folder, json.dumps(site), tmp_path)
        yield
        kubectl = notebook.kubectl
        kubectl("delete", "jobs", "--selector", "app.kubernetes.io/name=genesis-workbench", "--wait=false")
        until(lambda: not kubectl.names("pods"))

    def fresh(self):
        self.notebook("scheduler = make()")
        return self.scheduler

    @contextlib.contextmanager
    def held(self):
        kubectl, quota = self.notebook.kubectl, {"hard": {"pods": "0"}}
        kubectl.apply(
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "held"}, "spec": quota}
        )
        until(lambda: "hard" in json.loads(kubectl("get", "resourcequota", "held", "-o", "json"))["status"])
        try:
            yield
        finally:
            kubectl("delete", "resourcequota", "held")

    def test_files_of_a_job_are_for_its_owner_alone(self):
        spec = self.job("pass")
        folder = self.scheduler.submit(spec).folder
        mode = self.notebook(f"import os, pathlib\npathlib.Path({folder!r}).parent.stat().st_mode")
        assert mode & 0o077 == 0
        self.ended(spec)
