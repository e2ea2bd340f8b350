"""Checkpoints that survive a kill at any moment: safetensors and JSON, whole or not there, never pickled.

A checkpoint is two files. The tensors are written first: to a new file, to the disk, then renamed into place. Then
the manifest, in the same way, with the tensors' hash; only with it the checkpoint exists. The one before is deleted
after that. Whoever comes back takes the newest whose hash agrees.
"""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from genesis_workbench.core.errors import Conflict, VerificationFailed
from genesis_workbench.core.identifiers import canonical_json, digest
from genesis_workbench.core.storage import write_whole
from genesis_workbench.training.packing import pack, unpack

VERSION = 1


@dataclass(frozen=True)
class Saved:
    """A checkpoint as it was read: what was saved, and where."""

    step: int
    state: Any
    progress: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run. One process writes at a time; any may read.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    keep : int
        How many are kept besides the newest, for the case that it is damaged.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder, self.keep = folder, keep
        self.damaged: list[str] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._lock: IO[str] | None = None

    def claim(self) -> None:
        """Become the one process that writes here, until it ends; remove what a killed one left half written.

        Raises
        ------
        Conflict
            If another process does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise Conflict(
                f"Another process trains into {self.folder} at this moment. Wait until it has ended, or stop it."
            ) from error
        self._lock = lock
        for left in self.folder.glob(".new-*"):
            left.unlink(missing_ok=True)

    def save(self, step: int, state: Any, progress: dict[str, Any], *, wait: bool = False) -> None:
        """Keep `state` (nested tensors and numbers) and `progress` (JSON) of a step.

        The state is copied before this returns, and written behind the back of the training, one at a time; with `wait` it is on
        the disk when this returns. What went wrong with the one before is raised here.
        """
        structure, tensors = pack(state)
        self.finish()
        self._writing = self._writer.submit(self._write, step, structure, tensors, dict(progress))
        if wait:
            self.finish()

    def finish(self) -> None:
        """Wait until what was saved is on the disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Finish, and let another process write."""
        try:
            self.finish()
        finally:
            self._writer.shutdown()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def last(self) -> Saved | None:
        """Return the newest checkpoint that is whole; None where there is none. `damaged` names those that are not."""
        for manifest in sorted(self.folder.glob("step-*.json"), reverse=True):
            try:
                return self._read(manifest)
            except VerificationFailed as error:
                self.damaged.append(error.message)
        return None

    def files(self) -> list[Path]:
        """Return the two files of the newest whole checkpoint, to be copied elsewhere; nothing where there is none."""
        found = self.last()
        return [] if found is None else [self._path(found.step, kind) for kind in ("safetensors", "json")]

    def _write(
        self, step: int, structure: Any, tensors: dict[str, torch.Tensor], progress: dict[str, Any]
    ) -> None:
        from safetensors.torch import save

        data = save(tensors)
        write_whole(self._path(step, "safetensors"), data)
        manifest = {
            "version": VERSION,
            "step": step,
            "tensors": digest(data),
            "structure": structure,
            "progress": progress,
        }
        write_whole(self._path(step, "json"), canonical_json(manifest | {"digest": _digest(manifest)}))
        self._prune()

    def _read(self, path: Path) -> Saved:
        from safetensors.torch import load

        try:
            manifest = json.loads(path.read_bytes())
            said = manifest.pop("digest")
            data = path.with_suffix(".safetensors").read_bytes()
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise VerificationFailed(f"The checkpoint {path.stem} cannot be read: {error}.") from error
        if said != _digest(manifest) or digest(data) != manifest["tensors"] or manifest["version"] != VERSION:
            raise VerificationFailed(f"The checkpoint {path.stem} is not what was written: it is damaged.")
        return Saved(manifest["step"], unpack(manifest["structure"], load(data)), manifest["progress"])

    def _prune(self) -> None:
        for manifest in sorted(self.folder.glob("step-*.json"))[: -1 - self.keep]:
            manifest.unlink(missing_ok=True)
        kept = {manifest.stem for manifest in self.folder.glob("step-*.json")}
        for tensors in self.folder.glob("step-*.safetensors"):
            if tensors.stem not in kept:
                tensors.unlink(missing_ok=True)

    def _path(self, step: int, kind: str) -> Path:
        return self.folder / f"step-{step:012}.{kind}"


def _digest(manifest: dict[str, Any]) -> str:
    return digest(canonical_json(manifest))
