"""Asks a proposer without trusting it: one that raises is told, one that hangs is left behind or killed.

In a notebook a proposer runs in a thread that is left behind where it takes too long. The service asks it in a process
of its own, which is killed: a proposer there can neither hold up the runner nor take it down.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRunning
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, TextIO

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import BY_CODE, DeadlineExceeded, GenesisError
from genesis_workbench.experiments.proposers._base import Advised, CannotPropose, NoAdvice
from genesis_workbench.experiments.spec import PERSON, ExperimentSpec
from genesis_workbench.experiments.trial import Trial, from_plain, plain

if TYPE_CHECKING:
    from genesis_workbench.experiments.planning import Plan
    from genesis_workbench.experiments.state import ExperimentState

AT_ONCE = frozenset({"sobol", "random"})
"""Proposers of ours that answer in well under a millisecond and are asked directly: the control and the fall-back."""


class ProposerFailed(RuntimeError):
    """A proposer raised something in a process of its own."""


def _ask(spec: ExperimentSpec, trials: Sequence[Trial], proposer: str, count: int) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = plugins.load("proposers", proposer)().propose(spec, trials, count)
    return points


def _too_long(proposer: str, limit_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"{proposer} was stopped: it had proposed nothing after {limit_s:g} s")


def in_thread(
    spec: ExperimentSpec, trials: Sequence[Trial], proposer: str, count: int
) -> list[dict[str, Any]]:
    """Ask in a thread and return its points.

    Raises
    ------
    DeadlineExceeded
        If it takes longer than the experiment allows; the thread is left behind.
    """
    if proposer in AT_ONCE:
        return _ask(spec, trials, proposer, count)
    answer: Queue[list[dict[str, Any]] | BaseException] = Queue()

    def ask() -> None:
        try:
            answer.put(_ask(spec, list(trials), proposer, count))
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked
            answer.put(error)

    threading.Thread(target=ask, name=f"proposer {proposer}", daemon=True).start()
    try:
        found = answer.get(timeout=spec.proposer_limit_s)
    except Empty:
        raise _too_long(proposer, spec.proposer_limit_s) from None
    if isinstance(found, BaseException):
        raise found
    return found


class _Process:
    """A process that proposes, one question a line, until it is killed.

    Each question has a number, which comes back with its answer: a line that anything else has written is no answer.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # One thread each: several experiments share the machine, and models of tens of points gain nothing by more.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._lines: Queue[str] = Queue()
        self._asked = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")  # it has ended

    def ask(self, question: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Return its answer. Raises `Empty` where it takes too long, ProposerFailed where it died or says something else.

        After either it must not be asked again.
        """
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._asked += 1
        try:
            self._process.stdin.write(json.dumps({**question, "id": self._asked}) + "\n")
            self._process.stdin.flush()
            line = self._lines.get(timeout=limit_s)
        except BrokenPipeError:
            line = ""
        if not line:
            raise ProposerFailed("its process died")
        try:
            answer: dict[str, Any] = json.loads(line)
            if answer["id"] == self._asked:
                return answer
        except (ValueError, LookupError, TypeError):
            pass  # told below, like an answer to another question
        raise ProposerFailed(f"its process wrote something else than an answer: {line!r:.100}")

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Apart:
    """Plans trials with proposers in processes of their own, and never holds up whoever asks.

    Parameters
    ----------
    processes : int
        How many questions are answered at once.
    """

    PATIENCE_S = (
        0.05  # a light proposer answers within this, and its experiment need not wait for the next turn
    )

    def __init__(self, processes: int = 2) -> None:
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="proposing")
        self._idle: Queue[_Process] = Queue()
        self._all: set[_Process] = set()
        self._asked: dict[str, tuple[int, int, Future[Plan]]] = {}

    def __call__(self, state: ExperimentState, count: int) -> Plan | None:
        """Return the next trials, or None while a proposer still thinks: ask again at the next turn."""
        from genesis_workbench.experiments.planning import plan

        if state.spec.proposer in AT_ONCE or state.spec.proposer == PERSON:
            return plan(state, count)
        known = self._asked.get(state.id)
        # An answer is for so many trials that there were, and so many that were wanted.
        if known is None or known[:2] != (len(state.trials), count):
            frozen = _still(state)
            known = (len(state.trials), count, self._threads.submit(plan, frozen, count, self.ask))
            self._asked[state.id] = known
        try:
            found = known[2].result(self.PATIENCE_S)
        except StillRunning:
            return None
        finally:
            if known[2].done():
                self._asked.pop(state.id, None)
        return found

    def ask(
        self, spec: ExperimentSpec, trials: Sequence[Trial], proposer: str, count: int
    ) -> list[dict[str, Any]]:
        """Ask in a process and return the points; see :func:`in_thread`."""
        if proposer in AT_ONCE:
            return _ask(spec, trials, proposer, count)
        question = {
            "spec": spec.model_dump(mode="json"),
            "trials": [plain(trial) for trial in trials],
            "proposer": proposer,
            "count": count,
        }
        try:
            process = self._idle.get_nowait()
        except Empty:
            process = _Process()
            self._all.add(process)
        try:
            answer = process.ask(question, spec.proposer_limit_s)
        except BaseException as error:
            self._end(process)
            if isinstance(error, Empty):
                raise _too_long(proposer, spec.proposer_limit_s) from None
            raise
        self._idle.put(process)
        if "points" in answer:
            points: list[dict[str, Any]] = answer["points"]
            return Advised(points, answer["record"]) if "record" in answer else points
        raise _raised(answer)

    def close(self) -> None:
        """End the processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._all):
            self._end(process)

    def _end(self, process: _Process) -> None:
        self._all.discard(process)
        process.kill()


def _still(state: ExperimentState) -> ExperimentState:
    """Return the state as it is now, whatever is folded into it meanwhile."""
    import copy

    found = copy.copy(state)
    found.trials = [copy.copy(trial) if trial.open else trial for trial in state.trials]
    return found


def _raised(answer: dict[str, Any]) -> Exception:
    if answer["code"] == CannotPropose.code:
        return CannotPropose(answer["message"])
    if answer["code"] == NoAdvice.code:
        return NoAdvice(answer["message"], answer["record"])
    kind: type[GenesisError] | None = BY_CODE.get(answer["code"])
    return kind(answer["message"]) if kind else ProposerFailed(answer["message"])


def _recorded(answer: Any) -> dict[str, Any]:
    return {"record": answer.record} if isinstance(answer, Advised | NoAdvice) else {}


def main() -> None:
    """Answer questions on standard input, one a line, on standard output."""
    questions, answers = _alone()
    for line in questions:
        given = json.loads(line)
        try:
            spec = ExperimentSpec.model_validate(given["spec"])
            trials = [from_plain(each) for each in given["trials"]]
            points = _ask(spec, trials, given["proposer"], given["count"])
            text = json.dumps({"id": given["id"], "points": points, **_recorded(points)}, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; it is told
            told = {"code": getattr(error, "code", ""), "message": str(error) or type(error).__name__}
            text = json.dumps({"id": given["id"], **told, **_recorded(error)})
        answers.write(text + "\n")
        answers.flush()


def _alone() -> tuple[TextIO, TextIO]:
    """Return standard input and output, and leave others at their numbers: libraries in C and processes use those.

    What a proposer prints goes where errors go, and it finds nothing to read.
    """
    questions, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


if __name__ == "__main__":
    main()
