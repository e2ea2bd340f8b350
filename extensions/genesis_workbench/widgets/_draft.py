"""What a person has typed and what they looked at last: a file in their own folder for each notebook, so that it is there tomorrow."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from genesis_workbench.core.identifiers import digest_json, new_id
from genesis_workbench.core.service import local_state

EMPTY: dict[str, Any] = {
    "title": "",
    "hypothesis": {"statement": "", "rule": {"type": "threshold"}},
    "space": [{"type": "real"}],
    "objective": {"maximize": True},
    "budget": {"trials": 20},
}


class Draft:
    """One notebook's description that is not launched yet, with the key under which it will be launched once.

    Attributes
    ----------
    fields : dict
        Of an ExperimentSpec, as typed: JSON values, some of them missing or wrong.
    experiment : str
        What was looked at last; empty where that was the form.
    """

    def __init__(self) -> None:
        folder = local_state() / "drafts"
        # Where the server says which notebook this kernel is of; other kernels share one draft.
        notebook = os.environ.get("JPY_SESSION_NAME", "")
        name = f"experiment-{digest_json(notebook)[7:23]}" if notebook else "experiment"
        self._path = folder / f"{name}.json"
        kept = self._read()
        self.fields: dict[str, Any] = kept.get("fields") or EMPTY
        self.experiment = str(kept.get("experiment", ""))
        self.key = str(kept.get("key") or new_id("key"))
        self._begun_with = str(kept.get("begun_with", ""))

    def begin(self, fields: dict[str, Any]) -> None:
        """Begin with a description, unless it is the one with which this notebook began last: then all is as it was left."""
        mark = digest_json(fields)
        if mark != self._begun_with:
            self._begun_with, self.experiment = mark, ""
            self.replace(fields)

    def change(self, fields: dict[str, Any]) -> None:
        """Keep what was typed."""
        self.fields = fields
        self._keep()

    def replace(self, fields: dict[str, Any]) -> None:
        """Begin another description, which will be another experiment."""
        self.key = new_id("key")
        self.change(fields)

    def look_at(self, experiment: str) -> None:
        """Keep what is looked at."""
        self.experiment = experiment
        self._keep()

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}  # none yet, or one that a full disk cut off: nothing to come back to
        return found if isinstance(found, dict) else {}

    def _keep(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = {
            "fields": self.fields,
            "experiment": self.experiment,
            "key": self.key,
            "begun_with": self._begun_with,
        }
        handle, name = tempfile.mkstemp(dir=self._path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        Path(name).replace(self._path)
