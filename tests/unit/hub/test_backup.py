"""A backup is whole although the workbench writes, says what is damaged, and leaves nothing half done."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genesis_hub import backup
from genesis_hub.backup import back_up
from genesis_hub.people import People
from genesis_hub.secrets import Secrets
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, Unavailable, VerificationFailed
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore

SITE = Site(name="test")


@pytest.fixture
def state(tmp_path):
    """A state folder in use: its databases are open, and hold what is not in their files yet."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    made = State(folder)
    Secrets.load_or_make(made.secrets)
    People(made.people).add("alice", groups=("solar",))
    made.blobs.mkdir()
    BlobStore(made.blobs).put(b"a spectrum")
    ledger = Ledger.open(made.ledger_url())
    for number in range(3):
        ledger.append("test/one", "happened", {"number": number}, actor="alice")
    hub = sqlite3.connect(made.hub_database)
    hub.execute("PRAGMA journal_mode = WAL")
    hub.execute("CREATE TABLE users (name TEXT)")
    hub.execute("INSERT INTO users VALUES ('alice')")
    hub.commit()
    home = made.homes / "alice"
    (home / "empty").mkdir(parents=True)
    (home / "notes.txt").write_text("kept")
    (home / "results").symlink_to("/somewhere/else")
    made.logs.mkdir()
    (made.logs / "hub.log").write_text("said")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        listening.bind("a.sock")
        os.chdir(here)
        yield made
    hub.close()
    ledger.close()


def made(state, target, *, homes=False):
    said = []
    back_up(SITE, state, target, homes=homes, say=said.append)
    return State(target), "\n".join(said)


def test_a_copy_has_what_was_committed_a_moment_ago_and_is_as_closed(state, tmp_path):
    copy, said = made(state, tmp_path / "backups/today")
    with sqlite3.connect(copy.hub_database) as hub:
        assert hub.execute("SELECT name FROM users").fetchall() == [("alice",)]
    hub.close()
    ledger = Ledger.open(copy.ledger_url())
    assert [event.body["number"] for event in ledger.read(stream="test/one")] == [0, 1, 2]
    assert ledger.head()[1] in said
    ledger.close()
    assert Secrets.load_or_make(copy.secrets) == Secrets.load_or_make(state.secrets)
    assert [each.name for each in People(copy.people).all()] == ["alice"]
    assert [each.size_bytes for each in BlobStore(copy.blobs).listed()] == [10]
    for path in (copy.folder, copy.secrets, copy.people, copy.hub_database):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not copy.homes.exists()
    assert not copy.logs.exists()
    assert not list(copy.folder.glob("*.sock"))
    assert "People's homes are not in it" in said


def test_homes_come_along_where_asked_for_with_their_links_as_links(state, tmp_path):
    copy, _ = made(state, tmp_path / "today", homes=True)
    home = copy.homes / "alice"
    assert (home / "notes.txt").read_text() == "kept"
    assert (home / "empty").is_dir()
    assert (home / "results").readlink() == Path("/somewhere/else")


def test_a_database_is_copied_before_the_files_that_it_names(state, tmp_path, monkeypatch):
    order = []

    def seen(name):
        copy = getattr(backup, name)

        def copied(path, to):
            order.append(path.name)
            return copy(path, to)

        return copied

    for name in ("_database", "_file"):
        monkeypatch.setattr(backup, name, seen(name))
    laboratory = state.laboratories / "films"
    laboratory.mkdir(parents=True)
    with sqlite3.connect(laboratory / "journal.sqlite") as journal:
        journal.execute("CREATE TABLE plans (key TEXT)")
    journal.close()
    copy, _ = made(state, tmp_path / "today")
    assert set(order[:3]) == {"hub.sqlite", "workbench.sqlite", "journal.sqlite"}
    assert len(order) == len(set(order)) > 4
    assert not any("-wal" in name or "-shm" in name for name in order)
    assert (copy.laboratories / "films/journal.sqlite").exists()


def test_whatever_people_keep_is_copied_as_it_lies_there_and_breaks_nothing(state, tmp_path):
    (state.jobs / "j1").mkdir(parents=True)
    (state.jobs / "j1/result.sqlite").write_text("x,y")  # no database
    os.mkfifo(tmp_path / "pipe")
    home = state.homes / "alice"
    (home / "a.sqlite").symlink_to(tmp_path / "pipe")
    os.mkfifo(home / "never")  # is left out, and not waited for
    (home / "b.sqlite-wal").write_text("kept")
    copy, _ = made(state, tmp_path / "today", homes=True)
    assert (copy.jobs / "j1/result.sqlite").read_text() == "x,y"
    assert (copy.homes / "alice/a.sqlite").is_symlink()
    assert (copy.homes / "alice/b.sqlite-wal").read_text() == "kept"


def test_what_of_people_cannot_be_read_is_named_and_the_rest_is_there(state, tmp_path, monkeypatch):
    (state.homes / "alice/private.txt").write_text("x")
    copy_one = backup._file

    def closed(path, to):
        if path.name == "private.txt":
            raise PermissionError(13, "Permission denied")
        return copy_one(path, to)

    monkeypatch.setattr(backup, "_file", closed)
    with pytest.raises(
        VerificationFailed, match=r"homes/alice/private.txt cannot be read \(Permission denied\)"
    ):
        made(state, tmp_path / "today", homes=True)
    assert (tmp_path / "today/homes/alice/notes.txt").read_text() == "kept"
    assert not (tmp_path / "today/homes/alice/private.txt").exists()


def test_a_backup_that_is_ended_leaves_nothing(state, tmp_path):
    slow = (
        "import sys, time; from genesis_hub import backup, command; backup._file = lambda *_: time.sleep(60); "
        "sys.argv[0] = 'workbench'; command.main()"
    )
    words = ["backup", str(tmp_path / "backups/today"), "--state", str(state.folder)]
    process = subprocess.Popen([sys.executable, "-c", slow, *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("backups/.today-*/hub.sqlite")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(60) != 0
    assert list((tmp_path / "backups").iterdir()) == []


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("state/inside", InvalidInput, "beside each other"),
        (".", Conflict, "is there already"),
    ],
)
def test_a_target_that_cannot_be_one_is_refused(state, tmp_path, where, error, words):
    with pytest.raises(error, match=words):
        made(state, tmp_path / where)
    assert not (tmp_path / "state/inside").exists()


def test_what_is_no_workbench_is_not_copied(tmp_path):
    with pytest.raises(NotFound, match="no workbench"):
        made(State(tmp_path / "nothing"), tmp_path / "today")


def test_a_disk_that_is_full_leaves_nothing_behind(state, tmp_path, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.shutil, "copy2", full)
    with pytest.raises(Unavailable, match="No space left"):
        made(state, tmp_path / "backups/today")
    assert list((tmp_path / "backups").iterdir()) == []


def test_damage_is_told_and_the_copy_kept(state, tmp_path):
    (digest,) = (each.digest for each in BlobStore(state.blobs).listed())
    file = BlobStore(state.blobs).path(digest)
    file.chmod(0o600)
    file.write_bytes(b"a nicer spectrum")
    with pytest.raises(VerificationFailed, match=re.escape(digest)):
        made(state, tmp_path / "today")
    assert State(tmp_path / "today").secrets.exists()


def test_a_ledger_in_a_database_of_its_own_is_named_without_its_password(state, tmp_path):
    site = Site(name="test", ledger={"url": "postgresql+psycopg://gw:hidden@db.example/gw"})
    said = []
    back_up(site, state, tmp_path / "today", homes=False, say=said.append)
    assert any("db.example/gw" in line for line in said)
    assert "hidden" not in "".join(said)
