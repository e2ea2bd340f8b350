"""The token goes where it belongs, is renewed in the middle, and is found nowhere else."""

from __future__ import annotations

import base64
import json
import logging
import time

import pytest

from genesis_workbench.compute.iri import client
from genesis_workbench.compute.job import JobState
from genesis_workbench.core.errors import (
    InvalidInput,
    PermissionRefused,
    SignInRequired,
    Unavailable,
)
from genesis_workbench.core.site import IriSection
from genesis_workbench.testing.iri import IriFacility
from integration.iri.jobs import counted, ended, python, runs_once


def test_a_token_renewed_on_disk_in_the_middle(facility, scheduler, token):
    def renew():
        facility.tokens = {"second-token": "alice"}
        token.write_text("second-token\n")

    facility.fail("files:upload", 401, detail="expired", effect=renew)
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    assert facility.asked[-1].headers["authorization"] == "Bearer second-token"


def test_an_expired_token_is_told_with_what_to_do(facility, scheduler, token):
    spec = python("import time; time.sleep(1)")
    scheduler.submit(spec)
    facility.tokens = {"second-token": "alice"}
    time.sleep(0.02)  # longer than what was seen is kept
    with pytest.raises(SignInRequired, match=r"does not accept the token.*Sign in at the facility again"):
        scheduler.status(spec.key)
    token.write_text("second-token")
    assert ended(scheduler, spec).state is JobState.COMPLETED


def test_what_is_forbidden_is_told_and_can_be_asked_for_again(facility, scheduler):
    facility.fail("launchJob", 403, detail="no allocation for proj")
    spec = counted()
    with pytest.raises(PermissionRefused, match=r"no allocation for proj.*ask the facility"):
        scheduler.submit(spec)
    assert scheduler.status(spec.key).reason == "It has not been submitted yet."
    scheduler.submit(spec)
    runs_once(scheduler, spec)


@pytest.mark.parametrize("content", [None, "", "two words", '{"IRI_API_TOKEN": 1}', "x" * 20_000])
def test_a_token_that_is_none(scheduler, token, content):
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    with pytest.raises(SignInRequired, match=str(token)) as raised:
        scheduler.submit(counted())
    assert not content or content not in str(raised.value)


def test_a_token_as_the_facilities_own_notebooks_keep_it(scheduler, token):
    token.write_text(json.dumps({"IRI_API_TOKEN": "first-token"}))
    spec = counted()
    scheduler.submit(spec)
    runs_once(scheduler, spec)


def test_the_token_is_in_no_file_log_message_or_address(facility, scheduler, token, site, caplog):
    caplog.set_level(logging.DEBUG)
    secret = base64.b64encode(b"a secret that must not leave" * 3).decode()
    token.write_text(secret)
    facility.tokens = {secret: "alice"}
    spec = counted()
    facility.fail("files:chmod", 400, detail=f"the token {secret} is odd")
    with pytest.raises(InvalidInput) as raised:
        scheduler.submit(spec)
    assert secret not in str(raised.value) + repr(raised.value) + raised.value.detail
    scheduler.submit(spec)
    runs_once(scheduler, spec)
    texts = [
        repr(scheduler),
        repr(scheduler._facility.client),
        scheduler.render(spec),
        site.model_dump_json(),
        caplog.text,
    ]
    texts += [each.path for each in facility.asked]
    texts += [each.body.decode("latin-1") for each in facility.asked]
    for folder in (scheduler.folder, facility.folder):
        texts += [file.read_text("latin-1") for file in folder.rglob("*") if file.is_file()]
    assert len(texts) > 20
    assert not [text for text in texts if secret in text]


def test_the_token_goes_to_no_other_origin(facility, scheduler, tmp_path, version):
    with IriFacility(tmp_path / "elsewhere") as other:
        facility.public = other.url  # its links lead there now
        spec = counted()
        with pytest.raises(InvalidInput, match="another origin, where its token must not go"):
            scheduler.submit(spec)
        assert not other.asked


def test_a_redirect_is_not_followed(facility, scheduler):
    facility.fail("launchJob", 307)
    with pytest.raises(Unavailable, match="It redirects, which is not followed with a token"):
        scheduler.submit(counted())


def test_a_private_address_needs_the_sites_word(site):
    plain = site.iri.model_copy(update={"allow_private": False})
    with pytest.raises(InvalidInput, match="not a public address"):
        client.Client(plain).call("GET", client.Client(plain).at("facility"), what="describe itself")


@pytest.mark.parametrize("version", ["v2"], indirect=True)
def test_a_token_needs_encryption_beyond_this_machine(site):
    with pytest.raises(InvalidInput, match="has to begin with https://"):
        client.Client(site.iri.model_copy(update={"url": "http://facility.example.gov"}))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("https://api.example.gov", "https://api.example.gov/api/v2"),
        ("https://api.example.gov/", "https://api.example.gov/api/v2"),
        ("https://api.example.gov/iri/", "https://api.example.gov/iri/v2"),
        ("https://api.example.gov:8443/api", "https://api.example.gov:8443/api/v2"),
    ],
)
def test_addresses(url, root):
    made = client.Client(IriSection(url=url))
    assert made.at("facility") == f"{root}/facility"
    assert str(made.follow("/api/v2/x")) == str(made.root.join("/api/v2/x"))


def test_links_written_behind_a_proxy_keep_the_encryption():
    made = client.Client(IriSection(url="https://api.example.gov"))
    assert str(made.follow("http://api.example.gov/api/v2/task/1")) == "https://api.example.gov/api/v2/task/1"
    for link in (
        "https://evil.example/api",
        "https://api.example.gov:444/x",
        "file:///etc/passwd",
        "//evil.example/x",
    ):
        with pytest.raises(InvalidInput):
            made.follow(link)
