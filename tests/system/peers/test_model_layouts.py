"""Our folders before the libraries whose layout they have, and theirs before us."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from genesis_workbench.core.errors import VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import huggingface, mlflow
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
