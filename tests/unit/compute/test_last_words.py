"""What a job said last is found below what is no word."""

from __future__ import annotations

import pytest

from genesis_workbench.compute.last_words import last_words


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("", ""),
        ("\n======\n---- \n", ""),
        ("Traceback:\n  the furnace is cold\n\n=======\n", "Its last words: the furnace is cold"),
        ("first\nlast without an end", "Its last words: last without an end"),
        ("x" * 9000, "Its last words: " + "x" * 300),
    ],
)
def test_the_last_line_with_words_counts(tmp_path, said, found):
    (tmp_path / "stderr").write_text(said)
    assert last_words(tmp_path / "stderr") == found


def test_a_job_without_a_file_said_nothing(tmp_path):
    assert last_words(tmp_path / "stderr") == ""
