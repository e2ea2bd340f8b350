"""The zoo's artifacts in an S3 server (moto), and its signatures before OpenSSF's own tool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pytest

from genesis_workbench.core.errors import NotFound, Unavailable, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.objects import S3Blobs
from genesis_workbench.models import signing, store
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec

from .conftest import environment


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """Address and keys of an empty bucket."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    name = f"zoo-{digest(str(tmp_path).encode())[7:19]}"
    with httpx.Client(trust_env=False) as client:
        client.put(f"{s3}/{name}").raise_for_status()
    return {"url": f"s3://{name}/artifacts", "endpoint": s3, "credentials_file": str(keys)}


def test_blobs_in_a_bucket_are_like_blobs_in_a_folder(bucket):
    blobs = S3Blobs(**bucket)
    name = blobs.put(b"a model")
    assert blobs.put(b"a model") == name
    assert blobs.has(name)
    assert blobs.read(name) == b"a model"
    assert [(each.digest, each.size_bytes) for each in blobs.listed()] == [(name, 7)]
    other = digest(b"nothing")
    assert not blobs.has(other)
    with pytest.raises(NotFound):
        blobs.read(other)
    blobs._obstore.put(blobs._store, f"{name[7:9]}/{name[7:]}", b"changed")
    with pytest.raises(VerificationFailed, match="other content"):
        blobs.read(name)
    blobs.delete(name)
    blobs.delete(name)
    assert list(blobs.listed()) == []


def test_a_bucket_is_collected_like_a_folder(bucket, tmp_path):
    blobs, ledger = S3Blobs(**bucket), Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    used, unused = blobs.put(b"used"), blobs.put(b"unused")
    ledger.append("model/x@1", "model.registered.elsewhere", {"artifact": used}, actor="ada")
    assert store.collect(ledger, blobs).young == 1
    found = store.collect(ledger, blobs, grace_s=0, delete=True)
    assert [each.digest for each in found.unused] == [unused]
    assert [each.digest for each in blobs.listed()] == [used]
    ledger.close()


def test_a_store_that_does_not_answer_is_said_so(bucket):
    silent = S3Blobs(**{**bucket, "endpoint": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable, match="does not answer"):
        silent.has(digest(b"x"))


@pytest.mark.slow
def test_openssf_verifies_our_signature_and_we_theirs(tmp_path):
    tool = environment("model-signing").with_name("model_signing")
    for words in (
        ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"],
        ["ec", "-in", "key.pem", "-pubout", "-out", "pub.pem"],
    ):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)
    artifact = b"x,y\n0,0\n1,1\n"
    version = ModelVersion(
        name="line",
        version=1,
        format="table",
        artifact=digest(artifact),
        size_bytes=len(artifact),
        signature=Signature(inputs=(TensorSpec(name="x"),), outputs=(TensorSpec(name="y"),)),
        card=ModelCard(title="Line", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
        self_test=SelfTest(inputs={"x": [0.5]}, outputs={"y": [0.5]}),
    )
    folder = tmp_path / "export"
    signing.write(version, artifact, folder)
    public = (tmp_path / "pub.pem").read_text()

    ours = signing.sign(folder, (tmp_path / "key.pem").read_bytes())
    (tmp_path / "ours.sig").write_text(json.dumps(ours))
    verified = openssf(tool, "verify", folder, tmp_path / "ours.sig", "--public_key", "pub.pem")
    assert verified.returncode == 0, verified.stderr
    openssf(tool, "sign", folder, tmp_path / "theirs.sig", "--private_key", "key.pem")
    signing.verify(version, json.loads((tmp_path / "theirs.sig").read_text()), [public])

    (folder / "record.json").write_bytes(b"{}")
    assert openssf(tool, "verify", folder, tmp_path / "ours.sig", "--public_key", "pub.pem").returncode != 0


def openssf(tool: Path, verb: str, folder: Path, signature: Path, option: str, key: str):
    command = [str(tool), verb, "key", str(folder), option, key, "--signature", str(signature)]
    return subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=120
    )
