"""Aliases, stages and deprecation: the same in this process and behind the service."""

from __future__ import annotations

import pytest

from genesis_workbench import models
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.zoo import LocalZoo

from .conftest import PEOPLE


@pytest.fixture
def two(register):
    """Two versions of ada's."""
    return register(), register(title="Better")


def test_an_alias_is_moved_and_moved_back_with_who_when_and_why(zoo_of, two):
    zoo, ada = zoo_of("ada")
    zoo.move_alias("tiny", "champion", 1, ada, reason="first")
    zoo.move_alias("tiny", "champion", 2, ada, reason="it is better")
    other, eve = zoo_of("eve")
    assert other.get("tiny@champion", eve) == two[1]
    assert other.entry("tiny@2", eve).standing.aliases == ("champion",)
    zoo.undo_alias("tiny", "champion", ada, reason="it was not")
    assert other.get("tiny@champion", eve) == two[0]
    told = other.history("tiny", eve)
    assert [(each["previous_version"], each["version"], each["reason"]) for each in told] == [
        (None, 1, "first"),
        (1, 2, "it is better"),
        (2, 1, "it was not"),
    ]
    assert {each["who"] for each in told} == {"ada"}
    assert all(each["when"] for each in told)
    zoo.move_alias("tiny", "champion", None, ada)
    with pytest.raises(NotFound):
        other.get("tiny@champion", eve)


def test_only_who_keeps_a_name_moves_its_aliases(zoo_of, two):
    for name, refused in (("eve", True), ("cleo", True), ("bob", False)):
        zoo, person = zoo_of(name)
        if refused:
            with pytest.raises(PermissionRefused):
                zoo.move_alias("tiny", "champion", 1, person)
        else:
            zoo.move_alias("tiny", "champion", 1, person)
    with pytest.raises(Conflict, match="already"):
        zoo.move_alias("tiny", "champion", 1, person)


@pytest.mark.parametrize("alias", ["1", "Latest", "latest", "history", "", "a/b", "a" * 41, "-a"])
def test_a_word_that_cannot_be_an_alias_is_refused(zoo, two, alias):
    with pytest.raises(InvalidInput, match="cannot be an alias"):
        zoo.move_alias("tiny", alias, 1, PEOPLE["ada"])


def test_an_alias_to_a_version_that_one_may_not_see_leads_nowhere_and_tells_nothing(zoo_of, register):
    register()
    register(label="restricted", groups=["solar"])
    zoo, ada = zoo_of("ada")
    zoo.move_alias("tiny", "champion", 1, ada)
    zoo.move_alias("tiny", "champion", 2, ada)
    other, eve = zoo_of("eve")
    with pytest.raises(NotFound):
        other.get("tiny@champion", eve)
    assert [each["version"] for each in other.history("tiny", eve)] == [1]
    assert other.get("tiny", eve).version == 1
    assert zoo.get("tiny@champion", ada).version == 2


def test_another_person_approves_exactly_one_record(zoo_of, two):
    first, second = two
    zoo, ada = zoo_of("ada")
    assert zoo.entry("tiny@1", ada).standing.stage == "draft"
    bobs, bob = zoo_of("bob")
    with pytest.raises(Conflict, match="from there it becomes candidate"):
        bobs.set_stage("tiny@1", "approved", bob, digest=first.digest)
    zoo.set_stage("tiny@1", "candidate", ada, reason="ready")
    with pytest.raises(PermissionRefused, match="custom:models:approve"):
        zoo.set_stage("tiny@1", "approved", ada, digest=first.digest)
    with pytest.raises(Conflict, match="another record"):
        bobs.set_stage("tiny@1", "approved", bob, digest=second.digest)
    done = bobs.set_stage("tiny@1", "approved", bob, digest=first.digest)
    assert (done.standing.stage, done.standing.approved_by) == ("approved", "bob")
    assert [step.digest for step in done.standing.steps] == [first.digest] * 2
    assert zoo.entry("tiny@2", ada).standing.stage == "draft"
    # What is approved cannot slip back: it is retired, and comes back as a draft.
    with pytest.raises(Conflict):
        zoo.set_stage("tiny@1", "candidate", ada)
    zoo.set_stage("tiny@1", "retired", ada, reason="old")
    assert zoo.set_stage("tiny@1", "draft", ada).standing.approved_by == ""


def test_nobody_approves_what_they_registered_or_proposed_themselves(zoo_of, register):
    mine = register("mine", actor="bob")
    zoo, bob = zoo_of("bob")
    zoo.set_stage("mine@1", "candidate", bob)
    with pytest.raises(PermissionRefused, match="another person"):
        zoo.set_stage("mine@1", "approved", bob, digest=mine.digest)
    theirs = register("theirs", actor="ada")
    zoo.set_stage("theirs@1", "candidate", bob)
    with pytest.raises(PermissionRefused, match="proposed"):
        zoo.set_stage("theirs@1", "approved", bob, digest=theirs.digest)


def test_a_candidate_is_refused_with_a_reason(zoo_of, two):
    zoo, ada = zoo_of("ada")
    zoo.set_stage("tiny@1", "candidate", ada)
    bobs, bob = zoo_of("bob")
    with pytest.raises(InvalidInput, match="reason"):
        bobs.set_stage("tiny@1", "draft", bob)
    bobs.set_stage("tiny@1", "draft", bob, reason="no metrics")
    assert zoo.entry("tiny@1", ada).standing.steps[-1].reason == "no metrics"


def test_what_is_retired_is_found_by_its_number_only(zoo_of, two):
    zoo, ada = zoo_of("ada")
    zoo.set_stage("tiny@2", "retired", ada)
    assert zoo.get("tiny", ada).version == 1
    assert [each.version for each in zoo.search("tiny", ada)] == [1]
    assert zoo.get("tiny@2", ada).version == 2
    with pytest.raises(Conflict, match="retired"):
        zoo.move_alias("tiny", "champion", 2, ada)


def test_a_deprecation_names_its_reason_and_a_successor_that_exists(zoo_of, two):
    zoo, ada = zoo_of("ada")
    with pytest.raises(InvalidInput, match="its own successor"):
        zoo.deprecate("tiny@1", "biased", ada, successor="tiny@1")
    with pytest.raises(NotFound):
        zoo.deprecate("tiny@1", "biased", ada, successor="tiny@7")
    said = zoo.deprecate("tiny@1", "biased", ada, successor="tiny@2").standing.deprecation
    assert said.warning("tiny@1") == "tiny@1 is deprecated: biased. Use tiny@2 instead."
    assert zoo.lift_deprecation("tiny@1", ada).standing.deprecation is None
    with pytest.raises(Conflict, match="not deprecated"):
        zoo.lift_deprecation("tiny@1", ada)


def test_whoever_uses_a_deprecated_version_is_warned(zoo, two, monkeypatch):
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: PEOPLE["ada"])
    models.deprecate("tiny@1", "It was trained on night hours", successor="tiny@2")
    with pytest.warns(models.DeprecatedModel, match=r"night hours\. Use tiny@2 instead"):
        model = models.model("tiny@1")
    assert float(model(a=1, b=1)) == 3
    models.model("tiny@2")  # a warning would be an error here
    models.retire("tiny@2")
    with pytest.warns(models.DeprecatedModel, match="retired"):
        models.model("tiny@2")


def test_a_life_is_told_in_one_line_each(zoo, two, monkeypatch):
    asker = {"now": PEOPLE["ada"]}
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: asker["now"])
    models.set_alias("tiny@1", "champion")
    models.set_alias("tiny@2", "champion")
    models.undo_alias("tiny@champion")
    assert models.get("tiny@champion").version == 1
    models.set_alias("tiny", "champion")
    models.propose("tiny@2")
    asker["now"] = PEOPLE["bob"]
    assert models.approve("tiny@2").standing.stage == "approved"
    assert [each["what"] for each in models.history("tiny")] == ["alias.moved"] * 4 + ["stage.changed"] * 2
    assert [each.version.version for each in models.versions("tiny")] == [2, 1]
    with pytest.raises(InvalidInput, match="names no alias"):
        models.undo_alias("tiny@1")


def test_two_who_decide_at_once_do_not_overwrite_each_other(zoo, two, tmp_path):
    other = LocalZoo(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), BlobStore(tmp_path / "blobs"))
    ada = Person("ada")
    seen = other._known()
    zoo.move_alias("tiny", "champion", 1, ada)
    other._known = lambda: seen  # it has not looked since
    with pytest.raises(Conflict, match="added meanwhile"):
        other.move_alias("tiny", "champion", 2, ada)
    other.ledger.close()
    assert zoo.get("tiny@champion", ada).version == 1
