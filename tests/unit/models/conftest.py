"""A tiny model made on the spot: y = 2 a + b, elementwise."""

from __future__ import annotations

import pytest

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.zoo import LocalZoo


def make_onnx(*, domain="", external=False):
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    two = numpy_helper.from_array(np.array(2, dtype=np.float32), "two")
    if external:
        two.ClearField("raw_data")
        two.data_location = TensorProto.EXTERNAL
        two.external_data.add(key="location", value="/etc/passwd")
    nodes = [
        helper.make_node("Mul", ["a", "two"], ["doubled"]),
        helper.make_node("Add", ["doubled", "b"], ["y"], domain=domain),
    ]
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "aby"]
    graph = helper.make_graph(nodes, "tiny", tensors[:2], tensors[2:], [two])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    return model


@pytest.fixture(scope="session")
def onnx_model():
    return make_onnx


@pytest.fixture(scope="session")
def tiny() -> bytes:
    return make_onnx().SerializeToString()


@pytest.fixture
def parts():
    """Everything that `register` needs beside name, artifact and actor."""

    def make(**card):
        return {
            "signature": Signature(
                inputs=(
                    TensorSpec(name="a", unit="m", low=0, high=10, description="A length"),
                    TensorSpec(name="b", unit="m"),
                ),
                outputs=(TensorSpec(name="y", unit="m", description="Their sum, the first counted twice"),),
            ),
            "card": ModelCard(
                **{
                    "title": "Tiny",
                    "what_for": "Tests of sums.",
                    "trained_on": "Nothing.",
                    "limits": "All.",
                    "licence": "CC0-1.0",
                    **card,
                }
            ),
            "self_test": SelfTest(inputs={"a": [1, 2], "b": [0.5, 1]}, outputs={"y": [2.5, 5]}),
        }

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory):
    """What passed is remembered for the session, and not in the folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENESIS_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def zoo(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield LocalZoo(ledger, BlobStore(tmp_path / "blobs"))
    ledger.close()


@pytest.fixture
def register(zoo, tiny, parts):
    def call(name="tiny", artifact=tiny, actor="ada", reuse=False, lineage=None, test=None, **card):
        known = parts(**card)
        if test is not None:
            known["self_test"] = test
        return zoo.register(name, "onnx", artifact, **known, actor=actor, reuse=reuse, lineage=lineage)

    return call
