"""A server as a batch job gets its certificate from the hub once it knows where it is."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509

from genesis_workbench.compute import batch_server
from genesis_workbench.compute.batch_server import Server, _certified, certify
from genesis_workbench.core.errors import Unavailable
from genesis_workbench.core.site import ComputeSection

ADDRESS = {"host": "10.0.0.3", "port": 4321}


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    made = Server(name="server-lab", certificate="the certificate", trusted="the authorities")
    made.folder.mkdir(parents=True)
    return made


def test_a_job_asks_and_the_hub_answers(server, tmp_path):
    found = {}
    private = tmp_path / "private"
    job = threading.Thread(target=lambda: found.update(_certified(server.folder, private, ADDRESS)))
    job.start()
    told = server.folder / "address.json"
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
    assert all(secret not in path.read_text() for path in server.folder.iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in server.folder.iterdir())


def test_an_answer_that_comes_twice_is_taken_once(server):
    assert certify(server, ComputeSection()) == {}
    assert list(server.folder.iterdir()) == []


def test_a_hub_that_has_given_up_lets_the_job_end(server, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_server, "_CERTIFIED_S", 0)
    with pytest.raises(Unavailable, match="no certificate"):
        _certified(server.folder, tmp_path / "private", ADDRESS)
