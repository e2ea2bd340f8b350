"""A simulated service of language models in OpenAI's protocol, on loopback: it repeats the question, and can fail on demand.

There is no model in it, and its answers say so. It keeps what it was sent, so that a test sees what left the site.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

MODEL = "simulated-echo"


class SimulatedLanguageService:
    """A server for one test: ``with SimulatedLanguageService(key="…") as service: service.url``.

    Attributes
    ----------
    seen : list
        Path, headers and JSON body of each request.
    trouble : str
        What goes wrong from now on: ``refused`` (400), ``busy`` (429), ``broken`` (500), ``moved`` (a redirect), ``cut`` (an answer that
        ends early), ``endless`` (one that does not end); nothing where empty.
    """

    def __init__(self, key: str = "") -> None:
        self.key, self.trouble = key, ""
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> SimulatedLanguageService:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _handler(service: SimulatedLanguageService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

        def _answer(self, body: Any) -> None:
            service.seen.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            if service.key and self.headers.get("Authorization") != f"Bearer {service.key}":
                self._send(
                    401, {"error": {"message": f"Incorrect API key {self.headers.get('Authorization')}"}}
                )
            elif service.trouble in ("refused", "busy", "broken"):
                status = {"refused": 400, "busy": 429, "broken": 500}[service.trouble]
                self._send(status, {"error": {"message": "max_tokens is too large (simulated)"}})
            elif service.trouble == "moved":
                self.send_response(302)
                self.send_header("Location", f"{service.url}/elsewhere")
                self.end_headers()
            elif self.path.endswith("/models"):
                self._send(
                    200,
                    {
                        "object": "list",
                        "data": [{"id": MODEL, "object": "model"}, {"id": "other", "object": "model"}],
                    },
                )
            elif body.get("stream"):
                self._stream(body)
            else:
                said = {"role": "assistant", "content": f"simulated: {body['messages'][-1]['content']}"}
                self._send(
                    200,
                    {
                        "object": "chat.completion",
                        "model": body["model"],
                        "choices": [{"index": 0, "message": said}],
                    },
                )

        def _send(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data) + (100 if service.trouble == "cut" else 0)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, body: Any) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            words = ["simulated:", *body["messages"][-1]["content"].split()]
            try:
                while words:
                    delta = {
                        "object": "chat.completion.chunk",
                        "choices": [{"index": 0, "delta": {"content": words[0] + " "}}],
                    }
                    self.wfile.write(b"data: " + json.dumps(delta).encode() + b"\n\n")
                    self.wfile.flush()
                    time.sleep(0.05)  # so that a client sees that it comes in pieces
                    words = words if service.trouble == "endless" else words[1:]
                self.wfile.write(b"data: [DONE]\n\n")
            except (BrokenPipeError, ConnectionResetError):
                return  # whoever asked has left

    return Handler
