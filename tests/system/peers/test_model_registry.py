"""A real server of MLflow: a version that its own client registered comes in, and ours goes out and is loaded by it."""

from __future__ import annotations

import json
import os
import subprocess

import httpx
import pytest

from genesis_workbench import models
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    InvalidInput,
    NotFound,
    PermissionRefused,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.exchange import mlflow_server
from genesis_workbench.models.exchange.mlflow_server import MlflowServer
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.zoo import LocalZoo
from unit.models.conftest import make_onnx

from .conftest import environment, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CARD = ModelCard(title="Tiny", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0")
SIGNATURE = Signature(
    inputs=(TensorSpec(name="a", unit="m"), TensorSpec(name="b", unit="m")),
    outputs=(TensorSpec(name="y", unit="m"),),
)
TEST = SelfTest(inputs={"a": [1.0, 2.0], "b": [0.5, 1.0]}, outputs={"y": [2.5, 5.0]})

# Loads what we registered and predicts; registers a model of its own.
CLIENT = """
import json, sys
import mlflow, numpy as np, onnx
from mlflow.models import infer_signature
example = {"a": np.array([1, 2], "f4"), "b": np.array([0.5, 1], "f4")}
ours = mlflow.pyfunc.load_model("models:/ours/1")
answer = np.asarray(ours.predict(example)["y"], "f4")
with mlflow.start_run() as run:
    mlflow.onnx.log_model(onnx.load(sys.argv[1]), name="model", registered_model_name="theirs",
                          signature=infer_signature(example, {"y": answer}), input_example=example, save_as_external_data=False)
tags = mlflow.MlflowClient().get_model_version("ours", "1").tags
print(json.dumps({"answer": answer.tolist(), "run": run.info.run_id, "tags": tags}))
"""


@pytest.fixture(scope="module")
def server():
    with running("mlflow") as url:
        yield url


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path / "state"))
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    made = LocalZoo(ledger, BlobStore(tmp_path / "blobs"))
    monkeypatch.setattr(models, "_zoo", lambda: made)
    monkeypatch.setattr(models, "_person", lambda: Person("ada"))
    yield made
    ledger.close()


def test_versions_go_into_a_registry_and_come_out_of_it(server, zoo, tmp_path, monkeypatch):
    tiny = make_onnx().SerializeToString()
    models.register("tiny", "onnx", tiny, SIGNATURE, CARD, TEST)
    assert models.export_to_mlflow("tiny@1", server, "ours") == "1"
    assert models.export_to_mlflow("tiny@1", server, "ours") == "2"
    (tmp_path / "tiny.onnx").write_bytes(tiny)
    done = subprocess.run(
        [str(environment("mlflow")), "-c", CLIENT, str(tmp_path / "tiny.onnx")],
        capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_TRACKING_URI": server},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["answer"] == [2.5, 5.0]
    assert told["tags"]["genesis.artifact"] == digest(tiny)
    assert told["tags"]["genesis.model"] == "tiny@1"

    again = models.import_from_mlflow("again", server, "ours", 1)
    assert (again.artifact, again.signature, again.card) == (digest(tiny), SIGNATURE, CARD)
    source = again.lineage["source"]
    assert (source["server"], source["registered"]) == (server, "ours/1")

    with pytest.raises(InvalidInput, match="theirs version 1 does not say its card and self_test"):
        models.import_from_mlflow("theirs", server, "theirs", 1)
    theirs = models.import_from_mlflow("theirs", server, "theirs", 1, card=CARD, self_test=TEST)
    source = theirs.lineage["source"]
    assert source["files"]["model.onnx"] == theirs.artifact
    assert source["mlflow_version"] == "3.17.2"
    assert told["run"] in json.dumps(source)
    assert float(models.model("theirs")(a=1, b=1)) == 3

    with pytest.raises(NotFound, match="nothing"):
        models.import_from_mlflow("x", server, "nothing", 1)

    # Somebody put another file in its place.
    place = source["artifact_uri"].removeprefix("mlflow-artifacts:/")
    ours = MlflowServer(server).read("ours", 1).source["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert place != ours
    changed = make_onnx()
    changed.producer_name = "somebody else"
    put = httpx.put(
        f"{server}{mlflow_server._FILES}/{ours.lstrip('/')}/model.onnx",
        content=changed.SerializeToString(),
        trust_env=False,
    )
    assert put.is_success
    with pytest.raises(VerificationFailed, match="the server's tag says"):
        models.import_from_mlflow("changed", server, "ours", 1)


def test_what_is_not_public_stays_and_a_server_that_is_away_is_named(server, zoo):
    tiny = make_onnx().SerializeToString()
    closed = CARD.model_copy(update={"label": "restricted", "groups": ("solar",)})
    models.register("tiny", "onnx", tiny, SIGNATURE, closed, TEST)
    with pytest.raises(PermissionRefused, match="restricted"):
        models.export_to_mlflow("tiny@1", server)
    with pytest.raises(Unavailable, match="does not answer"):
        MlflowServer("http://127.0.0.1:9").read("x", 1)
    with pytest.raises(InvalidInput, match="no address"):
        MlflowServer("file:///etc").read("x", 1)
