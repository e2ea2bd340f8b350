"""Our folders before the libraries whose layout they have, and theirs before us."""

from __future__ import annotations

import json
import subprocess

import pytest

from genesis_workbench.core.errors import VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import huggingface
from genesis_workbench.models.record import DatasetVersion, Metric, ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec

from .conftest import environment

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
