"""The table of facilities says what works, what does not, and what to do."""

from __future__ import annotations

import base64
import json
import socket
import time

import pytest

import genesis_workbench as gw
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
