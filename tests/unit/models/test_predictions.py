"""The prediction service: processes that run models, and the route with its rights, labels, limits and signatures."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from onnx import TensorProto, helper

from genesis_services import problems
from genesis_services.predicting import Predictions
from genesis_services.routes import models as routes
from genesis_services.routes import predictions
from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, VerificationFailed
from genesis_workbench.core.site import ModelsSection
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.serving import Predictor
from genesis_workbench.models.signature import Signature, TensorSpec

from .conftest import PEOPLE, READ, Tokens

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def predictor():
    made = Predictor()
    yield made
    made.close()


def graph(nodes, *, inputs=("x",), outputs=("y",), constants=()):
    tensors = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in (*inputs, *outputs)
    }
    made = helper.make_graph(
        nodes, "g", [tensors[i] for i in inputs], [tensors[o] for o in outputs], list(constants)
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def registered(zoo, name, artifact):
    return zoo.register(
        name, "onnx", artifact,
        Signature(inputs=[TensorSpec(name="x")], outputs=[TensorSpec(name="y")]),
        ModelCard(title=name, what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
        SelfTest(inputs={"x": [1.0]}, outputs={"y": [1.0]}), actor="ada",
    )  # fmt: skip


def greedy():
    """A model whose memory grows with its numbers: y = mean of a tensor with 10^x entries."""
    ten = helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Pow", ["ten", "x"], ["many"]),
        helper.make_node("Cast", ["many"], ["shape"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["shape"], ["all"], value=one),
        helper.make_node("ReduceMean", ["all"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "mean"], ["y"]),
    ]
    return graph(nodes, constants=[ten])


def test_a_model_runs_in_a_process_that_keeps_it(predictor, zoo, register, tiny):
    version, asked = register(), []

    def artifact():
        asked.append(1)
        return tiny

    inputs = {"a": np.array([1.0, np.nan, 11]), "b": np.array([0.5, 1, 2])}
    for _ in range(3):
        found = predictor.predict(version, artifact, inputs)
        np.testing.assert_array_equal(found["y"], [2.5, np.nan, 24])
        assert list(found["outside_domain"]) == [False, False, True]
    assert asked == [1]
    other = registered(zoo, "greedy", greedy())
    with pytest.raises(VerificationFailed, match="has the hash"):
        predictor.predict(other, lambda: tiny, {"x": np.ones(1)})


@pytest.mark.slow
def test_a_model_that_takes_too_much_harms_nobody_else(zoo, register, tiny):
    version = registered(zoo, "greedy", greedy())
    data = zoo.blobs.read(version.artifact)
    predictor = Predictor(memory_bytes=2**29)
    try:
        assert predictor.predict(version, lambda: data, {"x": np.array([2.0])})["y"] == 1
        with pytest.raises(GenesisError) as refused:
            predictor.predict(version, lambda: data, {"x": np.array([9.0])})
        assert refused.value.status == 422
        fine = predictor.predict(register(), lambda: tiny, {"a": np.ones(1), "b": np.ones(1)})
        assert fine["y"] == 3
    finally:
        predictor.close()


@pytest.mark.slow
def test_a_model_that_takes_too_long_is_ended(zoo, register, tiny):
    version = register()
    predictor = Predictor(deadline_s=0.0)
    try:
        with pytest.raises(DeadlineExceeded, match="did not answer within 0 s"):
            predictor.predict(version, lambda: tiny, {"a": np.ones(1), "b": np.ones(1)})
        predictor._deadline_s = 60
        assert predictor.predict(version, lambda: tiny, {"a": np.ones(1), "b": np.ones(1)})["y"] == 3
    finally:
        predictor.close()


@pytest.fixture
def app(zoo, predictor):
    """Return a function that gives a client of the service, with other settings than a site has by itself."""

    def make(**settings):
        made = FastAPI()
        section = ModelsSection(**settings)
        made.state.identity = Tokens()
        made.state.context = SimpleNamespace(
            zoo=zoo, ledger=zoo.ledger, predictions=Predictions(zoo, section, predictor)
        )
        problems.install(made)
        made.include_router(routes.router, prefix="/api")
        made.include_router(predictions.router, prefix="/api")
        client = httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://service")

        async def ask(reference, body, name="ada"):
            path = f"/api/models/{reference.replace('@', '/')}/predict"
            sent = {"content": body} if isinstance(body, bytes) else {"json": body}
            return await client.post(path, headers={"Authorization": f"Bearer {name}"}, **sent)

        return ask

    return make


async def test_a_question_is_answered_with_unit_flag_and_hash(app, zoo, tiny, parts):
    fitted = Intervals.fit({"y": np.arange(20.0)}, {"y": np.zeros(20)})
    version = zoo.register("tiny", "onnx", tiny, **parts(), actor="ada", intervals=fitted)
    ask = app()
    answer = await ask(
        "tiny@1", {"inputs": {"a": [1, None, 2], "b": 0.5}, "units": {"a": "km"}, "interval": 0.5}
    )
    assert answer.status_code == 200, answer.text
    half = fitted.margin("y", 0.5)
    assert answer.json() == {
        "model": "tiny@1",
        "artifact": version.artifact,
        "label": "public",
        "outputs": {"y": [2000.5, None, 4000.5]},
        "units": {"y": "m"},
        "outside_domain": [True, False, True],
        "intervals": {
            "y": {
                "lower": [2000.5 - half, None, 4000.5 - half],
                "upper": [2000.5 + half, None, 4000.5 + half],
            }
        },
        "warning": None,
        "surrogate_of": None,
    }
    zoo.deprecate("tiny@1", "wrong unit", PEOPLE["ada"])
    one = (await ask("tiny@latest", {"inputs": {"a": 1, "b": 1}})).json()
    assert one["outputs"] == {"y": [3.0]}
    assert "wrong unit" in one["warning"]


async def test_labels_and_rights_count(app, register):
    register("open")
    register("closed", label="restricted", groups=["solar"])
    ask = app()
    body = {"inputs": {"a": 1, "b": 1}}
    assert (await ask("closed@1", body, "bob")).status_code == 200
    assert (await ask("closed@1", body, "eve")).json()["code"] == "not-found"
    assert (await ask("open@1", body, "eve")).status_code == 200
    assert (await ask("open@1", body, "nobody")).status_code == 401
    assert READ in PEOPLE["eve"].scopes


async def test_an_unsigned_model_is_withheld_where_signatures_are_demanded(app, register):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    register()
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    answer = await app(require_signature=True, trusted_keys=[pem])("tiny@1", {"inputs": {"a": 1, "b": 1}})
    assert (answer.status_code, answer.json()["code"]) == (422, "verification-failed")
    assert "sign" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"inputs": {"a": 1}}, 422, "needs b too"),
        ({"inputs": {"a": 1, "b": 1, "c": 1}}, 422, "no input c"),
        ({"inputs": {"a": [1, 2], "b": [1, 2, 3]}}, 422, "different numbers of samples"),
        ({"inputs": {"a": "1", "b": 1}}, 422, "no number"),
        ({"inputs": {"a": [[1], [1, 2]], "b": 1}}, 422, "no list of numbers"),
        ({"inputs": {"a": [[1]], "b": 1}}, 422, "the model takes"),
        ({"inputs": {"a": 1, "b": 1}, "units": {"a": "kg"}}, 422, "cannot be converted"),
        ({"inputs": {"a": 1, "b": 1}, "interval": 0.9}, 422, "has no intervals"),
        ({"inputs": {"a": 1, "b": 1}, "interval": 2}, 422, "interval"),
        ({"inputs": {"a": 1, "b": 1}, "more": 2}, 422, "more"),
        ({"inputs": {"a": [1] * 11, "b": 1}}, 413, "at most 10"),
        (b"{", 422, "cannot be used"),
        (b"[" * 100_000, 422, "cannot be used"),
        (b" " * (4 * 2**20 + 1), 413, "larger than"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(app, register, body, status, reason):
    register()
    answer = await app(predict_rows=10)("tiny@1", body)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["detail"]


async def test_questions_of_many_at_once_get_their_own_answers(app, register):
    register()
    ask = app(predict_per_person=100)
    answers = await asyncio.gather(
        *(ask("tiny@1", {"inputs": {"a": [n, n + 0.5], "b": 1}}) for n in range(40))
    )
    assert [each.json()["outputs"]["y"] for each in answers] == [[2 * n + 1, 2 * n + 2] for n in range(40)]


async def test_one_person_cannot_take_all_the_room(app, register):
    register()
    ask = app(predict_per_person=2)
    many = [ask("tiny@1", {"inputs": {"a": n, "b": 1}}) for n in range(12)]
    answers = await asyncio.gather(*many, ask("tiny@1", {"inputs": {"a": 0, "b": 1}}, "bob"))
    assert answers[-1].status_code == 200
    refused = [each for each in answers if each.status_code == 503]
    assert refused
    assert "predictions open" in refused[0].json()["detail"]
    assert (await ask("tiny@1", {"inputs": {"a": 0, "b": 1}})).status_code == 200


async def test_a_model_of_arrays_takes_arrays(app, zoo):
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    made = helper.make_graph(
        nodes, "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])], [axes],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    zoo.register(
        "sums", "onnx", model.SerializeToString(),
        Signature(inputs=[TensorSpec(name="x", shape=(None, 3))], outputs=[TensorSpec(name="y")]),
        ModelCard(title="Sums", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
        SelfTest(inputs={"x": [[1, 2, 3]]}, outputs={"y": [6]}), actor="ada",
    )  # fmt: skip
    ask = app()
    answer = (await ask("sums@1", {"inputs": {"x": [[1, 2, 3], [4, 5, 6]]}})).json()
    assert (answer["outputs"], answer["outside_domain"]) == ({"y": [6, 15]}, None)
    assert "the model takes (any, 3)" in (await ask("sums@1", {"inputs": {"x": [[1, 2]]}})).json()["detail"]


def test_frames_that_are_cut_are_no_answers():
    import io

    from genesis_workbench.models.serving import read_frame, write_frame

    stream = io.BytesIO()
    write_frame(stream, {"code": ""}, {"y": np.arange(3)}, b"data")
    whole = stream.getvalue()
    header, arrays, data = read_frame(io.BytesIO(whole))
    assert (header["code"], list(arrays["y"]), data) == ("", [0, 1, 2], b"data")
    assert all(read_frame(io.BytesIO(whole[:cut])) is None for cut in range(len(whole)))
