"""What the API says of a job, in our states and in plain words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from genesis_workbench.compute.job import JobSpec, JobState
from genesis_workbench.compute.last_words import last_words
from genesis_workbench.core import clock
from genesis_workbench.core.errors import Unavailable

_STATES = {
    "new": JobState.NEW,
    "queued": JobState.QUEUED,
    "held": JobState.QUEUED,
    "active": JobState.ACTIVE,
    "completed": JobState.COMPLETED,
    "failed": JobState.FAILED,
    "canceled": JobState.CANCELED,
}
# How schedulers say that a job's time was over: TIMEOUT, "DUE TO TIME LIMIT", "walltime 60 exceeded limit 60".
_TOO_LONG = re.compile(
    r"time[- ]?out\b|time[- ]?limit|wall[- ]?time.*exceeded|exceeded.*wall[- ]?time", re.IGNORECASE
)


def state_of(said: dict[str, Any], *, canceled: bool) -> JobState:
    """Return the state of a job.

    Parameters
    ----------
    said : dict
        JobStatus of the API.
    canceled : bool
        Whether we asked for its end.

    Raises
    ------
    Unavailable
        For a state that the API does not have.
    """
    text = str(said.get("state"))
    state = _STATES.get(text.lower())
    if state is None:
        raise Unavailable(f"The facility says the state {text[:60]!r}, which is not one of the API's.")
    if state is JobState.COMPLETED and exit_code(said):
        state = JobState.FAILED  # it ended, and not well
    if state is JobState.FAILED and canceled:
        state = JobState.CANCELED
    return state


def exit_code(said: dict[str, Any]) -> int | None:
    """Return the exit status of a job that has one."""
    code = said.get("exit_code")
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def waiting(said: dict[str, Any]) -> str:
    """Return why a job that has not ended is where it is."""
    held = "The facility holds it back. " if said.get("state") == "held" else ""
    return (held + _message(said)).strip()


def why(said: dict[str, Any], state: JobState, spec: JobSpec, stderr: Path, trouble: str) -> str:
    """Return why a job ended as it did.

    Parameters
    ----------
    said : dict
        JobStatus of the API.
    state : JobState
        How it ended.
    spec : JobSpec
        What it was asked to be.
    stderr : Path
        Where its last words may be.
    trouble : str
        What is to be said of its files.
    """
    if state is JobState.COMPLETED:
        return trouble
    if state is JobState.CANCELED:
        return "It was canceled."
    words = _message(said)
    quoted = f"The facility says: {words}" if words else ""
    if _over_time(said):
        return f"It ran longer than its {spec.walltime_s:g} s. Ask for a longer walltime. {quoted}".strip()
    code = exit_code(said)
    ended = f"It ended with exit status {code}." if code else "It failed."
    return " ".join(part for part in (ended, trouble, quoted, last_words(stderr)) if part)


def moment(said: dict[str, Any]) -> str:
    """Return when the status was true, as :func:`clock.now` writes it; now where it does not say."""
    try:
        return datetime.fromtimestamp(float(said["time"]), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return clock.now()


def _over_time(said: dict[str, Any]) -> bool:
    native = said.get("meta_data")
    states = native.values() if isinstance(native, dict) else ()
    return bool(_TOO_LONG.search(_message(said))) or "TIMEOUT" in [str(each).upper() for each in states]


def _message(said: dict[str, Any]) -> str:
    return " ".join(str(said.get("message") or "").split())[:500]
