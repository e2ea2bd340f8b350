"""Artifacts sent to the service in parts: resumed, limited, by digest, and nothing half registered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionRefused,
    TooLarge,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models import uploads as module
from genesis_workbench.models.model import Model
from genesis_workbench.models.record import SelfTest
from genesis_workbench.models.remote import RemoteZoo
from genesis_workbench.models.uploads import Uploads

NOBODY = Person("")


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads")


def test_a_model_registered_behind_the_service_is_the_same_as_one_registered_here(zoo, served, tiny, parts):
    remote = RemoteZoo(served("ada"))
    version = remote.register("tiny", "onnx", tiny, **parts(), lineage={"code": "sha256:0"})
    assert (version.reference, version.owner) == ("tiny@1", "ada")
    assert zoo.get("tiny@1", NOBODY) == version
    assert float(Model(version, remote.artifact(version.artifact, NOBODY))(a=1, b=1)) == 3
    assert (
        remote.register("tiny", "onnx", tiny, **parts(), lineage={"code": "sha256:0"}, reuse=True) == version
    )
    assert remote.register("tiny", "onnx", tiny, **parts(title="Next")).version == 2
    with pytest.raises(NotFound, match="Begin again"):  # what was registered no longer counts as begun
        served("ada").get(f"models/uploads/{version.artifact}")


def test_without_the_right_to_write_nothing_is_sent(served, tiny, parts):
    with pytest.raises(PermissionRefused, match="custom:models:write"):
        RemoteZoo(served("eve")).register("tiny", "onnx", tiny, **parts())


def test_a_lost_connection_goes_on_where_it_stopped(zoo, served, tiny, parts, monkeypatch):
    monkeypatch.setattr("genesis_services.routes.models.PART_BYTES", 50)
    service = served("ada")
    sent, patch, post = [], service.patch, service.post

    def losing(path, data, *, offset):
        sent.append((offset, len(data)))
        if len(sent) == 2:
            raise Unavailable("lost before it arrived")
        told = patch(path, data, offset=offset)
        if len(sent) == 3:
            raise Unavailable("lost after it arrived")
        return told

    answers = []

    def forgetful(path, body=None, **options):
        told = post(path, body, **options)
        if path.endswith("/versions") and not answers:
            answers.append(told)
            raise Unavailable("the answer was lost")
        return told

    service.patch, service.post = losing, forgetful
    version = RemoteZoo(service).register("tiny", "onnx", tiny, **parts())
    assert version.version == 1
    assert len(zoo.versions("tiny", NOBODY)) == 1
    assert [offset for offset, _ in sent] == [0, 50, 50, 100]


def test_what_is_refused_leaves_no_record_and_no_blob(zoo, served, tiny, parts, tmp_path):
    remote = RemoteZoo(served("ada"))
    wrong = {**parts(), "self_test": SelfTest(inputs={"a": [1.0], "b": [0.0]}, outputs={"y": [9.0]})}
    with pytest.raises(VerificationFailed, match="off by"):
        remote.register("tiny", "onnx", tiny, **wrong)
    with pytest.raises(VerificationFailed, match="no ONNX"):
        remote.register("tiny", "onnx", b"\x08\x09 not a model", **parts())
    assert zoo.ledger.read(prefix="model/") == []
    assert not (tmp_path / "blobs").exists()


def test_two_who_send_the_same_at_once_both_have_it_and_it_is_kept_once(zoo, served, tiny, parts, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(RemoteZoo(served(who)).register, f"tiny-{who}", "onnx", tiny, **parts())
            for who in ("ada", "bob")
        ]
        made = [job.result() for job in jobs]
    assert {version.owner for version in made} == {"ada", "bob"}
    assert made[0].artifact == made[1].artifact
    assert len([path for path in (tmp_path / "blobs").glob("*/*") if path.is_file()]) == 1


def test_knowing_a_digest_gives_nobody_the_bytes(zoo, served, register, parts):
    hidden = register(label="restricted", groups=["fusion"], actor="zoe")
    service = served("ada")
    begun = service.post("models/uploads", {"digest": hidden.artifact, "size_bytes": hidden.size_bytes})
    assert begun["offset"] == 0  # not: it is here already
    body = {"format": "onnx", "artifact": hidden.artifact, "reuse": False, "lineage": {}}
    body |= {name: part.model_dump(mode="json") for name, part in parts().items()}
    with pytest.raises(Conflict, match="Only 0 of"):
        service.post("models/mine/versions", body)
    with pytest.raises(NotFound):
        served("bob").get(f"models/uploads/{hidden.artifact}")


def test_parts_follow_each_other_and_stay_within_the_promise(uploads):
    data = bytes(range(256)) * 4
    name = digest(data)
    assert uploads.begin("ada", name, len(data)) == 0
    assert uploads.append("ada", name, 0, data[:100]) == 100
    for wrong in (0, 50, 101):
        with pytest.raises(Conflict, match="100 bytes of the file are here"):
            uploads.append("ada", name, wrong, data[100:200])
    with pytest.raises(TooLarge, match="promised"):
        uploads.append("ada", name, 100, data + data)
    with pytest.raises(Conflict, match="Only 100 of 1,024"):
        uploads.whole("ada", name)
    assert uploads.begin("ada", name, len(data)) == 100
    uploads.append("ada", name, 100, data[100:])
    assert uploads.whole("ada", name) == data
    uploads.forget("ada", name)
    with pytest.raises(NotFound, match="Begin again"):
        uploads.offset("ada", name)


def test_bytes_with_another_digest_are_forgotten(uploads):
    name = digest(b"right")
    uploads.begin("ada", name, 5)
    uploads.append("ada", name, 0, b"wrong")
    with pytest.raises(VerificationFailed, match="changed on the way"):
        uploads.whole("ada", name)
    assert uploads.begin("ada", name, 5) == 0


def test_sizes_are_limited_for_a_part_a_file_and_a_person(uploads, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 10)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    monkeypatch.setattr(module, "MOST_OPEN_BYTES", 150)
    first, second = digest(b"1"), digest(b"2")
    for size in (0, -1, 101):
        with pytest.raises(TooLarge):
            uploads.begin("ada", first, size)
    uploads.begin("ada", first, 100)
    with pytest.raises(TooLarge, match="at most 10"):
        uploads.append("ada", first, 0, b"x" * 11)
    with pytest.raises(TooLarge, match="You have begun to send 100 bytes"):
        uploads.begin("ada", second, 51)
    assert uploads.begin("bob", second, 100) == 0


def test_a_part_that_is_too_large_is_refused_before_it_is_held(served, monkeypatch):
    monkeypatch.setattr("genesis_services.routes.models.PART_BYTES", 1000)
    service, name = served("ada"), digest(b"x")
    service.post("models/uploads", {"digest": name, "size_bytes": 5000})
    with pytest.raises(TooLarge, match="larger than 1,000"):
        service.patch(f"models/uploads/{name}", b"x" * 5000, offset=0)
    assert service.get(f"models/uploads/{name}")["offset"] == 0


def test_two_parts_at_once_are_written_one_after_the_other(uploads):
    data = b"a" * 1000
    name = digest(data)
    uploads.begin("ada", name, len(data))

    def send(_):
        try:
            return uploads.append("ada", name, 0, data)
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        arrived = [each for each in pool.map(send, range(16)) if each]
    assert arrived == [1000]
    assert uploads.whole("ada", name) == data


def test_what_nobody_goes_on_with_is_forgotten_and_what_is_young_stays(uploads):
    import os

    old, young = digest(b"old"), digest(b"young")
    for name in (old, young):
        uploads.begin("ada", name, 5)
    os.utime(uploads._path("ada", old), (1, 1))
    assert [path.stem for path in uploads.collect(3600)] == [old[7:]]
    assert uploads.offset("ada", young) == 0
    with pytest.raises(NotFound):
        uploads.offset("ada", old)


@pytest.mark.parametrize("name", ["", "sha256:", "../../etc/passwd", "sha256:" + "g" * 64])
def test_a_name_that_is_no_digest_is_refused(uploads, name):
    with pytest.raises(InvalidInput, match="no digest"):
        uploads.begin("ada", name, 5)
