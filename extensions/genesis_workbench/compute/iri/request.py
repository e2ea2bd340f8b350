"""A job as the API is asked for it: in the words of PSI/J."""

from __future__ import annotations

import hashlib
import math
import uuid
from typing import Any

from genesis_workbench.compute.job import JobSpec
from genesis_workbench.core.site import ComputeSection

CLAIMED = "claimed"
"""Folder in a job's own at the facility; who makes it, runs."""
SECOND = 113
"""Exit status of a copy that found the claim taken."""

_ONCE = f'mkdir "$GENESIS_JOB_FOLDER/{CLAIMED}" || exit {SECOND}'
_START = 'echo "$(date +%s)-$$" > "$GENESIS_JOB_FOLDER/start"'
_KEYS = uuid.UUID("6d3b2f0e-5d6b-5c0b-9a55-0f5f6f3c1e77")  # namespace of our Idempotency-Keys


def job_name(key: str) -> str:
    """Return the name that the facility shows: it tells the job apart, also after its number was lost."""
    return f"gw-{hashlib.sha256(key.encode()).hexdigest()[:24]}"


def headers(key: str, site: ComputeSection) -> dict[str, str]:
    """Return the fields that make a submission happen once; version 1 knows none."""
    return {"Idempotency-Key": str(uuid.uuid5(_KEYS, key))} if site.iri.version == "v2" else {}


def body(spec: JobSpec, site: ComputeSection, folder: str, queue: str) -> dict[str, Any]:
    """Return the JobSpec of the API.

    Parameters
    ----------
    spec : JobSpec
        What to run.
    site : ComputeSection
        Account, image and the ``[compute.iri]`` table.
    folder : str
        The job's folder at the facility.
    queue : str
        Queue of the resource; its own choice where empty.
    """
    resources = spec.resources
    command, before = _once(spec, [*_warned(spec), *spec.command], list(site.iri.prologue))
    image = spec.image or site.image
    mount = {"source": folder, "target": folder, "read_only": False}
    return _given(
        {
            "name": job_name(spec.key),
            "executable": command[0],
            "arguments": command[1:],
            "directory": folder,
            "environment": {**spec.environment, "GENESIS_JOB_FOLDER": folder},
            "stdout_path": f"{folder}/stdout",
            "stderr_path": f"{folder}/stderr",
            "resources": _given(
                {
                    "node_count": resources.nodes,
                    "process_count": resources.nodes * resources.processes_per_node,
                    "processes_per_node": resources.processes_per_node,
                    "cpu_cores_per_process": resources.cpu_cores,
                    "gpu_cores_per_process": resources.gpus,
                    "exclusive_node_use": resources.exclusive,
                    "memory": resources.memory_bytes,
                }
            ),
            "attributes": _given(
                {
                    "duration": math.ceil(spec.walltime_s),
                    "queue_name": queue,
                    "account": spec.account or site.iri.account or site.account,
                }
            ),
            "container": {"image": image, "volume_mounts": [mount]} if image else None,
            "pre_launch": "\n".join(before),
            "launcher": site.iri.launcher if _many(spec) else "",
        }
    )


def _once(spec: JobSpec, command: list[str], before: list[str]) -> tuple[list[str], list[str]]:
    """Return command and lines before it, of which one claims the job's folder or ends."""
    if spec.requeue:
        # It may be started again; several processes tell by this file which start they belong to.
        return command, [*before, _START] if _many(spec) else before
    if _many(spec):
        return command, [*before, _ONCE]  # one claim for all processes
    return ["/bin/sh", "-c", f'{_ONCE}; exec "$@"', "job", *command], before


def _warned(spec: JobSpec) -> list[str]:
    """Return the words before a command that is to be told before its walltime is over."""
    if not spec.warning_s:
        return []
    first = max(spec.walltime_s - spec.warning_s, 1)
    return ["timeout", "--signal=TERM", f"--kill-after={spec.warning_s:g}", f"{first:g}"]


def _many(spec: JobSpec) -> bool:
    return spec.resources.nodes * spec.resources.processes_per_node > 1


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what says nothing: the API refuses empty texts and zeros."""
    return {name: value for name, value in values.items() if value or value is False}
