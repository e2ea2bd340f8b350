"""Layouts of the Hugging Face Hub and of MLflow: out and in again, with the source's hashes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import yaml

from genesis_workbench import models
from genesis_workbench.core.errors import Conflict, InvalidInput, TooLarge, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import _base
from genesis_workbench.models.record import DatasetVersion, Metric

from .conftest import PEOPLE

COMMIT = "c" * 40


@pytest.fixture
def exported(here, register, tmp_path):
    """A version in the layout of the hub."""
    register(
        licence="MIT",
        datasets=(DatasetVersion(identifier="open-air"),),
        metrics=(Metric(name="RMSE", value=0.25, data="100 rooms"),),
    )
    return models.export("tiny@1", tmp_path / "hub", layout="huggingface")


def downloaded(folder, **etags):
    """Write what huggingface_hub writes of each file."""
    notes = folder / ".cache/huggingface/download"
    notes.mkdir(parents=True)
    for path in folder.glob("*.*"):
        if path.is_file():
            content = path.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            etag = etags.get(
                path.stem, hashlib.sha256(content).hexdigest() if path.suffix == ".onnx" else blob
            )
            (notes / f"{path.name}.metadata").write_text(f"{COMMIT}\n{etag}\n1764350000.0\n")


def test_what_went_out_comes_in_again_and_names_its_source(exported, tiny, zoo):
    assert (exported / "model.onnx").read_bytes() == tiny
    downloaded(exported)
    version = models.import_folder("again", exported)
    first = zoo.get("tiny@1", PEOPLE["ada"])
    assert (version.artifact, version.card, version.self_test) == (
        first.artifact,
        first.card,
        first.self_test,
    )
    source = version.lineage["source"]
    assert source["repository"] == "tiny@1"
    assert source["revision"] == COMMIT
    assert source["files"]["model.onnx"] == digest(tiny)
    assert source["hub_hashes"]["model.onnx"] == digest(tiny).removeprefix("sha256:")
    assert float(models.model("again")(a=1, b=1)) == 3
    assert "tiny@1 --imported from--> again@1" in repr(models.lineage("again"))


def test_the_card_is_one_that_the_hub_reads(exported):
    front = yaml.safe_load((exported / "README.md").read_text().split("---\n")[1])
    assert (front["license"], front["datasets"]) == ("mit", ["open-air"])
    result = front["model-index"][0]["results"][0]
    assert (result["dataset"]["name"], result["metrics"][0]["value"]) == ("100 rooms", 0.25)
    assert json.loads((exported / "config.json").read_text())["inputs"][0]["unit"] == "m"


def test_a_file_that_is_not_the_hubs_is_refused(exported):
    downloaded(exported, model="0" * 64)
    with pytest.raises(VerificationFailed, match=r"model\.onnx is not the file that the hub gave"):
        models.import_folder("again", exported)


def test_files_of_two_commits_are_refused(exported):
    downloaded(exported)
    note = exported / ".cache/huggingface/download/README.md.metadata"
    note.write_text(note.read_text().replace(COMMIT, "d" * 40))
    with pytest.raises(VerificationFailed, match="different commits"):
        models.import_folder("again", exported)


def test_a_folder_of_somebody_elses_needs_what_it_does_not_say(exported, parts):
    (exported / "genesis.json").unlink()
    with pytest.raises(InvalidInput, match="does not say its signature and self_test"):
        models.import_folder("theirs", exported)
    known = parts()
    found = models.import_folder(
        "theirs", exported, signature=known["signature"], self_test=known["self_test"]
    )
    assert (found.card.title, found.card.what_for, found.card.licence) == ("Tiny", "Tests of sums.", "mit")
    (exported / "README.md").write_text("no front matter")
    with pytest.raises(InvalidInput, match="card and"):
        models.import_folder("theirs", exported)


def test_weights_of_torch_with_a_declared_architecture_come_in(here, parts, tmp_path):
    from safetensors.numpy import save_file

    weights = {f"{end}.{part}": np.ones(n, "f4") * (part == "scale") for end, n in (("input", 2), ("output", 1)) for part in ("mean", "scale")}  # fmt: skip
    weights |= {"0.weight": np.array([[[2.0], [1.0]]], "f4"), "0.bias": np.zeros((1, 1, 1), "f4")}
    declared = {"format": "pt", "genesis.architecture": "mlp", "genesis.config": '{"layers": [2, 1]}'}
    save_file(weights, tmp_path / "model.safetensors", declared)
    version = models.import_folder("net", tmp_path, **parts())
    assert version.format == "safetensors"
    assert float(models.model("net")(a=1, b=1)) == 3


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl"])
def test_pickles_are_not_even_looked_at(here, tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidInput, match="are pickles"):
        models.import_folder("bad", tmp_path)


def test_links_and_floods_are_refused(exported, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text('{"card": "secret"}')
    (exported / "genesis.json").unlink()
    (exported / "genesis.json").symlink_to(secret)
    with pytest.raises(InvalidInput, match="links are not followed"):
        models.import_folder("bad", exported)
    (exported / "genesis.json").unlink()
    monkeypatch.setattr("genesis_workbench.models.exchange.huggingface.MOST_TEXT_BYTES", 10)
    with pytest.raises(TooLarge):
        models.import_folder("bad", exported)
    assert _base.MOST_TEXT_BYTES > 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("genesis.json", "[]"),
        ("genesis.json", '{"card": {"title": "x"}}'),
        ("genesis.json", '{"card": 1, "card": 2}'),
        ("config.json", "{"),
    ],
)
def test_what_cannot_be_read_is_said_so(exported, name, content):
    (exported / name).write_text(content)
    with pytest.raises((InvalidInput, VerificationFailed), match=name):
        models.import_folder("bad", exported)


def test_yaml_in_front_makes_no_objects(exported):
    (exported / "genesis.json").unlink()
    (exported / "README.md").write_text("---\nlicense: !!python/object/apply:os.getcwd []\n---\n# T\n")
    with pytest.raises(InvalidInput, match="cannot be read"):
        models.import_folder("bad", exported)


@pytest.fixture
def mlflow_folder(here, register, tmp_path):
    register()
    return models.export("tiny@1", tmp_path / "mlflow", layout="mlflow")


def test_a_folder_of_mlflow_goes_out_and_in(mlflow_folder, tiny, parts):
    about = yaml.safe_load((mlflow_folder / "MLmodel").read_text())
    about |= {"model_uuid": "u-1", "run_id": "r-1"}
    (mlflow_folder / "MLmodel").write_text(yaml.safe_dump(about))
    version = models.import_folder("again", mlflow_folder, layout="mlflow")
    assert version.artifact == digest(tiny)
    assert version.signature == parts()["signature"]
    source = version.lineage["source"]
    assert (source["model_uuid"], source["run_id"], source["files"]["model.onnx"]) == (
        "u-1",
        "r-1",
        digest(tiny),
    )

    # What somebody else saved has no record of ours: names and types come from its signature, units from nowhere.
    (mlflow_folder / "genesis.json").unlink()
    with pytest.raises(InvalidInput, match="does not say its card and self_test"):
        models.import_folder("theirs", mlflow_folder, layout="mlflow")
    known = parts()
    theirs = models.import_folder(
        "theirs", mlflow_folder, layout="mlflow", card=known["card"], self_test=known["self_test"]
    )
    assert [(spec.name, spec.dtype, spec.unit) for spec in theirs.signature.inputs] == [
        ("a", "float32", ""),
        ("b", "float32", ""),
    ]


def test_a_signature_of_any_type_says_nothing(mlflow_folder):
    (mlflow_folder / "genesis.json").unlink()
    about = yaml.safe_load((mlflow_folder / "MLmodel").read_text())
    about["signature"]["outputs"] = '[{"type": "any", "required": true}]'
    (mlflow_folder / "MLmodel").write_text(yaml.safe_dump(about))
    with pytest.raises(InvalidInput, match="does not say its signature and card and self_test"):
        models.import_folder("theirs", mlflow_folder, layout="mlflow")


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ("[]", "no flavours"),
        ("a: [", "cannot be read"),
        ("flavors: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("flavors: {python_function: {}}", "pickles"),
        ("flavors: {sklearn: {serialization_format: cloudpickle, pickled_model: model.pkl}}", "pickles"),
        ("flavors: {onnx: {data: ../../etc/passwd}}", "not one of its own folder"),
        ("flavors: {onnx: {data: /etc/passwd}}", "not one of its own folder"),
        ("flavors: {onnx: {data: 7}}", "not one of its own folder"),
        ("{flavors: {onnx: {data: model.onnx}}, signature: {inputs: '[{}]', outputs: '[]'}}", "signature"),
    ],
)
def test_a_folder_of_mlflow_that_means_harm_or_nothing_is_refused(mlflow_folder, about, reason):
    (mlflow_folder / "genesis.json").unlink()
    (mlflow_folder / "MLmodel").write_text(about)
    with pytest.raises(InvalidInput, match=reason):
        models.import_folder("bad", mlflow_folder, layout="mlflow")


def test_what_has_no_place_in_a_layout_is_refused(here, exported, zoo, parts, tmp_path):
    with pytest.raises(InvalidInput, match="no layout 'zip'"):
        models.export("tiny@1", tmp_path / "other", layout="zip")
    with pytest.raises(Conflict):
        models.export("tiny@1", exported, layout="huggingface")
    zoo.register("sum", "formula", b'{"formulas": {"y": "2 * a + b"}}', **_doubles(parts()), actor="ada")
    with pytest.raises(InvalidInput, match="format 'formula'; this layout takes"):
        models.export("sum@1", tmp_path / "other", layout="huggingface")


def _doubles(known):
    signature = known["signature"]
    wide = {
        side: tuple(spec.model_copy(update={"dtype": "float64"}) for spec in getattr(signature, side))
        for side in ("inputs", "outputs")
    }
    return {**known, "signature": signature.model_copy(update=wide)}
