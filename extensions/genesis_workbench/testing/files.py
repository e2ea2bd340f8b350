"""A plain server of files on loopback, with ranges and entity tags or without, that counts what it sent."""

from __future__ import annotations

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape


class FileServer:
    """Serves `files` (path to bytes) from threads of this process; use it in a ``with`` block.

    Parameters
    ----------
    ranges : bool
        Whether it answers requests for parts.
    tags : bool
        Whether it gives entity tags.
    buckets : bool
        Whether it lists files as S3 does; otherwise a folder answers with a page of links.
    """

    def __init__(
        self,
        files: dict[str, bytes] | None = None,
        *,
        ranges: bool = True,
        tags: bool = True,
        buckets: bool = True,
    ) -> None:
        self.files = dict(files or {})
        self.redirects: dict[str, str] = {}
        self.ranges, self.tags, self.buckets = ranges, tags, buckets
        self.requests: list[tuple[str, str]] = []
        self.sent_bytes = 0
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> FileServer:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    @property
    def host(self) -> str:
        """Host and port, as `catalog.private_hosts` names them."""
        return f"127.0.0.1:{self._http.server_address[1]}"

    def url(self, path: str) -> str:
        """Address of `path`."""
        return f"http://{self.host}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: FileServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Keep tests quiet."""

    def do_GET(self) -> None:
        owner = self.server.owner
        path = unquote(urlsplit(self.path).path)
        asked = parse_qs(urlsplit(self.path).query)
        if owner.buckets and asked.get("list-type") == ["2"]:
            self._answer(200, self._listing(path, asked))
            return
        wanted = self.headers.get("Range", "")
        owner.requests.append((path, wanted))
        if path in owner.redirects:
            self._answer(302, b"", Location=owner.redirects[path])
            return
        data = owner.files.get(path)
        if data is None and not owner.buckets and path.endswith("/"):
            data = self._page(path)
        if data is None:
            self._answer(404, b"")
            return
        tag = _tag(data)
        known = {"ETag": tag} if owner.tags else {}
        if owner.tags and self.headers.get("If-None-Match") == tag:
            self._answer(304, b"", **known)
            return
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if not owner.ranges or found is None:
            self._answer(200, data, **known)
            return
        start = int(found[1]) if found[1] else max(0, len(data) - int(found[2]))
        end = min(int(found[2]), len(data) - 1) if found[1] and found[2] else len(data) - 1
        if start >= len(data):
            self._answer(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        self._answer(206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}", **known)

    def _listing(self, bucket: str, asked: dict[str, list[str]]) -> bytes:
        """Answer as S3 does: keys in order, five at a time."""
        owner = self.server.owner
        after, prefix = asked.get("continuation-token", [""])[0], asked.get("prefix", [""])[0]
        owner.requests.append((bucket, f"list {prefix}"))
        keys = sorted(path.removeprefix(bucket) for path in owner.files if path.startswith(bucket + prefix))
        left = [key for key in keys if key > after]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(owner.files[bucket + key])}</Size>"
            f"<ETag>{escape(_tag(owner.files[bucket + key]))}</ETag></Contents>"
            for key in left[:5]
        )
        more = f"<NextContinuationToken>{escape(left[4])}</NextContinuationToken>" if left[5:] else ""
        return f"<ListBucketResult>{rows}{more}</ListBucketResult>".encode()

    def _page(self, folder: str) -> bytes | None:
        """Answer as web servers do: a page with links, some of them to elsewhere."""
        below = {p.removeprefix(folder) for p in self.server.owner.files if p.startswith(folder)}
        links = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
        rows = "".join(f'<li><a href="{quote(name)}">{escape(name)}</a></li>' for name in links)
        page = f'<!DOCTYPE html><html><a href="?C=N;O=D">Name</a><a href="../">up</a><ul>{rows}</ul></html>'
        return page.encode() if links else None

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.server.owner.sent_bytes += len(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _tag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:16]}"'
