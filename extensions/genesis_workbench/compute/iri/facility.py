"""What one facility offers through the IRI Facility API, version 1 and 2: resources, jobs, and its files.

Where the facility gives a link it is followed; the entry points, and the operations for which the API registers no
link (files, cancel), are those of its published specification. What it answers is untrusted: only what is checked here
goes on.
"""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from genesis_workbench.compute.iri import client as http
from genesis_workbench.compute.iri.files import Files, objects, segment, whole
from genesis_workbench.compute.job import Queue, QueueFull
from genesis_workbench.compute.slurm import says_full
from genesis_workbench.core.errors import (
    GenesisError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from genesis_workbench.core.site import IriSection

_OURS = "genesis-jobs"
_KEPT_S = 60.0  # resources change rarely
_PAGE = 100
_MAX_PAGES = 50
_MAX_NODES = 8  # representatives of a system's kinds of nodes
_GIB = 2**30


@dataclass(frozen=True)
class Resource:
    """A resource of a facility, as it describes itself now."""

    id: str
    name: str
    kind: str  # "compute", "storage" or what else it says
    status: str
    submit_link: str = ""
    node_links: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict, repr=False)

    def called(self, name: str) -> bool:
        """Whether a person means this one."""
        return name in (self.id, self.name)


class Facility:
    """One facility, in the version of the API that the site names.

    Parameters
    ----------
    site : IriSection
        Where it is and which of its resources are used.
    client : Client, optional
        Connections to it; new ones where left out.
    """

    def __init__(self, site: IriSection, client: http.Client | None = None) -> None:
        self.site = site
        self.client = client or http.Client(site)
        self.files = Files(self.client, site.version, lambda: self.resource("filesystem", site.storage).id)
        self._folder = ""
        self._nodes: dict[str, tuple[float, dict[str, Any]]] = {}
        self._kept: dict[str, tuple[float, list[Resource]]] = {}

    def about(self) -> dict[str, Any]:
        """Return the facility's own description."""
        said = self.client.call("GET", self.client.at("facility"), what="describe itself", signed=False)
        return said.value if isinstance(said.value, dict) else {}

    def signed_in(self) -> None:
        """Ask for something that needs the token; raises SignInRequired or PermissionRefused where it is not good."""
        self.client.call("GET", self.client.at("account/projects"), what="list your projects")

    def resources(self, endpoint: str) -> list[Resource]:
        """Return the resources that can be used for ``compute`` or ``filesystem``."""
        kept = self._kept.get(endpoint)
        if kept is None or time.monotonic() - kept[0] > _KEPT_S:
            kept = time.monotonic(), self._offered(endpoint)
            self._kept[endpoint] = kept
        return kept[1]

    def resource(self, endpoint: str, name: str) -> Resource:
        """Return the resource with this name or identifier, or the only one where no name is given.

        Raises
        ------
        InvalidInput
            If there is no such, naming those that there are.
        """
        there = self.resources(endpoint)
        found = [each for each in there if each.called(name)] if name else there
        if len(found) == 1:
            return found[0]
        setting = "resource" if endpoint == "compute" else "storage"
        names = ", ".join(sorted(each.name for each in there)) or "none"
        asked = (
            f"has no resource {name!r} for {endpoint}" if name else f"has several resources for {endpoint}"
        )
        raise InvalidInput(
            f"The facility {asked}: it has {names}. Set compute.iri.{setting} to one of these."
        )

    def work_folder(self) -> str:
        """Return the folder in which jobs get theirs: the site's, else one in the person's own place there (version 2).

        Raises
        ------
        InvalidInput
            If the site names none and the facility knows none.
        """
        named = self.site.folder.rstrip("/")
        if named:
            if not PurePosixPath(named).is_absolute():
                raise InvalidInput(f"compute.iri.folder is {named!r}: it has to begin with '/'.")
            return named
        if self.site.version == "v1":
            raise InvalidInput(
                "Version 1 of the API does not say where a person's files go: set compute.iri.folder."
            )
        if not self._folder:
            storage = self.resource("filesystem", self.site.storage)
            link = self.client.at(f"storage/locations/{segment(storage.id)}")
            said = self.client.call("GET", link, what="say where your files go", params={"intent": "write"})
            self._folder = _place(objects(said.value))
        return self._folder

    def limits(self, resource: Resource) -> Queue:
        """Return what a compute resource has, as far as the facility says; 0 for what it does not say."""
        nodes = [self._node(link) for link in resource.node_links[:_MAX_NODES]]
        machines = [each for each in nodes if each.get("cpu_core_count")]
        said = resource.attributes
        return Queue(
            name=resource.name,
            max_walltime_s=whole(said.get("max_walltime_s")) or None,
            nodes=whole(said.get("configured_node_count")),
            cores_per_node=max((whole(each.get("cpu_core_count")) for each in machines), default=0),
            memory_per_node_bytes=max((whole(each.get("memory_gib")) for each in machines), default=0) * _GIB,
            gpus_per_node=max((whole(each.get("gpu_count")) for each in machines), default=0),
        )

    def bounds(self, resource: Resource) -> Queue:
        """Return :meth:`limits` with no limit where the facility says none."""
        said = self.limits(resource)
        open_ended = {
            name: sys.maxsize
            for name in ("nodes", "cores_per_node", "memory_per_node_bytes")
            if not getattr(said, name)
        }
        if not said.cores_per_node:
            open_ended["gpus_per_node"] = sys.maxsize  # no machine is described at all
        return said.model_copy(update=open_ended)

    def submit(self, resource: Resource, body: dict[str, Any], key: str) -> tuple[str, str]:
        """Submit a job; return its identifier and the address of its status.

        Raises
        ------
        AnswerLost
            If it may or may not have been taken.
        QueueFull
            If there is no room for it now.
        """
        link = resource.submit_link or self.client.at(f"compute/job/{segment(resource.id)}")
        try:
            said = self.client.call(
                "POST", link, what=f"submit the job {body.get('name')!r}", body=body, key=key, repeat=False
            )
        except GenesisError as error:
            if says_full(error.message):  # the words of the scheduler behind it, under whatever status
                raise QueueFull(error.message) from error
            raise
        return self._identity(resource, said.value)

    def job(self, link: str) -> dict[str, Any]:
        """Return a job and its status. NotFound where the facility does not know it."""
        said = self.client.call("GET", link, what="look up the job")
        if not isinstance(said.value, dict) or not isinstance(said.value.get("status"), dict):
            raise Unavailable(f"The facility answered without the job's status: {str(said.value)[:200]!r}.")
        return said.value

    def named(self, resource: Resource, name: str) -> list[tuple[str, str]]:
        """Return identifier and address of the jobs of this account that have a name, the ended ones too."""
        try:
            jobs = self._jobs(resource, {"name": name})
        except InvalidInput:  # which filters there are is left to the facility
            jobs = self._jobs(resource, {})
        return [self._identity(resource, each) for each in jobs if _name(each) == name]

    def cancel(self, resource_id: str, job_id: str) -> None:
        """End a job; nothing where it has ended."""
        link = self.client.at(f"compute/cancel/{segment(resource_id)}/{segment(job_id)}")
        with contextlib.suppress(NotFound):
            self.client.call("DELETE", link, what="cancel the job")

    def _offered(self, endpoint: str) -> list[Resource]:
        method = "POST" if endpoint == "filesystem" and self.site.version == "v2" else "GET"
        try:
            said = self.client.call(
                method, self.client.at(f"{endpoint}/resources"), what="list its resources", signed=False
            ).value
        except (NotFound, http.NotOffered):  # "planned" in the specification: not every facility has it
            said = [
                each for each in self._all_resources() if endpoint in _texts(each.get("supported_endpoints"))
            ]
        return [_resource(each) for each in objects(said) if each.get("id")]

    def _all_resources(self) -> list[dict[str, Any]]:
        link = self.client.at("status/resources")
        found: list[dict[str, Any]] = []
        for page in range(_MAX_PAGES):
            params = {"offset": page * _PAGE, "limit": _PAGE}
            said = self.client.call("GET", link, what="list its resources", params=params, signed=False)
            each = objects(said.value)
            found += each
            if len(each) < _PAGE:
                break
        return found

    def _jobs(self, resource: Resource, filters: dict[str, Any]) -> list[dict[str, Any]]:
        link = self.client.at(f"compute/status/{segment(resource.id)}")
        found: list[dict[str, Any]] = []
        for page in range(_MAX_PAGES):
            params = {"offset": page * _PAGE, "limit": _PAGE, "historical": "true", "include_spec": "true"}
            said = self.client.call("POST", link, what="list your jobs", params=params, body=filters)
            jobs = objects(said.value)
            found += jobs
            if len(jobs) < _PAGE:
                break
        return found

    def _node(self, link: str) -> dict[str, Any]:
        kept = self._nodes.get(link)
        if kept is None or time.monotonic() - kept[0] > _KEPT_S:
            try:
                said = self.client.call("GET", link, what="describe its machines", signed=False).value
            except (NotFound, Unavailable):
                return {}  # one less that limits
            attributes = said.get("attributes") if isinstance(said, dict) else None
            kept = self._nodes[link] = time.monotonic(), attributes if isinstance(attributes, dict) else {}
        return kept[1]

    def _identity(self, resource: Resource, said: Any) -> tuple[str, str]:
        number = said.get("id") if isinstance(said, dict) else None
        if not isinstance(number, str) or not number:
            raise Unavailable(f"The facility took the job and named none: {str(said)[:200]!r}.")
        built = self.client.at(f"compute/status/{segment(resource.id)}/{segment(number)}")
        return number, _links(said, "self")[0] if _links(said, "self") else built


def _resource(said: dict[str, Any]) -> Resource:
    attributes = said.get("attributes")
    kind = str(said.get("resource_type") or "unknown").removeprefix("urn:doe-iri:resource:")
    submit = _links(said, "iri:submit-job")
    return Resource(
        id=str(said["id"]),
        name=str(said.get("name") or said["id"])[:200],
        kind=kind.partition(":")[0][:40],
        status=str(said.get("current_status") or "unknown")[:40],
        submit_link=submit[0] if submit else "",
        node_links=tuple(_links(said, "iri:has-node")),
        attributes=attributes if isinstance(attributes, dict) else {},
    )


def _place(locations: list[dict[str, Any]]) -> str:
    """Return our folder in the best of the places that a person may write to."""
    for wanted in ("scratch", "project", "campaign", "home", "shared", "temporary"):
        for each in locations:
            access, path = each.get("access"), str(each.get("path") or "")
            may = isinstance(access, dict) and access.get("write") is True
            if each.get("logical_name") == wanted and may and PurePosixPath(path).is_absolute():
                return f"{path.rstrip('/')}/{_OURS}"
    raise InvalidInput(
        "The facility knows no place for your files that jobs may write to: set compute.iri.folder."
    )


def _links(said: dict[str, Any], relation: str) -> list[str]:
    links = said.get("_links")
    found = links.get(relation) if isinstance(links, dict) else None
    each = found if isinstance(found, list) else [found]
    return [one["href"] for one in each if isinstance(one, dict) and isinstance(one.get("href"), str)]


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _name(job: dict[str, Any]) -> str:
    spec = job.get("job_spec")
    return str(spec.get("name")) if isinstance(spec, dict) else ""
