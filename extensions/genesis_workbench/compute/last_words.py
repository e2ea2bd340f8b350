"""What a job said last, which is most often why it ended."""

from __future__ import annotations

from pathlib import Path

_BYTES, _LETTERS = 4000, 300


def last_words(path: Path) -> str:
    """Return the last line of a file in which there are words, as a sentence begins; empty where there is none.

    Below its words torchrun draws rules, and indents what a process has said.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    said = next((line.strip() for line in reversed(lines) if any(map(str.isalnum, line))), "")
    return f"Its last words: {said[:_LETTERS]}" if said else ""
