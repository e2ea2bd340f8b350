"""Who may open a dashboard, and what of its viewer reaches it: nothing."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from genesis_workbench.core.errors import InvalidInput, NotFound, PermissionRefused

pytestmark = pytest.mark.timeout(300)

TELLTALE = """
import os
import panel as pn

pn.extension()
seen = {**pn.state.headers, **{f"cookie {name}": value for name, value in pn.state.cookies.items()}}
pn.pane.Str("HARVEST " + " | ".join(f"{name}={value}" for name, value in seen.items())).servable(title="Telltale")
"""


@pytest.fixture(scope="module")
def dashboard(workbench, tokens):
    from genesis_workbench.core.service import Service

    service = Service(workbench.service_url, tokens["alice"])
    yield service.post(
        "dashboards", {"title": "Telltale", "source": TELLTALE, "groups": ["solar"]}, key="telltale"
    )
    service.close()


def session(browser, url):
    host = urlsplit(url).hostname
    return {each.name: each.value for each in browser.http.cookies.jar if each.domain.startswith(host)}


def test_a_member_of_the_group_sees_it_and_it_sees_nothing_of_the_member(
    workbench, browser, dashboard, tokens
):
    bob = browser("bob")
    page = bob.patient_get(dashboard["url"])
    assert page.status_code == 200
    assert str(page.url) == dashboard["url"]
    assert "Telltale" in page.text
    token = re.search(r'"token":"([^"]+)"', page.text)[1]
    cookies = session(bob, dashboard["url"])
    for secret in (*cookies.values(), tokens["bob"]):
        assert secret not in page.text
        assert secret not in token
    assert page.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert "set-cookie" not in page.headers


def test_nobody_else_comes_in_and_the_refusal_is_recorded(browser, client, dashboard):
    refused = browser("carol").get(dashboard["url"])
    assert refused.status_code == 403
    assert "not shared with you" in refused.text
    assert "Telltale" not in refused.text
    events = client("admin").get(
        "ledger/events", kind="permission.refused", stream=f"dashboard/{dashboard['id']}"
    )
    assert events["items"][-1]["actor"] == "carol"
    with pytest.raises(NotFound):
        client("carol").get(f"dashboards/{dashboard['id']}")
    assert client("carol").get("dashboards")["items"] == []


def test_the_script_and_the_gates_key_are_for_the_owners_server_alone(client, dashboard):
    assert client("alice").get(f"dashboards/{dashboard['id']}/app")["source"] == TELLTALE
    with pytest.raises(NotFound):
        client("bob").get(f"dashboards/{dashboard['id']}/app")


def test_its_server_answers_nobody_but_the_gate(workbench, browser, dashboard):
    alice = browser("alice")
    alice.patient_get(dashboard["url"])
    direct = f"{workbench.user_origin('alice')}/user/alice/{dashboard['id']}/"
    assert alice.get(direct).status_code == 403
    assert alice.get(direct, headers={"X-Genesis-Gate": "0" * 64}).status_code == 403


def test_a_code_opens_one_dashboard_once_in_the_browser_that_asked(workbench, browser, dashboard):
    bob = browser("bob")
    bob.patient_get(dashboard["url"])
    bob.http.cookies.delete("genesis-dashboard", domain=urlsplit(dashboard["url"]).hostname)
    step = bob.http.get(dashboard["url"])
    door = bob.http.get(step.headers["location"])
    enter = door.headers["location"]
    assert "/.genesis/enter?code=" in enter
    # Another browser has not the state that the code is tied to.
    thief = browser("carol")
    assert "genesis-dashboard" not in thief.http.get(enter).headers.get("set-cookie", "")
    first = bob.http.get(enter)
    assert "genesis-dashboard=" in first.headers["set-cookie"]
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "genesis-dashboard=" not in bob.http.get(enter).headers.get("set-cookie", "")


def test_a_way_back_to_another_site_is_not_followed(browser, dashboard):
    bob = browser("bob")
    bob.patient_get(dashboard["url"])
    bob.http.cookies.delete("genesis-dashboard", domain=urlsplit(dashboard["url"]).hostname)
    step = bob.http.get(dashboard["url"])
    door = bob.http.get(step.headers["location"].replace("next=%2F", "next=%2F%2Fevil.example"))
    assert bob.http.get(door.headers["location"]).headers["location"] == "/"


async def open_websocket(url, cookies, token, origin):
    return await connect(
        url.replace("http", "ws", 1) + "ws",
        host="127.0.0.1",
        port=urlsplit(url).port,
        origin=origin,
        subprotocols=["bokeh", token],
        additional_headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
        proxy=None,
        open_timeout=30,
    )


async def test_a_websocket_opens_for_its_own_page_and_closes_when_the_right_is_taken(
    workbench, browser, dashboard
):
    workbench.add("dora", "solar")
    dora = browser("dora")
    page = await asyncio.to_thread(dora.patient_get, dashboard["url"])
    token = re.search(r'"token":"([^"]+)"', page.text)[1]
    cookies, origin = session(dora, dashboard["url"]), dashboard["url"].rstrip("/")
    with pytest.raises(websockets.InvalidStatus):
        await open_websocket(dashboard["url"], cookies, token, "http://evil.localhost")
    with pytest.raises(websockets.InvalidStatus):
        await open_websocket(dashboard["url"], {}, token, origin)
    socket = await open_websocket(dashboard["url"], cookies, token, origin)
    assert "ACK" in await asyncio.wait_for(socket.recv(), 30)
    await asyncio.to_thread(workbench.run, "users", "groups", "dora", "--remove", "solar")
    await asyncio.wait_for(socket.wait_closed(), 120)
    assert socket.close_code == 4403
    refused = await asyncio.to_thread(dora.get, dashboard["url"])
    assert refused.status_code == 403


def test_what_cannot_be_published_is_refused(client):
    alice = client("alice")
    with pytest.raises(PermissionRefused, match="not in the group 'fusion'"):
        alice.post("dashboards", {"title": "t", "app": "experiment", "groups": ["fusion"]})
    with pytest.raises(InvalidInput, match="no Python"):
        alice.post("dashboards", {"title": "t", "source": "def ("})
    with pytest.raises(InvalidInput, match="There are: experiment"):
        alice.post("dashboards", {"title": "t", "app": "../people"})
    with pytest.raises(InvalidInput, match="either"):
        alice.post("dashboards", {"title": "t"})


def test_taken_back_it_is_gone_for_everybody(client, browser, workbench):
    made = client("alice").post("dashboards", {"title": "Short", "source": TELLTALE, "groups": ["solar"]})
    bob = browser("bob")
    assert bob.patient_get(made["url"]).status_code == 200
    with pytest.raises(PermissionRefused, match="Only alice"):
        client("bob").delete(f"dashboards/{made['id']}")
    client("alice").delete(f"dashboards/{made['id']}")
    assert bob.get(made["url"]).status_code == 404
    hub = browser("alice").hub("GET", "users/alice").json()["servers"]
    assert made["id"] not in hub


def test_hosts_that_are_no_dashboard_are_sent_home(workbench):
    answer = httpx.get(workbench.public_url, headers={"Host": "evil.example"}, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (307, workbench.public_url + "/")
