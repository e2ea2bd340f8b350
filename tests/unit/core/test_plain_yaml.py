"""YAML of strangers is read as plain values, and costs no more than its length."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.plain_yaml import load


def test_plain_values_are_read():
    assert load(b"a: [1, {b: two}]", "The card") == {"a": [1, {"b": "two"}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "repeats parts of itself by aliases"),
        ("[" * 60, "nested more than 50 levels deep"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
        (b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_what_could_grow_or_run_is_refused_in_one_line(text, words):
    with pytest.raises(InvalidInput, match=f"The card (is )?{words}") as refused:
        load(text, "The card")
    assert "\n" not in refused.value.message
