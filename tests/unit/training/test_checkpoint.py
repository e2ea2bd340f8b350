"""A checkpoint is whole or not there."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.core.errors import Conflict, InvalidInput  # noqa: E402
from genesis_workbench.training.checkpoint import Checkpoints  # noqa: E402
from genesis_workbench.training.packing import pack, unpack  # noqa: E402

TENSORS = st.builds(
    lambda shape, dtype: torch.arange(int(np.prod(shape)), dtype=dtype).reshape(shape),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8]),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | TENSORS
)
STATES = st.recursive(
    LEAVES,
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.text() | st.integers(), each, max_size=3)
        | st.tuples(each, each)
    ),
    max_leaves=12,
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        # In whatever order: manifests sort their keys.
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=50)
@given(state=STATES)
def test_what_is_packed_comes_back(state):
    structure, tensors = pack(state)
    assert same(unpack(json.loads(json.dumps(structure)), tensors), state)


def test_a_state_in_another_order_gives_the_same_bytes():
    tensors = {name: torch.rand(3) for name in "abc"}
    (one, first), (two, second) = pack(tensors), pack({name: tensors[name] for name in "cab"})
    assert one == two
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_neither_tensor_nor_json_is_refused_and_never_pickled():
    with pytest.raises(InvalidInput, match="cannot hold a Random"):
        pack({"generator": random.Random(1)})


def state(step):
    return {
        "model": {"weight": torch.full((3, 2), float(step))},
        "optimiser": {0: {"step": torch.tensor(step)}},
    }


@pytest.fixture
def checkpoints(tmp_path):
    made = Checkpoints(tmp_path)
    made.claim()
    yield made
    made.close()


def test_the_newest_whole_one_is_taken_and_a_damaged_one_is_named(checkpoints, tmp_path):
    for step in (1, 2, 3):
        checkpoints.save(step, state(step), {"step": step}, wait=True)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [
        f"step-{step:012}.{kind}" for step in (2, 3) for kind in ("json", "safetensors")
    ]
    newest = tmp_path / f"step-{3:012}.safetensors"
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    found = checkpoints.last()
    assert found.step == 2
    assert same(found.state, state(2))
    assert found.progress == {"step": 2}
    assert "step-000000000003" in checkpoints.damaged[0]


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"digest": "x"}'])
def test_a_manifest_that_is_cut_or_changed_is_no_checkpoint(checkpoints, tmp_path, broken):
    checkpoints.save(1, state(1), {}, wait=True)
    checkpoints.save(2, state(2), {}, wait=True)
    (tmp_path / f"step-{2:012}.json").write_text(broken)
    assert checkpoints.last().step == 1


def test_tensors_without_a_manifest_do_not_count(checkpoints, tmp_path):
    checkpoints.save(1, state(1), {}, wait=True)
    (tmp_path / f"step-{1:012}.json").unlink()
    assert checkpoints.last() is None


def test_two_processes_do_not_write_at_once_and_rests_of_a_kill_are_removed(checkpoints, tmp_path):
    (tmp_path / ".new-rest").write_bytes(b"half")
    with pytest.raises(Conflict, match="Another process"):
        Checkpoints(tmp_path).claim()
    checkpoints.close()
    again = Checkpoints(tmp_path)
    again.claim()
    assert not (tmp_path / ".new-rest").exists()
    again.close()


def test_what_changes_after_the_call_is_not_in_the_checkpoint(checkpoints):
    weights = torch.zeros(1000)
    checkpoints.save(1, {"weights": weights}, {})
    weights += 1
    checkpoints.finish()
    assert checkpoints.last().state["weights"].sum() == 0


def test_a_disk_that_takes_nothing_is_told_to_the_training(checkpoints, tmp_path):
    for name in ("json", "safetensors"):
        (tmp_path / f"step-{1:012}.{name}").mkdir()
    with pytest.raises(OSError, match="directory"):
        checkpoints.save(1, state(1), {}, wait=True)
