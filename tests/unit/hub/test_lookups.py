"""People who are in the hub's memory are found there, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

pytest.importorskip("jupyterhub")
from jupyterhub import orm

from genesis_hub import lookups


@pytest.fixture
def db(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(lookups, "_names", lookups.Known("name"))
    session = orm.new_session_factory("sqlite:///:memory:")()
    yield session
    session.close()


def find(db: Any, name: str) -> orm.User | None:
    return lookups._by_name(orm.User, db, name)


def added(db: Any, name: str) -> orm.User:
    user = orm.User(name=name)
    db.add(user)
    db.commit()
    return user


def test_a_person_in_memory_costs_no_query_and_is_the_same_object(db: Any) -> None:
    user = added(db, "ada")
    assert find(db, "ada") is user
    asked: list[str] = []
    sa.event.listen(db.get_bind(), "before_cursor_execute", lambda *given: asked.append(given[2]))
    assert find(db, "ada") is user
    assert asked == []
    assert find(db, "grace") is None
    assert asked


def test_what_changed_in_a_person_is_seen(db: Any) -> None:
    user = added(db, "ada")
    find(db, "ada")
    group = orm.Group(name="physics")
    db.add(group)
    user.groups.append(group)
    db.commit()
    found = find(db, "ada")
    assert found is not None
    assert [each.name for each in found.groups] == ["physics"]


def test_who_was_deleted_or_renamed_is_not_found_by_that_name_and_who_has_it_now_is(db: Any) -> None:
    former = added(db, "ada")
    find(db, "ada")
    former.name = "lovelace"
    db.commit()
    assert find(db, "ada") is None
    assert find(db, "lovelace") is former
    db.delete(former)
    db.commit()
    assert find(db, "lovelace") is None
    another = added(db, "ada")
    assert find(db, "ada") is another


def test_a_cookie_that_was_changed_finds_nobody(db: Any) -> None:
    user = added(db, "ada")
    known = lookups.Known("cookie_id")
    known.note(user)
    former = user.cookie_id
    assert known.find(db, former) is user
    user.cookie_id = "another"
    db.commit()
    assert known.find(db, former) is None
