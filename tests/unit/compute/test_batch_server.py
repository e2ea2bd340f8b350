"""A server as a batch job gets its certificate from the hub once it knows where it is."""

from __future__ import annotations

import errno
import io
import json
import os
import pwd
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from genesis_workbench.compute import batch_server
from genesis_workbench.compute.batch_server import Server, _certified, certify, folder_of
from genesis_workbench.core.errors import Conflict, Unavailable
from genesis_workbench.core.site import ComputeSection

ADDRESS = {"host": "10.0.0.3", "port": 4321}


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    made = Server(name="server-lab", certificate="the certificate", trusted="the authorities")
    folder_of(made, ComputeSection()).mkdir(parents=True)
    return made


def test_a_job_asks_and_the_hub_answers(server, tmp_path):
    found = {}
    private = tmp_path / "private"
    job = threading.Thread(
        target=lambda: found.update(_certified(folder_of(server, ComputeSection()), private, ADDRESS))
    )
    job.start()
    told = folder_of(server, ComputeSection()) / "address.json"
    deadline = time.monotonic() + 30
    while not told.exists():
        assert time.monotonic() < deadline, "the job asks for no certificate"
        time.sleep(0.01)
    request = json.loads(told.read_text())["request"]
    assert x509.load_pem_x509_csr(request.encode()).is_signature_valid
    certify(server, ComputeSection())
    job.join(30)
    assert json.loads(told.read_text()) == ADDRESS
    assert Path(found["JUPYTERHUB_SSL_CERTFILE"]).read_text() == "the certificate"
    assert Path(found["JUPYTERHUB_SSL_CLIENT_CA"]).read_text() == "the authorities"
    key = Path(found["JUPYTERHUB_SSL_KEYFILE"])
    assert key.stat().st_mode & 0o777 == 0o600
    secret = key.read_text()
    assert "PRIVATE KEY" in secret
    assert all(secret not in path.read_text() for path in folder_of(server, ComputeSection()).iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder_of(server, ComputeSection()).iterdir())


def test_a_server_starts_from_where_the_site_says_if_that_is_the_persons_own(server, tmp_path):
    me = pwd.getpwuid(os.getuid()).pw_name
    site = ComputeSection(slurm={"spool": f"{tmp_path}/scratch-{{person}}"})
    assert folder_of(server, site) == tmp_path / f"scratch-{me}/.genesis/servers/server-lab"
    (tmp_path / f"scratch-{me}").chmod(0o777)
    with pytest.raises(Conflict, match="others may write into it"):
        folder_of(server, site)
    (tmp_path / f"scratch-{me}").rmdir()
    (tmp_path / f"scratch-{me}").symlink_to(tmp_path / "home")
    with pytest.raises(Conflict, match="no folder of yours"):
        folder_of(server, site)
    with pytest.raises(Conflict, match="cannot be made: No such file"):
        folder_of(server, ComputeSection(slurm={"spool": f"{tmp_path}/nowhere/{{person}}"}))


def test_a_home_is_as_full_as_the_sites_own_program_says(server, tmp_path):
    def asked(*words):
        return batch_server.home(server, ComputeSection(slurm={"quota": words}))["home"]

    script = "import sys; print(*sys.argv[1:])"
    told = asked(sys.executable, "-c", script, "5000", "6000")
    assert (told["used_bytes"], told["limit_bytes"], told["refused"]) == (5000, 6000, False)
    for words in ([sys.executable, "-c", script, "all"], [sys.executable, "-c", "exit(3)"], ["/no/such"]):
        with pytest.raises(Unavailable, match="did not print two numbers"):
            asked(*words)


def test_without_a_byte_of_room_a_start_says_so_and_leaves_no_secret(server, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        batch_server, "Slurm", lambda _: SimpleNamespace(check=lambda *_: None, named=lambda _: [])
    )
    monkeypatch.setattr(Path, "replace", full)
    asked = {"name": "server-lab", "environment": {"JUPYTERHUB_API_TOKEN": "secret"}}
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(asked).encode())))
    assert batch_server._main(["start"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["code"] == "conflict"
    assert "Your home takes nothing more" in told["error"]
    assert list(folder_of(server, ComputeSection()).iterdir()) == []


def test_an_answer_that_comes_twice_is_taken_once(server):
    assert certify(server, ComputeSection()) == {}
    assert list(folder_of(server, ComputeSection()).iterdir()) == []


def test_a_hub_that_has_given_up_lets_the_job_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_server, "_CERTIFIED_S", 0)
    with pytest.raises(Unavailable, match="no certificate"):
        _certified(folder_of(server, ComputeSection()), tmp_path / "private", ADDRESS)
