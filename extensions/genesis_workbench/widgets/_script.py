"""One JavaScript module of several small ones: a widget's own file, and those that it imports from this folder."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)


def script(name: str) -> str:
    """Return `name` and what it imports, each once, as one module.

    A notebook's page gets a widget's code as one text, in which ``import "./_page.js"`` would lead nowhere. Names are
    shared by all files, so no two may declare the same.
    """
    return "\n".join(_parts(name, []))


def _parts(name: str, taken: list[str]) -> list[str]:
    taken.append(name)
    text = (Path(__file__).parent / name).read_text("utf-8")
    parts = [part for other in _IMPORT.findall(text) if other not in taken for part in _parts(other, taken)]
    return [*parts, re.sub(r"^export (?!default)", "", _IMPORT.sub("", text), flags=re.MULTILINE)]
