"""Servers that have fallen silent are ended; those that work, or that no profile ends, never are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from genesis_hub import culling
from genesis_workbench.core.site import ProfileSection

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BRIEF = ProfileSection(name="brief", title="Brief", idle_s=1200)
LONG = ProfileSection(name="long", title="Long", idle_s=86400, groups=["solar"])
KEPT = ProfileSection(name="kept", title="Kept")
OFFERED = [BRIEF, LONG, KEPT]


def server(minutes, now=NOW, **more):
    last = (now - timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
    return {
        "last_activity": last,
        "ready": True,
        "pending": None,
        "user_options": {"profile": "brief"},
        **more,
    }


def found(*servers, groups=("solar",)):
    user = {
        "name": "alice",
        "groups": list(groups),
        "servers": {f"s{n}": each for n, each in enumerate(servers)},
    }
    return [name for _, name, _ in culling.overdue([user], OFFERED, NOW)]


def test_only_a_server_that_has_missed_its_own_end_is_overdue():
    # 20 minutes without work, and three reports of five minutes each.
    assert found(server(34), server(36)) == ["s1"]


@pytest.mark.parametrize(
    "more",
    [
        {"user_options": {"profile": "long"}},
        {"user_options": {"profile": "kept"}},
        {"pending": "stop"},
        {"ready": False},
    ],
)
def test_what_runs_on_is_left_alone(more):
    assert found(server(300, **more)) == []


def test_a_dashboard_is_left_alone_and_a_lab_that_says_it_is_one_is_not():
    dashboard = "dsh-0123456789abcdef"
    said = {"user_options": {"profile": "brief", "dashboard": dashboard}}
    user = {
        "name": "alice",
        "groups": [],
        "servers": {dashboard: server(300, **said), "x": server(300, **said)},
    }
    assert [name for _, name, _ in culling.overdue([user], OFFERED, NOW)] == ["x"]


def test_no_options_that_anybody_can_send_break_the_look():
    sized = ProfileSection(name="sized", title="Sized", idle_s=60, limits={"memory_bytes": (2**30, 2**33)})
    options = {"profile": "sized", "memory_bytes": int("9" * 400)}
    user = {
        "name": "alice",
        "groups": [],
        "servers": {
            "starting": server(300, ready=False, user_options=options),
            "runs": server(300, user_options=options),
        },
    }
    assert [name for _, name, _ in culling.overdue([user], [sized], NOW)] == ["runs"]


def test_whoever_lost_the_profile_is_not_ended_sooner_for_it():
    lost = {"user_options": {"profile": "long"}}
    assert found(server(300, **lost), groups=[]) == []
    assert found(server(2000, **lost), groups=[]) == ["s0"]


def test_a_server_reports_often_enough_to_be_believed():
    assert [culling.report_every_s(idle) for idle in (0, 2, 400, 1200, 86400)] == [300, 1, 100, 300, 300]


def test_everybody_is_looked_at_page_by_page_and_a_named_server_is_ended_by_its_name():
    ended = []
    pages = {
        "0": {
            "items": [{"name": "alice", "servers": {"": server(99_999)}}],
            "_pagination": {"next": {"offset": 1}},
        },
        "1": {
            "items": [
                {"name": "bob", "servers": {"big": server(99_999), "new": server(1, datetime.now(UTC))}}
            ],
            "_pagination": {"next": None},
        },
    }

    def hub(request):
        if request.method == "DELETE":
            ended.append(request.url.path)
            return httpx.Response(202)
        return httpx.Response(200, json=pages[request.url.params["offset"]])

    with httpx.Client(transport=httpx.MockTransport(hub), base_url="http://hub/hub/api") as client:
        assert culling.cull(client, OFFERED) == 2
        assert culling.cull(client, [KEPT]) == 0
    assert ended == ["/hub/api/users/alice/server", "/hub/api/users/bob/servers/big"]
