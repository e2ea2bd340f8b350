"""A tiny model made on the spot: y = 2 a + b, elementwise."""

from __future__ import annotations

import pytest

from genesis_workbench.core.access import Access, Label, Person
from genesis_workbench.core.errors import NotFound, SignInRequired
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.service import Service
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.record import ModelCard, SelfTest
from genesis_workbench.models.remote import RemoteZoo
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.uploads import Uploads
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


READ, WRITE, APPROVE = (f"custom:models:{verb}" for verb in ("read", "write", "approve"))
SOLAR = frozenset({"solar"})
PEOPLE = {
    "ada": Person("ada", groups=SOLAR, scopes=frozenset({READ, WRITE})),
    "bob": Person("bob", groups=SOLAR, scopes=frozenset({READ, WRITE, APPROVE})),
    "cleo": Person("cleo", groups=SOLAR, scopes=frozenset({READ, WRITE, "custom:data:controlled"})),
    "eve": Person("eve", scopes=frozenset({READ})),
}
DATASETS = {
    "open-air": Access(),
    "solar-yield": Access(Label.RESTRICTED, SOLAR),
    "grid-map": Access(Label.CONTROLLED, SOLAR),
}


def dataset_rule(name, person):
    rule = DATASETS.get(name)
    if rule is None or not rule.permits(person):
        raise NotFound(f"There is no dataset {name!r}.")
    return rule


class Tokens:
    """Knows people by tokens that are their names."""

    async def person(self, token, *, fresh=False):
        if token not in PEOPLE:
            raise SignInRequired("Unknown.")
        return PEOPLE[token]


@pytest.fixture
def served(zoo, tmp_path):
    """Return a function that gives somebody's client of the service's own routes, over the same zoo."""
    import threading
    import time
    from types import SimpleNamespace

    import uvicorn
    from fastapi import FastAPI

    from genesis_services import problems
    from genesis_services.routes import models

    zoo._datasets = dataset_rule
    app = FastAPI()
    app.state.identity = Tokens()
    app.state.context = SimpleNamespace(zoo=zoo, uploads=Uploads(tmp_path / "uploads"), ledger=zoo.ledger)
    problems.install(app)
    app.include_router(models.router, prefix="/api")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    opened = []

    def client(name):
        opened.append(Service(f"http://127.0.0.1:{port}", name))
        return opened[-1]

    yield client
    for each in opened:
        each.close()
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(params=["local", "remote"])
def zoo_of(request, zoo):
    """Return a function that gives the zoo and somebody who asks it: in this process, and behind the service."""
    if request.param == "local":
        zoo._datasets = dataset_rule
        return lambda name: (zoo, PEOPLE[name])
    served = request.getfixturevalue("served")
    return lambda name: (RemoteZoo(served(name)), Person(""))


@pytest.fixture
def register(zoo, tiny, parts):
    def call(name="tiny", artifact=tiny, actor="ada", reuse=False, lineage=None, test=None, **card):
        known = parts(**card)
        if test is not None:
            known["self_test"] = test
        return zoo.register(name, "onnx", artifact, **known, actor=actor, reuse=reuse, lineage=lineage)

    return call


@pytest.fixture
def here(zoo, monkeypatch):
    """The zoo of ``genesis_workbench.models``, for ada."""
    from genesis_workbench import models

    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: PEOPLE["ada"])
    return zoo
