"""The ledger keeps one unbroken chain and refuses to change it."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa

from genesis_workbench.core.errors import Conflict, InvalidInput
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger, NewEvent


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield opened
    opened.close()


def test_events_are_chained_and_read_back(ledger):
    events = ledger.append_many([NewEvent(f"a/{i % 3}", "k", {"i": i}, "me") for i in range(10)])
    assert ledger.read() == events
    assert ledger.version("a/0") == 4
    assert ledger.verify().ok
    assert ledger.verify().events == 10


def test_a_changed_event_is_refused_by_the_database_and_found_by_verification(ledger):
    ledger.append_many([NewEvent("a/1", "k", {"i": i}, "me") for i in range(5)])
    change = sa.text("UPDATE ledger_events SET body = '{}' WHERE seq = 3")
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), ledger.engine.begin() as connection:
        connection.execute(change)
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER ledger_no_update"))
        connection.execute(change)
    assert ledger.verify().broken_at == 3


def test_an_expected_version_that_has_passed_is_a_conflict_and_writes_nothing(ledger):
    ledger.append("a/1", "k", {}, actor="me")
    with pytest.raises(Conflict, match="has version 1, not 0"):
        ledger.append_many([NewEvent("a/2", "k", {}, "me"), NewEvent("a/1", "k", {}, "me", expect=0)])
    assert ledger.head()[0] == 1


def test_not_a_number_is_refused(ledger):
    with pytest.raises(InvalidInput, match="JSON"):
        ledger.append("a/1", "k", {"x": math.nan}, actor="me")


def test_a_lease_taken_over_shuts_out_its_former_holder(ledger):
    leases = Leases(ledger.engine)
    first = leases.acquire("loop", "one", 0)
    assert first
    second = leases.acquire("loop", "two", 60)
    assert second
    assert leases.acquire("loop", "one", 60) is None
    with pytest.raises(Conflict, match="no longer holds"):
        ledger.append("a/1", "k", {}, actor="one", lease=first)
    assert ledger.append("a/1", "k", {}, actor="two", lease=second).seq == 1


def test_a_body_that_was_kept_in_another_order_of_keys_still_agrees(ledger):
    event = ledger.append("a/1", "k", {10: "ten", 9: "nine"}, actor="me")
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DROP TRIGGER ledger_no_update"))
        connection.execute(
            sa.text("UPDATE ledger_events SET body = :body"), {"body": '{"9":"nine","10":"ten"}'}
        )
    assert ledger.verify().ok
    assert ledger.read() == [event]
