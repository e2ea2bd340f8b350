"""Predictions for many who ask: models run in processes of their own, one for each format, which hold what was loaded last.

A process has no environment (so no token), limited memory, and may write no file, start no program and open no connection. One
that takes too long is ended, and the next question starts another. What goes in and out is JSON and plain numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from genesis_workbench.core.errors import (
    BY_CODE,
    DeadlineExceeded,
    GenesisError,
    InvalidInput,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.models.quarantine import KEPT_VARIABLES, MEMORY_BYTES, confine
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.selftest import format_of
from genesis_workbench.models.verification import verify

MOST_MODELS = 8
MOST_MODEL_BYTES = 512 * 2**20
"""What one process keeps loaded; the least recently asked goes first."""
DEADLINE_S = 60.0
START_S = 180.0
"""Until a process has imported what its format needs: seconds, and much longer on a machine that is busy."""

_Frame = tuple[dict[str, Any], dict[str, np.ndarray], bytes]


class Predictor:
    """Runs verified models. Safe for threads: one question a format at a time.

    Parameters
    ----------
    deadline_s : float
        How long one run may take, loading included.
    memory_bytes : int
        Memory of each process beyond what its libraries take.
    """

    def __init__(self, *, deadline_s: float = DEADLINE_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self._deadline_s, self._memory_bytes = deadline_s, memory_bytes
        self._lock = threading.Lock()
        self._cells: dict[str, _Cell] = {}

    def predict(
        self, version: ModelVersion, artifact: Callable[[], bytes], inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the outputs by name, and ``outside_domain`` where that is known.

        Parameters
        ----------
        artifact : callable
            Gives the bytes; called, and verified, where the model is not loaded.
        inputs : mapping of array
            In the units of the signature, the first axis counts samples.

        Raises
        ------
        DeadlineExceeded
            If it takes too long.
        VerificationFailed
            If the artifact is not what the record says, or brings its process down.
        InvalidInput
            If it cannot take the inputs.
        """
        with self._lock:
            cell = self._cells.setdefault(version.format, _Cell(version.format, self._memory_bytes))
        with cell.lock:
            return cell.ask(version, artifact, inputs, self._deadline_s)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            for cell in self._cells.values():
                cell.end()


class _Cell:
    """One process, started when it is first asked."""

    def __init__(self, format_name: str, memory_bytes: int) -> None:
        self.lock = threading.Lock()
        self._format, self._memory_bytes = format_name, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self,
        version: ModelVersion,
        artifact: Callable[[], bytes],
        inputs: Mapping[str, np.ndarray],
        deadline_s: float,
    ) -> dict[str, np.ndarray]:
        header: dict[str, Any] = {"key": version.digest, "reference": version.reference}
        told, outputs = self._exchange(header, inputs, b"", deadline_s)
        if told["code"] == "unknown":  # it was never loaded there, or so long ago that it was let go
            data = artifact()
            verify(version, data)
            header["version"] = version.model_dump(mode="json")
            told, outputs = self._exchange(header, inputs, data, deadline_s)
        if told["code"]:
            raise BY_CODE.get(told["code"], InvalidInput)(told["message"])
        return outputs

    def end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None and process.stdout is not None:
            process.kill()
            process.wait(10)
            process.stdin.close()
            process.stdout.close()

    def _exchange(
        self, header: dict[str, Any], inputs: Mapping[str, np.ndarray], data: bytes, deadline_s: float
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        process = self._running()
        found, late = _within(deadline_s, process, lambda: _ask(process, header, inputs, data))
        if found is not None:
            return found[0], found[1]
        self.end()
        name = header["reference"]
        if late:
            raise DeadlineExceeded(
                f"{name} did not answer within {deadline_s:g} s. Ask for fewer rows at once."
            )
        raise VerificationFailed(
            f"{name} brought down the process that ran it. Ask for fewer rows, and tell its owner."
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.end()
        command = [sys.executable, "-I", "-B", "-W", "ignore", "-m", "genesis_workbench.models.serving"]
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [*command, self._format, str(self._memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**kept, "OMP_NUM_THREADS": "1"},
                close_fds=True,
            )
        except OSError as error:
            raise Unavailable(
                f"No process for predictions could be started ({error.strerror}). Try again."
            ) from error
        process = self._process
        ready, _ = _within(START_S, process, lambda: read_frame(_end(process.stdout)))
        if ready is None:
            self.end()
            raise Unavailable(
                f"The process that runs models in {self._format} did not start. Try again in a minute."
            )
        return process


def _within(
    seconds: float, process: subprocess.Popen[bytes], wait: Callable[[], _Frame | None]
) -> tuple[_Frame | None, bool]:
    """Return what `wait` gives, and whether the process was killed because it took too long."""
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        return wait(), late.is_set()
    except BrokenPipeError:
        return None, late.is_set()
    finally:
        timer.cancel()


def _ask(
    process: subprocess.Popen[bytes], header: dict[str, Any], inputs: Mapping[str, np.ndarray], data: bytes
) -> _Frame | None:
    write_frame(_end(process.stdin), header, inputs, data)
    return read_frame(_end(process.stdout))


def _end(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise BrokenPipeError
    return stream


def write_frame(
    stream: IO[bytes], header: dict[str, Any], arrays: Mapping[str, np.ndarray], data: bytes = b""
) -> None:
    """Write a header as JSON, arrays of numbers and further bytes, each with its length."""
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    told = {name: [array.dtype.str, array.shape] for name, array in plain.items()}
    text = json.dumps({**header, "arrays": told, "size": len(data)}).encode()
    stream.write(len(text).to_bytes(8, "little") + text)
    for array in plain.values():
        stream.write(array.tobytes())
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> _Frame | None:
    """Read what :func:`write_frame` wrote; None where the other side ended."""
    size = stream.read(8)
    text = stream.read(int.from_bytes(size, "little")) if len(size) == 8 else b""
    if len(size) < 8 or len(text) < int.from_bytes(size, "little"):
        return None
    header, arrays = json.loads(text), {}
    for name, (kind, shape) in header["arrays"].items():
        dtype = np.dtype(kind)
        wanted = dtype.itemsize * int(np.prod(shape, dtype="int64"))
        body = stream.read(wanted)
        if dtype.kind not in "biuf" or len(body) < wanted:
            return None
        arrays[name] = np.frombuffer(body, dtype).reshape(shape)
    data = stream.read(header["size"])
    return (header, arrays, data) if len(data) == header["size"] else None


class _Kept:
    """What is loaded in this process, by the digest of its record."""

    def __init__(self) -> None:
        self._models: OrderedDict[str, tuple[ModelVersion, Any]] = OrderedDict()

    def load(self, key: str, version: ModelVersion, data: bytes) -> None:
        """Load a model, and let go of those that were asked longest ago where it becomes too much."""
        self._models[key] = (version, format_of(version.format).load(data, version.signature))
        while len(self._models) > 1 and (len(self._models) > MOST_MODELS or self._bytes() > MOST_MODEL_BYTES):
            self._models.popitem(last=False)

    def get(self, key: str) -> tuple[ModelVersion, Any] | None:
        if key in self._models:
            self._models.move_to_end(key)
        return self._models.get(key)

    def _bytes(self) -> int:
        return sum(version.size_bytes for version, _ in self._models.values())


def _answer(
    kept: _Kept, header: dict[str, Any], inputs: dict[str, np.ndarray], data: bytes
) -> tuple[str, dict[str, np.ndarray]]:
    from genesis_workbench.models import prediction

    if "version" in header:
        kept.load(header["key"], ModelVersion.model_validate(header["version"]), data)
    found = kept.get(header["key"])
    if found is None:
        return "unknown", {}
    version, session = found
    try:
        prediction.check_single(version)
    except InvalidInput:
        outputs = session.run(
            {spec.name: inputs[spec.name].astype(spec.dtype) for spec in version.signature.inputs}
        )
        if version.domain is not None:
            outputs["outside_domain"] = version.domain.outside(inputs)
        return "", outputs
    columns = [inputs[spec.name] for spec in version.signature.inputs]
    answers = prediction.evaluate(version, lambda: session, columns)
    named = {spec.name: answer for spec, answer in zip(version.signature.outputs, answers, strict=True)}
    return "", {**named, "outside_domain": prediction.Outside(version)(*columns)}


def _main(format_name: str, memory_bytes: int) -> None:
    """Answer questions on standard input until it is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    from genesis_workbench.core.units import registry
    from genesis_workbench.models import prediction  # noqa: F401 - before nothing can be loaded any more

    format_of(format_name).warm()
    registry()
    confine(memory_bytes)
    write_frame(answers, {"code": "", "message": "ready"}, {})
    kept = _Kept()
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        header, inputs, data = frame
        message = ""
        outputs: dict[str, np.ndarray] = {}
        try:
            code, outputs = _answer(kept, header, inputs, data)
        except GenesisError as error:
            code, message = error.code, str(error)
        except MemoryError:
            code, message = (
                InvalidInput.code,
                "The model needs more memory than it is given. Ask for fewer rows.",
            )
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever asked is told, and the next is answered
            code, message = (
                InvalidInput.code,
                f"The model cannot take these inputs: {type(error).__name__}: {str(error)[:300]}.",
            )
        write_frame(answers, {"code": code, "message": message}, outputs)
    os._exit(0)  # nothing that was loaded gets to say goodbye


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
