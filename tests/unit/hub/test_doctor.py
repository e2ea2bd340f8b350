"""`workbench doctor` says what is wrong and what to do."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from genesis_hub import doctor, resources, supervisor
from genesis_hub.ports import Ports
from genesis_hub.spawners._about import About
from genesis_workbench.core.site import NodeSection, load_site
from genesis_workbench.core.state import State

SITE = load_site(resources.site_file("laptop"))


def examine(folder, port):
    return {check.name: check for check in doctor.examine(SITE.at_port(port), State(folder))}


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_and_a_folder_that_cannot_be_written_come_with_advice(tmp_path, taken, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    checks = examine(tmp_path, taken)
    assert checks["port"].state == "fail"
    assert "--port" in checks["port"].advice
    assert checks["state folder"].state == "fail"
    assert "--state" in checks["state folder"].advice


def test_a_missing_proxy_and_too_little_memory_are_failures(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(doctor, "_LEAST_MEMORY", 2**60)
    checks = examine(tmp_path, 0)
    assert (checks["proxy"].state, checks["proxy"].advice) == ("fail", "Run `make setup`.")
    assert checks["memory"].state == "fail"


def test_a_workbench_that_does_not_run_is_a_note_not_a_failure(tmp_path, taken):
    state = State(tmp_path)
    state.run.mkdir()
    Ports(1, 2, 3).write(state.run / "ports.json")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    (state.run / "port").write_text(str(free))
    assert examine(tmp_path, free)["workbench"].state == "note"


def test_the_command_prints_json_and_its_status_tells(tmp_path, taken):
    site = tmp_path / "site.toml"
    site.write_text(f'name = "x"\n[hub]\nport = {taken}\n')
    command = [str(Path(sys.executable).parent / "workbench"), "doctor", "--json"]
    command += ["--site", str(site), "--state", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert {"name", "state", "found", "advice"} == set(json.loads(done.stdout)[0])


def prepare(tmp_path, port=0, folder="state"):
    return supervisor.Supervisor.prepare(resources.site_file("laptop"), tmp_path / folder, port)


def test_up_refuses_a_taken_port_a_second_start_and_a_folder_that_is_a_file(tmp_path, taken):
    with pytest.raises(supervisor.Conflict, match=rf"Port {taken} on 127.0.0.1 cannot be used .*--port N"):
        prepare(tmp_path, taken)
    first = prepare(tmp_path, folder="other")
    with pytest.raises(supervisor.Conflict, match=r"running already .*--state"):
        prepare(tmp_path, folder="other")
    first.release()
    (tmp_path / "file").write_text("")
    with pytest.raises(supervisor.InvalidInput, match=r"cannot be written .*--state"):
        prepare(tmp_path, folder="file")


def test_each_machine_for_containers_is_told_with_its_engine_and_what_that_does_not_hold(
    tmp_path, monkeypatch
):
    known = {
        "good": About(name="podman 4.3.1", memory_bytes=2**30),
        "slack": About(name="podman 4.3.1, rootless", memory_bytes=2**30, unheld=("memory",)),
        "short": About(name="docker 28", memory_bytes=2**30, survives=False),
        "strange": About(name="docker 28", memory_bytes=2**30, refusal="nobody could write"),
    }
    real = doctor._asked

    async def asked(node):
        return known.get(node.name) or await real(node)

    monkeypatch.setattr(doctor, "_asked", asked)
    nodes = [NodeSection(name=name, socket=str(tmp_path / "none")) for name in (*known, "gone")]
    site = load_site(resources.site_file("containers"))
    containers = site.servers.containers.model_copy(update={"nodes": nodes})
    servers = site.servers.model_copy(update={"containers": containers})
    checks = list(doctor._engines(site.model_copy(update={"servers": servers}), State(tmp_path)))
    assert [(check.name, check.state) for check in checks] == [
        ("good", "ok"),
        ("slack", "fail"),
        ("short", "note"),
        ("strange", "fail"),
        ("gone", "fail"),
    ]
    assert checks[0].found == "podman 4.3.1, 1.0 GiB"
    assert "no limit on memory" in checks[1].advice
    assert "live-restore" in checks[2].advice
    assert "does not answer" in checks[4].found
    assert list(doctor._engines(SITE, State(tmp_path))) == []
