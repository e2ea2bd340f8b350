"""The ledger, leases and the catalog's tables behave alike on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from genesis_workbench.catalog import writing
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, Unavailable
from genesis_workbench.core.leases import Leases
from genesis_workbench.core.ledger import Ledger, NewEvent, Verification

APPEND = """
import sys
from genesis_workbench.core.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
for number in range(25):
    ledger.append(f"process/{sys.argv[2]}", "counted", {"number": number}, actor=sys.argv[2])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.sqlite'}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"ledger_{uuid.uuid4().hex}"
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    yield server.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def ledger(url):
    opened = Ledger.open(url)
    yield opened
    opened.close()


def test_several_processes_make_the_tables_and_one_unbroken_chain(url):
    processes = [
        subprocess.Popen([sys.executable, "-c", APPEND, url, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in processes:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    ledger = Ledger.open(url)
    found = ledger.verify()
    assert (found.ok, found.events) == (True, 100)
    assert [event.seq for event in ledger.read(limit=200)] == list(range(1, 101))
    for number in range(4):
        events = ledger.read(stream=f"process/{number}")
        assert [event.body["number"] for event in events] == list(range(25))
        assert ledger.version(f"process/{number}") == 25
    ledger.close()


@pytest.mark.parametrize("change", ["UPDATE ledger_events SET body = '{}'", "DELETE FROM ledger_events"])
def test_the_database_refuses_to_change_what_was_written(ledger, change):
    ledger.append("a/1", "k", {"text": "Grüße, ☀"}, actor="me")
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), ledger.engine.begin() as connection:
        connection.execute(sa.text(change))
    assert ledger.read()[0].body == {"text": "Grüße, ☀"}
    assert ledger.verify().ok


def test_what_the_body_held_is_read_back_and_agrees_with_its_hash(ledger):
    body = {
        "text": 'Grüße, ☀ \x00 \\ " \n \ud7ff 🜚',
        "numbers": [0.1, -0.0, 1e300, 5e-324, 2**70, True, None],
        "keys": {10: "ten", 9: "nine"},
        "pairs": (1, 2),
    }
    read = {**body, "keys": {"10": "ten", "9": "nine"}, "pairs": [1, 2]}
    event = ledger.append('a/"1"', "k\\", body, actor="Zoë")
    assert event.body == read
    assert ledger.read() == [event]
    assert event.expected_hash() == event.hash
    assert ledger.verify() == Verification(1, event.hash)


def test_each_stream_counts_by_itself(ledger):
    names = ["a/1", "a/2", "b,'{}\"/☀"]
    for length in (1, 2, 3):
        streams = [name for place, name in enumerate(names) for _ in range(place + length)]
        ledger.append_many([NewEvent(name, "k", {}, "me") for name in streams])
    assert [ledger.version(name) for name in [*names, "unknown"]] == [6, 9, 12, 0]
    assert [event.version for event in ledger.read(stream=names[0])] == [1, 2, 3, 4, 5, 6]


def test_of_many_who_expect_the_same_version_one_is_first(ledger):
    def append(number):
        try:
            ledger.append_many([NewEvent("race/1", "won", {"by": number}, "me", expect=0)])
        except Conflict:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(append, range(16))) == 1
    assert ledger.version("race/1") == 1


def test_a_lease_has_one_holder_and_a_late_one_writes_nothing(ledger):
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: Leases(ledger.engine).acquire("loop", f"r{n}", 60), range(8)))
    assert sum(lease is not None for lease in taken) == 1
    leases = Leases(ledger.engine)
    old = next(lease for lease in taken if lease is not None)
    assert leases.holder("loop") == old.holder
    leases.release(old)
    assert leases.holder("loop") is None
    new = leases.acquire("loop", "next", 60)
    assert new.token > old.token
    assert leases.renew(old, 60) is False
    with pytest.raises(Conflict, match="no longer holds"):
        ledger.append("a/1", "k", {}, actor=old.holder, lease=old)
    assert ledger.append("a/1", "k", {}, actor="next", lease=new).version == 1


def test_the_catalog_keeps_and_finds_records_in_the_same_database(ledger):
    catalog = LocalCatalog(ledger)
    nobody = Person("nobody")
    example = catalog.get("mauna-loa-co2", nobody)
    record = example.model_copy(
        update={"id": "agency.beryllium", "title": "Beryllium sputtering", "source": "agency"}
    )
    source = SourceRow("agency", "Agency", "Agency of Metals", "public")
    writing.put(catalog.store, source, [Page([record])])
    assert [hit.id for hit in catalog.search("beryllium", person=nobody)] == ["agency.beryllium"]
    assert LocalCatalog(ledger).get("agency.beryllium", nobody) == record


def test_a_server_that_is_not_there_is_said_without_its_password():
    with pytest.raises(Unavailable, match="cannot be opened") as error:
        Ledger.open("postgresql+psycopg://someone:a-secret@127.0.0.1:1/none")
    assert "a-secret" not in str(error.value)
