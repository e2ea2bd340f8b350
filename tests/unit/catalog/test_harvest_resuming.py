"""Harvests that break off, go on, ask for changes only, fail again and again, or meet plug-ins that fail themselves."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from genesis_workbench.catalog import harvest as harvesting
from genesis_workbench.catalog import health, tables
from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.harvest import HarvestReport, harvest
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.catalog.result import SourceStatus
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.catalog.store import SourceRow
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import GenesisError, NotFound, Unavailable
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import CatalogSection, Site, SourceSection
from genesis_workbench.testing.lying import LyingServer

BOB = Person("bob")
PAGES, EACH = 12, 4
CHILD = """
import json, sys
from pathlib import Path
from genesis_workbench.catalog.harvest import harvest
from genesis_workbench.catalog.local import LocalCatalog
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import SourceSection
folder, section = Path(sys.argv[1]), SourceSection(**json.loads(sys.argv[2]))
ledger = Ledger.open(f"sqlite:///{folder / 'w.sqlite'}")
print(harvest(LocalCatalog(ledger, None, folder), section, allow_private=True).records)
ledger.close()
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    yield opened
    opened.close()


@pytest.fixture
def section() -> SourceSection:
    return SourceSection(name="lab", kind="scripted", title="Lab", agency="Lab", deadline_s=60)


@pytest.fixture
def catalog(ledger: Ledger, section: SourceSection, tmp_path: Path) -> LocalCatalog:
    return LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)


def record(name: str, **fields: Any) -> Dataset:
    return Dataset(id=f"lab.{name}", source="lab", **{"title": name, "native_digest": digest(b"n"), **fields})


Script = Callable[[str | None, Mapping[str, str] | None], Iterator[Page]]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[Any, Any]]]:
    """Return a function that makes the source speak a script; what it was asked is in the list."""

    def use(script: Script, *, incremental: bool = False) -> list[tuple[Any, Any]]:
        asked: list[tuple[Any, Any]] = []

        class Scripted:
            kind: ClassVar[str] = "scripted"
            protocol: ClassVar[str] = "a script"

            def __init__(self, *_: Any) -> None: ...

            def pages(self, cursor: Any = None, *, state: Any = None) -> Iterator[Page]:
                asked.append((cursor, dict(state or {})))
                return script(cursor, state)

        Scripted.incremental = incremental  # type: ignore[attr-defined]
        monkeypatch.setattr(harvesting.plugins, "load", lambda *_: Scripted)
        return asked

    return use


def ids(catalog: LocalCatalog) -> list[str]:
    return sorted(item.id for item in catalog.search(person=BOB, source="lab", limit=200))


def status(catalog: LocalCatalog) -> SourceStatus:
    return {each.name: each for each in catalog.sources(BOB)}["lab"]


def native(number: int) -> dict[str, Any]:
    return {"identifier": f"n{number:03}", "title": f"Title {number}", "description": "x" * 200}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_harvest_killed_at_any_moment_goes_on_where_it_was(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    asked: list[str | None] = []
    children: list[subprocess.Popen[str]] = []
    timers: list[threading.Timer] = []
    doomed = sorted(chance.sample(range(1, PAGES), 3))

    def page(query: dict[str, str]) -> Any:
        after = query.get("after")
        number = int(after) if after else 0
        asked.append(after)
        if doomed and number == doomed[0]:
            # At once, or while it reads, writes or commits what it has got.
            doomed.pop(0)
            timer = threading.Timer(chance.choice([0, chance.uniform(0, 0.05)]), children[-1].kill)
            timer.start()
            timers.append(timer)
        found = [native(n) for n in range(number * EACH, (number + 1) * EACH)]
        return {"results": found, **({"after": str(number + 1)} if number + 1 < PAGES else {})}

    with LyingServer({"/api/search": page}) as peer:
        plan = {"name": "lab", "kind": "datagov", "title": "L", "agency": "L", "url": peer.url("/api")}
        for _ in range(6):
            command = [sys.executable, "-c", CHILD, str(tmp_path), json.dumps({**plan, "deadline_s": 60})]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            children.append(child)
            output, _ = child.communicate(timeout=120)
            if child.returncode == 0:
                break
            assert child.returncode == -signal.SIGKILL
    for timer in timers:
        timer.join()
    assert child.returncode == 0
    assert int(output) == PAGES * EACH
    # Each run began where the one before had stopped, and asked at most that one page again.
    assert len(children) > 1
    assert asked.count(None) <= len(children) - 1
    assert len(asked) <= PAGES + len(children)
    ledger = Ledger.open(f"sqlite:///{tmp_path / 'w.sqlite'}")
    catalog = LocalCatalog(ledger, None, tmp_path)
    assert ids(catalog) == [f"lab.n{n:03}" for n in range(PAGES * EACH)]
    kept = catalog.native("lab.n005", BOB)
    assert json.loads(kept.text) == native(5)
    assert kept.digest == catalog.get("lab.n005", BOB).native_digest
    (event,) = ledger.read(stream="catalog/source/lab")
    assert event.body["records"] == PAGES * EACH
    ledger.close()


def test_only_what_changed_is_written_and_unchanged_content_is_not_asked_for_twice(
    ledger: Ledger, tmp_path: Path
) -> None:
    def listed(*names: str, title: str = "T") -> dict[str, Any]:
        more = {"description": "d", "publisher": {"name": "p"}, "contactPoint": {"fn": "c"}}
        found = [{"identifier": name, "title": f"{title} {name}", **more} for name in names]
        return {"dataset": [*found, "no record"]}

    with LyingServer({"/data.json": listed("a", "b", "c")}) as peer:
        peer.etags["/data.json"] = '"1"'
        section = SourceSection(name="lab", kind="dcat", title="L", agency="L", url=peer.url("/data.json"))
        catalog = LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)
        first = harvest(catalog, section, allow_private=True)
        assert (first.records, first.written, first.rejected) == (3, 3, 1)

        again = harvest(catalog, section, allow_private=True)
        assert (again.unchanged, again.written, again.ok, again.digest) == (True, 0, True, first.digest)
        assert peer.statuses == [200, 304]
        assert (len(ids(catalog)), status(catalog).rejected) == (3, 1)

        before = catalog.store.version()
        answer = listed("a", "b")
        answer["dataset"][1]["title"] = "Another title"
        peer.answers["/data.json"], peer.etags["/data.json"] = answer, '"2"'
        changed = harvest(catalog, section, allow_private=True)
        assert (changed.records, changed.written, changed.removed) == (2, 2, 1)
        moved = catalog.store.changes((before, "￿"), 100)
        assert {change.id for change in moved} == {"lab.b", "lab.c"}
        assert catalog.get("lab.b", BOB).title == "Another title"
        assert ids(catalog) == ["lab.a", "lab.b"]


def test_a_source_that_tells_changes_is_asked_for_them_and_absence_is_no_removal(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    def script(_cursor: Any, state: Any) -> Iterator[Page]:
        if not state:
            yield Page([record("a"), record("b"), record("c")], state={"since": "1"})
        else:
            yield Page([record("b", title="new")], removed=("lab.c", "lab.unknown"), state={"since": "2"})

    asked = scripted(script, incremental=True)
    harvest(catalog, section)
    report = harvest(catalog, section)
    assert (report.written, report.removed, report.complete) == (2, 0, True)
    assert ids(catalog) == ["lab.a", "lab.b"]
    assert catalog.get("lab.b", BOB).title == "new"
    harvest(catalog, section, fresh=True)
    # Another label makes all records other ones: everything is asked for.
    harvest(catalog, section.model_copy(update={"agency": "Other"}))
    assert asked == [(None, {}), (None, {"since": "1"}), (None, {}), (None, {})]


def test_a_harvest_whose_time_is_over_goes_on_with_the_same_state(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    def script(cursor: Any, _state: Any) -> Iterator[Page]:
        for number in range(int(cursor or 0), 3):
            yield Page([record(f"n{number}")], str(number + 1) if number < 2 else None, state={"s": "1"})

    asked = scripted(script)
    hurried = section.model_copy(update={"deadline_s": 1e-9})
    first = harvest(catalog, hurried)
    assert (first.ok, first.complete, first.records) == (True, False, 1)
    assert "goes on there" in first.reason
    assert status(catalog).harvesting
    second, third = harvest(catalog, hurried), harvest(catalog, hurried)
    assert (second.records, third.records, third.complete) == (2, 3, True)
    assert [cursor for cursor, _ in asked] == [None, "1", "2"]
    assert not status(catalog).harvesting


def test_a_place_that_a_source_refuses_is_not_asked_for_again(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    def script(cursor: Any, _state: Any) -> Iterator[Page]:
        if cursor == "expired":
            raise Unavailable("the token has expired")
        yield Page([record("a")], "expired")
        raise Unavailable("gone")

    asked = scripted(script)
    reports = [harvest(catalog, section) for _ in range(3)]
    assert not any(report.ok for report in reports)
    assert [cursor for cursor, _ in asked] == [None, "expired", None]
    assert ids(catalog) == ["lab.a"]


def test_a_plug_in_that_fails_itself_stops_nothing(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    def script(_cursor: Any, _state: Any) -> Iterator[Page]:
        yield Page([record("a"), Rejected("b", "no title", "native of b")], "1")
        raise ZeroDivisionError("a secret of the plug-in")

    scripted(script)
    report = harvest(catalog, section)
    assert not report.ok
    assert "ZeroDivisionError" in report.reason
    assert "secret" not in report.reason
    assert ids(catalog) == ["lab.a"]
    ((_, rejected),) = catalog.rejected("lab")
    assert (rejected.identifier, rejected.reason, rejected.native) == ("b", "no title", "native of b")


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"max_pages": 2}, "2 pages"), ({"max_bytes": 150}, "150 bytes"), ({"max_records": 3}, "3 records")],
)
def test_the_sites_limits_end_a_harvest(
    catalog: LocalCatalog, section: SourceSection, scripted: Any, limit: dict[str, int], words: str
) -> None:
    def script(_cursor: Any, _state: Any) -> Iterator[Page]:
        for n in range(10_000):
            names = [f"n{n}a", f"n{n}b"]
            yield Page([record(name) for name in names], str(n), {f"lab.{name}": "x" * 50 for name in names})

    scripted(script)
    report = harvest(catalog, section.model_copy(update=limit))
    assert (report.ok, report.complete) == (True, False)
    assert words in report.reason
    assert 3 <= report.records <= 4


def test_who_begins_anew_shuts_out_who_was_before(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    inner: list[HarvestReport] = []
    begun: list[bool] = []

    def script(_cursor: Any, _state: Any) -> Iterator[Page]:
        yield Page([record("a")], "1")
        begun.append(True)
        if len(begun) == 1:
            inner.append(harvest(catalog, section, fresh=True))
        yield Page([record("b")])

    scripted(script)
    outer = harvest(catalog, section)
    assert inner[0].ok
    assert not outer.ok
    assert "Another harvest" in outer.reason
    assert ids(catalog) == ["lab.a", "lab.b"]
    assert status(catalog).state == "fresh"


def test_a_source_that_fails_again_and_again_is_left_alone_for_longer(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    def script(_cursor: Any, _state: Any) -> Iterator[Page]:
        raise Unavailable("down")
        yield

    scripted(script)
    pauses = []
    for failures in range(1, health.ALONE_AFTER + 1):
        harvest(catalog, section)
        row = catalog.store.source("lab")
        assert row is not None
        assert row.failures == failures
        assert not health.due(row, 3600)
        # Whoever asks for it is obeyed.
        assert health.due(row, 3600, requested="9999")
        pauses.append(row.resting_until)
    assert pauses == sorted(pauses)
    assert status(catalog).state == "left-alone"
    assert "left alone until" in status(catalog).line()
    assert "5 failures in a row" in status(catalog).line()
    scripted(lambda _cursor, _state: iter([Page([record("a")])]))
    harvest(catalog, section)
    assert (status(catalog).state, status(catalog).failures) == ("fresh", 0)


def test_pauses_grow_to_a_day_and_differ() -> None:
    assert [health.pause_s(n, 1.0) for n in (0, 1, 2, 3, 5)] == [0, 60, 120, 240, 960]
    assert health.pause_s(50, 1.0) == 86_400
    assert len({health.pause_s(3) for _ in range(20)}) > 1


def test_when_a_source_is_due() -> None:
    long_ago, now = "2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"
    row = SourceRow("a", "A", "A", "public", tried=long_ago)
    assert health.due(None, 3600)
    assert health.due(row, 3600)
    assert not health.due(SourceRow("a", "A", "A", "public", tried=now), 3600)
    assert not health.due(
        SourceRow("a", "A", "A", "public", tried=long_ago, failures=1, resting_until=now), 1
    )


def test_records_of_the_last_release_are_found_until_they_are_harvested_anew(
    ledger: Ledger, section: SourceSection, tmp_path: Path, scripted: Any
) -> None:
    one = record("one", title="Kept over").model_dump_json()
    with ledger.engine.begin() as connection:
        for statement in (
            "CREATE TABLE catalog_datasets (id VARCHAR PRIMARY KEY, source VARCHAR, body TEXT)",
            "CREATE TABLE catalog_sources (name VARCHAR PRIMARY KEY, title TEXT, agency TEXT, label VARCHAR, groups JSON, "
            "succeeded VARCHAR, failing_since VARCHAR, reason TEXT, records INTEGER, rejected INTEGER)",
            "CREATE TABLE catalog_rejected (number INTEGER PRIMARY KEY, source VARCHAR)",
            "CREATE TABLE catalog_version (one INTEGER PRIMARY KEY, value BIGINT)",
            "INSERT INTO catalog_sources VALUES ('lab', 'Lab', 'Lab', 'public', '[]', '2026-11-01T00:00:00.000000Z', "
            "'', '', 1, 7)",
        ):
            connection.execute(sa.text(statement))
        connection.execute(
            sa.text("INSERT INTO catalog_datasets VALUES ('lab.one', 'lab', :body)"), {"body": one}
        )
    catalog = LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)
    assert catalog.search("kept", person=BOB)[0].id == "lab.one"
    assert (status(catalog).since[:10], status(catalog).rejected) == ("2026-11-01", 7)
    with pytest.raises(NotFound, match="before they were kept"):
        catalog.native("lab.one", BOB)
    assert not sa.inspect(ledger.engine).has_table("catalog_datasets")
    again = LocalCatalog(ledger, Site(name="x", catalog=CatalogSection(sources=[section])), tmp_path)
    assert ids(again) == ["lab.one"]
    # The same record, now with its native: written although it has not changed.
    made = record("one", title="Kept over")
    scripted(lambda _cursor, _state: iter([Page([made], natives={"lab.one": "native"})]))
    assert harvest(again, section).written == 1
    assert again.native("lab.one", BOB).text == "native"


def test_tables_are_made_once_by_many(ledger: Ledger) -> None:
    assert [tables.prepare(ledger.engine) for _ in range(3)] == [False] * 3


def test_an_error_of_ours_is_still_one(catalog: LocalCatalog) -> None:
    with pytest.raises(GenesisError):
        catalog.section("absent")


def test_a_source_that_suddenly_sends_nothing_keeps_what_is_known(
    catalog: LocalCatalog, section: SourceSection, scripted: Any
) -> None:
    answers = [[record("a"), record("b")], [], []]

    def script(_cursor: Any, _state: Any) -> Iterator[Page]:
        yield Page(answers.pop(0))

    scripted(script)
    harvest(catalog, section)
    report = harvest(catalog, section)
    assert (report.ok, report.removed) == (False, 0)
    assert "sent no record at all, where 2 are known" in report.reason
    assert ids(catalog) == ["lab.a", "lab.b"]
    assert "kept" in status(catalog).reason
    assert harvest(catalog, section).removed == 0  # nor the second time
    assert ids(catalog) == ["lab.a", "lab.b"]
