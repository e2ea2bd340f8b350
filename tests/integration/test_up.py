"""`workbench up` as an operator meets it: started, stopped, started again."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from harness import BIN, Browser, Workbench

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def site(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('name = "up"\n[catalog]\nsources = []\n')
    return file


def test_the_password_is_printed_once_and_the_next_start_finds_everything(tmp_path, site):
    first = Workbench(tmp_path / "state", site).start()
    password = first.passwords["admin"]
    browser = Browser(first)
    assert browser.sign_in("admin", password).status_code == 200
    browser.start_server("admin")
    (tmp_path / "state/homes/admin/notes.txt").write_text("kept")
    browser.close()
    first.stop()  # asserts that nothing of the whole family is left, the server included

    with Workbench(tmp_path / "state", site) as second:
        assert "admin" not in second.passwords
        assert not any(password in line for line in second.output)
        browser = Browser(second)
        assert browser.sign_in("admin", password).status_code == 200
        browser.close()
        assert (tmp_path / "state/homes/admin/notes.txt").read_text() == "kept"

        third = subprocess.run(
            [str(BIN / "workbench"), "up", "--port", str(second.port), "--state", str(tmp_path / "other")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert third.returncode == 1
        assert third.stderr.count("\n") == 1
        assert f"Port {second.port}" in third.stderr
        assert "--port N" in third.stderr


def test_a_backup_of_a_workbench_that_runs_is_one_that_starts(tmp_path, site):
    with Workbench(tmp_path / "state", site) as first:
        first.add("alice", "solar")
        browser = Browser(first)
        assert browser.sign_in("alice", first.passwords["alice"]).status_code == 200
        browser.start_server("alice")
        (tmp_path / "state/homes/alice/notes.txt").write_text("kept")
        said = first.run("backup", str(tmp_path / "copy"), "--homes", "--site", str(site))
        assert "The ledger is whole" in said
        browser.close()
        with Workbench(tmp_path / "copy", site) as second:  # beside the one that it is a copy of
            again = Browser(second)
            assert again.sign_in("alice", first.passwords["alice"]).status_code == 200
            again.start_server("alice")
            again.close()
            assert (tmp_path / "copy/homes/alice/notes.txt").read_text() == "kept"


def test_a_hubs_database_of_an_older_jupyterhub_is_upgraded_and_a_copy_kept(tmp_path, site):
    with Workbench(tmp_path / "state", site) as first:
        password = first.passwords["admin"]
        browser = Browser(first)
        assert browser.sign_in("admin", password).status_code == 200
        browser.close()
    with sqlite3.connect(tmp_path / "state/hub.sqlite") as database:
        database.execute("ALTER TABLE spawners DROP COLUMN display_name")
        database.execute("UPDATE alembic_version SET version_num = 'ff1860e38070'")
    database.close()
    with Workbench(tmp_path / "state", site) as second:
        browser = Browser(second)
        assert browser.sign_in("admin", password).status_code == 200
        browser.start_server("admin")
        browser.close()
    (copy,) = (tmp_path / "state").glob("hub.sqlite.2*")
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT name FROM users").fetchall() == [("admin",)]
    database.close()


def test_ports_between_its_own_processes_that_are_taken_or_forgotten_are_chosen_anew(tmp_path, site):
    with Workbench(tmp_path / "state", site):
        ports = json.loads((tmp_path / "state/run/ports.json").read_text())
    with socket.create_server(("127.0.0.1", ports["hub"])), Workbench(tmp_path / "state", site) as second:
        assert json.loads((tmp_path / "state/run/ports.json").read_text())["hub"] != ports["hub"]
        assert second.public_url
    (tmp_path / "state/run/ports.json").write_text("")
    with Workbench(tmp_path / "state", site) as third:
        assert third.public_url


def test_a_supervisor_that_is_killed_takes_everything_with_it(tmp_path, site):
    workbench = Workbench(tmp_path / "state", site).start()
    family = workbench.processes()
    workbench.process.kill()
    workbench.process.wait()
    workbench.process.stdout.close()
    _, left = psutil.wait_procs(family, timeout=30)
    for process in left:
        process.kill()
    assert left == []
    with Workbench(tmp_path / "state", site) as again:
        assert httpx.get(f"{again.public_url}/hub/login", trust_env=False).status_code == 200


def test_a_server_that_outlived_a_killed_up_is_taken_up_and_ends_with_the_next(tmp_path, site):
    first = Workbench(tmp_path / "state", site).start()
    browser = Browser(first)
    browser.sign_in("admin", first.passwords["admin"])
    browser.start_server("admin")
    browser.close()
    server = first.server("admin")
    first.process.kill()
    first.process.wait()
    first.process.stdout.close()
    with Workbench(tmp_path / "state", site) as second:
        browser = Browser(second)
        browser.sign_in("admin", first.passwords["admin"])
        second.until(lambda: browser.hub("GET", "users/admin").json()["servers"][""]["ready"], timeout_s=60)
        browser.close()
        assert server.is_running()
    gone, left = psutil.wait_procs([server], timeout=1)
    for process in left:
        process.kill()
    assert gone == [server], "Ctrl-C said that nothing is left"


def test_a_proxy_that_dies_comes_back_and_knows_the_way_to_every_server(tmp_path, site):
    with Workbench(tmp_path / "state", site) as workbench:
        browser = Browser(workbench)
        browser.sign_in("admin", workbench.passwords["admin"])
        browser.start_server("admin")
        status = f"{workbench.user_origin('admin')}/user/admin/api"
        assert browser.http.get(status).status_code == 200
        try:
            workbench.program("configurable-http-proxy").kill()
            time.sleep(1)
            workbench.until(lambda: browser.http.get(status).status_code == 200)
        finally:
            browser.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["users", "remove", "nobody"], "There is nobody called 'nobody'"),
        (["users", "add", "Not A Name"], "cannot be the name of a person"),
        (["validate", "missing.toml"], "There is no site file"),
        (["up", "--site", "missing.toml"], "There is no site file"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, arguments, words):
    if arguments[0] != "validate":
        arguments = [*arguments, "--state", str(tmp_path)]
    done = subprocess.run(
        [str(BIN / "workbench"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sites_that_come_along_are_valid():
    sites = sorted((Path(__file__).parents[2] / "hub_config/sites").glob("*.toml"))
    assert sites
    for site in sites:
        subprocess.run(
            [str(BIN / "workbench"), "validate", str(site)], check=True, timeout=60, capture_output=True
        )
