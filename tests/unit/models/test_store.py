"""Where artifacts are kept, and that only what nothing refers to is collected."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.objects import S3Blobs
from genesis_workbench.core.site import ModelsSection, Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models import store
from genesis_workbench.models.__main__ import main

HOUR = 3600.0


def age(blobs, name, hours):
    then = blobs.path(name).stat().st_mtime - hours * HOUR
    os.utime(blobs.path(name), (then, then))


@pytest.fixture
def lying_about(zoo, register):
    """A store with a model, an attachment of an experiment, and two files that nothing names: old and young."""
    version = register()
    attached, old, young = (zoo.blobs.put(word) for word in (b"attached", b"old", b"young"))
    zoo.ledger.append("experiment/x", "trial.observed", {"files": {"log": attached}}, actor="ada")
    for name in (version.artifact, attached, old):
        age(zoo.blobs, name, 200)
    return {"model": version.artifact, "attached": attached, "old": old, "young": young}


def test_a_look_deletes_nothing_and_names_what_no_event_names(zoo, lying_about):
    found = store.collect(zoo.ledger, zoo.blobs)
    assert ([each.digest for each in found.unused], found.kept, found.young) == ([lying_about["old"]], 2, 1)
    assert found.unused_bytes == 3
    assert all(zoo.blobs.has(each) for each in lying_about.values())


def test_only_what_is_unused_and_old_is_deleted(zoo, lying_about):
    found = store.collect(zoo.ledger, zoo.blobs, delete=True)
    assert [each.digest for each in found.unused] == [lying_about["old"]]
    assert {name for name, each in lying_about.items() if zoo.blobs.has(each)} == {
        "model",
        "attached",
        "young",
    }
    assert store.collect(zoo.ledger, zoo.blobs, delete=True).unused == ()


def test_what_is_put_again_counts_as_young(zoo):
    name = zoo.blobs.put(b"sent before")
    age(zoo.blobs, name, 200)
    zoo.blobs.put(b"sent before")
    assert store.collect(zoo.ledger, zoo.blobs).young == 1


def test_what_an_event_names_at_the_last_moment_comes_back(zoo, register, tiny):
    """A registration reuses an old file while it is being collected."""
    name = zoo.blobs.put(tiny)
    age(zoo.blobs, name, 200)

    class Slow(BlobStore):
        def delete(self, digest):
            super().delete(digest)
            register()  # between the deletion and the second look

    slow = Slow(zoo.blobs.folder)
    listed = list(zoo.blobs.listed())
    slow.listed = lambda: iter(listed)
    found = store.collect(zoo.ledger, slow, delete=True)
    assert found.unused == ()
    assert zoo.artifact(name, Person("eve")) == tiny


def test_an_artifact_that_was_collected_before_its_event_is_written_again(zoo, register, tiny, monkeypatch):
    append = zoo.ledger.append

    def collected(*args, **options):
        event = append(*args, **options)
        zoo.blobs.delete(digest(tiny))
        return event

    monkeypatch.setattr(zoo.ledger, "append", collected)
    version = register()
    assert zoo.artifact(version.artifact, Person("eve")) == tiny


def test_the_site_says_where_artifacts_are(tmp_path):
    state = State(tmp_path / "state")
    assert store.artifacts(Site(name="t"), state).folder == state.blobs
    elsewhere = Site(name="t", models=ModelsSection(store=str(tmp_path / "shared")))
    assert store.artifacts(elsewhere, state).folder == tmp_path / "shared"
    bucket = Site(name="t", models=ModelsSection(store="s3://artifacts/zoo"))
    assert isinstance(store.artifacts(bucket, state), S3Blobs)


@pytest.mark.parametrize("url", ["s3://", "http://bucket/x", "bucket"])
def test_an_address_that_names_no_bucket_is_refused(url):
    with pytest.raises(InvalidInput, match="names no bucket"):
        S3Blobs(url)


def test_keys_come_from_a_file_that_is_never_repeated(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("hunter2 is no section")
    with pytest.raises(InvalidInput, match="cannot be read") as refused:
        S3Blobs("s3://b/p", credentials_file=str(keys))
    assert "hunter2" not in str(refused.value) + refused.value.detail
    keys.write_text("[other]\naws_access_key_id = a\n")
    with pytest.raises(InvalidInput, match="no section"):
        S3Blobs("s3://b/p", credentials_file=str(keys))
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert S3Blobs("s3://b/p", credentials_file=str(keys))


def test_the_command_lists_first_signs_offline_and_attaches(zoo, lying_about, tmp_path, capsys):
    from .test_signing import key_pair

    private, public = key_pair()
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "site.toml").write_text(
        f'name = "t"\n[ledger]\nurl = "sqlite:///{tmp_path}/ledger.sqlite"\n[models]\ntrusted_keys = ["""{public}"""]\n'
    )

    places = ["--state", str(tmp_path), "--site", str(tmp_path / "site.toml")]
    code = "from genesis_hub.command import main; main()"
    command = [sys.executable, "-c", code, "models", "collect", "--json", *places]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ([each["digest"] for each in told["unused"]], told["deleted"]) == ([lying_about["old"]], False)

    def workbench(*words):
        return main([words[0], *([] if words[0] == "sign" else places), *words[1:]]), capsys.readouterr()

    assert "would be deleted" in workbench("collect")[1].out
    assert zoo.blobs.has(lying_about["old"])
    assert "1 files that no event names, 3 bytes: deleted" in workbench("collect", "--delete")[1].out
    assert not zoo.blobs.has(lying_about["old"])

    folder, signature = str(tmp_path / "export"), str(tmp_path / "tiny.sig")
    assert workbench("export", "tiny@1", folder)[0] == 0
    assert workbench("sign", folder, "--key", str(tmp_path / "key.pem"), "--signature", signature)[0] == 0
    status, said = workbench("attach", "tiny@1", signature)
    assert (status, said.out) == (0, "tiny@1 is signed.\n")
    assert zoo.entry("tiny@1", Person("eve")).standing.signature
    status, said = workbench("attach", "tiny@7", signature)
    assert status == 1
    assert "There is no model 'tiny@7'" in said.err
