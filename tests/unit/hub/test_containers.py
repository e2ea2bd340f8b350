"""What the container spawner decides before an engine is asked, and how it reads what an engine says."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socketserver
import tarfile
import threading
from types import SimpleNamespace

import httpx
import pytest

from genesis_hub import resources
from genesis_hub.names import safe_name
from genesis_hub.settings import Settings
from genesis_hub.spawners import _machines
from genesis_hub.spawners._about import About, of_docker, of_podman
from genesis_hub.spawners._confinement import owned, pinned
from genesis_hub.spawners._engine import Engine, _lines
from genesis_hub.spawners._machines import MEMORY_LABEL, SERVER_LABEL, Machines
from genesis_hub.spawners.container import _why
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import NodeSection, load_site

GIB = 2**30


class FakeEngine:
    """An engine that has memory and containers, or is silent."""

    def __init__(self, memory_bytes=8 * GIB):
        self.memory_bytes, self.held, self.removed, self.silent = memory_bytes, {}, [], False

    async def about(self):
        if self.silent:
            raise Unavailable("no answer")
        return About(name="fake", memory_bytes=self.memory_bytes)

    async def containers(self, **_):
        return [
            {"Id": key, "Labels": {SERVER_LABEL: server, MEMORY_LABEL: str(memory)}}
            for key, (server, memory) in self.held.items()
        ]

    async def remove(self, container):
        self.removed.append(container)
        self.held.pop(container, None)


@pytest.fixture
def engines(monkeypatch):
    made = {name: FakeEngine() for name in ("one", "two")}
    monkeypatch.setattr(_machines, "engine", made.get)
    return made


@pytest.fixture
def machines(engines):
    return Machines("test", [NodeSection(name=name, socket=name, reserve_bytes=GIB) for name in engines])


async def test_servers_go_where_memory_is_free(machines, engines):
    engines["one"].held["x"] = ("bob/", 3 * GIB)
    assert (await machines.place("alice/", 2 * GIB)).name == "two"
    # Promised, though no engine lists it yet: the next one does not count on it.
    assert (await machines.place("carol/", 2 * GIB)).name == "two"
    assert (await machines.place("dora/", 2 * GIB)).name == "one"
    machines.release("alice/")
    machines.release("carol/")
    assert (await machines.place("emil/", 2 * GIB)).name == "two"


async def test_full_machines_say_what_is_free(machines, engines):
    with pytest.raises(
        Unavailable, match=r"needs 7\.5 GiB of memory, and the most that is free on one machine is 7 GiB"
    ):
        await machines.place("alice/", 15 * GIB // 2)


async def test_a_silent_machine_is_passed_over_and_what_was_left_on_it_is_removed(machines, engines):
    engines["two"].held["old"] = ("bob/", GIB)
    engines["two"].silent = True
    assert (await machines.place("alice/", GIB)).name == "one"
    machines.leave_behind("two", "old")
    engines["two"].silent = False
    await machines.rooms()
    assert engines["two"].removed == ["old"]
    for each in engines.values():
        each.silent = True
    with pytest.raises(Unavailable, match=r"None of this site's machines answers \(one, two\)"):
        await machines.place("carol/", GIB)


async def test_an_earlier_container_of_the_same_server_is_removed_wherever_it_is(machines, engines):
    engines["one"].held["mine"] = ("alice/", 6 * GIB)
    engines["two"].held["hers"] = ("bob/", GIB)
    assert (await machines.place("alice/", 7 * GIB)).name == "one"
    assert engines["one"].removed == ["mine"]
    assert engines["two"].removed == []


@pytest.mark.parametrize("image", ["", "python:3.11", "user@sha256:12", "a b@sha256:" + "0" * 64])
def test_an_image_is_named_by_its_digest(image):
    with pytest.raises(InvalidInput, match="not by its digest"):
        pinned(image)


def test_names_of_people_give_names_of_containers_that_no_other_name_gives():
    assert safe_name("alice") == "alice"
    names = [
        "Alice",
        "alice@site.gov",
        "alice.site.gov",
        "a/../b",
        "ünï",
        "a--b",
        "x" * 80,
        "-a",
        "groups/../..",
    ]
    made = [safe_name(name) for name in names]
    assert len(set(made)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in made)


def test_a_log_is_read_piece_by_piece():
    def piece(text):
        return b"\1\0\0\0" + len(text).to_bytes(4, "big") + text

    assert _lines(piece(b"one\ntw") + piece(b"o\n")) == ["one", "two"]
    assert _lines(b"") == []


def test_the_end_of_a_server_is_told_in_words():
    assert "wanted more than its 2.0 GiB of memory" in _why(137, 2 * GIB, [])
    assert "its machine had no memory left" in _why(137, 0, [])
    assert _why(1, GIB, ["a", "no such module"]) == "It ended with status 1. Its last words: no such module"


def test_containers_cannot_reach_a_hub_on_loopback():
    site = load_site(resources.site_file("containers"))
    alone = site.model_copy(update={"hub": site.hub.model_copy(update={"private_address": "127.0.0.1"})})
    with pytest.raises(InvalidInput, match="containers cannot reach"):
        Settings(alone, SimpleNamespace(folder="/nowhere"), None, None)._container(SimpleNamespace())


def podman_info(*controllers, rootless):
    """What podman 4.3.1 says, shortened."""
    ids = [
        {"container_id": 0, "host_id": 4210, "size": 1},
        {"container_id": 1, "host_id": 231072, "size": 65536},
    ]
    maps = ids if rootless else None
    return {
        "host": {
            "cgroupControllers": list(controllers),
            "idMappings": {"uidmap": maps, "gidmap": maps},
            "memTotal": GIB,
            "security": {"rootless": rootless, "seccompEnabled": True},
        }
    }


# What docker 20.10.24 says, shortened.
DOCKER = {
    "MemTotal": GIB,
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "LiveRestoreEnabled": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
}
HERE = NodeSection(name="here")


def test_podman_as_root_gives_homes_to_user_1000_and_holds_limits():
    about = of_podman("4.3.1", podman_info("cpu", "memory", "pids", rootless=False))
    assert (about.name, about.owner, about.user_namespace) == ("podman 4.3.1", (1000, 1000), "")
    assert [*about.faults(), *about.notes(HERE)] == []


@pytest.mark.parametrize(
    ("controllers", "lost"),
    [
        ([], "memory and processors and processes"),  # cgroup version 1
        (["memory", "pids"], "processors"),  # what systemd hands to accounts by itself
        (["cpu", "memory", "pids"], ""),
    ],
)
def test_podman_without_root_gives_homes_to_its_account_and_says_what_it_does_not_hold(controllers, lost):
    about = of_podman("4.3.1", podman_info(*controllers, rootless=True))
    assert (about.name, about.owner) == ("podman 4.3.1, rootless", (4210, 4210))
    assert about.user_namespace == "keep-id:uid=1000,gid=1000"
    assert [fault.partition(":")[0] for fault in about.faults()] == (
        [f"It holds no limit on {lost}"] if lost else []
    )
    assert list(about.notes(HERE)) == []
    elsewhere = HERE.model_copy(update={"address": "10.20.0.2"})
    assert "each other's ports at 10.20.0.2" in next(about.notes(elsewhere))


@pytest.mark.parametrize(
    ("rootless", "words"), [(False, "-i podman+ -o podman+ -j DROP"), (True, "sign-in alone stand between")]
)
def test_podman_whose_netavark_forgets_to_keep_networks_apart_says_what_does(rootless, words):
    about = About("podman 4.3.1", GIB, podman=True, rootless=rootless, forgets=True)
    assert [words in note for note in about.notes(HERE)] == [True]
    assert list(about.faults()) == []


def test_docker_as_root_is_well_where_it_is_set_up_as_the_guide_says():
    about = of_docker("20.10.24", DOCKER)
    assert (about.podman, about.owner, about.refusal) == (False, (1000, 1000), "")
    assert [*about.faults(), *about.notes(HERE)] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"MemoryLimit": False}, "no limit on memory"),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, "does not filter system calls"),
        ({"SecurityOptions": None}, "does not filter system calls"),
        ({"LiveRestoreEnabled": False}, '"live-restore": true'),
    ],
)
def test_docker_that_is_set_up_otherwise_says_so(change, words):
    about = of_docker("20.10.24", DOCKER | change)
    assert [words in remark for remark in (*about.faults(), *about.notes(HERE))] == [True]


@pytest.mark.parametrize("option", ["name=rootless", "name=userns"])
def test_docker_that_gives_homes_to_an_unknown_account_is_refused(option):
    about = of_docker("20.10.24", DOCKER | {"SecurityOptions": [*DOCKER["SecurityOptions"], option]})
    assert "nobody could write in their home" in about.refusal


async def test_what_an_engine_does_not_hold_is_in_the_hubs_log_once(machines, engines, caplog):
    unheld = About(name="podman 4.3.1, rootless", memory_bytes=GIB, rootless=True, unheld=("memory",))

    async def about():
        return unheld

    engines["two"].about = about
    with caplog.at_level(logging.WARNING):
        await machines.rooms()
        await machines.rooms()
    assert [
        each for each in caplog.messages if "machine two, podman 4.3.1, rootless: It holds no limit" in each
    ]
    assert len(caplog.messages) == 1


def test_a_home_is_made_for_the_account_that_the_engine_gives_it_to(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *ids, **_: made.update({path.name: ids}))
    owned(tmp_path / "homes/alice", 0o700)
    owned(tmp_path / "homes/bob", 0o700, (4210, 4210))
    assert made == {"alice": (1000, 1000), "bob": (4210, 4210)}
    monkeypatch.setattr(os, "geteuid", lambda: 4210)
    owned(tmp_path / "homes/carol", 0o700, (4210, 4210))
    with pytest.raises(InvalidInput, match="the hub must run as user 1000 or as root"):
        owned(tmp_path / "homes/dora", 0o700)
    assert not (tmp_path / "homes/dora").exists()


@pytest.fixture
def answering(tmp_path):
    """Return a function that starts an engine which gives one answer to everything, and returns its client."""
    servers = []

    def start(status, body):
        class Answer(socketserver.StreamRequestHandler):
            def handle(self):
                while self.rfile.readline().strip():
                    pass
                head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                self.wfile.write(head.encode() + body)

        server = socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return Engine(str(tmp_path / "s"))

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


async def test_what_an_engine_refuses_is_told_with_its_own_words(answering):
    engine = answering(500, json.dumps({"message": "no space left on device"}).encode())
    with pytest.raises(Unavailable, match="no space left on device"):
        await engine.start("x")
    await engine.close()


@pytest.mark.parametrize(("oldest", "spoken"), [("1.12", "/v1.40"), ("1.44", "/v1.44"), (None, "/v1.40")])
async def test_an_engine_is_spoken_to_in_a_version_that_it_knows(monkeypatch, oldest, spoken):
    asked = []

    def answer(request):
        asked.append(request.url.path)
        return httpx.Response(200, json={"MinAPIVersion": oldest, "Version": "29.0.0", "Id": "x"})

    engine = Engine("none")
    monkeypatch.setattr(
        engine, "_http", httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://e")
    )
    await engine.inspect("x")
    await engine.inspect("x")
    assert asked == ["/version", f"{spoken}/containers/x/json", f"{spoken}/containers/x/json"]
    await engine.close()


async def test_of_twenty_who_come_at_once_one_asks_what_the_engine_is(monkeypatch):
    asked = []

    async def answer(request):
        asked.append(request.url.path)
        await asyncio.sleep(0)  # the others come meanwhile
        return httpx.Response(200, json={"Version": "20.10.24", "MemTotal": 2**34})

    engine = Engine("none")
    monkeypatch.setattr(
        engine, "_http", httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://e")
    )
    found = await asyncio.gather(*(engine.about() for _ in range(20)))
    assert asked == ["/version", "/v1.40/info"]
    assert len({id(each) for each in found}) == 1
    await engine.close()


async def test_an_engine_that_is_not_there_is_named(tmp_path):
    engine = Engine(str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="none does not answer"):
        await engine.inspect("x")
    await engine.close()


async def test_files_are_put_into_a_container_for_its_user_to_read_without_a_byte_too_many(monkeypatch):
    sent = {}

    async def send(method, path, /, *, content, **query):
        sent.update(method=method, at=path, content=content, query=query)

    engine = Engine("/nowhere")
    monkeypatch.setattr(engine, "_send", send)
    await engine.put("c1", "/etc/x", {"key.pem": b"secret", "certificate.pem": b"c" * 600})
    await engine.close()
    assert (sent["method"], sent["at"], sent["query"]) == (
        "PUT",
        "/containers/c1/archive",
        {"path": "/etc/x"},
    )
    assert len(sent["content"]) == (1 + 1 + 1 + 2 + 2) * tarfile.BLOCKSIZE  # heads, content, the end
    with tarfile.open(fileobj=io.BytesIO(sent["content"])) as archive:
        found = {each.name: (each.mode, each.uid, each.gid, each.size) for each in archive.getmembers()}
    assert found == {"key.pem": (0o440, 0, 1000, 6), "certificate.pem": (0o440, 0, 1000, 600)}
