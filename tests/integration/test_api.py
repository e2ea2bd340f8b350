"""The API: rights, problems, pages, events, and experiments that really run."""

from __future__ import annotations

import json
import subprocess

import httpx
import pytest
from openapi_spec_validator import validate

from genesis_workbench.catalog.remote import RemoteCatalog
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused, SignInRequired
from genesis_workbench.core.identifiers import digest, new_id
from genesis_workbench.core.service import Service
from genesis_workbench.experiments import Budget, Hypothesis, Objective, Real, Threshold
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.store import RemoteExperiments
from genesis_workbench.models.model import Model
from genesis_workbench.models.remote import RemoteZoo
from harness import BIN

pytestmark = pytest.mark.timeout(240)

GOLDEN = {"latitude": 39.74, "longitude": -105.18, "altitude_m": 1829, "linke_turbidity": [3.0] * 12}


def specification(**changes):
    fields = {
        "title": "A field",
        "hypothesis": Hypothesis(
            statement="s", rule=Threshold(metric="annual_insolation", at_least=2000, unit="kW*h/m**2")
        ),
        "space": (
            Real("tilt_deg", 0, 60, unit="degree"),
            Real("azimuth_deg", 90, 270, unit="degree"),
            Real("ground_coverage_ratio", 0.2, 0.6),
        ),
        "objective": Objective("annual_insolation", "kW*h/m**2"),
        "executor": "pvlib",
        "executor_arguments": GOLDEN,
        "budget": Budget(trials=4),
        "proposer": "sobol",
        "groups": ("solar",),
    }
    return ExperimentSpec(**{**fields, **changes})


@pytest.fixture
def ask(workbench, tokens):
    def send(method, path, name=None, **options):
        headers = {"Authorization": f"Bearer {tokens[name]}"} if name else {}
        headers |= options.pop("headers", {})
        return httpx.request(
            method, workbench.service_url + path, headers=headers, trust_env=False, timeout=120, **options
        )

    return send


def test_a_person_learns_who_they_are(client):
    me = client("alice").get("me")
    assert (me["name"], me["groups"], me["admin"]) == ("alice", ["solar"], False)
    assert "custom:experiments:run" in me["scopes"]
    assert "custom:ledger:read" not in me["scopes"]


def test_without_a_good_token_everything_is_refused_as_a_problem(workbench, ask):
    answer = ask("GET", "/api/me")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "sign-in-required"
    forged = Service(workbench.service_url, "forged")
    with pytest.raises(SignInRequired):
        forged.get("me")
    forged.close()
    # Cookies of a browser never count here.
    assert ask("GET", "/api/me", headers={"Cookie": "genesis-session=x"}).status_code == 401


def test_a_right_that_is_missing_is_named_and_written_into_the_ledger(client):
    with pytest.raises(PermissionRefused, match="custom:ledger:read"):
        client("alice").get("ledger/verification")
    refused = client("admin").get("ledger/events", kind="permission.refused", stream="person/alice")["items"]
    assert refused[-1]["body"]["path"].endswith("/ledger/verification")


def test_a_token_can_do_less_than_its_owner(workbench, browser):
    token = browser("alice").make_token("alice", scopes=["custom:catalog:read"])
    less = Service(workbench.service_url, token)
    assert less.get("catalog/datasets", q="co2")["total"] >= 1
    with pytest.raises(PermissionRefused, match="custom:experiments:run"):
        RemoteExperiments(less).create(specification())
    less.close()


def test_unknown_addresses_and_wrong_methods_are_problems_too(ask):
    assert ask("GET", "/api/nothing", "alice").json()["code"] == "not-found"
    assert ask("PUT", "/api/me", "alice").json()["code"] == "method-not-allowed"


def test_the_description_is_valid_openapi_3_1(ask):
    description = ask("GET", "/api/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    validate(description)


def test_health_is_open_and_metrics_are_not(ask):
    assert ask("GET", "/health").json()["runner"] == "alive"
    assert ask("GET", "/metrics", "alice").status_code == 403
    assert ask("GET", "/api/me", "alice").status_code == 200
    text = ask("GET", "/metrics", "admin").text
    assert 'genesis_requests_total{method="GET",route="/services/workbench/api/me"' in text


def test_a_tool_predicts_over_rest_and_a_site_without_language_models_says_so(ask):
    path = "/api/models/clear-sky-irradiation/1/predict"
    body = {
        "inputs": {"latitude_deg": [39.7, 80], "month": 6, "linke_turbidity": 3, "altitude_m": 1.829},
        "units": {"altitude_m": "km"},
    }
    answer = ask("POST", path, "alice", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["units"] == {"clear_sky_irradiation": "kW*h/m**2/day"}
    assert told["outputs"]["clear_sky_irradiation"][0] == pytest.approx(9.3978, abs=1e-3)
    assert told["outside_domain"] == [False, True]
    assert ask("POST", path, json=body).status_code == 401
    assert ask("GET", "/api/language/v1/models", "alice").json()["code"] == "not-found"


def test_items_are_asked_for_with_the_rights_and_the_sources_of_the_site(client):
    # The site of these tests has no source with items that is switched on: that is said, and bad boxes are refused.
    with pytest.raises(InvalidInput, match="no source that can be asked"):
        client("alice").get("catalog/items", collection=["a", "b"], bbox="-10,40,5,60")
    with pytest.raises(InvalidInput, match="no box"):
        client("alice").get("catalog/items", bbox="1,2")


def test_the_catalog_is_searched_and_openings_are_recorded(client):
    catalog = RemoteCatalog(client("alice"))
    found = catalog.search("atmospheric turbidity", person=Person("ignored"))
    assert found.items[0].id == "linke-turbidity"
    catalog.record_opening("linke-turbidity", Person("ignored"))
    opened = client("admin").get("ledger/events", kind="dataset.opened")["items"]
    assert opened[-1]["actor"] == "alice"
    with pytest.raises(NotFound):
        catalog.get("no-such-thing", Person("ignored"))
    with pytest.raises(PermissionRefused, match="custom:catalog:harvest"):
        client("alice").post("catalog/harvests", {"source": "x"})
    admin = client("admin")
    first = admin.post("catalog/harvests", {"source": "switched-off"}, key="once")
    assert admin.post("catalog/harvests", {"source": "switched-off"}, key="once") == first
    assert admin.post("catalog/harvests", {"source": "switched-off"}) != first
    with pytest.raises(NotFound, match="names no source"):
        client("admin").post("catalog/harvests", {"source": "x"})


def test_the_catalog_takes_every_parameter_and_says_where_one_is_wrong(client, ask):
    alice = client("alice")
    found = alice.get(
        "catalog/datasets",
        q="title:turbidity OR title:altitude",
        format="hdf5",
        bbox="170,-10,-170,10",
        sort="title",
        limit=1,
    )
    assert (found["total"], found["items"][0]["id"]) == (2, "altitude")
    assert found["facets"]["format"] == {"hdf5": 2}
    assert found["highlights"]["altitude"]["title"] == [[0, 8]]
    second = RemoteCatalog(alice).search(
        "title:turbidity OR title:altitude",
        person=Person("ignored"),
        format="hdf5",
        bbox=(170, -10, -170, 10),
        sort="title",
        limit=1,
        cursor=found["next"],
    )
    assert [item.id for item in second] == ["linke-turbidity"]
    for wrong, said in {"q=(ice": "character 1", "bbox=1,2,3": "bounding box", "period=2010": "period", "sort=x": "newest", "cursor=x": "cursor", "limit=1000": "limit", "year=now": "year"}.items():  # fmt: skip
        answer = ask("GET", f"/api/catalog/datasets?{wrong}", "alice")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-input"), wrong
        assert said in answer.json()["detail"]
    assert ask("GET", "/api/catalog/datasets/absent/native", "alice").json()["code"] == "not-found"


def test_sources_are_harvested_by_command_and_stewards_see_what_was_rejected(workbench, client):
    states = {each["name"]: each for each in client("alice").get("catalog/sources")["items"]}
    assert states["on-request"]["state"] == "never"
    assert states["switched-off"]["state"] == "disabled"
    command = [BIN / "workbench", "harvest", "on-request", "--json", "--state", workbench.state]
    command += ["--site", workbench.state.parent / "site.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)
    assert (report["source"], report["ok"], report["records"]) == ("on-request", False, 0)
    assert report["reason"]
    now = {each["name"]: each for each in client("alice").get("catalog/sources")["items"]}
    assert (now["on-request"]["state"], now["on-request"]["failures"]) == ("unreachable", 1)
    assert client("admin").get("catalog/sources/on-request/rejected") == {"items": [], "next": None}
    with pytest.raises(PermissionRefused, match="custom:catalog:harvest"):
        client("alice").get("catalog/sources/on-request/rejected")
    with pytest.raises(NotFound):
        client("admin").get("catalog/sources/absent/rejected")


def test_a_model_comes_with_its_file_and_predicts(client):
    zoo = RemoteZoo(client("alice"))
    version = zoo.get("clear-sky-irradiation", Person(""))
    data = zoo.artifact(version.artifact, Person(""))
    assert digest(data) == version.artifact
    predicted = Model(version, data).predict(latitude_deg=39.7, month=6, linke_turbidity=3.0, altitude_m=1829)
    assert 7 < float(predicted) < 10


def test_anybody_who_may_look_can_verify_and_a_changed_hypothesis_stays_with_the_finding(client):
    alice, bob, carol = (RemoteExperiments(client(name)) for name in ("alice", "bob", "carol"))
    experiment = alice.create(specification(budget=Budget(trials=30)))
    changed = Hypothesis(statement="Easier", rule=specification().hypothesis.rule)
    with pytest.raises(PermissionRefused, match="Only alice"):
        bob.change_hypothesis(experiment, changed, "why not")
    alice.change_hypothesis(experiment, changed, "The first one was badly put.")
    alice.command(experiment, "stop", "enough")
    for _ in alice.follow(experiment):
        pass
    [deviation] = alice.summary(experiment)["finding"]["deviations"]
    assert deviation["reason"] == "The first one was badly put."
    report = bob.verify(experiment)
    assert report.ok, report
    assert {check.name for check in report.checks if check.state == "holds"} >= {
        "chain",
        "hypothesis",
        "decision",
    }
    with pytest.raises(NotFound):
        carol.verify(experiment)


def test_one_key_creates_one_experiment_which_runs_to_its_end_under_everybodys_eyes(client):
    alice = RemoteExperiments(client("alice"))
    key = new_id("key")
    experiment = alice.create(specification(), key=key)
    assert alice.create(specification(), key=key) == experiment
    with pytest.raises(Conflict, match="Idempotency-Key"):
        alice.create(specification(title="another"), key=key)

    seen = list(alice.follow(experiment))
    kinds = [event["kind"] for event in seen]
    assert kinds[:2] == ["hypothesis.committed", "experiment.created"]
    assert [event["body"] for event in seen if event["kind"] == "trial.failed"] == []
    assert kinds.count("trial.observed") == 4
    assert kinds[-2:] == ["finding.made", "experiment.ended"]
    # Whoever joins late gets the rest, and those who come after the end are not kept waiting.
    events = alice.events(experiment)
    assert [each["seq"] for each in alice.follow(experiment, events[3]["seq"])] == [
        e["seq"] for e in events[4:]
    ]
    assert list(alice.follow(experiment, events[-1]["seq"])) == []
    path, end = f"experiments/{experiment}/events", events[-1]["seq"]
    assert client("alice").get(path)["next"] == end
    assert client("alice").get(path, after=end) == {"items": [], "next": None}

    bob, carol = RemoteExperiments(client("bob")), RemoteExperiments(client("carol"))
    assert bob.summary(experiment)["finding"]["decision"] == "supported"
    assert bob.summary(experiment)["simulated"] is True
    for call in (carol.summary, carol.events, lambda each: list(carol.follow(each))):
        with pytest.raises(NotFound):
            call(experiment)
    assert experiment not in [each["id"] for each in carol.summaries()]
    assert client("admin").get("ledger/verification")["ok"] is True


def test_what_cannot_run_is_refused_with_the_field(client):
    body = specification().model_dump(mode="json")
    with pytest.raises(InvalidInput, match="budget"):
        client("alice").post("experiments", {**body, "budget": {"trials": 0}})
    with pytest.raises(InvalidInput, match="does not observe"):
        client("alice").post(
            "experiments", {**body, "objective": {"name": "w", "unit": "", "maximize": True}}
        )
    with pytest.raises(PermissionRefused, match="not in the group 'fusion'"):
        client("alice").post("experiments", {**body, "groups": ["fusion"]})


def test_its_owner_pauses_resumes_and_stops_it_and_lists_come_in_pages(client, workbench):
    alice, bob = RemoteExperiments(client("alice")), RemoteExperiments(client("bob"))
    alice.create(specification(budget=Budget(trials=1)))
    experiment = alice.create(specification(budget=Budget(trials=200)))
    with pytest.raises(PermissionRefused, match="Only alice"):
        bob.command(experiment, "stop")
    alice.command(experiment, "pause", "lunch")
    assert alice.summary(experiment)["state"] == "paused"
    alice.command(experiment, "resume")
    alice.command(experiment, "stop", "enough")
    workbench.until(lambda: alice.summary(experiment)["state"] == "ended")
    assert "enough" in alice.summary(experiment)["reason"]
    with pytest.raises(InvalidInput, match="cannot be told"):
        alice.command(experiment, "explode")

    first = client("alice").get("experiments", limit=1)
    assert first["items"][0]["id"] == experiment
    second = client("alice").get("experiments", limit=1, cursor=first["next"])
    assert second["items"][0]["id"] != experiment
    with pytest.raises(InvalidInput, match="no cursor"):
        client("alice").get("experiments", cursor="%%%")


def test_a_runner_killed_in_the_middle_loses_and_repeats_nothing(client, workbench):
    alice = RemoteExperiments(client("alice"))
    experiment = alice.create(specification(budget=Budget(trials=6)))
    for event in alice.follow(experiment):
        if event["kind"] == "trial.observed":
            workbench.program("runner").kill()
            break
    kinds = [event["kind"] for event in alice.follow(experiment)]
    assert kinds.count("trial.observed") == 6
    assert kinds.count("finding.made") == 1
    jobs = [event["body"]["key"] for event in alice.events(experiment) if event["kind"] == "trial.proposed"]
    assert len(set(jobs)) == len(jobs) == 6
