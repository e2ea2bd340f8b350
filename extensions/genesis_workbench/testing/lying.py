"""A peer that misbehaves, on loopback: for tests of whatever fetches from places that nobody here controls."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_BOMB_BYTES = 32 * 2**20
_HUGE_BYTES = 2 * 2**30

LIES = (
    "/hang",
    "/drip",
    "/drip-headers",
    "/html200",
    "/error500",
    "/error-in-200",
    "/busy",
    "/missing",
    "/other-json",
    "/other-xml",
    "/entities",
    "/deep",
    "/wrong-encoding",
    "/truncated-gzip",
    "/not-gzip",
    "/gzip-bomb",
    "/huge",
    "/endless",
    "/cut",
    "/pages-for-ever",
    "/redirect-private",
    "/redirect-loop",
    "/redirect-file",
)
"""What a whole server can do to whoever reads from it; `LyingServer.lie` takes one of them."""


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES), 9)


class LyingServer:
    """An HTTP server in threads of this process; use it in a ``with`` block.

    Its paths: ``/json`` (well-behaved), ``/hang``, ``/drip`` and ``/drip-headers`` (one byte now and then), ``/html200``,
    ``/error500``, ``/busy`` (503 for ever), ``/flaky`` (503 the first time), ``/missing`` (404), ``/wrong-encoding``,
    ``/truncated-gzip``, ``/not-gzip``, ``/gzip-bomb``, ``/endless``, ``/cut`` (fewer bytes than announced),
    ``/redirect-private``, ``/redirect-loop``, ``/redirect-json``, ``/etag``, ``/modified``, ``/echo`` (the request's headers) and
    ``/pages/search``, data.gov's shape with pages that never end.

    Parameters
    ----------
    answers : mapping, optional
        More paths: JSON values, bytes as they are, or a function that makes one of these of the query. `redirects` may
        be filled with still others.
    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.redirects: dict[str, str] = {}
        self.lie = ""
        """Where set, every path behaves like this one of LIES."""
        self.etags: dict[str, str] = {}
        """Entity tags of `answers`, by path: a request that has one gets 304."""
        self.statuses: list[int] = []
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> LyingServer:
        _bomb()  # made now: a request should not wait for it
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    def url(self, path: str) -> str:
        """Address of `path`."""
        return f"http://127.0.0.1:{self.port}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: LyingServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients of this server hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep tests quiet."""

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.requests.append(self.path)
        path = owner.lie or urlsplit(self.path).path
        if path in owner.redirects:
            self._send({}, status=302, Location=owner.redirects[path])
            return
        if path in owner.answers:
            answer = owner.answers[path]
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            tag = owner.etags.get(path, "")
            if tag and self.headers.get("If-None-Match") == tag:
                owner.statuses.append(304)
                self.send_response(304)
                self.end_headers()
                return
            owner.statuses.append(200)
            value = answer(query) if callable(answer) else answer
            if tag:
                self._send(value, ETag=tag)
            else:
                self._send(value)
            return
        behaviour: Callable[[], None] | None = getattr(
            self, "_" + path.strip("/").replace("-", "_").replace("/", "_"), None
        )
        if behaviour is None or path.startswith("/send"):
            self._send({"error": "no such path"}, status=404)
        else:
            behaviour()

    def _send(self, value: Any, *, status: int = 200, kind: str = "application/json", **headers: str) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, content in headers.items():
            self.send_header(name.replace("_", "-"), content)
        self.end_headers()
        self.wfile.write(body)

    def _json(self) -> None:
        self._send({"fine": True})

    def _hang(self) -> None:
        self.server.owner.stopping.wait(30)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        while not self.server.owner.stopping.wait(0.05):
            self.wfile.write(b" ")

    def _drip_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.owner.stopping.wait(0.05):
            self.wfile.write(b"x")

    def _html200(self) -> None:
        self._send(b"<!DOCTYPE html><html><body>Down for maintenance</body></html>", kind="text/html")

    def _error500(self) -> None:
        self._send({"error": "broken"}, status=500)

    def _busy(self) -> None:
        self._send({"error": "busy"}, status=503, Retry_After="3600")

    def _flaky(self) -> None:
        if self.server.owner.requests.count("/flaky") == 1:
            self._send({"error": "busy"}, status=503, Retry_After="0")
        else:
            self._json()

    def _missing(self) -> None:
        self._send({"error": "gone"}, status=404)

    def _wrong_encoding(self) -> None:
        self._send('{"name": "Lefèvre"}'.encode("latin-1"), kind="application/json; charset=utf-8")

    def _truncated_gzip(self) -> None:
        self._send(gzip.compress(b'{"fine": true}' * 100)[:-20], Content_Encoding="gzip")

    def _not_gzip(self) -> None:
        self._send(b'{"fine": true}', Content_Encoding="gzip")

    def _gzip_bomb(self) -> None:
        self._send(_bomb(), Content_Encoding="gzip")

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while not self.server.owner.stopping.is_set():
            self.wfile.write(bytes(65536))

    def _cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"fine":')
        self.close_connection = True

    def _redirect_private(self) -> None:
        self._send({}, status=302, Location="http://169.254.169.254/latest/meta-data/")

    def _redirect_file(self) -> None:
        self._send({}, status=302, Location="file:///etc/passwd")

    def _error_in_200(self) -> None:
        self._send({"error": {"message": "the database is away"}, "success": False})

    def _other_json(self) -> None:
        keys = (
            "data",
            "items",
            "results",
            "result",
            "dataset",
            "collections",
            "hits",
            "links",
            "sources",
            "table",
        )
        self._send({key: [None, 7, "text", [], {}, {"id": {}}, {"id": True, "title": []}] for key in keys})

    def _other_xml(self) -> None:
        self._send(b'<?xml version="1.0"?><other><thing>1</thing></other>', kind="text/xml")

    def _entities(self) -> None:
        rows = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
        self._send(f'<!DOCTYPE x [<!ENTITY e0 "boom">{rows}]><x>&e9;</x>'.encode(), kind="text/xml")

    def _deep(self) -> None:
        self._send(b"[" * 100_000)

    def _huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(_HUGE_BYTES))
        self.end_headers()
        self.close_connection = True
        for _ in range(_HUGE_BYTES // 2**20):
            if self.server.owner.stopping.is_set():
                return
            self.wfile.write(b" " * 2**20)

    def _pages_for_ever(self) -> None:
        """Answer in many protocols at once, each time with one more page to come."""
        number = len(self.server.owner.requests)
        here = self.server.owner.url(f"/next?page={number}")
        record = {
            "id": f"r{number}",
            "identifier": f"r{number}",
            "title": "R",
            "type": "structures",
            "attributes": {
                "titles": [{"title": "R"}],
                "creators": [{"name": "N"}],
                "elements": ["Si"],
                "nsites": 1,
            },
            "metadata": {"title": "R"},
            "extent": {"spatial": {}},
            "meta": {"concept-id": f"r{number}"},
            "umm": {"EntryTitle": "R"},
            "ediid": f"r{number}",
        }
        lists = {
            key: [record] for key in ("data", "items", "results", "collections", "ResultData", "result_set")
        }
        content = {
            **lists,
            "hits": {"hits": [record]},
            "result": {"results": [record], "count": 10**9},
            "links": {"next": here},
            "after": f"c{number}",
            "total_count": 10**9,
            "ResultCount": 10**9,
        }
        self._send(content, CMR_Search_After=f"c{number}", X_Total_Count="1000000000")

    def _redirect_loop(self) -> None:
        self._send({}, status=302, Location="/redirect-loop")

    def _redirect_json(self) -> None:
        self._send({}, status=302, Location="/json")

    def _modified(self) -> None:
        since = "Sat, 01 Nov 2025 00:00:00 GMT"
        if self.headers.get("If-Modified-Since") == since:
            self.send_response(304)
            self.end_headers()
        else:
            self._send({"fine": True}, Last_Modified=since)

    def _etag(self) -> None:
        if self.headers.get("If-None-Match") == '"one"':
            self.send_response(304)
            self.send_header("ETag", '"one"')
            self.end_headers()
        else:
            self._send({"fine": True}, ETag='"one"')

    def _echo(self) -> None:
        self._send({name.lower(): value for name, value in self.headers.items()})

    def _pages_search(self) -> None:
        after = int(parse_qs(urlsplit(self.path).query).get("after", ["0"])[0])
        record = {"identifier": f"record-{after}", "title": f"Record {after}"}
        self._send({"results": [record], "after": str(after + 1)})
