"""Put requests that arrive together into one run, without making any of them wait for company.

While a batch runs, what arrives for the same key waits; what waits when it ends is the next batch. A lone request so runs at
once, and the more there are, the larger the batches. A batch that fails is run again one by one, so that nobody pays for
somebody else's numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool

from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, Unavailable

_THREADS = 4
"""Runs that hold a thread at once: the rest of the service needs some too, whatever waits here."""


@dataclass(eq=False)
class _Asked:
    rows: int
    question: Any
    answer: asyncio.Future[Any]


class Batcher:
    """Collects questions by key.

    Parameters
    ----------
    run : callable
        Answers a list of questions of one key, in a thread; called for one key at a time only once.
    most_rows : int
        Rows of one batch; a question with more runs alone.
    most_waiting : int
        Questions that wait at once, of all keys.
    patience_s : float
        How long one waits for its answer.
    """

    def __init__(
        self,
        run: Callable[[Hashable, list[Any]], Sequence[Any]],
        *,
        most_rows: int,
        most_waiting: int,
        patience_s: float = 120,
    ) -> None:
        self._run, self._most_rows, self._most_waiting = run, most_rows, most_waiting
        self._patience_s = patience_s
        self._threads = asyncio.Semaphore(_THREADS)
        self._waiting: dict[Hashable, deque[_Asked]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = 0

    async def ask(self, key: Hashable, rows: int, question: Any) -> Any:
        """Return the answer to a question.

        Raises
        ------
        Unavailable
            If too many wait.
        DeadlineExceeded
            If it is not answered in time.
        """
        if self._open >= self._most_waiting:
            raise Unavailable(f"{self._open} predictions wait already. Try again in a moment.")
        asked = _Asked(rows, question, asyncio.get_running_loop().create_future())
        if key in self._waiting:
            self._waiting[key].append(asked)
        else:
            self._waiting[key] = deque([asked])
            task = asyncio.create_task(self._drain(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._open += 1
        try:
            return await asyncio.wait_for(asked.answer, self._patience_s)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"Nothing was answered within {self._patience_s:g} s. Try again."
            ) from error
        finally:
            self._open -= 1

    async def _drain(self, key: Hashable) -> None:
        queue = self._waiting[key]
        while queue:
            batch = self._next(queue)
            await self._answer(key, batch)
        del self._waiting[key]

    def _next(self, queue: deque[_Asked]) -> list[_Asked]:
        """Take what fits; whoever no longer waits is left out."""
        batch: list[_Asked] = []
        rows = 0
        while queue and (not batch or rows + queue[0].rows <= self._most_rows):
            asked = queue.popleft()
            if not asked.answer.done():
                batch.append(asked)
                rows += asked.rows
        return batch

    async def _answer(self, key: Hashable, batch: list[_Asked]) -> None:
        if not batch:
            return
        try:
            async with self._threads:
                answers = await run_in_threadpool(self._run, key, [asked.question for asked in batch])
        except GenesisError as error:
            if len(batch) == 1 or isinstance(
                error, DeadlineExceeded
            ):  # once more would take as long again, for each
                for asked in batch:
                    _settle(asked, error=error)
                return
            for asked in batch:
                await self._answer(key, [asked])
        except Exception as error:  # noqa: BLE001 - goes to whoever asked, and not to the task that nobody awaits
            for asked in batch:
                _settle(asked, error=error)
        else:
            for asked, answer in zip(batch, answers, strict=True):
                _settle(asked, answer)


def _settle(asked: _Asked, answer: Any = None, *, error: Exception | None = None) -> None:
    if asked.answer.done():
        return
    if error is not None:
        asked.answer.set_exception(error)
    else:
        asked.answer.set_result(answer)
