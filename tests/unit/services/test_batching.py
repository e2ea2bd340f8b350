"""Requests that arrive together run together, and none pays for another."""

from __future__ import annotations

import asyncio
import threading

import pytest

from genesis_services.batching import Batcher
from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable


class Doubler:
    """Doubles numbers, and waits at a gate before each run."""

    def __init__(self, *, open_gate=True):
        self.batches = []
        self.gate = threading.Event()
        if open_gate:
            self.gate.set()

    def __call__(self, key, questions):
        self.batches.append((key, list(questions)))
        assert self.gate.wait(20)
        if -1 in questions:
            raise InvalidInput("minus one")
        return [2 * each for each in questions]


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def test_a_lone_question_runs_at_once_and_what_waits_meanwhile_runs_together():
    run = Doubler(open_gate=False)
    batcher = Batcher(run, most_rows=100, most_waiting=50)
    first = asyncio.create_task(batcher.ask("m", 1, 0))
    await until(lambda: run.batches)
    others = [asyncio.create_task(batcher.ask("m", 1, number)) for number in range(1, 11)]
    other_model = asyncio.create_task(batcher.ask("n", 1, 100))
    await asyncio.sleep(0)
    run.gate.set()
    assert await asyncio.gather(first, *others, other_model) == [2 * n for n in range(11)] + [200]
    assert sorted(run.batches) == [("m", [0]), ("m", list(range(1, 11))), ("n", [100])]


async def test_a_batch_has_a_limit_and_a_large_question_runs_alone():
    run = Doubler(open_gate=False)
    batcher = Batcher(run, most_rows=10, most_waiting=50)
    first = asyncio.create_task(batcher.ask("m", 1, 0))
    await until(lambda: run.batches)
    rest = [
        asyncio.create_task(batcher.ask("m", rows, n)) for n, rows in enumerate([4, 6, 1, 30, 2], start=1)
    ]
    await asyncio.sleep(0)
    run.gate.set()
    await asyncio.gather(first, *rest)
    assert [questions for _, questions in run.batches] == [[0], [1, 2], [3], [4], [5]]


async def test_nobody_pays_for_somebody_elses_numbers():
    run = Doubler(open_gate=False)
    batcher = Batcher(run, most_rows=100, most_waiting=50)
    first = asyncio.create_task(batcher.ask("m", 1, 0))
    await until(lambda: run.batches)
    rest = [asyncio.create_task(batcher.ask("m", 1, n)) for n in (1, -1, 3)]
    await asyncio.sleep(0)
    run.gate.set()
    good, bad, other = await asyncio.gather(*rest, return_exceptions=True)
    assert (await first, good, other) == (0, 2, 6)
    assert isinstance(bad, InvalidInput)


async def test_a_queue_has_an_end_and_patience_too():
    run = Doubler(open_gate=False)
    batcher = Batcher(run, most_rows=100, most_waiting=2, patience_s=0.2)
    waiting = [asyncio.create_task(batcher.ask("m", 1, 0))]
    await until(lambda: run.batches)
    waiting.append(asyncio.create_task(batcher.ask("m", 1, 1)))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="2 predictions wait"):
        await batcher.ask("m", 1, 3)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in results} == {DeadlineExceeded}
    run.gate.set()
    # Who gave up is not run, and there is room again.
    await until(lambda: not batcher._waiting)
    assert await batcher.ask("m", 1, 4) == 8
    assert [questions for _, questions in run.batches] == [[0], [4]]


async def test_what_breaks_reaches_whoever_asked():
    def broken(_key, _questions):
        raise ZeroDivisionError

    batcher = Batcher(broken, most_rows=10, most_waiting=10)
    with pytest.raises(ZeroDivisionError):
        await batcher.ask("m", 1, 1)
    with pytest.raises(ZeroDivisionError):  # and the next is answered
        await batcher.ask("m", 1, 1)


async def test_what_took_too_long_is_not_tried_once_more_for_each():
    runs, gate = [], threading.Event()

    def slow(_key, questions):
        runs.append(list(questions))
        assert gate.wait(20)
        raise DeadlineExceeded("too long")

    batcher = Batcher(slow, most_rows=100, most_waiting=50)
    first = asyncio.create_task(batcher.ask("m", 1, 0))
    await until(lambda: runs)
    rest = [asyncio.create_task(batcher.ask("m", 1, n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    gate.set()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert {type(each) for each in results} == {DeadlineExceeded}
    assert runs == [[0], [1, 2, 3]]


async def test_many_models_do_not_take_all_threads_of_the_service():
    at_once, most, gate = [], [], threading.Event()

    def slow(key, questions):
        at_once.append(key)
        most.append(len(at_once))
        assert gate.wait(20)
        at_once.remove(key)
        return questions

    batcher = Batcher(slow, most_rows=100, most_waiting=50)
    asked = [asyncio.create_task(batcher.ask(f"m{n}", 1, n)) for n in range(20)]
    await until(lambda: len(at_once) == 4)
    gate.set()
    assert await asyncio.gather(*asked) == list(range(20))
    assert max(most) <= 4
