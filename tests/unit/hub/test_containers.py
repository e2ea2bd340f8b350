"""What the container spawner decides before an engine is asked, and how it reads what an engine says."""

from __future__ import annotations

import json
import socketserver
import threading
from types import SimpleNamespace

import pytest

from genesis_hub import resources
from genesis_hub.names import safe_name
from genesis_hub.settings import Settings
from genesis_hub.spawners import _machines
from genesis_hub.spawners._confinement import pinned
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
        return {"memory_bytes": self.memory_bytes}

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
    assert _why(1, GIB, ["a", "no such module"]) == "It ended with status 1. Its last words: no such module"


def test_containers_cannot_reach_a_hub_on_loopback():
    site = load_site(resources.site_file("containers"))
    alone = site.model_copy(update={"hub": site.hub.model_copy(update={"private_address": "127.0.0.1"})})
    with pytest.raises(InvalidInput, match="containers cannot reach"):
        Settings(alone, SimpleNamespace(folder="/nowhere"), None, None)._container(SimpleNamespace())


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


async def test_an_engine_that_is_not_there_is_named(tmp_path):
    engine = Engine(str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="none does not answer"):
        await engine.inspect("x")
    await engine.close()
