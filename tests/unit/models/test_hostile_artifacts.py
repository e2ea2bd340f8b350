"""Artifacts that are not what they claim: each refused before anything of it runs, with the reason."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, TooLarge, VerificationFailed
from genesis_workbench.models.formats import _base
from genesis_workbench.models.formats.onnx import OnnxFormat


class WritesAFile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_is_refused_and_does_not_run(zoo, register, tmp_path, protocol):
    target = tmp_path / "written"
    with pytest.raises(VerificationFailed):
        register(artifact=pickle.dumps(WritesAFile(target), protocol=protocol))
    assert not target.exists()
    assert zoo.ledger.read() == []
    assert not zoo.blobs.folder.exists()


def test_the_reasons_name_the_kind_of_file(tiny):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", b"\x80\x02.")
    for data, reason in [
        (pickle.dumps({}), "Python pickle"),
        (archive.getvalue(), "zip archive"),
        (tiny + archive.getvalue(), "zip archive or hides one"),
        (b"", "empty"),
        (b"import os", "no ONNX model"),
        (tiny[: len(tiny) // 2], "no ONNX model|no valid ONNX model"),
        (tiny + b"\xfa\x7f\x05hello", "bytes that ONNX .* does not know"),
    ]:
        with pytest.raises(VerificationFailed, match=reason):
            OnnxFormat().check(data)


def test_every_truncation_is_refused(tiny):
    for length in range(len(tiny)):
        with pytest.raises(GenesisError):
            _check_and_load(tiny[:length])


def _check_and_load(data):
    OnnxFormat().check(data)
    session = OnnxFormat().load(data, None)
    if {t.name for t in session.inputs} != {"a", "b"} or {t.name for t in session.outputs} != {"y"}:
        raise VerificationFailed("another signature")
    return session


def test_too_much_is_refused_before_it_is_read(monkeypatch, tiny):
    monkeypatch.setattr(_base, "MAX_BYTES", len(tiny) - 1)
    with pytest.raises(TooLarge):
        OnnxFormat().check(tiny)


def test_weights_outside_the_file_are_refused(onnx_model):
    with pytest.raises(VerificationFailed, match="'two' is kept outside the file"):
        OnnxFormat().check(onnx_model(external=True).SerializeToString())


def test_weights_outside_the_file_are_found_wherever_they_are(onnx_model):
    from onnx import TensorProto, helper

    away = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    away.external_data.add(key="location", value="weights.bin")
    constant = helper.make_node("Constant", [], ["k"], value=away)
    branch = helper.make_graph([constant], "branch", [], [])

    in_branch = onnx_model()
    in_branch.graph.node.append(
        helper.make_node("If", ["cond"], ["z"], then_branch=branch, else_branch=branch)
    )
    in_function = onnx_model()
    in_function.functions.append(
        helper.make_function("", "f", [], ["k"], [constant], [helper.make_opsetid("", 17)])
    )
    in_sparse = onnx_model()
    in_sparse.graph.sparse_initializer.add().values.CopyFrom(away)
    in_training = onnx_model()
    in_training.training_info.add().initialization.initializer.append(away)
    for model in (in_branch, in_function, in_sparse, in_training):
        with pytest.raises(VerificationFailed, match="'hidden' is kept outside the file"):
            OnnxFormat().check(model.SerializeToString())


@pytest.mark.parametrize("domain", ["com.microsoft", "org.example", "ai.onnx.preview.training"])
def test_operators_that_are_not_of_the_standard_are_refused(onnx_model, domain):
    with pytest.raises(VerificationFailed, match=domain):
        OnnxFormat().check(onnx_model(domain=domain).SerializeToString())


def test_a_model_that_does_not_end_is_stopped():
    from onnx import TensorProto, helper, numpy_helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Sin", ["x"], ["x2"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x2", TensorProto.FLOAT, ["n"]),
        ],
    )
    always = numpy_helper.from_array(np.array(True), "always")
    graph = helper.make_graph(
        [helper.make_node("Loop", ["", "always", "a"], ["y"], body=body)],
        "endless",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        [always],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    data = model.SerializeToString()
    OnnxFormat().check(data)
    with pytest.raises(DeadlineExceeded):
        OnnxFormat().load(data, None).run({"a": np.ones(1, dtype=np.float32)}, deadline_s=0.2)


@given(data=st.binary(max_size=300))
def test_noise_is_refused_with_an_error_of_ours(data):
    with pytest.raises(GenesisError):
        OnnxFormat().check(data)
