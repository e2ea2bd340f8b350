"""What `workbench up` says of a program that ends."""

from __future__ import annotations

import sys

import pytest

from genesis_hub.supervisor import Program, Supervisor, last_words
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
