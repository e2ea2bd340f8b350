"""The table of facilities says what works, what does not, and what to do."""

from __future__ import annotations

import base64
import json
import socket
import time

import pytest

import genesis_workbench as gw
from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.site import ComputeSection, IriSection
from genesis_workbench.testing.iri import IriFacility


@pytest.fixture
def facility(tmp_path):
    with IriFacility(tmp_path / "facility") as made:
        yield made


@pytest.fixture
def token(tmp_path):
    file = tmp_path / "token"
    file.write_text("first-token\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def section(facility, token):
    return IriSection(url=facility.url, folder="/jobs", token_file=str(token), allow_private=True)


def table(*sections):
    return gw.compute.facilities(ComputeSection(iri=sections[0], facilities=list(sections[1:])))


def jwt(expires_s):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + expires_s}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.c2ln"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_facility_that_works_needs_nothing(section, version):
    rows = list(table(section.model_copy(update={"version": version})))
    assert [(row.facility, row.resource) for row in rows] == [
        ("Pioneer HPC Facility", "Pioneer (compute)"),
        ("Pioneer HPC Facility", "Scratch (storage)"),
    ]
    assert {(row.credential, row.status, row.fix) for row in rows} == {("present", "up", "")}


def test_no_token(section, token):
    token.unlink()
    row = next(iter(table(section)))
    assert (row.credential, row.status) == ("missing", "up")
    assert "Sign in at the facility and write the token there" in row.fix


def test_a_token_that_the_facility_refuses(section, facility):
    facility.tokens = {}
    row = next(iter(table(section)))
    assert row.credential == "refused: expired or withdrawn"
    assert "Sign in at the facility again" in row.fix


def test_a_token_without_rights(section, facility):
    facility.fail("getProjects", 403, detail="no project")
    row = next(iter(table(section)))
    assert row.credential == "present, without rights"
    assert "ask the facility for an allocation" in row.fix


def test_a_token_says_when_it_ends(section, facility, token):
    token.write_text(old := jwt(-7200))
    facility.tokens[old] = "alice"
    row = next(iter(table(section)))
    assert row.credential == "expired 2 h ago"
    assert facility.count("getProjects") == 0  # not sent: it is over
    token.write_text(new := jwt(1800.5))
    facility.tokens[new] = "alice"
    row = next(iter(table(section)))
    assert row.credential in ("present, expires in 30 min", "present, expires in 29 min")
    assert "before a job of more than" in row.fix


def test_a_token_that_everybody_can_read(section, token):
    token.chmod(0o644)
    assert next(iter(table(section))).fix == f"Everybody on this machine can read {token}: chmod 600."


def test_a_resource_that_is_down(section, facility):
    facility.resources["pioneer-compute"]["current_status"] = "down"
    first, second = table(section)
    assert (first.status, second.status) == ("down", "up")
    assert "use another resource" in first.fix


def test_one_that_is_away_does_not_hide_the_others(section):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = section.model_copy(update={"url": f"http://127.0.0.1:{closed.getsockname()[1]}"})
        plain = section.model_copy(update={"url": "http://facility.example.gov"})
        rows = list(table(away, plain, section))
    assert [row.status for row in rows] == ["does not answer", "not asked", "up", "up"]
    assert "cannot be reached" in rows[0].fix
    assert "https://" in rows[1].fix


def test_it_can_be_read_as_text_and_in_a_notebook(section, facility, token):
    facility.resources["pioneer-compute"]["name"] = "<script>alert(1)</script>"
    shown = table(section)
    lines = repr(shown).splitlines()
    assert lines[0].split() == ["facility", "resource", "credential", "status", "fix"]
    assert len(lines) == len(shown) + 1
    page = shown._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<tr>") == 3
    assert "first-token" not in page + repr(shown)


def test_an_empty_one_says_how_to_fill_it(section):
    empty = table(section.model_copy(update={"url": ""}))
    assert len(empty) == 0
    assert "Name one in the site file, under [compute.iri]" in repr(empty)
    assert "[compute.iri]" in empty._repr_html_()


def test_jobs_go_to_the_facility_that_is_named(facility, token, tmp_path, monkeypatch):
    with IriFacility(tmp_path / "other") as other:
        (tmp_path / "site.toml").write_text(
            f"""
name = "two"
[compute]
account = "local"
[compute.iri]
name = "pioneer"
url = "{facility.url}"
folder = "{facility.folder}/jobs"
token_file = "{token}"
allow_private = true
[[compute.facilities]]
name = "Voyager"
version = "v1"
url = "{other.url}"
folder = "{other.folder}/jobs"
token_file = "{token}"
allow_private = true
account = "theirs"
queue = "debug"
"""
        )
        monkeypatch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
        monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
        spec = gw.JobSpec(name="x", command=("true",))
        for name, asked in (("pioneer", facility), ("Voyager", other)):
            gw.submit(spec, facility=name)
            assert gw.compute.wait(gw.submit(spec, facility=name), 60, name).state == "completed"
            assert len(asked.machine.jobs) == 1
            assert [queue.name for queue in gw.compute.queues(name)] == ["Pioneer"]
        (job,) = other.machine.jobs.values()
        assert job.spec["attributes"] == {"duration": 3600, "queue_name": "debug", "account": "theirs"}
        (job,) = facility.machine.jobs.values()
        assert job.spec["attributes"] == {"duration": 3600, "account": "local"}
        assert gw.compute.scheduler().name == "local"
        assert {row.facility for row in gw.compute.facilities()} == {"pioneer", "Voyager"}
        with pytest.raises(NotFound, match=r"no facility 'pionner'\. It has Voyager, pioneer"):
            gw.submit(spec, facility="pionner")
