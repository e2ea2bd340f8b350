"""A MADSci node that lies, forgets and hangs up: nothing is started twice, and nobody claims to know what nobody knows."""

from __future__ import annotations

import http.server
import io
import json
import threading
import zipfile

import pytest

from genesis_workbench.core.errors import Conflict, InvalidInput, Unavailable
from genesis_workbench.experiments.instruments._base import Done, Failed, NeverStarted, Unknown
from genesis_workbench.experiments.instruments.madsci.node import MadsciNode

HEAT = {
    "heat": {
        "description": "Heat it.",
        "parameters": {"temperature": {"unit": "kelvin", "low": 290, "high": 370}},
        "outcomes": {"y": ""},
    }
}
UNHEARD = {
    "status": "unknown",
    "errors": [{"message": "not in the history", "error_type": "ActionHistoryNotFound"}],
}


class Liar:
    """Answers of a node by method and path; what is a function is called, and None hangs up."""

    def __init__(self):
        self.asked = []
        self.answers = {
            "GET status": {"running_actions": [], "busy": False, "ready": True},
            "GET state": {"simulated": True, "temperature": 295.0, "words": "warm", "list": [1]},
            "GET info": {
                "actions": {"heat": {"args": {"temperature": {}}}},
                "capabilities": {"admin_commands": ["safety_stop", "lock", "reset"]},
            },
            "POST action/heat": {"action_id": "A1"},
            "POST action/heat/A1/start": {"status": "running"},
            "GET action/A1/result": {"status": "succeeded", "json_result": {"y": 2, "y_uncertainty": 0.5}},
            "POST admin/safety_stop": {"success": True},
            "POST admin/lock": {"success": True},
        }

    def handler(self):
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                where = f"{self.command} {self.path[1:]}"
                liar.asked.append(where)
                answer = liar.answers.get(where, (404, b"{}"))
                answer = answer() if callable(answer) else answer
                if answer is None:
                    self.close_connection = True
                    return
                code, body = answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode())
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def liar():
    made = Liar()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def node(liar, tmp_path):
    (tmp_path / "actions.json").write_text(json.dumps(HEAT))
    settings = {
        "url": liar.url,
        "actions": str(tmp_path / "actions.json"),
        "folder": str(tmp_path / "kept"),
        "simulated": True,
    }
    made = []

    def again(**changes):
        made.append(MadsciNode(settings | changes))
        return made[-1]

    yield again
    for each in made:
        each.close()


def started(liar):
    return liar.asked.count("POST action/heat/A1/start")


def test_a_number_comes_with_its_uncertainty_and_stays_after_the_node_forgot_it(liar, node):
    mine = node()
    mine.start("k", "heat", {"temperature": 300.0})
    assert mine.outcome("k") == Done({"y": 2.0}, {"y": 0.5}, {})
    liar.answers["GET action/A1/result"] = UNHEARD
    assert node().outcome("k") == Done({"y": 2.0}, {"y": 0.5}, {})
    assert dict(mine.state().readings) == {"temperature": 295.0, "words": "warm"}


def test_a_start_that_nobody_answered_is_unknown_and_is_not_sent_again(liar, node):
    liar.answers |= {"POST action/heat/A1/start": None, "GET action/A1/result": UNHEARD}
    mine = node()
    with pytest.raises(Unavailable):
        mine.start("k", "heat", {"temperature": 300.0})
    for each in (mine, node()):
        assert isinstance(each.outcome("k"), Unknown)
        each.start("k", "heat", {"temperature": 300.0})
    assert started(liar) == 1
    # The node speaks after all: it had heard it.
    liar.answers["GET action/A1/result"] = {"status": "succeeded", "json_result": [{"y": 3}, {"z": 4}]}
    assert mine.outcome("k") == Done({"y": 3.0, "z": 4.0})


def test_what_was_created_and_never_started_did_not_run(liar, node):
    liar.answers["POST action/heat"] = None
    mine = node()
    with pytest.raises(Unavailable):
        mine.start("k", "heat", {"temperature": 300.0})
    assert mine.outcome("k") == NeverStarted()
    liar.answers["POST action/heat"] = {"action_id": "A1"}
    mine.start("k", "heat", {"temperature": 300.0})
    assert started(liar) == 1
    assert isinstance(mine.outcome("k"), Done)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "not_ready", "errors": [{"message": "Node is not ready: busy"}]},
        {"status": "failed", "errors": [{"message": "Action A1 not found", "error_type": "NotFound"}]},
        (422, b'{"detail": "no"}'),
    ],
)
def test_what_the_node_did_not_begin_has_failed_for_good(liar, node, answer):
    liar.answers["POST action/heat/A1/start"] = answer
    mine = node()
    with pytest.raises(Conflict):
        mine.start("k", "heat", {"temperature": 300.0})
    assert isinstance(mine.outcome("k"), Failed)


def test_a_file_that_was_not_found_while_it_ran_is_a_failure_of_the_action(liar, node):
    wrong = {"status": "failed", "errors": [{"message": "file not found", "error_type": "FileNotFoundError"}]}
    liar.answers |= {"POST action/heat/A1/start": wrong, "GET action/A1/result": wrong}
    mine = node()
    mine.start("k", "heat", {"temperature": 300.0})
    assert mine.outcome("k") == Failed("The node says failed: file not found")


def test_nothing_is_started_on_a_node_that_cannot_be_stopped(liar, node):
    liar.answers["GET info"]["capabilities"]["admin_commands"] = ["lock", "reset"]
    with pytest.raises(Conflict, match="safety_stop"):
        node().start("k", "heat", {"temperature": 300.0})
    liar.answers["GET info"]["actions"]["heat"]["args"] = {"power": {}}
    with pytest.raises(Conflict, match="takes power"):
        node().start("k", "heat", {"temperature": 300.0})
    assert "POST action/heat" not in liar.asked


@pytest.mark.parametrize("real", [{}, {"simulated": False}, {"simulated": "no"}])
def test_a_site_that_is_wrong_about_the_node_starts_nothing_and_stops_it(liar, node, real):
    with pytest.raises(Conflict, match="says that it is simulated"):
        node(simulated=False).state()
    liar.answers["GET state"] = {"temperature": 295.0, **real}
    for ask in (node().state, lambda: node().start("k", "heat", {"temperature": 300.0})):
        with pytest.raises(Conflict, match="says that it is not"):
            ask()
    assert node(simulated=False).state().status == "idle"
    node().stop()
    assert "POST action/heat" not in liar.asked


def test_a_site_says_true_or_false_and_no_text(node):
    for value in ("false", "true", 0, 1.0):
        with pytest.raises(InvalidInput, match="without quotes"):
            node(simulated=value)


def test_a_stop_gets_through_where_the_node_was_asked_too_often(liar, node):
    busy = [(429, b"{}"), (429, b"{}")]
    liar.answers["POST admin/safety_stop"] = lambda: busy.pop() if busy else {"success": True}
    node().stop()
    assert liar.asked.count("POST admin/safety_stop") == 3
    liar.answers["POST admin/safety_stop"] = {"success": False, "errors": [{"message": "the relay is stuck"}]}
    with pytest.raises(Conflict, match="the relay is stuck"):
        node().stop()
    assert liar.asked[-1] == "POST admin/lock"


def test_what_is_no_node_is_told_as_silence(liar, node):
    for answer in ((200, b"<html>welcome</html>"), (200, b"[]"), (502, b""), {"hello": 1}):
        liar.answers["GET status"] = answer
        with pytest.raises(Unavailable):
            node().state()


def packed(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return data.getvalue()


def test_files_are_kept_by_their_bare_names_and_a_bomb_is_refused(liar, node, monkeypatch):
    liar.answers["GET action/A1/result"] = {
        "status": "succeeded",
        "json_result": {"y": 1},
        "files": ["trace"],
    }
    liar.answers["GET action/A1/download"] = (200, packed(**{"..__..__trace.csv": b"t,y"}))
    mine = node()
    mine.start("k", "heat", {"temperature": 300.0})
    assert mine.outcome("k") == Done({"y": 1.0}, {}, {"trace.csv": b"t,y"})
    liar.answers["GET action/A1/download"] = (200, packed(bomb=b"0" * 70 * 2**20))
    mine.start("bomb", "heat", {"temperature": 300.0})
    assert isinstance(mine.outcome("bomb"), Failed)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({}, "no actions"),
        ({"heat": {"description": "x", "parameters": {"t": {"unit": "kelvin"}}}}, "limits are 0 to 0"),
        ({"heat": {"description": "x", "outcomes": {"y": "furlongs per blink"}}}, "blink"),
        ({"heat": {"description": "x", "paramters": {}}}, "paramters"),
    ],
)
def test_a_file_that_describes_nothing_usable_is_refused(node, tmp_path, described, words):
    (tmp_path / "other.json").write_text(json.dumps(described))
    with pytest.raises(InvalidInput, match=words):
        node(actions=str(tmp_path / "other.json"))
