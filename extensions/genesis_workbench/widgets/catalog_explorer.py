"""The catalog to look through: words, facets, map, time, a look into the data, and the line that opens them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import traitlets

from genesis_workbench import catalog
from genesis_workbench.catalog.result import SearchResult
from genesis_workbench.core.errors import DeadlineExceeded, GenesisError, InvalidInput, Unavailable
from genesis_workbench.widgets._base import Widget
from genesis_workbench.widgets._latest import Latest
from genesis_workbench.widgets._preview import preview
from genesis_workbench.widgets._script import script, styles

_PAGE = 20
_EXACT = ("agency", "field", "format", "licence", "label", "source")


class CatalogExplorer(Widget):
    """Search as you type over every source; see where, when and what; open in one line.

    Parameters
    ----------
    text : str
        Words to begin with, in the language of ``gw.catalog.search``.

    Attributes
    ----------
    asked : dict
        What is looked for now: text, exact values, year, bbox, period, sort.
    chosen : str
        Id of the dataset that was looked into last: ``gw.open(explorer.chosen)``.
    """

    _esm = script("catalog_explorer.js")
    _css = styles("catalog_explorer.css")

    asked = traitlets.Dict().tag(sync=True)
    result = traitlets.Dict().tag(sync=True)
    looked = traitlets.Dict().tag(sync=True)
    chosen = traitlets.Unicode().tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)
    passing = traitlets.Bool().tag(sync=True)  # whether what `message` says may be over by now
    busy = traitlets.Bool().tag(sync=True)

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.asked = {"text": text}
        self._next: str | None = None
        self._searches, self._looks = Latest("catalog-search"), Latest("catalog-preview")
        self.on_msg(self._command)
        self._search(self.asked)

    def close(self) -> None:
        """End its threads."""
        self._searches.stop()
        self._looks.stop()
        super().close()

    def _command(self, _widget: Any, content: Any, _buffers: Any) -> None:
        content = content if isinstance(content, dict) else {}
        what = content.get("command")
        if what == "search" and isinstance(content.get("asked"), dict):
            self.asked = content["asked"]
            self.busy = True
            self._searches.run(lambda: self._search(content["asked"]))
        elif what == "more" and self._next:
            self.busy = True
            self._searches.run(self._more)
        elif what == "look" and isinstance(content.get("id"), str):
            self.chosen = content["id"]
            self.looked = {"id": self.chosen, "kind": "wait"}
            self._looks.run(lambda: self._look(content["id"]))

    def _search(self, asked: dict[str, Any]) -> None:
        try:
            found = catalog.search(limit=_PAGE, **_arguments(asked))
        except GenesisError as error:
            self._tell(error)
            return
        self._show(found, [])

    def _more(self) -> None:
        try:
            found = catalog.search(limit=_PAGE, cursor=self._next, **_arguments(self.asked))
        except GenesisError as error:
            self._tell(error)
            return
        self._show(found, self.result.get("items", []))

    def _tell(self, error: GenesisError) -> None:
        with self.hold_sync():
            self.passing = isinstance(error, Unavailable | DeadlineExceeded)
            self.message, self.busy = error.message, False

    def _show(self, found: SearchResult, before: list[dict[str, Any]]) -> None:
        self._next = found.next
        items = [_row(item, found) for item in found.items]
        with self.hold_sync():
            self.result = {
                "items": [*before, *items],
                "total": found.total,
                "more": found.next is not None,
                "facets": found.facets,
                "note": found.note,
                "by_meaning": found.by_meaning,
                "sources": [{**asdict(each), "line": each.line()} for each in found.sources],
            }
            self.message, self.busy = "", False

    def _look(self, dataset_id: str) -> None:
        try:
            found = preview(catalog.open(dataset_id))
        except GenesisError as error:
            found = {"kind": "error", "words": error.message}
        except Exception as error:  # noqa: BLE001 - whatever is in the data, the page must say that the look failed
            found = {
                "kind": "error",
                "words": f"It opens, but could not be shown: {type(error).__name__}: {error}"[:400],
            }
        self.looked = {"id": dataset_id, **found}


def _arguments(asked: dict[str, Any]) -> dict[str, Any]:
    """Read what a page asks for; what it means is checked by the search itself."""
    made: dict[str, Any] = {"text": str(asked.get("text", ""))[:1000]}
    made.update({name: str(asked[name]) for name in _EXACT if asked.get(name)})
    try:
        if asked.get("year"):
            made["year"] = int(asked["year"])
        if asked.get("bbox"):
            made["bbox"] = tuple(float(each) for each in asked["bbox"])
        if asked.get("period"):
            start, end = asked["period"]
            made["period"] = (str(start) if start else None, str(end) if end else None)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"A year, a box or a period could not be read: {error}") from error
    made["by_meaning"] = asked.get("by_meaning") is True
    if asked.get("sort"):
        made["sort"] = str(asked["sort"])
    return made


def _row(item: Any, found: SearchResult) -> dict[str, Any]:
    """Return what a page shows of a hit."""
    shown: dict[str, Any] = item.model_dump(
        mode="json",
        include={"id", "title", "description", "agency", "source", "licence", "label", "access", "formats", "keywords",
                 "landing_page", "doi", "spatial", "temporal", "modified", "openable"},
    )  # fmt: skip
    shown["description"] = item.description[:600]
    shown["highlights"] = found.highlights.get(item.id, {})
    shown["places"] = [asdict(place) for place in found.places.get(item.id, [])]
    return shown
