"""What a page gets of a widget: one JavaScript module of several small ones, and one sheet of styles."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)


def script(name: str) -> str:
    """Return `name` and what it imports, each once, as one module.

    A notebook's page gets a widget's code as one text, in which ``import "./_page.js"`` would lead nowhere. Names are
    shared by all files, so no two may declare the same.
    """
    return "\n".join(_parts(name, []))


def styles(name: str) -> str:
    """Return the styles `name` of a widget, after those that all have."""
    return "\n".join((_HERE / each).read_text("utf-8") for each in ("_notebook.css", name))


def _parts(name: str, taken: list[str]) -> list[str]:
    taken.append(name)
    text = (_HERE / name).read_text("utf-8")
    parts = [part for other in _IMPORT.findall(text) if other not in taken for part in _parts(other, taken)]
    return [*parts, re.sub(r"^export (?!default)", "", _IMPORT.sub("", text), flags=re.MULTILINE)]
