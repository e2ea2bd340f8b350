"""Identifiers, labels, units, plug-ins and files by content: the small things that everything stands on."""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis_workbench.core import plugins
from genesis_workbench.core.access import Access, Label, Person, strictest
from genesis_workbench.core.errors import (
    BY_CODE,
    GenesisError,
    InvalidInput,
    MissingDependency,
    NotFound,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import (
    canonical_json,
    check_slug,
    digest_json,
    idempotency_key,
    new_id,
)
from genesis_workbench.core.scopes import EVERYONE, SCOPES
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.core.units import check_unit, convert

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON)
def test_equal_values_have_one_digest_whatever_their_order(value):
    assert json.loads(canonical_json(value)) == value
    if isinstance(value, dict):
        turned = dict(reversed(list(value.items())))
        assert digest_json(turned) == digest_json(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, object()])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(InvalidInput, match="JSON"):
        canonical_json({"x": value})


def test_identifiers_sort_by_time_and_keys_do_not_run_together():
    made = [new_id("exp") for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(each) == 30 for each in made)
    assert idempotency_key("a", "bc") != idempotency_key("ab", "c")
    assert idempotency_key("a", 1) != idempotency_key("a", "1")


@pytest.mark.parametrize("text", ["", "..", "a/../b", "A", "a b", "-a", "a" * 200, "a\n"])
def test_names_that_could_leave_their_folder_are_refused(text):
    with pytest.raises(InvalidInput):
        check_slug(text, "thing")


def test_every_error_is_known_by_its_code():
    def leaves(kind):
        return [kind, *(each for below in kind.__subclasses__() for each in leaves(below))]

    assert {kind.code for kind in leaves(GenesisError) if kind is not GenesisError} >= set(BY_CODE)
    assert len({kind.code for kind in BY_CODE.values()}) == len(BY_CODE)
    assert all(400 <= kind.status < 600 for kind in BY_CODE.values())


@pytest.mark.parametrize(
    ("access", "person", "may"),
    [
        (Access(), Person("x"), True),
        (Access(Label.RESTRICTED, frozenset({"g"})), Person("x"), False),
        (Access(Label.RESTRICTED, frozenset({"g"})), Person("x", frozenset({"g"})), True),
        (Access(Label.RESTRICTED, owner="x"), Person("x"), True),
        (Access(Label.RESTRICTED), Person("", admin=True), False),
        (Access(Label.CONTROLLED, frozenset({"g"})), Person("x", frozenset({"g"})), False),
        (Access(Label.CONTROLLED, owner="x"), Person("x"), False),
        (
            Access(Label.CONTROLLED, frozenset({"g"})),
            Person("x", frozenset({"g"}), frozenset({"custom:data:controlled"})),
            True,
        ),
    ],
)
def test_who_may_see_what(access, person, may):
    assert access.permits(person) is may


def test_labels_are_written_and_compared():
    assert [str(label) for label in Label] == ["public", "restricted", "controlled", "export-controlled"]
    assert all(Label.parse(str(label)) is label for label in Label)
    assert strictest([]) is Label.PUBLIC
    assert strictest([Label.RESTRICTED, Label.EXPORT_CONTROLLED]) is Label.EXPORT_CONTROLLED
    with pytest.raises(InvalidInput, match="'secret' is no access label"):
        Label.parse("secret")


def test_nobody_gets_dangerous_rights_by_default():
    assert all(scope.name.startswith("custom:") and scope.description for scope in SCOPES)
    assert not {"custom:ledger:read", "custom:data:controlled", "custom:models:write"} & set(EVERYONE)


@given(st.floats(-1e6, 1e6))
def test_a_conversion_and_its_way_back_give_the_same(value):
    assert convert(convert(value, "degC", "kelvin"), "kelvin", "degC") == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    "unit", ["m²", "m⁻²", "m**(1/2)", "kg * m**2 / s ** -3", "(m/s)^2.5", "1/s", "delta_degC/min"]
)
def test_a_unit_may_have_powers(unit):
    assert check_unit(unit) == unit


@pytest.mark.parametrize(
    "unit",
    [
        "parsnip",
        "kg*",
        "1/",
        "__import__('os')",
        "m" * 300,
        # Computed as they stand, these would take for ever, and nothing else could be done meanwhile.
        "K**(9**9**9)",
        "K**(9**9)**9",
        "9**(9)**9**9",
        "K^9²⁹",
        "(((K**99)**99)**99)",
        "K**99999999",
        "K**1e9",
    ],
)
def test_a_unit_that_is_none_is_refused(unit):
    with pytest.raises(InvalidInput, match="is no unit"):
        check_unit(unit)


@pytest.mark.parametrize(("value", "unit"), [(10**400, "km"), (1e300, "km**99"), (1.0, "km**999")])
def test_what_becomes_too_large_a_number_is_told(value, unit):
    with pytest.raises(InvalidInput, match="cannot be given in"):
        convert(value, unit, unit.replace("k", ""))


def test_an_unknown_plug_in_names_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'sobol'"):
        plugins.load("proposers", "soboll")


@pytest.mark.parametrize(
    ("first_line", "message"),
    [
        (
            "import no_such_package.x",
            r"needs the package 'no_such_.*pip install \"genesis-workbench\[pvlib\]",
        ),
        ("from json import no_such_name", r"cannot be imported: .*no_such_name.*pip install --upgrade"),
        ("import lost_plug_in.rest", r"cannot be imported: .*lost_plug_in.*pip install --upgrade"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_says_why_and_what_helps(
    tmp_path, monkeypatch, first_line, message
):
    (tmp_path / "lost_plug_in.py").write_text(f"{first_line}\nY = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lost_plug_in", raising=False)
    known = plugins._registered("executors")["pvlib"]
    broken = EntryPoint("pvlib", "lost_plug_in:Y", known.group)
    vars(broken)["dist"] = known.dist
    monkeypatch.setattr(plugins, "_registered", lambda _: {"pvlib": broken})
    with pytest.raises(MissingDependency, match=message):
        plugins.load("executors", "pvlib")


@pytest.mark.parametrize(
    "group", ["sources", "openers", "model_formats", "schedulers", "proposers", "executors"]
)
def test_every_registered_plug_in_can_be_loaded(group):
    assert plugins.names(group)
    for name in plugins.names(group):
        assert isinstance(plugins.load(group, name), type)


def test_the_same_bytes_are_kept_once_and_changed_ones_are_noticed(tmp_path):
    store = BlobStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(store.put, [b"payload"] * 32))
    assert len(digests) == 1
    name = digests.pop()
    assert store.read(name) == b"payload"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [store.path(name)]
    store.path(name).chmod(0o600)
    store.path(name).write_bytes(b"changed")
    with pytest.raises(VerificationFailed):
        store.read(name)
    with pytest.raises(NotFound):
        store.read("sha256:" + "0" * 64)
    for wrong in ("sha256:../../etc/passwd", "md5:1", ""):
        with pytest.raises(InvalidInput):
            store.has(wrong)
