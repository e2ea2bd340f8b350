"""Jobs in the API's words, answers of a facility that says anything, tokens, refusals."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.compute.iri import client, facility, outcome, request
from genesis_workbench.compute.iri.token import Token
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    SignInRequired,
    Unavailable,
)
from genesis_workbench.core.site import ComputeSection, IriSection, Site

SITE = ComputeSection(
    account="proj", iri=IriSection(url="https://api.example.gov", prologue=["module load x"])
)
FOLDER = "/scratch/jobs/key"


def spec(**fields):
    return JobSpec(**{"name": "test", "command": ("run", "a b", "$HOME"), "key": "key", **fields})


# A job in the API's words


def test_one_process_claims_its_folder_and_becomes_the_command():
    body = request.body(spec(), SITE, FOLDER, "debug")
    claim = 'mkdir "$GENESIS_JOB_FOLDER/claimed" || exit 113; exec "$@"'
    assert body["executable"] == "/bin/sh"
    assert body["arguments"] == ["-c", claim, "job", "run", "a b", "$HOME"]
    assert body["environment"] == {"GENESIS_JOB_FOLDER": FOLDER}
    assert body["pre_launch"] == "module load x"
    assert "launcher" not in body
    assert body["attributes"] == {"duration": 3600, "queue_name": "debug", "account": "proj"}


def test_many_processes_are_claimed_for_once_before_they_are_launched():
    wanted = Resources(nodes=2, processes_per_node=3, cpu_cores=4, gpus=1, memory_bytes=2**30, exclusive=True)
    body = request.body(spec(resources=wanted), SITE, FOLDER, "")
    assert (body["executable"], body["launcher"]) == ("run", "srun")
    assert body["pre_launch"].splitlines() == [
        "module load x",
        'mkdir "$GENESIS_JOB_FOLDER/claimed" || exit 113',
    ]
    assert body["resources"] == {
        "node_count": 2,
        "process_count": 6,
        "processes_per_node": 3,
        "cpu_cores_per_process": 4,
        "gpu_cores_per_process": 1,
        "exclusive_node_use": True,
        "memory": 2**30,
    }
    assert "queue_name" not in body["attributes"]


def test_a_job_that_may_be_started_again_claims_nothing():
    body = request.body(spec(requeue=True), SITE, FOLDER, "")
    assert (body["executable"], body["arguments"]) == ("run", ["a b", "$HOME"])


def test_image_warning_walltime_and_account():
    body = request.body(
        spec(image="x@sha256:0", walltime_s=90.2, warning_s=30, account="own"), SITE, FOLDER, ""
    )
    assert body["container"]["image"] == "x@sha256:0"
    assert body["container"]["volume_mounts"] == [{"source": FOLDER, "target": FOLDER, "read_only": False}]
    assert body["attributes"] == {"duration": 91, "account": "own"}
    assert body["arguments"][3:7] == ["timeout", "--signal=TERM", "--kill-after=30", "60.2"]


def test_names_and_keys_are_the_same_for_ever():
    assert request.job_name("key") == "gw-2c70e12b7a0646f92279f427"
    assert request.headers("key", SITE) == {"Idempotency-Key": "f7feb35d-e1c4-559f-89d7-232e2a68f117"}
    old = SITE.model_copy(update={"iri": SITE.iri.model_copy(update={"version": "v1"})})
    assert request.headers("key", old) == {}


def test_the_site_file_on_the_page_is_one():
    page = (Path(__file__).parents[3] / "docs/how-to/facilities.md").read_text()
    text = page.partition("```toml")[2].partition("```")[0]
    site = Site.model_validate({"name": "page", **tomllib.loads(text)})
    assert site.compute.iri.url == "https://api.facility.example"


# A facility that says anything

WORDS = [
    "id",
    "name",
    "status",
    "state",
    "_links",
    "self",
    "href",
    "attributes",
    "job_spec",
    "task_uri",
    "result",
    "output",
    "iri:has-node",
    "iri:submit-job",
    "resource_type",
    "supported_endpoints",
    "access",
    "path",
    "size",
    "content",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=12,
)


class Says:
    """A client to which every answer is the same."""

    def __init__(self, value):
        self.value = value

    def call(self, *_, **__):
        return client.Answer(200, self.value)

    def at(self, path):
        return f"https://api.example.gov/api/v2/{path}"


@given(JSON)
def test_whatever_a_facility_says_is_read_or_refused_in_words(value):
    said = facility.Facility(SITE.iri, Says(value))
    resource = facility.Resource("id", "name", "compute", "up", node_links=("a",))
    for ask in (
        lambda: [said.bounds(each) for each in said.resources("compute")],
        lambda: said.resource("filesystem", ""),
        said.work_folder,
        said.about,
        lambda: said.bounds(resource),
        lambda: said.submit(resource, {"name": "x"}, ""),
        lambda: said.job("x"),
        lambda: said.named(resource, "x"),
    ):
        with contextlib.suppress(GenesisError):
            ask()


@given(JSON)
def test_whatever_a_task_gives_is_read_or_refused_in_words(output):
    done = {
        "id": "1",
        "task_uri": "x",
        "status": "completed",
        "result": {"output": output},
        "supported_endpoints": [],
    }
    said = facility.Facility(SITE.iri, Says(done))
    said._kept["filesystem"] = (time.monotonic(), [facility.Resource("id", "name", "storage", "up")])
    for ask in (
        lambda: said.files.size("/x"),
        lambda: said.files.download("/x"),
        lambda: said.files.tail("/x", 9),
    ):
        with contextlib.suppress(GenesisError):
            ask()


def test_limits_that_are_not_said_do_not_limit():
    nothing = facility.Resource("id", "name", "compute", "up")
    bounds = facility.Facility(SITE.iri, Says(None)).bounds(nothing)
    assert (
        min(bounds.nodes, bounds.cores_per_node, bounds.memory_per_node_bytes, bounds.gpus_per_node) > 10**9
    )
    assert bounds.max_walltime_s is None


# How it ended


@pytest.mark.parametrize(
    ("said", "canceled", "state", "words"),
    [
        ({"state": "completed", "exit_code": 0}, False, "completed", ""),
        ({"state": "completed", "exit_code": 3}, False, "failed", "It ended with exit status 3. "),
        (
            {"state": "failed", "message": "NODE_FAIL"},
            False,
            "failed",
            "It failed. The facility says: NODE_FAIL",
        ),
        ({"state": "failed", "message": "TIMEOUT"}, False, "failed", "It ran longer than its 60 s."),
        ({"state": "failed", "message": "CANCELLED DUE TO TIME LIMIT"}, False, "failed", "It ran longer"),
        (
            {"state": "failed", "meta_data": {"native": "timeout"}},
            False,
            "failed",
            "It ran longer than its 60 s.",
        ),
        (
            {"state": "failed", "exit_code": 1, "meta_data": {"time_limit": 60}},
            False,
            "failed",
            "It ended with exit",
        ),
        ({"state": "failed", "exit_code": 137}, True, "canceled", "It was canceled."),
        ({"state": "CANCELED"}, False, "canceled", "It was canceled."),
    ],
)
def test_how_a_job_ended_is_told(tmp_path, said, canceled, state, words):
    found = outcome.state_of(said, canceled=canceled)
    assert found == state
    told = outcome.why(said, found, spec(walltime_s=60), tmp_path / "stderr", "")
    assert told.startswith(words.strip())
    assert bool(told) == bool(words)


@pytest.mark.parametrize("when", [None, "soon", 1e300, -1e300, [], True])
def test_a_moment_that_is_none_is_now(when):
    assert outcome.moment({"time": when}).endswith("Z")


# Tokens


def test_the_end_of_a_token_is_read_from_those_that_say_it(tmp_path):
    file = tmp_path / "token"
    for claims, expected in (({"exp": 1893456000}, 1893456000.0), ({}, None), ([], None)):
        file.write_text(
            f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"
        )
        assert Token(str(file)).expires() == expected
    for opaque in ("abc", "a.b.c"):
        file.write_text(opaque)
        assert Token(str(file)).expires() is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b'{"IRI_API_TOKEN": null}', b'{"a', b"a\nb"])
def test_a_file_that_holds_no_token_is_not_quoted(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(SignInRequired, match="token there"):
        Token(str(file)).read()


# Refusals


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (400, "duration is missing", InvalidInput),
        (401, "expired", SignInRequired),
        (403, "no allocation", PermissionRefused),
        (404, "no such job", NotFound),
        (409, "in progress", Conflict),
        (422, "Idempotency-Key reused with a different request body.", Conflict),
        (422, "memory is not a number", InvalidInput),
        (429, "slow down", Unavailable),
        (500, "trouble", Unavailable),
        (501, "not here", client.NotOffered),
        (503, "maintenance", Unavailable),
    ],
)
def test_a_refusal_is_told_in_the_facilitys_words_and_with_what_to_do(status, detail, kind):
    error = client._refusal(status, json.dumps({"detail": detail}).encode(), "could not do it", "https://x")
    assert type(error) is kind
    assert detail in error.message
    assert "https://x" in error.message


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b"\xff", b'{"detail": [1, {"a": 2}]}', b"[" * 100_000]
)
def test_a_refusal_without_words_is_one_too(content):
    assert "status 500" in client._refusal(500, content, "could not do it", "https://x").message
