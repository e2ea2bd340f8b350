"""What a facility of the IRI Facility API is asked for: its operations by name, requests, faults, resources."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from genesis_workbench.testing._iri_machine import MAX_FILE_BYTES

SINCE = "2026-08-14T12:00:00Z"
_FILES = "mkdir|chmod|stat|download|upload|tail"
_ROUTES = [
    ("getFacility", "GET", r"facility"),
    ("getProjects", "GET", r"account/projects"),
    ("getComputeResources", "GET", r"compute/resources"),
    ("getResources", "GET", r"status/resources"),
    ("getResource", "GET", r"status/resources/(?P<resource>[^/]+)"),
    ("launchJob", "POST", r"compute/job/(?P<resource>[^/]+)"),
    ("getJob", "GET", r"compute/status/(?P<resource>[^/]+)/(?P<job>[^/]+)"),
    ("getJobs", "POST", r"compute/status/(?P<resource>[^/]+)"),
    ("cancelJob", "DELETE", r"compute/cancel/(?P<resource>[^/]+)/(?P<job>[^/]+)"),
    ("getStorageLocations", "GET", r"storage/locations/(?P<resource>[^/]+)"),
    ("getTask", "GET", r"task/(?P<task>[^/]+)"),
]
OPEN = ("getFacility", "getComputeResources", "getResource", "getResources", "getFilesystemResources")


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of one operation."""

    operation: str
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    detail: str = ""
    delay_s: float = 0
    lost: bool = False  # done, and the connection is cut instead of an answer
    effect: Callable[[], None] = lambda: None

    def happen(self) -> None:
        """Go wrong as far as that is before anything is done."""
        self.effect()
        time.sleep(self.delay_s)
        if self.status:
            raise Refusal(self.status, self.detail, self.headers)


@dataclass
class Asked:
    """A request that came."""

    operation: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Refusal(Exception):
    """An answer that is a problem (RFC 9457)."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def route(method: str, path: str) -> tuple[str, str, dict[str, str]]:
    """Return version, operation and what the path names; the operation ``none`` for what there is not."""
    match = re.fullmatch(r"/api/(v1|v2)/(.*)", path)
    if not match:
        return "v2", "none", {}
    version, rest = match[1], match[2]
    lists = "POST" if version == "v2" else "GET"
    changing = {"mkdir": "POST", "upload": "POST", "chmod": "POST" if version == "v2" else "PUT"}
    if rest == "filesystem/resources" and method == lists:
        return version, "getFilesystemResources", {}
    found = re.fullmatch(rf"filesystem/({_FILES})/(?P<resource>[^/]+)", rest)
    if found and method == changing.get(found[1], lists):
        return version, f"files:{found[1]}", found.groupdict()
    for operation, wanted, pattern in _ROUTES:
        found = re.fullmatch(pattern, rest)
        if found and method == wanted:
            return version, operation, {name: unquote(text) for name, text in found.groupdict().items()}
    return version, "none", {}


def checked_spec(body: bytes) -> dict[str, Any]:
    """Return the job that a request asks for."""
    try:
        spec = json.loads(body)
        command = [spec["executable"], *spec.get("arguments", [])]
    except (ValueError, TypeError, KeyError) as error:
        raise Refusal(400, f"not a job: {error}") from error
    if not all(isinstance(word, str) for word in command):
        raise Refusal(400, "executable and arguments are texts")
    checked: dict[str, Any] = spec
    return checked


def uploaded(headers: dict[str, str], body: bytes) -> bytes:
    """Return the one file of a multipart request."""
    import python_multipart

    found: list[bytes] = []

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        found.append(file.file_object.read())

    python_multipart.parse_form(
        {"Content-Type": headers.get("content-type", "").encode()},
        io.BytesIO(body),
        lambda _field: None,
        on_file,
    )
    if len(found) != 1:
        raise Refusal(400, "one file was expected")
    if len(found[0]) > MAX_FILE_BYTES:
        raise Refusal(413, "the file is too large")
    return found[0]


def resources() -> dict[str, dict[str, Any]]:
    """Return one compute system with its nodes and one file system."""
    return {
        "pioneer-compute": {
            "name": "Pioneer", "resource_type": "compute:system", "current_status": "up",
            "supported_endpoints": ["compute"], "attributes": {"configured_node_count": 4},
            "links": {
                "iri:submit-job": {"href": "/api/v2/compute/job/pioneer-compute"},
                "iri:has-node": [{"href": "/api/v2/status/resources/pioneer-node"}],
            },
        },
        "pioneer-node": {
            "name": "Pioneer node", "resource_type": "compute:node", "current_status": "up",
            "supported_endpoints": [], "links": {},
            "attributes": {"cpu_core_count": 8, "memory_gib": 16, "gpu_count": 0},
        },
        "pioneer-scratch": {
            "name": "Scratch", "resource_type": "storage:filesystem", "current_status": "up",
            "supported_endpoints": ["filesystem"], "attributes": {}, "links": {},
        },
    }  # fmt: skip
