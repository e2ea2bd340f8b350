"""What `workbench up` says of a program that ends."""

from __future__ import annotations

import sys

import pytest

from genesis_hub.supervisor import Program, Supervisor, _make_folders, last_words
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State

ENDS = "import sys; print('x' * 9000); print('Unavailable: nobody listens at https://login.example.org', end='\\n\\n'); sys.exit(1)"


@pytest.fixture
def ended(tmp_path):
    """A program that ended with a reason in its log."""
    program = Program("hub", [sys.executable, "-c", ENDS], {}, tmp_path / "hub.log")
    program.start()
    program.process.wait(30)
    program.started -= 60
    return program


def test_why_a_program_ended_is_said_where_it_is_started_again(ended, tmp_path):
    said = []
    supervisor = Supervisor(Site(name="x"), tmp_path / "site.toml", State(tmp_path), said.append, [ended])
    supervisor._revive()
    ended.process.wait(30)
    (line,) = said
    assert line.startswith("hub ended with status 1; starting it again.")
    assert line.endswith("hub.log: Unavailable: nobody listens at https://login.example.org")


def test_a_program_that_said_nothing_or_too_much_has_last_words_too(ended):
    ended.log.write_text("")
    assert last_words(ended.log) == "nothing"
    ended.log.write_text("y" * 20_000)
    assert len(last_words(ended.log)) == 400


def test_a_program_whose_log_was_deleted_is_started_again(ended, tmp_path):
    ended.log.unlink()
    said = []
    supervisor = Supervisor(Site(name="x"), tmp_path / "site.toml", State(tmp_path), said.append, [ended])
    supervisor._revive()
    ended.process.wait(30)
    assert "starting it again" in said[0]
    assert ended.log.exists()


def test_a_program_that_cannot_be_started_now_is_tried_again_later(ended, tmp_path, monkeypatch):
    def full(_self):
        raise OSError(28, "No space left on device")

    said = []
    supervisor = Supervisor(Site(name="x"), tmp_path / "site.toml", State(tmp_path), said.append, [ended])
    with monkeypatch.context() as disk:
        disk.setattr(Program, "start", full)
        supervisor._revive()
        supervisor._revive()  # not at once
    assert said[1:] == ["hub cannot be started now: [Errno 28] No space left on device"]
    ended.started -= 60
    supervisor._revive()
    assert ended.process.wait(30) == 1


def test_what_goes_wrong_with_the_house_ends_nothing_and_is_said_once(tmp_path, monkeypatch):
    said, looks = [], []
    supervisor = Supervisor(Site(name="x"), tmp_path / "site.toml", State(tmp_path), said.append)

    def keep_house():
        looks.append(1)
        supervisor._stopping = len(looks) > 2
        raise OverflowError("integer division result too large for a float")

    monkeypatch.setattr(supervisor, "_first_person", lambda: None)
    monkeypatch.setattr(supervisor, "_programs", list)
    monkeypatch.setattr(supervisor, "_wait_until_ready", lambda: False)
    monkeypatch.setattr(supervisor, "_keep_house", keep_house)
    monkeypatch.setattr("genesis_hub.supervisor.end_descendants", lambda _: None)
    monkeypatch.setattr("genesis_hub.supervisor.signal.signal", lambda *_: None)
    supervisor.run()
    assert len(looks) == 3
    assert sum("too large for a float" in line for line in said) == 1


def test_a_state_folder_that_somebody_made_open_is_closed(tmp_path):
    state = State(tmp_path / "workbench")
    state.folder.mkdir(mode=0o755)
    _make_folders(state)
    assert state.folder.stat().st_mode & 0o077 == 0
