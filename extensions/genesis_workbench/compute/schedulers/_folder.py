"""A job as a folder: what every scheduler writes down of it, each file in one step.

The folder's appearing, by one atomic rename, is the intent to run the job. Whoever is killed later leaves a folder
from which the next one goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genesis_workbench.compute.job import Job, JobSpec
from genesis_workbench.core import clock
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.identifiers import canonical_json, check_slug

SUBMITTED, STARTED, ENDED, CANCELED = "submitted.json", "started.json", "ended.json", "canceled.json"
MISSED = "missed.json"
_RESULT_LIMIT = 16 * 2**20


class JobFolders:
    """The folders of all jobs of one scheduler.

    Parameters
    ----------
    folder : Path
        Where they are kept; made with mode 0700 where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Folder of the job with this key, whether it exists or not."""
        return self.folder / check_slug(key, "job")

    def keys(self) -> list[str]:
        """Keys of all jobs, the newest last."""
        found = [each for each in self.folder.glob("*") if not each.name.startswith(".")]
        return [each.name for each in sorted(found, key=lambda each: each.stat().st_mtime_ns)]

    def publish(self, spec: JobSpec) -> Path:
        """Write the intent to run `spec`, unless it is there.

        Raises
        ------
        Conflict
            If the key belongs to a job with another specification.
        InvalidInput
            If a file of `stage_in` cannot be read.
        """
        target = self.path(spec.key)
        if not target.exists():
            self._publish(spec, target)
        kept = self.spec(spec.key)
        # As JSON has it: there a tuple is a list, and a number that is a key is text.
        if kept != JobSpec.model_validate_json(spec.model_dump_json()):
            raise Conflict(
                f"The key {spec.key} belongs to another job ({kept.name!r}). Use a key of its own for each job."
            )
        return target

    def spec(self, key: str) -> JobSpec:
        """Return the specification that was published."""
        return JobSpec.model_validate_json((self.path(key) / "spec.json").read_bytes())

    def facts(self, key: str, spec: JobSpec) -> dict[str, Any]:
        """Return what is known of a job from its folder alone, as arguments of :class:`Job`."""
        folder = self.path(key)
        submitted, started = read(folder / SUBMITTED), read(folder / STARTED)
        return {
            "key": key,
            "name": spec.name,
            "submitted": submitted["time"] if submitted else "",
            "started": started and started["time"],
            "restarts": started.get("restarts", 0) if started else 0,
            "folder": str(folder),
        }

    def ended(self, key: str, spec: JobSpec) -> Job | None:
        """Return the job as it ended, or None where no outcome was written."""
        outcome = read(self.path(key) / ENDED)
        if outcome is None:
            return None
        return Job(
            state=outcome["state"],
            reason=outcome["reason"],
            exit_code=outcome["exit_code"],
            ended=outcome["time"],
            **self.facts(key, spec),
        )

    def result(self, key: str) -> Any:
        """Return the JSON that the job wrote.

        Raises
        ------
        NotFound
            If it wrote none.
        InvalidInput
            If it is not JSON, or larger than 16 MiB.
        """
        file = self.path(key) / "result.json"
        if not file.is_file():
            raise NotFound(f"The job {key} wrote no result.json.")
        if file.stat().st_size > _RESULT_LIMIT:
            raise InvalidInput(
                f"The result of the job {key} has {file.stat().st_size} bytes, more than {_RESULT_LIMIT}. Write large "
                "results to a file of their own and name it in result.json."
            )
        try:
            return json.loads(file.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"The result.json of the job {key} is not JSON: {error}.") from error

    def output(self, key: str, name: str) -> Path:
        """Return the path of a file that the job wrote.

        Raises
        ------
        NotFound
            If it is not there, or lies outside the job's folder.
        """
        folder = self.path(key).resolve()
        file = (folder / name).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise NotFound(f"The job {key} has no file {name!r}.")
        return file

    def _publish(self, spec: JobSpec, target: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = Path(tempfile.mkdtemp(dir=self.folder, prefix=".draft-"))
        try:
            (draft / "spec.json").write_text(spec.model_dump_json())
            (draft / "arguments.json").write_bytes(canonical_json(spec.arguments))
            for name, source in spec.stage_in.items():
                _copy(Path(source), draft / name)
            write(draft / SUBMITTED, {"time": clock.now()})
            draft.rename(target)
        except BaseException as error:
            shutil.rmtree(draft)
            if not isinstance(error, OSError) or not target.exists():
                raise


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the right to submit or cancel the job of one folder."""
    with (folder / "submission.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def missed_for(folder: Path, seconds: float) -> bool:
    """Whether a job has been missed for so long, counted from the first such look; :func:`is_there` ends it."""
    first = read(folder / MISSED)
    if first is None:
        write(folder / MISSED, {"time": time.time()})
        return False
    return bool(time.time() - float(first["time"]) > seconds)


def is_there(folder: Path) -> None:
    """Write down that a job is there, whether it was missed or not."""
    (folder / MISSED).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file that is written in one step, or None where it is not there."""
    try:
        value: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value


def write(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object in one step: whoever reads sees all of it or what was there before."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def write_once(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object in one step unless the file is there already."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(value, file)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise InvalidInput(
            f"The file {str(source)!r} of stage_in cannot be read: {error.strerror}. Name a file that exists."
        ) from error
