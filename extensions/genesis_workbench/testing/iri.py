"""A facility on this machine that speaks the IRI Facility API, version 1 and 2, and fails when it is told to.

Its jobs truly run, as processes in a folder of its own; its files are real files. What it answers follows the published
OpenAPI documents. It listens on 127.0.0.1, port 0.

Examples
--------
>>> with IriFacility(folder) as facility:  # doctest: +SKIP
...     facility.fail("launchJob", status=429, retry_after=2)
...     facility.lose_answer("launchJob")
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from genesis_workbench.testing._iri_machine import Machine
from genesis_workbench.testing._iri_protocol import (
    OPEN,
    SINCE,
    Asked,
    Fault,
    Refusal,
    checked_spec,
    resources,
    route,
    uploaded,
)


class IriFacility:
    """The facility, with one compute and one storage resource.

    Parameters
    ----------
    folder : Path
        Where its jobs and files are.
    public : str, optional
        Origin that its links name, where it is reached through something else.

    Attributes
    ----------
    tokens : dict of str to str
        Good tokens, and whose they are.
    asked : list of Asked
        Every request that came, in order.
    resources : dict
        What it has; change ``current_status`` and ``attributes`` to see what follows.
    forgets_keys : bool
        Whether it answers 501 to an Idempotency-Key, as a facility without a memory for them does.
    hides_jobs : bool
        Whether its list of jobs is behind, and shows none.
    """

    def __init__(self, folder: Path, public: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.machine = Machine(folder)
        self.folder = self.machine.folder
        self.tokens = {"first-token": "alice"}
        self.asked: list[Asked] = []
        self.forgets_keys = self.hides_jobs = False
        self.resources: dict[str, dict[str, Any]] = resources()
        self._faults: list[Fault] = []
        self._keys: dict[tuple[str, str], tuple[str, dict[str, Any] | None]] = {}
        self._tasks: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        peer = self

        class Handler(_Handler):
            facility = peer

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.public = public or self.url
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.machine.close()
        self._thread.join(timeout=10)

    # Faults

    def fail(
        self,
        operation: str,
        status: int,
        *,
        times: int = 1,
        retry_after: float | None = None,
        detail: str = "as it was told",
        effect: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer the next requests of `operation` with `status`; nothing is done. `effect` runs before each."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        self._faults.append(Fault(operation, times, status, headers, detail, effect=effect))

    def lose_answer(
        self, operation: str, *, times: int = 1, effect: Callable[[], None] = lambda: None
    ) -> None:
        """Do what the next requests of `operation` ask for and cut the connection instead of answering."""
        self._faults.append(Fault(operation, times, lost=True, effect=effect))

    def slow(self, operation: str, delay_s: float, *, times: int = 1) -> None:
        """Answer the next requests of `operation` late."""
        self._faults.append(Fault(operation, times, delay_s=delay_s))

    def count(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(each.operation == operation for each in self.asked)

    # Answers

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, bool, dict[str, str]]:
        """Return status, JSON, whether the answer is lost on its way, and headers."""
        parts = urlsplit(target)
        version, operation, named = route(method, parts.path)
        self.asked.append(Asked(operation, method, target, headers, body))
        fault = self._fault(operation)
        try:
            if fault:
                fault.happen()
            user = "" if operation in OPEN else self._user(headers)
            query = dict(parse_qsl(parts.query))
            status, value = self._do(version, operation, named, query, headers, body, user)
            return status, value, bool(fault and fault.lost), {}
        except Refusal as refusal:
            problem = {
                "type": "about:blank", "status": refusal.status, "title": "Problem", "detail": refusal.detail,
                "instance": self.public + parts.path,
            }  # fmt: skip
            return refusal.status, problem, False, refusal.headers

    def _do(
        self, version: str, operation: str, named: dict[str, str], query: dict[str, str],
        headers: dict[str, str], body: bytes, user: str,
    ) -> tuple[int, Any]:  # fmt: skip
        root = f"{self.public}/api/{version}"
        if operation == "none":
            raise Refusal(404, "there is no such operation")
        if operation.startswith("files:"):
            return self._files(root, operation.removeprefix("files:"), query, headers, body)
        if operation in ("launchJob", "getJob", "getJobs", "cancelJob"):
            return self._compute(version, operation, named, query, headers, body, user)
        if operation == "getTask":
            if named["task"] not in self._tasks:
                raise Refusal(404, "no such task")
            return 200, self._tasks[named["task"]]
        return 200, self._described(version, root, operation, named, user)

    def _described(self, version: str, root: str, operation: str, named: dict[str, str], user: str) -> Any:
        if operation == "getFacility":
            return {
                "id": "pioneer", "name": "Pioneer HPC Facility", "short_name": "Pioneer", "last_modified": SINCE,
                "self_uri": f"{root}/facility", "site_uris": [f"{root}/facility/sites/pioneer"],
                "support_uri": "https://support.example.gov",
            }  # fmt: skip
        if operation == "getProjects":
            return [
                {"id": "proj", "name": "proj", "description": "a project", "user_ids": [user], "last_modified": SINCE,
                 "self_uri": f"{root}/account/projects/proj"}
            ]  # fmt: skip
        if operation == "getResource":
            return self._resource(version, named["resource"])
        if operation == "getStorageLocations":
            access = {"read": True, "write": True, "execute": True}
            place = {
                "logical_name": "scratch",
                "path": str(self.folder / user),
                "access": access,
                "shared": False,
            }
            archive = {**place, "logical_name": "archive", "access": {**access, "write": False}}
            return [archive, place]
        if operation == "getResources":
            return [self._resource(version, key) for key in self.resources]
        endpoint = "compute" if operation == "getComputeResources" else "filesystem"
        offered = [key for key, each in self.resources.items() if endpoint in each["supported_endpoints"]]
        return [self._resource(version, key) for key in offered]

    def _compute(
        self, version: str, operation: str, named: dict[str, str], query: dict[str, str],
        headers: dict[str, str], body: bytes, user: str,
    ) -> tuple[int, Any]:  # fmt: skip
        if named["resource"] not in self.resources:
            raise Refusal(404, f"no resource {named['resource']}")
        if operation == "launchJob":
            return 200, self._launch(version, named["resource"], headers, body, user)
        if operation == "getJobs":
            first, limit = int(query.get("offset", 0)), int(query.get("limit", 100))
            spec = query.get("include_spec") == "true"
            jobs = [] if self.hides_jobs else list(self.machine.jobs.values())
            return 200, [job.described(spec=spec) for job in jobs[first : first + limit]]
        job = self.machine.jobs.get(named["job"])
        if job is None:
            raise Refusal(404, f"no job {named['job']}")
        if operation == "cancelJob":
            self.machine.end(job)
            return 204, None
        return 200, job.described(spec=query.get("include_spec") == "true")

    def _launch(
        self, version: str, resource: str, headers: dict[str, str], body: bytes, user: str
    ) -> dict[str, Any]:
        spec = checked_spec(body)
        nodes = self.resources[resource]["attributes"].get("configured_node_count", 0)
        if nodes and spec.get("resources", {}).get("node_count", 1) > nodes:
            raise Refusal(400, f"node_count is too large: there are {nodes}")
        key = headers.get("idempotency-key", "") if version == "v2" else ""
        if key and self.forgets_keys:
            raise Refusal(501, "no idempotency store is configured")
        content = json.dumps(spec, sort_keys=True)
        with self._lock:
            known = self._keys.get((user, key)) if key else None
            if known and known[0] != content:
                raise Refusal(422, "Idempotency-Key reused with a different request body.")
            if known and known[1] is None:
                raise Refusal(
                    409, "A request with this Idempotency-Key is already in progress.", {"Retry-After": "0"}
                )
            if known and known[1]:
                return known[1]
            if key:
                self._keys[user, key] = (content, None)
        job = self.machine.take(spec)
        said = job.described(spec=False)
        if version == "v2":
            said["_links"] = {"self": {"href": f"/api/v2/compute/status/{resource}/{job.id}"}}
        if key:
            self._keys[user, key] = (content, said)
        return said

    def _files(
        self, root: str, command: str, query: dict[str, str], headers: dict[str, str], body: bytes
    ) -> tuple[int, Any]:
        arguments: dict[str, Any] = dict(query)
        if command == "upload":
            arguments["content"] = uploaded(headers, body)
        elif body:
            arguments |= json.loads(body)
        number = uuid.uuid4().hex
        shown = {name: value for name, value in arguments.items() if name != "content"}
        task: dict[str, Any] = {
            "id": number, "status": "pending", "command": {"router": "filesystem", "command": command, "args": shown},
        }  # fmt: skip
        self._tasks[number] = task
        threading.Thread(target=self._work, args=(task, command, arguments), daemon=True).start()
        return 201 if command == "mkdir" else 200, {"task_id": number, "task_uri": f"{root}/task/{number}"}

    def _work(self, task: dict[str, Any], command: str, arguments: dict[str, Any]) -> None:
        task["status"] = "active"
        try:
            task["result"] = {"output": self.machine.files(command, arguments)}
            task["status"] = "completed"
        except (OSError, ValueError, KeyError) as error:
            task["result"] = {"output": f"Error: {error}"}  # as the reference implementation says it
            task["status"] = "failed"

    def _resource(self, version: str, key: str) -> dict[str, Any]:
        if key not in self.resources:
            raise Refusal(404, f"no resource {key}")
        root = f"{self.public}/api/{version}"
        said = {"id": key, "last_modified": SINCE, "capability_uris": [], **self.resources[key]}
        said["self_uri"] = f"{root}/status/resources/{key}"
        said["site_uri"] = f"{root}/facility/sites/pioneer"
        links, attributes, kind = said.pop("links"), said.pop("attributes"), said["resource_type"]
        if version == "v1":
            return said | {"resource_type": kind.split(":")[0]}
        said |= {"resource_type": f"urn:doe-iri:resource:{kind}", "attributes": attributes}
        said["_links"] = {"self": {"href": said["self_uri"]}, **links}
        return said

    def _user(self, headers: dict[str, str]) -> str:
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise Refusal(401, "the token is not valid", {"WWW-Authenticate": "Bearer"})
        return self.tokens[token]

    def _fault(self, operation: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.operation == operation and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    facility: IriFacility
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the client's kernel would wait 40 ms between them

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, value, lost, extra = self.facility.answer(self.command, self.path, headers, body)
        if lost:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)
            return
        content = b"" if value is None else json.dumps(value).encode()
        kind = "application/json"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, text in extra.items():
                self.send_header(name, text)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
