"""Jobs at a facility, by the IRI Facility API and a folder on its storage.

Once, whatever is lost: the request is written down before it is sent and sent again unchanged, under the same
Idempotency-Key (version 2); before that the facility's jobs are searched for its name; and at the facility the job
first makes the folder ``claimed`` in its own, which succeeds once. So where a facility forgets keys, or never knew them
(version 1), a second copy ends before it does anything.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from genesis_workbench.compute.iri import outcome
from genesis_workbench.compute.iri.client import AnswerLost, NotOffered
from genesis_workbench.compute.iri.facility import Facility, Resource
from genesis_workbench.compute.iri.files import MAX_FILE_BYTES, TaskFailed
from genesis_workbench.compute.iri.request import CLAIMED, SECOND, body, headers, job_name
from genesis_workbench.compute.job import Job, JobSpec, JobState, Queue, QueueFull
from genesis_workbench.compute.schedulers._folder import (
    CANCELED,
    ENDED,
    STARTED,
    JobFolders,
    alone,
    is_there,
    missed_for,
    read,
    write,
)
from genesis_workbench.compute.schedulers._full import Full
from genesis_workbench.compute.slurm import unsatisfiable
from genesis_workbench.core import clock
from genesis_workbench.core.errors import (
    Conflict,
    GenesisError,
    InvalidInput,
    NotFound,
    PermissionRefused,
    SignInRequired,
    Unavailable,
)
from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.core.site import ComputeSection

NATIVE, ASKED, FETCHED = "native.json", "asked.json", "fetched.json"
_OUTPUTS = ("stdout", "stderr", "result.json")
_TAIL_BYTES = 2**20
_FORGOTTEN_S = 60.0  # a facility that says for so long that there is no such job has none
_LISTED_S = 600  # how far a facility's list of jobs may be behind


class IriScheduler:
    """Runs each job at the facility that the site names.

    Parameters
    ----------
    folder : Path
        Where the jobs' folders are kept here; each has another at the facility.
    site : ComputeSection
        Queue, account and the ``[compute.iri]`` table.
    """

    name: ClassVar[str] = "iri"

    def __init__(self, folder: Path, site: ComputeSection) -> None:
        self.folder = folder
        self._site = site
        self._jobs = JobFolders(folder)
        self._facility = Facility(site.iri)
        self._full = Full(30.0)
        self._seen: dict[str, tuple[float, dict[str, Any]]] = {}

    def submit(self, spec: JobSpec) -> Job:
        """Submit `spec` unless its key is known. See :class:`Scheduler`."""
        target = self._jobs.path(spec.key)
        if not (target / NATIVE).exists():
            self._check(spec)
        self._jobs.publish(spec)
        with alone(target):
            if not (target / NATIVE).exists():
                self._submit(spec, target)
        job = self.status(spec.key)
        assert job is not None  # noqa: S101 - its folder was written before
        return job

    def submit_all(self, specs: Sequence[JobSpec]) -> list[Job]:
        """Submit one after the other: the API takes single jobs. See :class:`Scheduler`."""
        self._full.check()
        for spec in specs:
            self._check(spec)
        jobs: list[Job] = []
        for spec in specs:
            try:
                jobs.append(self.submit(spec))
            except QueueFull as error:
                self._full.said(error)
                if not jobs:
                    raise
                break
        for spec in specs[len(jobs) :]:
            self._jobs.publish(spec)
        return [*jobs, *(job for spec in specs[len(jobs) :] if (job := self.status(spec.key)) is not None)]

    def status(self, key: str) -> Job | None:
        """Return the job with this key. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists():
            return None
        spec, native = self._jobs.spec(key), read(folder / NATIVE)
        extra = {
            "native_id": native["id"] if native else "",
            "queue": native["resource"] if native else self._site.iri.resource,
        }
        if ended := self._jobs.ended(key, spec):
            return ended.model_copy(update=extra)
        facts = self._jobs.facts(key, spec) | extra
        if native is None or not native["id"]:
            return Job(**_unsent(folder, native is not None), **facts)
        try:
            said = self._look(native)
        except NotFound:
            return self._gone(folder, spec, facts)
        is_there(folder)
        if said.get("exit_code") == SECOND and (read(folder / ASKED) or {}).get("again"):
            return self._second(folder, spec, native, said, facts)
        return self._job(folder, spec, said, facts)

    def cancel(self, key: str) -> None:
        """End the job. See :class:`Scheduler`."""
        folder = self._jobs.path(key)
        if not folder.exists() or (folder / ENDED).exists():
            return
        with alone(folder):
            native, asked = read(folder / NATIVE), read(folder / ASKED)
            if native is None and asked is not None:
                native = self._lost(asked)
                if native is None:  # what may still arrive must find its place taken
                    self._facility.files.claim(f"{asked['folder']}/{CLAIMED}")
            # Where it is not there, it must not be started by a submission that is repeated later either.
            native = native or {"id": "", "resource": "", "resource_id": "", "link": ""}
            write(folder / CANCELED, {})
            write(folder / NATIVE, native)
            if native["id"]:
                with contextlib.suppress(Conflict):  # it has ended
                    self._facility.cancel(native["resource_id"], native["id"])
                self._seen.pop(native["link"], None)

    def result(self, key: str) -> Any:
        """Return what a completed job wrote. See :class:`Scheduler`."""
        self._bring(key)
        return self._jobs.result(key)

    def output(self, key: str, name: str) -> Path:
        """Return a file that the job wrote. See :class:`Scheduler`."""
        self._bring(key)
        return self._jobs.output(key, name)

    def render(self, spec: JobSpec) -> str:
        """Return the request as JSON, without the token. See :class:`Scheduler`."""
        iri = self._site.iri
        folder = f"{iri.folder.rstrip('/') or '(your folder at the facility)'}/{spec.key}"
        shown = {
            "facility": str(self._facility.client.root),
            "resource": iri.resource or "(the only one)",
            "files": {name: f"{folder}/{name}" for name in ("arguments.json", *spec.stage_in)},
            "headers": headers(spec.key, self._site)
            | {"Authorization": f"Bearer (the token in {iri.token_file})"},
            "body": body(spec, self._site, folder, self._queue(spec)),
        }
        return json.dumps(shown, indent=2)

    def queues(self) -> list[Queue]:
        """Return the facility's compute resources, as far as it describes them. See :class:`Scheduler`."""
        there = self._facility.resources("compute")
        mine = self._site.iri.resource
        return [
            self._facility.limits(each).model_copy(
                update={"default": each.called(mine) if mine else len(there) == 1}
            )
            for each in there
        ]

    # What is asked for

    def _queue(self, spec: JobSpec) -> str:
        return spec.queue or self._site.iri.queue or self._site.queue

    def _resource(self, spec: JobSpec) -> tuple[Resource, str]:
        """Return resource and queue; a queue that is a resource's name is that resource."""
        queue = self._queue(spec)
        for each in self._facility.resources("compute"):
            if queue and each.called(queue):
                return each, ""
        return self._facility.resource("compute", self._site.iri.resource), queue

    def _check(self, spec: JobSpec) -> None:
        """Refuse what cannot run, before anything is sent."""
        self._facility.work_folder()
        sizes = {
            name: Path(source).stat().st_size
            for name, source in spec.stage_in.items()
            if Path(source).is_file()
        }
        sizes["arguments.json"] = len(canonical_json(spec.arguments))
        for name, size in sizes.items():
            if size > MAX_FILE_BYTES:
                raise InvalidInput(
                    f"The file {name!r} has {size} bytes; the facility's API takes at most {MAX_FILE_BYTES}. Bring it "
                    "there by other means and give the job its path."
                )
        resource, _ = self._resource(spec)
        if resource.status == "down":
            raise Unavailable(
                f"The resource {resource.name!r} of the facility is down; nothing was submitted. Try again later."
                + self._instead(spec, resource)
            )
        faults = unsatisfiable(self._facility.bounds(resource), spec.resources, spec.walltime_s)
        if faults:
            raise InvalidInput(
                f"The job {spec.name!r} can never run on {resource.name!r}: {' '.join(faults)}"
                + self._instead(spec, resource)
            )

    def _instead(self, spec: JobSpec, resource: Resource) -> str:
        others = [
            each.name
            for each in self._facility.resources("compute")
            if each.id != resource.id
            and each.status != "down"
            and not unsatisfiable(self._facility.bounds(each), spec.resources, spec.walltime_s)
        ]
        return f" Or use the queue {' or '.join(map(repr, others))}, which can." if others else ""

    # On the way there

    def _submit(self, spec: JobSpec, target: Path) -> None:
        asked = read(target / ASKED)
        if asked is not None:
            write(target / ASKED, asked | {"again": True})
            write(target / NATIVE, self._lost(asked) or self._send(target, asked))
            return
        resource, queue = self._resource(spec)
        folder = f"{self._facility.work_folder()}/{spec.key}"
        self._stage_in(spec, target, folder)
        asked = {
            "time": clock.now(),
            "resource_id": resource.id,
            "folder": folder,
            "key": headers(spec.key, self._site).get("Idempotency-Key", ""),
            "body": body(spec, self._site, folder, queue),
        }
        write(target / ASKED, asked)
        try:
            native = self._send(target, asked)
        except (InvalidInput, PermissionRefused, QueueFull, SignInRequired):
            if not (read(target / ASKED) or {}).get("again"):
                (target / ASKED).unlink()  # refused for certain: the next request may be another
            raise
        write(target / NATIVE, native)

    def _stage_in(self, spec: JobSpec, target: Path, folder: str) -> None:
        self._facility.files.make_folder(folder)
        made = {folder}
        for name in ("arguments.json", *spec.stage_in):
            path = f"{folder}/{name}"
            parent = str(PurePosixPath(path).parent)
            if parent not in made:
                self._facility.files.make_folder(parent)
                made.add(parent)
            self._facility.files.upload(path, (target / name).read_bytes())

    def _send(self, target: Path, asked: dict[str, Any]) -> dict[str, Any]:
        """Send the request as it was written down; where its answer is lost, look for the job before it is repeated."""
        resource = self._facility.resource("compute", asked["resource_id"])
        key = asked["key"]
        for last in (False, False, True):
            try:
                number, link = self._facility.submit(resource, asked["body"], key)
            except AnswerLost as error:
                if error.sent:
                    write(target / ASKED, asked | {"again": True})  # from here on there may be two copies
                if last:
                    raise
                if native := self._lost(asked):
                    return native
            except NotOffered:
                if last or not key:
                    raise
                key = ""  # this facility has the header in its specification, and no memory for it
            else:
                return _native(resource, number, link)
        raise AssertionError("unreachable")

    def _lost(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """Return the job that an earlier request made, where the facility has it."""
        resource = self._facility.resource("compute", asked["resource_id"])
        found = self._facility.named(resource, asked["body"]["name"])
        return _native(resource, *found[0]) if found else None

    # On the way back

    def _look(self, native: dict[str, Any]) -> dict[str, Any]:
        kept = self._seen.get(native["link"])
        if kept is None or time.monotonic() - kept[0] > self._site.iri.poll_s:
            kept = time.monotonic(), self._facility.job(native["link"])
            self._seen[native["link"]] = kept
        status: dict[str, Any] = kept[1]["status"]
        return status

    def _second(
        self, folder: Path, spec: JobSpec, native: dict[str, Any], said: dict[str, Any], facts: dict[str, Any]
    ) -> Job | None:
        """Turn from the copy that found its place taken to the one that took it."""
        resource = self._facility.resource("compute", native["resource_id"])
        for number, link in self._facility.named(resource, job_name(spec.key)):
            if number != native["id"] and self._facility.job(link)["status"].get("exit_code") != SECOND:
                write(folder / NATIVE, _native(resource, number, link))
                return self.status(spec.key)
        if clock.seconds_since(outcome.moment(said)) > _LISTED_S:
            return self._job(folder, spec, said, facts)
        words = "Another copy of it took its place; the facility does not list that one yet."
        return Job(state=JobState.ACTIVE, reason=words, **facts)

    def _gone(self, folder: Path, spec: JobSpec, facts: dict[str, Any]) -> Job:
        """Say what became of a job that the facility has forgotten, or does not find for a moment."""
        if (folder / CANCELED).exists():
            return Job(state=JobState.CANCELED, reason="It was canceled.", **facts)
        if not missed_for(folder, _FORGOTTEN_S):
            state = JobState.ACTIVE if facts["started"] else JobState.QUEUED
            return Job(state=state, reason="The facility does not find it at the moment.", **facts)
        words = "The facility no longer knows it; whether the work was done is not known."
        with contextlib.suppress(GenesisError):
            if not (folder / FETCHED).exists():
                self._fetch(folder, spec)
            if (folder / "result.json").exists():
                words += f" The result that it left was brought back, {folder / 'result.json'}: look at it."
        return Job(state=JobState.FAILED, reason=words, **facts)

    def _job(self, folder: Path, spec: JobSpec, said: dict[str, Any], facts: dict[str, Any]) -> Job:
        state, when = outcome.state_of(said, canceled=(folder / CANCELED).exists()), outcome.moment(said)
        if state is JobState.ACTIVE and facts["started"] is None:
            write(folder / STARTED, {"time": when})
            facts["started"] = when
        if not state.final:
            return Job(state=state, reason=outcome.waiting(said), **facts)
        try:
            trouble = self._fetch(folder, spec)
        except GenesisError as error:
            trouble = f"Its files could not be brought back: {error.message}"
        reason, code = outcome.why(said, state, spec, folder / "stderr", trouble), outcome.exit_code(said)
        write(folder / ENDED, {"time": when, "state": str(state), "reason": reason, "exit_code": code})
        return Job(state=state, reason=reason, exit_code=code, ended=when, **facts)

    def _bring(self, key: str) -> None:
        """Fetch the files of a job that has ended, where that failed before."""
        folder = self._jobs.path(key)
        if (folder / ENDED).exists() and not (folder / FETCHED).exists():
            self._fetch(folder, self._jobs.spec(key))

    def _fetch(self, folder: Path, spec: JobSpec) -> str:
        """Bring the files back; return what is to be said of those that were too large."""
        remote, left = (read(folder / ASKED) or {})["folder"], []
        for name in (*_OUTPUTS, *spec.stage_out):
            size = self._facility.files.size(f"{remote}/{name}")
            if size is None:
                continue
            content, words = self._content(f"{remote}/{name}", name, size)
            if content is not None:
                _keep(folder / name, content)
            left += [words] if words else []
        write(folder / FETCHED, {"time": clock.now()})
        return " ".join(left)

    def _content(self, path: str, name: str, size: int) -> tuple[bytes | None, str]:
        """Return a file and what is to be said of it, where it is too large for the API."""
        if size <= MAX_FILE_BYTES:
            return self._facility.files.download(path), ""
        if name in ("stdout", "stderr"):
            with contextlib.suppress(TaskFailed):  # it is not text
                end = self._facility.files.tail(path, _TAIL_BYTES).encode()
                return (
                    end,
                    f"Of {name!r} ({size} bytes) only the end was brought back; all of it is in {path}.",
                )
        return None, f"{name!r} has {size} bytes, more than the facility's API sends; it stays in {path}."


def _unsent(folder: Path, canceled: bool) -> dict[str, Any]:
    """Return state and reason of a job that the facility is not known to have."""
    if canceled:
        return {"state": JobState.CANCELED, "reason": "It was canceled before it was submitted."}
    if (folder / ASKED).exists():
        words = "The answer to its submission was lost. Submit it again: it runs once."
        return {"state": JobState.NEW, "reason": words}
    return {"state": JobState.NEW, "reason": "It has not been submitted yet."}


def _native(resource: Resource, number: str, link: str) -> dict[str, Any]:
    return {"id": number, "resource": resource.name, "resource_id": resource.id, "link": link}


def _keep(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
