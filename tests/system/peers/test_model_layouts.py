"""Our folders before the libraries whose layout they have, and theirs before us."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from genesis_workbench.core.errors import VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import bioimageio, huggingface, mlflow
from genesis_workbench.models.record import DatasetVersion, Metric, ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.selftest import examine, format_of
from genesis_workbench.models.signature import Signature, TensorSpec
from unit.models.conftest import make_onnx

from .conftest import environment


@pytest.fixture
def tiny_version():
    """A model y = 2 a + b in ONNX, and its bytes."""
    artifact = make_onnx().SerializeToString()
    version = ModelVersion(
        name="tiny",
        version=1,
        format="onnx",
        artifact=digest(artifact),
        size_bytes=len(artifact),
        signature=Signature(
            inputs=(TensorSpec(name="a"), TensorSpec(name="b")), outputs=(TensorSpec(name="y"),)
        ),
        card=ModelCard(title="Tiny", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
        self_test=SelfTest(inputs={"a": [1.0, 2.0], "b": [0.5, 1.0]}, outputs={"y": [2.5, 5.0]}),
    )
    return version, artifact


# Reads the card, and leaves beside each file what a download into a folder leaves.
HUB = """
import hashlib, json, pathlib, sys
from huggingface_hub import ModelCard
from huggingface_hub._local_folder import write_download_metadata
folder = pathlib.Path(sys.argv[1])
data = ModelCard.load(folder / "README.md").data
for name in ("model.onnx", "README.md", "config.json"):
    content = (folder / name).read_bytes()
    blob = hashlib.sha1(b"blob %d\\0" % len(content) + content).hexdigest()
    etag = hashlib.sha256(content).hexdigest() if name == "model.onnx" else blob
    write_download_metadata(folder, name, commit_hash="c" * 40, etag=etag)
result = data.eval_results[0]
print(json.dumps({"license": data.license, "datasets": data.datasets, "metric": [result.metric_type, result.metric_value, result.dataset_name]}))
"""

# Loads ours and predicts; saves a model of its own.
MLFLOW = """
import json, sys
import mlflow, numpy as np, onnx
from mlflow.models import infer_signature
ours, theirs = sys.argv[1:]
example = {"a": np.array([1, 2], "f4"), "b": np.array([0.5, 1], "f4")}
answer = mlflow.pyfunc.load_model(ours).predict(example)
model = onnx.load(ours + "/model.onnx")
signature = infer_signature(example, {"y": np.asarray(answer["y"], "f4")})
mlflow.onnx.save_model(model, theirs, signature=signature, input_example=example, save_as_external_data=False)
print(json.dumps(np.asarray(answer["y"], float).tolist()))
"""


@pytest.mark.slow
def test_mlflow_predicts_with_our_folder_and_we_with_its(tmp_path, tiny_version):
    version, artifact = tiny_version
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    mlflow.write(version, artifact, ours)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": f"file://{tmp_path}/runs",
    }
    done = subprocess.run(
        [str(environment("mlflow")), "-c", MLFLOW, str(ours), str(theirs)],
        capture_output=True, text=True, check=False, timeout=240, env=variables, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == version.self_test.outputs["y"]
    found = mlflow.read(theirs)
    assert (found.format, found.source["mlflow_version"]) == ("onnx", "3.17.2")
    assert [(spec.name, spec.dtype, spec.shape) for spec in found.signature.inputs] == [
        ("a", "float32", (None,)),
        ("b", "float32", (None,)),
    ]
    incoming = version.model_copy(
        update={
            "artifact": digest(found.artifact),
            "size_bytes": len(found.artifact),
            "signature": found.signature,
        }
    )
    examine(incoming, found.artifact, format_of("onnx"))  # raises where it answers otherwise


def test_the_hubs_library_reads_our_card_and_we_what_its_downloads_leave(tmp_path):
    artifact = b"stands for a file of ONNX: nothing here loads it"
    version = ModelVersion(
        name="line",
        version=1,
        format="onnx",
        artifact=digest(artifact),
        size_bytes=len(artifact),
        signature=Signature(inputs=(TensorSpec(name="x"),), outputs=(TensorSpec(name="y"),)),
        card=ModelCard(
            title="A line: straight",
            what_for="Tests",
            trained_on="Nothing",
            limits="All",
            licence="CC-BY-4.0",
            datasets=(DatasetVersion(identifier="open-air"),),
            metrics=(Metric(name="RMSE", value=0.25, data="100 rooms"),),
        ),
        self_test=SelfTest(inputs={"x": [0.5]}, outputs={"y": [0.5]}),
    )
    folder = tmp_path / "hub"
    huggingface.write(version, artifact, folder)
    command = [str(environment("huggingface")), "-c", HUB, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"license": "cc-by-4.0", "datasets": ["open-air"], "metric": ["RMSE", 0.25, "100 rooms"]}

    found = huggingface.read(folder)
    assert (found.artifact, found.card, found.source["revision"]) == (artifact, version.card, "c" * 40)
    assert set(found.source["hub_hashes"]) == {"model.onnx", "README.md", "config.json"}
    (folder / "config.json").write_text("{}")
    with pytest.raises(VerificationFailed, match=r"config\.json is not the file"):
        huggingface.read(folder)


# Tests ours as bioimageio.core tests every package, and packs one of its own: other names than the network's, in a zip archive.
BIOIMAGEIO = """
import json, sys, hashlib, pathlib
import numpy as np
from bioimageio.core import load_description, predict, test_description
from bioimageio.spec import save_bioimageio_package
from bioimageio.spec.model import v0_5
ours, theirs = map(pathlib.Path, sys.argv[1:])
summary = test_description(ours / "rdf.yaml")
model = load_description(ours / "rdf.yaml")
folder = theirs.parent / "work"
folder.mkdir()
arrays = {"first": np.array([1, 2], "f4"), "second": np.array([0.5, 1], "f4"), "total": np.array([2.5, 5], "f4")}
for name, array in arrays.items():
    np.save(folder / f"{name}.npy", array)
(folder / "net.onnx").write_bytes((ours / "model.onnx").read_bytes())
(folder / "README.md").write_text("# Theirs\\n\\n## Validation\\n\\nBy hand.\\n")
def tensor(kind, name, **more):
    file = v0_5.FileDescr(source=folder / f"{name}.npy")
    return kind(id=name, axes=[v0_5.BatchAxis()], test_tensor=file, data=v0_5.IntervalOrRatioDataDescr(type="float32", unit="m"), **more)
made = v0_5.ModelDescr(
    name="Theirs", description="A sum.", authors=[v0_5.Author(name="Somebody")], license="MIT",
    documentation=v0_5.FileDescr(source=folder / "README.md"),
    inputs=[tensor(v0_5.InputTensorDescr, "first"), tensor(v0_5.InputTensorDescr, "second")],
    outputs=[tensor(v0_5.OutputTensorDescr, "total")],
    weights=v0_5.WeightsDescr(onnx=v0_5.OnnxWeightsDescr(source=folder / "net.onnx", opset_version=17)),
)
save_bioimageio_package(made, output_path=theirs)
print(json.dumps({"status": summary.status, "name": model.name, "format": str(model.format_version)}))
"""


@pytest.mark.slow
def test_the_library_of_the_bioimage_zoo_passes_ours_and_we_read_what_it_packs(tmp_path, tiny_version):
    version, artifact = tiny_version
    ours, theirs = tmp_path / "ours", tmp_path / "theirs.zip"
    bioimageio.write(version, artifact, ours)
    done = subprocess.run(
        [str(environment("bioimageio")), "-c", BIOIMAGEIO, str(ours), str(theirs)],
        capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BIOIMAGEIO_CACHE_PATH": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"status": "passed", "name": "Tiny model tiny", "format": bioimageio.VERSION}, done.stderr[
        -3000:
    ]
    found = bioimageio.read(theirs)
    assert (found.artifact, found.card.title, found.card.licence) == (artifact, "Theirs", "MIT")
    assert found.source["archive"] == digest(theirs.read_bytes())
    assert [(spec.name, spec.unit) for spec in found.signature.inputs] == [("a", "m"), ("b", "m")]
    incoming = version.model_copy(update={"signature": found.signature, "self_test": found.self_test})
    examine(incoming, found.artifact, format_of("onnx"))
