"""The site's language models: what is passed on and what is not, streams, limits, refusals. The service behind is simulated."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from genesis_services import problems
from genesis_services.language import LanguageModels
from genesis_services.routes import language
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import SignInRequired
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import LanguageSection
from genesis_workbench.testing.language_service import MODEL, SimulatedLanguageService

KEY = "the-sites-own-key"
QUESTION = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is a band gap?"}],
    "user": "ada@lab.example",
}


class Tokens:
    async def person(self, token, *, fresh=False):
        rights = {"ada": {"custom:language:ask"}, "bob": {"custom:language:ask"}, "eve": set()}
        if token not in rights:
            raise SignInRequired("Unknown.")
        return Person(token, scopes=frozenset(rights[token]))


@pytest.fixture
def upstream():
    with SimulatedLanguageService(key=KEY) as service:
        yield service


@pytest.fixture
def served(upstream, tmp_path):
    """Return a function that gives a client of the route, over a real server, with some settings of the site."""
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    key_file.chmod(0o600)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    running, clients = [], []

    def make(**settings):
        section = LanguageSection(**{"url": upstream.url, "key_file": str(key_file), **settings})
        app = FastAPI()
        app.state.identity = Tokens()
        app.state.context = SimpleNamespace(ledger=ledger, language=LanguageModels(section))
        problems.install(app)
        app.include_router(language.router, prefix="/api")
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/language/v1"

        def client(name="ada"):
            headers = {
                "Authorization": f"Bearer {name}",
                "Cookie": "jupyterhub=secret",
                "X-Forwarded-For": "10.0.0.1",
            }
            clients.append(httpx.Client(base_url=address, headers=headers, trust_env=False, timeout=30))
            return clients[-1]

        return client

    yield make
    for each in clients:
        each.close()
    for server, thread in running:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
    ledger.close()


def test_a_question_goes_on_with_the_sites_key_and_nothing_of_the_person(served, upstream):
    answer = served()().post("/chat/completions", json=QUESTION)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "simulated: What is a band gap?"
    path, headers, body = upstream.seen[-1]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert not {"cookie", "x-forwarded-for"} & set(headers)
    assert body == {"model": MODEL, "messages": QUESTION["messages"]}
    assert "ada" not in json.dumps([headers, body])


def test_a_key_can_go_in_another_header(served, upstream):
    upstream.key = ""
    served(key_header="X-Api-Key")().get("/models")
    _, headers, _ = upstream.seen[-1]
    assert (headers["x-api-key"], "authorization" in headers) == (KEY, False)


def test_a_stream_arrives_in_pieces_as_it_comes(served):
    client = served()()
    with client.stream("POST", "/chat/completions", json={**QUESTION, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    words = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"]["content"] for line in lines[:-1]]
    assert "".join(words).strip() == "simulated: What is a band gap?"
    # One that is left in the middle frees its place.
    client = served(at_once=1)()
    for _ in range(3):
        with client.stream("POST", "/chat/completions", json={**QUESTION, "stream": True}) as answer:
            for _piece in answer.iter_raw():
                break
        deadline = time.monotonic() + 20
        while client.post("/chat/completions", json=QUESTION).status_code == 429:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_only_the_sites_models_are_listed_and_asked(served, upstream):
    client = served(models=[MODEL])()
    assert [each["id"] for each in client.get("/models").json()["data"]] == [MODEL]
    refused = client.post("/chat/completions", json={**QUESTION, "model": "other"})
    assert (refused.status_code, refused.json()["code"]) == (404, "not-found")
    assert len(upstream.seen) == 1


def test_rights_count(served, upstream):
    client = served()
    assert client("eve").post("/chat/completions", json=QUESTION).status_code == 403
    assert client("nobody").get("/models").status_code == 401
    assert upstream.seen == []


def test_one_person_asks_only_so_much(served):
    client = served(per_minute=3)
    ada, bob = client("ada"), client("bob")
    assert [ada.post("/chat/completions", json=QUESTION).status_code for _ in range(4)] == [
        200,
        200,
        200,
        429,
    ]
    refused = ada.post("/chat/completions", json=QUESTION)
    assert refused.json()["code"] == "too-many-requests"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert bob.post("/chat/completions", json=QUESTION).status_code == 200


async def test_there_is_room_again_after_a_minute(upstream):
    now = [0.0]
    upstream.key = ""
    models = LanguageModels(LanguageSection(url=upstream.url, per_minute=1), clock=lambda: now[0])
    data = json.dumps(QUESTION).encode()

    async def asked():
        _, pieces = await models.ask(data, Person("ada"))
        return b"".join([piece async for piece in pieces])

    assert b"band gap" in await asked()
    with pytest.raises(Exception, match="within a minute"):
        await asked()
    now[0] = 60.0
    assert b"band gap" in await asked()
    await models.close()


@pytest.mark.parametrize(
    ("trouble", "status", "said"),
    [
        ("refused", 422, "max_tokens is too large"),
        ("busy", 429, "more questions than they take"),
        ("broken", 503, "cannot answer now"),
        ("moved", 503, "cannot answer now"),
    ],
)
def test_what_goes_wrong_there_is_said_without_secrets(served, upstream, trouble, status, said):
    upstream.trouble = trouble
    answer = served()().post("/chat/completions", json=QUESTION)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert KEY not in answer.text
    assert all("elsewhere" not in path for path, _, _ in upstream.seen)


def test_a_key_that_is_not_good_is_the_operators_business(served, upstream, tmp_path, caplog):
    upstream.key = "another"
    answer = served()().post("/chat/completions", json=QUESTION)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert KEY not in answer.text
    open_to_all = tmp_path / "open"
    open_to_all.write_text(KEY)
    open_to_all.chmod(0o644)
    answer = served(key_file=str(open_to_all))().post("/chat/completions", json=QUESTION)
    assert "Tell the operator" in answer.json()["detail"]
    assert KEY not in caplog.text


def test_answers_have_a_limit(served, upstream):
    upstream.trouble = "endless"
    client = served(answer_bytes=2000)()
    with (
        pytest.raises(httpx.RemoteProtocolError),
        client.stream("POST", "/chat/completions", json={**QUESTION, "stream": True}) as answer,
    ):
        assert sum(len(piece) for piece in answer.iter_raw()) <= 2000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"[]", 422),
        (b'{"model": 1, "messages": []}', 422),
        (b'{"model": "x"}', 422),
        (b" " * 3000, 413),
        (b"[" * 2000, 422),
    ],
)
def test_what_is_no_question_is_not_passed_on(served, upstream, body, status):
    answer = served(request_bytes=2500)().post("/chat/completions", content=body)
    assert answer.status_code == status, answer.text
    assert upstream.seen == []


def test_a_site_without_language_models_says_so(served):
    answer = served(url="")().get("/models")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert "[language] url" in answer.json()["detail"]
    gone = served(url="http://127.0.0.1:9/v1")().get("/models")
    assert (gone.status_code, gone.json()["code"]) == (503, "unavailable")
