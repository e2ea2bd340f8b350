"""The language of constraints: it gives what Python would give, and lets nothing else through."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.expression import Expression, Undefined

NAMES = st.sampled_from(["x", "y"])
NUMBERS = st.integers(-9, 9).map(str) | st.floats(0.01, 9).map(lambda value: f"{value:.3g}")


def _grown(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda each: f"-({each})"),
        inner.map(lambda each: f"abs({each})"),
        st.tuples(inner, inner).map(lambda t: f"min({t[0]}, {t[1]})"),
    )


ARITHMETIC = st.recursive(NAMES | NUMBERS, _grown, max_leaves=8)
CONDITIONS = st.recursive(
    st.tuples(ARITHMETIC, st.sampled_from(["<", "<=", ">", ">="]), ARITHMETIC).map(
        lambda t: f"{t[0]} {t[1]} {t[2]}"
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        inner.map(lambda each: f"not ({each})"),
    ),
    max_leaves=4,
)


def python(text, values):
    """What Python itself says of an expression that this test wrote."""
    return eval(text, {"__builtins__": {}, "abs": abs, "min": min}, values)  # noqa: S307 - our own text


@given(ARITHMETIC | CONDITIONS, st.floats(-5, 5), st.floats(-5, 5))
def test_it_gives_what_python_gives(text, x, y):
    if len(text) > 500:
        return
    try:
        parsed = Expression(text, condition=any(sign in text for sign in "<>"))
    except InvalidInput as refused:
        if "nested deeper" not in refused.message and "more than" not in refused.message:
            raise
        return
    try:
        expected = python(text, {"x": x, "y": y})
    except ArithmeticError:
        with pytest.raises(Undefined):
            parsed({"x": x, "y": y})
        return
    if isinstance(expected, bool):
        assert parsed({"x": x, "y": y}) is expected
    elif math.isfinite(expected):
        assert parsed({"x": x, "y": y}) == pytest.approx(expected, rel=1e-12, abs=1e-300)


@given(st.text(max_size=60) | st.text("xyabs()[]{}.,:=<>+-*/'\"_lambdn 0123", max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        Expression(text)
    except InvalidInput as refused:
        if not refused.message.endswith("."):
            raise


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') == 0",
        "().__class__.__bases__[0] == 1",
        "x.real < 1",
        "x[0] < 1",
        "[y for y in (1, 2)] == 1",
        "(lambda: 1)() == 1",
        "(x := 3) < 4",
        "f'{x}' == 'a'",
        "open('a') == 1",
        "x if y else 1",
        "abs(x=1) < 2",
        "min(*x) < 2",
        "x & 1 < 2",
        "x % 2 < 1",
        "True",
        "x < True",
        "1j < x",
        "b'a' == x",
        "x in (1, 2)",
        "x is None",
        "... == x",
        "await x",
        "x <",
        "x < 1; y < 2",
        "abs() < 1",
        "eval < 1e999",
    ],
)
def test_what_is_no_part_of_the_language_is_refused(text):
    with pytest.raises(InvalidInput):
        Expression(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x + 1", "must be a condition"),
        ("1 + 'a' < 2", "a number is needed"),
        ("(x < 1) + 1 < 2", "a number is needed"),
        ("x and y < 1", "a condition is needed"),
        ("x" * 600, "at most 500 characters"),
        ("(" * 240 + "x" + ")" * 240, "cannot be read"),
        ("-" * 40 + "x < 1", "nested deeper"),
        ("min(" + ", ".join(["x"] * 60) + ") < 1", "is not allowed"),
        (" or ".join(["x<1"] * 70), "more than 200 parts"),
    ],
)
def test_the_refusal_says_why(text, words):
    with pytest.raises(InvalidInput, match=words):
        Expression(text)


@pytest.mark.parametrize(
    "text", ["1 / x > 0", "x**0.5 / x > 0", "log(x) < 1", "exp(1e6 + x) > 0", "9**999999999 > x"]
)
def test_a_place_without_a_value_is_undefined(text):
    with pytest.raises(Undefined):
        Expression(text)({"x": 0})


def test_names_of_choices_and_chains_of_comparisons():
    parsed = Expression("solver == 'cg' and 0 <= x < n")
    assert parsed.names == {"solver", "x", "n"}
    assert parsed({"solver": "cg", "x": 1.5, "n": 2}) is True
    assert parsed({"solver": "lu", "x": 1.5, "n": 2}) is False
    assert parsed({"solver": "cg", "x": 2, "n": 2}) is False
    with pytest.raises(InvalidInput, match="names 'n', which is none of: solver, x"):
        parsed.check_names(["solver", "x"])
    with pytest.raises(Undefined):
        Expression("x < 1")({"x": "text"})


def test_a_function_is_no_name():
    parsed = Expression("sqrt(x) + max(y, 2) < 3")
    assert parsed.names == {"x", "y"}
    parsed.check_names(["x", "y"])
