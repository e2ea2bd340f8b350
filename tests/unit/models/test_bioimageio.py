"""Packages of the BioImage Model Zoo: out and in again, theirs without a word of ours, and packages that mean harm."""

from __future__ import annotations

import hashlib
import pickle
import stat
import zipfile

import numpy as np
import pytest
import yaml

from genesis_workbench import models
from genesis_workbench.core.errors import GenesisError, InvalidInput, NotFound, TooLarge, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import _arrays, _outline, _package, bioimageio

from .conftest import PEOPLE

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def exported(register, tmp_path):
    register(licence="MIT", citation="Doe (2026). Sums. https://doi.org/10.5281/zenodo.123.")
    return models.export("tiny@1", tmp_path / "ours", layout="bioimageio")


@pytest.fixture
def theirs(exported):
    """A package that knows nothing of us; returns a function that changes its description."""
    (exported / "genesis.json").unlink()

    def change(**parts):
        told = yaml.safe_load((exported / "rdf.yaml").read_text())
        told.pop("attachments", None)
        told.update(parts)
        (exported / "rdf.yaml").write_text(yaml.safe_dump(told))
        return exported

    change()
    return change


def zipped(folder, path, *extra):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        for name, content in extra:
            archive.writestr(name, content)
    return path


def test_what_went_out_comes_in_again_from_a_folder_and_an_archive(exported, here, tiny, tmp_path):
    first = here.get("tiny@1", PEOPLE["ada"])
    archive = zipped(exported, tmp_path / "tiny.zip")
    for number, path in enumerate([exported, archive]):
        version = models.import_folder(f"again{number}", path, layout="bioimageio")
        assert (version.artifact, version.signature, version.card) == (
            first.artifact,
            first.signature,
            first.card,
        )
        source = version.lineage["source"]
        assert source["files"]["model.onnx"] == digest(tiny)
    assert source["archive"] == digest(archive.read_bytes())
    assert "10.5281/zenodo.123" in (exported / "rdf.yaml").read_text()


def test_a_package_of_theirs_tells_tensors_units_and_test(theirs, tiny):
    told = theirs()
    about = yaml.safe_load((told / "rdf.yaml").read_text())
    about["inputs"][0] |= {"id": "raw", "data": {"type": "float32", "range": [0, 5], "unit": "m"}}
    version = models.import_folder("theirs", theirs(**about), layout="bioimageio")
    a, b = version.signature.inputs
    assert (a.name, a.unit, a.low, a.high, a.shape, b.unit) == ("a", "m", 0, 5, (None,), "m")
    assert version.self_test.outputs == {"y": [2.5, 5.0]}
    assert (version.card.title, version.card.licence) == ("Tiny model tiny", "MIT")
    assert set(version.lineage["source"]["files"]) >= {
        "model.onnx",
        "rdf.yaml",
        "input_0.npy",
        "output_0.npy",
    }
    assert float(models.model("theirs")(a=1, b=1)) == 3


def test_the_outline_of_a_network_is_what_the_library_reads(tiny, onnx_model):
    from pathlib import Path

    import onnx

    shipped = Path(models.__file__).parent / "builtin/clear_sky_irradiation/model.onnx"
    for data in (tiny, shipped.read_bytes()):
        graph = onnx.load_from_string(data).graph
        assert _outline.tensors(data) == (
            [each.name for each in graph.input],
            [each.name for each in graph.output],
        )
    with_weights = onnx_model()
    with_weights.graph.input.add(name="two")
    assert _outline.tensors(with_weights.SerializeToString()) == (["a", "b"], ["y"])
    for cut in range(len(tiny)):
        try:
            _outline.tensors(tiny[:cut])
        except VerificationFailed as error:
            assert "Export it again" in str(error)  # noqa: PT017 - some cuts leave whole fields


def test_test_tensors_that_are_too_large_for_a_record_must_be_given(theirs, monkeypatch):
    monkeypatch.setattr(bioimageio, "MOST_NUMBERS", 3)
    with pytest.raises(InvalidInput, match="does not say its self_test"):
        models.import_folder("theirs", theirs(), layout="bioimageio")


def npy(array):
    import io

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


class Harm:
    def __reduce__(self):
        return (print, ("harm",))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(np.array([Harm()], dtype=object)), "Objects would be unpickled"),
        (pickle.dumps([1.0]), "no array of numpy"),
        (npy(np.array(["text"])), "not numbers"),
        (npy(np.zeros(2, dtype="f4,O")), "not numbers"),
        (npy(np.zeros(2, "f4"))[:-1], "bytes follow"),
        (npy(np.zeros(2, "f4")) + b"PK", "bytes follow"),
        (npy(np.zeros(2, "f4")).replace(b"(2,)", b"(9**9**9,)"), "no array of numpy"),
        (
            npy(np.zeros(2, "f4")).replace(b"(2,), }", b"(1099511627776,), }"),
            "no array of numpy|bytes follow",
        ),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "no array of numpy"),
        (b"\x93NUMPY\x03\x00", "no array of numpy"),
        (b"", "no array of numpy"),
    ],
)
def test_a_test_tensor_is_numbers_and_nothing_else(data, reason, capsys):
    with pytest.raises(VerificationFailed, match=reason):
        _arrays.read_array(data, "The test tensor")
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "?"])
def test_arrays_of_numpy_are_read_as_numpy_reads_them(dtype):
    array = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    np.testing.assert_array_equal(_arrays.read_array(npy(array), "x"), array)
    np.testing.assert_array_equal(_arrays.read_array(_arrays.write_array(array), "x"), array)
    assert _arrays.read_array(npy(np.float32(3)), "x") == 3


@pytest.mark.parametrize(
    ("changed", "error", "reason"),
    [
        ({"type": "dataset"}, InvalidInput, "describes no model"),
        ({"format_version": "0.4.10"}, InvalidInput, "update-format"),
        ({"weights": {"pytorch_state_dict": {"source": "w.pt"}}}, InvalidInput, "pytorch_state_dict"),
        ({"weights": {"onnx": {"source": "../model.onnx"}}}, InvalidInput, "does not lie in it"),
        (
            {"weights": {"onnx": {"source": "https://example.org/model.onnx"}}},
            InvalidInput,
            "does not lie in it",
        ),
        (
            {"weights": {"onnx": {"source": "model.onnx", "external_data": {"source": "x"}}}},
            InvalidInput,
            "weights inside",
        ),
        (
            {"weights": {"onnx": {"source": "model.onnx", "sha256": "0" * 64}}},
            VerificationFailed,
            "is not the file",
        ),
        ({"weights": {"onnx": {"source": "rdf.yaml"}}}, VerificationFailed, "no ONNX model"),
        ({"inputs": []}, InvalidInput, "does not describe 2 inputs"),
        ({"inputs": [{}, {}]}, InvalidInput, "which file has the test tensor"),
        ({"license": None}, InvalidInput, "does not say its card"),
    ],
)
def test_a_package_that_cannot_be_used_says_why(theirs, changed, error, reason):
    with pytest.raises(error, match=reason):
        models.import_folder("bad", theirs(**changed), layout="bioimageio")


def test_steps_that_the_network_does_not_have_are_refused(theirs):
    about = yaml.safe_load((theirs() / "rdf.yaml").read_text())
    about["inputs"][0]["preprocessing"] = [{"id": "ensure_dtype"}, {"id": "zero_mean_unit_variance"}]
    with pytest.raises(InvalidInput, match="zero_mean_unit_variance"):
        models.import_folder("bad", theirs(**about), layout="bioimageio")


def test_yaml_makes_no_objects(theirs):
    folder = theirs()
    (folder / "rdf.yaml").write_text("type: !!python/object/apply:os.getcwd []")
    with pytest.raises(InvalidInput, match="cannot be read"):
        models.import_folder("bad", folder, layout="bioimageio")


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../evil.py", "does not lie in it"),
        ("/etc/cron.d/evil", "does not lie in it"),
        ("C:/evil.txt", "does not lie in it"),
        ("..\\evil.txt", "does not lie in it"),
        ("rdf.yaml", "two files of one name"),
        (link("link"), "is a link"),
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused_whole(exported, tmp_path, name, reason):
    archive = zipped(exported, tmp_path / "evil.zip", (name, "x"))
    with pytest.raises(InvalidInput, match=reason):
        models.import_folder("bad", archive, layout="bioimageio")


def test_an_archive_that_unpacks_to_more_than_is_taken_is_refused(exported, tmp_path, monkeypatch):
    bomb = zipped(exported, tmp_path / "bomb.zip", ("zeros.npy", b"\0" * 5_000_000))
    package = _package.open_package(bomb)
    with pytest.raises(TooLarge, match="5,000,000 bytes"):
        package.read("zeros.npy", 1000)
    # One that lies about it.
    data = bytearray(bomb.read_bytes())
    size = (5_000_000).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    bomb.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"unpacks to more|damaged"):
        _package.open_package(bomb).read("zeros.npy", 1000)
    monkeypatch.setattr(_package, "MOST_FILES", 3)
    with pytest.raises(TooLarge, match="files"):
        _package.open_package(bomb)


def test_what_is_no_archive_or_is_not_there_is_said_so(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InvalidInput, match="no zip archive"):
        models.import_folder("bad", tmp_path / "no.zip", layout="bioimageio")
    with pytest.raises(NotFound, match="Download the package"):
        models.import_folder("bad", tmp_path / "nowhere", layout="bioimageio")
    with pytest.raises(InvalidInput, match=r"no rdf\.yaml"):
        models.import_folder("bad", tmp_path, layout="bioimageio")


def test_links_in_a_folder_are_not_followed(theirs, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder = theirs()
    (elsewhere / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "sub").symlink_to(elsewhere)
    with pytest.raises(InvalidInput, match="links are not followed"):
        models.import_folder(
            "bad", theirs(weights={"onnx": {"source": "sub/model.onnx"}}), layout="bioimageio"
        )


def test_a_damaged_archive_never_gives_another_model(exported, tiny, tmp_path):
    whole = zipped(exported, tmp_path / "whole.zip").read_bytes()
    damaged = tmp_path / "damaged.zip"
    for at in range(0, len(whole), 53):
        data = bytearray(whole)
        data[at] ^= 0x5A
        damaged.write_bytes(data)
        try:
            found = bioimageio.read(damaged)
        except GenesisError:
            continue
        assert hashlib.sha256(found.artifact).hexdigest() == digest(tiny).removeprefix("sha256:")
