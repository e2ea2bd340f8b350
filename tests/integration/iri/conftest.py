"""A facility for each test, in both versions of its API, and the scheduler that uses it."""

from __future__ import annotations

import time

import pytest

from genesis_workbench.compute.iri import client
from genesis_workbench.compute.schedulers.iri import IriScheduler
from genesis_workbench.core.site import ComputeSection, IriSection
from genesis_workbench.testing.iri import IriFacility


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


@pytest.fixture
def facility(tmp_path):
    with IriFacility(tmp_path / "facility") as made:
        yield made


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text("first-token\n")
    return file


@pytest.fixture
def site(facility, token, version):
    iri = IriSection(
        url=facility.url,
        version=version,
        folder=str(facility.folder / "jobs"),
        token_file=str(token),
        allow_private=True,
        poll_s=0.01,
    )
    return ComputeSection(scheduler="iri", iri=iri, account="proj")


@pytest.fixture
def scheduler(tmp_path, site):
    return IriScheduler(tmp_path / "jobs", site)


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were waited for, without waiting for more than a moment of each."""
    found = []

    def wait(seconds):
        found.append(seconds)
        time.sleep(min(seconds, 0.01))

    monkeypatch.setattr(client, "pause", wait)
    return found
