"""Registration, search, labels: what the zoo takes, shows and refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import (
    InvalidInput,
    NotFound,
    PermissionRefused,
    VerificationFailed,
)
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.model import Model
from genesis_workbench.models.record import ModelVersion, SelfTest
from genesis_workbench.models.shipped import install_builtin
from genesis_workbench.models.signature import TensorSpec
from genesis_workbench.models.verification import verify
from genesis_workbench.models.zoo import LocalZoo

ADA, EVE = Person("ada"), Person("eve")
SOLAR = Person("sam", groups=frozenset({"solar"}))
CLEARED = Person("cleo", groups=frozenset({"solar"}), scopes=frozenset({"custom:data:controlled"}))
EXACT = {"inputs": {"a": [1.0], "b": [0.0]}, "outputs": {"y": [2.0]}}


def test_what_was_registered_is_found_with_its_bytes(zoo, register, tiny):
    version = register(lineage={"code": "sha256:0"})
    assert version.reference == "tiny@1"
    assert zoo.get("tiny@1", EVE) == zoo.get("tiny", EVE) == version
    assert zoo.artifact(version.artifact, EVE) == tiny
    assert version.lineage == {"code": "sha256:0"}
    (event,) = zoo.ledger.read(stream="model/tiny@1")
    assert (event.kind, event.actor) == ("model.registered", "ada")
    assert ModelVersion.model_validate(event.body) == version


def test_another_process_folds_the_same_ledger_into_the_same_zoo(zoo, register, tmp_path):
    version = register()
    other = LocalZoo(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), BlobStore(tmp_path / "blobs"))
    assert other.get("tiny", EVE) == version
    second = register(title="Better")
    assert other.get("tiny", EVE) == second
    assert other.get("tiny@1", EVE) == version
    other.ledger.close()


def test_versions_count_up_also_when_many_register_at_once(zoo, register):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda i: register(title=f"Attempt {i}"), range(6)))
    assert sorted(version.version for version in made) == [1, 2, 3, 4, 5, 6]
    assert zoo.ledger.verify().ok


def test_a_name_belongs_to_whoever_took_it_first(register):
    register(actor="ada")
    with pytest.raises(PermissionRefused, match="taken"):
        register(actor="eve", title="Another")


def test_search_takes_all_words_and_puts_titles_first(zoo, register):
    register("alpha", title="Wind", what_for="Sums of sunlight.")
    register("beta", title="Sunlight")
    register("beta", title="Sunlight, better")
    assert [m.reference for m in zoo.search("SUNLIGHT", ADA)] == ["beta@2", "alpha@1"]
    assert [m.reference for m in zoo.search("sunlight wind", ADA)] == ["alpha@1"]
    assert [m.reference for m in zoo.search("", ADA)] == ["alpha@1", "beta@2"]
    assert zoo.search("nothing-has-this", ADA) == []


@pytest.mark.parametrize(
    ("label", "sees"),
    [("restricted", {"ada", "sam", "cleo"}), ("controlled", {"cleo"}), ("export-controlled", set())],
)
def test_what_one_may_not_see_is_not_there(zoo, register, label, sees):
    version = register(label=label, groups=["solar"])
    for person in (ADA, EVE, SOLAR, CLEARED):
        if person.name in sees:
            assert zoo.search("tiny", person) == [version]
            assert zoo.get("tiny@1", person) == version
            assert zoo.artifact(version.artifact, person)
            continue
        assert zoo.search("tiny", person) == []
        for ask in (lambda p: zoo.get("tiny@1", p), lambda p: zoo.get("tiny", p), lambda p: zoo.artifact(version.artifact, p)):  # fmt: skip
            with pytest.raises(NotFound):
                ask(person)


def test_a_hidden_newer_version_leaves_the_older_one_visible(zoo, register):
    register()
    register(label="restricted", groups=["solar"])
    assert zoo.get("tiny", EVE).version == 1
    assert [m.version for m in zoo.search("tiny", EVE)] == [1]
    assert zoo.get("tiny", SOLAR).version == 2


@pytest.mark.parametrize(
    "reference", ["tiny@", "tiny@X", "tiny@latest", "tiny@0", "tiny@-1", "tiny@1@2", "../tiny", "", "tiny@²"]
)
def test_a_reference_that_names_nothing_is_refused(zoo, reference):
    with pytest.raises(InvalidInput):
        zoo.get(reference, ADA)


def test_a_blob_that_was_changed_is_refused(zoo, register, tiny):
    version = register()
    path = zoo.blobs.path(version.artifact)
    path.chmod(0o640)
    path.write_bytes(tiny[:-1] + bytes([tiny[-1] ^ 1]))
    with pytest.raises(VerificationFailed, match="other content"):
        zoo.artifact(version.artifact, ADA)


def test_bytes_that_differ_from_the_record_are_not_loaded(register, tiny):
    version = register()
    Model(version, tiny)  # once verified, the next ones are still compared
    with pytest.raises(VerificationFailed, match="hash"):
        Model(version, tiny + b"\0")
    with pytest.raises(VerificationFailed, match="its record says 7"):
        verify(version.model_copy(update={"size_bytes": 7}), tiny)


def test_a_self_test_that_fails_is_refused_with_the_measured_difference(zoo, register):
    wrong = SelfTest(inputs={"a": [1.0], "b": [0.0]}, outputs={"y": [2.25]})
    with pytest.raises(VerificationFailed, match=r"y is off by up to 0\.25 m; allowed.*onnxruntime"):
        register(test=wrong)
    assert zoo.search("", ADA) == []
    assert zoo.ledger.read() == []


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({"inputs": {"a": [1.0]}, "outputs": {"y": [2.0]}}, "it needs a, b"),
        ({"inputs": {"a": [1.0], "b": [0.0]}, "outputs": {"z": [2.0]}}, "it needs y"),
        ({"inputs": {"a": [1.0], "b": [0.0]}, "outputs": {"y": [2.0, 2.0]}}, "shape"),
        ({"inputs": {"a": [1.0, 2.0], "b": [0.0, 1.0, 2.0]}, "outputs": {"y": [2.0]}}, "cannot be run"),
    ],
)
def test_a_self_test_that_tests_something_else_is_refused(register, test, reason):
    with pytest.raises(VerificationFailed, match=reason):
        register(test=SelfTest(**test))


def test_a_passed_self_test_does_not_vouch_for_another_record(register, tiny):
    version = register()
    lying = version.model_copy(update={"self_test": SelfTest(**{**EXACT, "outputs": {"y": [3.0]}})})
    with pytest.raises(VerificationFailed, match="off by"):
        Model(lying, tiny)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "c"}, "has the inputs a, b; its signature says b, c"),
        ({"dtype": "float64"}, "is float32 .* says float64"),
        ({"shape": (None, 2)}, "its signature says float32"),
    ],
)
def test_a_signature_that_is_not_the_artifacts_is_refused(zoo, tiny, parts, change, reason):
    known = parts()
    first, second = known["signature"].inputs
    known["signature"] = known["signature"].model_copy(
        update={"inputs": (first.model_copy(update=change), second)}
    )
    with pytest.raises(VerificationFailed, match=reason):
        zoo.register("tiny", "onnx", tiny, **known, actor="ada")


@pytest.mark.parametrize(
    "wrong",
    [{"label": "secret"}, {"what_for": ""}, {"licence": ""}, {"surprise": 1}],
)
def test_a_card_that_says_too_little_is_refused(register, wrong):
    with pytest.raises((ValidationError, InvalidInput)):
        register(**wrong)


def test_records_refuse_what_makes_no_sense():
    with pytest.raises(ValidationError, match="above high"):
        TensorSpec(name="a", low=2, high=1)
    with pytest.raises(ValidationError, match="no unit"):
        TensorSpec(name="a", unit="wibble")
    for numbers in ([], [float("nan")], ["1"], [[1.0], [None]]):
        with pytest.raises(ValidationError):
            SelfTest(inputs={"a": numbers}, outputs={"y": [1.0]})


def test_the_page_of_a_record_escapes_what_people_wrote(register, tiny):
    version = register(title="<script>alert(1)</script>", limits="a < b")
    for page in (version._repr_html_(), Model(version, tiny)._repr_html_()):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
        assert "a &lt; b" in page


def test_builtin_models_are_installed_once(zoo):
    (first,) = install_builtin(zoo)
    assert install_builtin(zoo) == [first]
    assert first.reference == "clear-sky-irradiation@1"
    assert len(zoo.ledger.read(prefix="model/")) == 1
    zoo.blobs.path(first.artifact).unlink()  # a lost blob comes back; the record stays
    assert install_builtin(zoo) == [first]
    assert zoo.artifact(first.artifact, EVE)
    assert len(zoo.ledger.read(prefix="model/")) == 1
