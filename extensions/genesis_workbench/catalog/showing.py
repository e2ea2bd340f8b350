"""A search result as a table in the notebook: hits, what can narrow them, and the state of each source. Everything is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis_workbench.catalog.dataset import Dataset
    from genesis_workbench.catalog.result import Place, SearchResult, SourceStatus

_SHOWN_FACETS = ("agency", "field", "format", "licence", "label", "year")
_MOST_VALUES = 8
_AROUND = 70
_LEFT = 'style="text-align:left;vertical-align:top"'
_MARK = '<mark style="background:#ffe58a;color:#1b1b1b">'


def page(result: SearchResult) -> str:
    """Return a search result as HTML."""
    shown = f"<b>{len(result.items):,} of {result.total:,} dataset{'s' if result.total != 1 else ''}</b>"
    parts = [f"<p>{shown}{'. ' + html.escape(result.note) if result.note else ''}</p>"]
    parts.append(_table(result) if result.items else _nothing(result))
    parts.append(_facets(result))
    if result.next:
        parts.append(
            "<p>The next page: the same call with <code>cursor=result.next</code>, where <code>result</code> is this.</p>"
        )
    parts.append('<ul style="list-style:none;padding:0;opacity:.85">')
    parts += [_status(source) for source in result.sources]
    parts.append("</ul>")
    return "".join(parts)


def marked(text: str, ranges: Sequence[Sequence[int]]) -> str:
    """Return `text` escaped, with its ranges marked; ranges that overlap or lie outside are left out."""
    parts, at = [], 0
    for start, end in ranges:
        if at <= start < end <= len(text):
            parts += [html.escape(text[at:start]), _MARK, html.escape(text[start:end]), "</mark>"]
            at = end
    return "".join([*parts, html.escape(text[at:])])


def snippet(text: str, ranges: Sequence[Sequence[int]]) -> str:
    """Return the part of `text` around its first range, escaped and marked."""
    if not ranges:
        return html.escape(text[: 2 * _AROUND]) + ("…" if len(text) > 2 * _AROUND else "")
    start = max(ranges[0][0] - _AROUND, 0)
    end = min(ranges[0][1] + _AROUND, len(text))
    inside = [(a - start, b - start) for a, b in ranges if a >= start and b <= end]
    before, after = "…" if start else "", "…" if end < len(text) else ""
    return before + marked(text[start:end], inside) + after


def _table(result: SearchResult) -> str:
    names = ("Title", "Id", "Agency", "Source", "Formats", "Licence", "Opens here")
    head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in names)
    rows = "".join(
        _row(item, result.highlights.get(item.id, {}), result.places.get(item.id, []))
        for item in result.items
    )
    example = next((item.id for item in result.items if item.openable), "")
    how = (
        f"<p>Open one with <code>gw.catalog.open({html.escape(repr(example))})</code>.</p>" if example else ""
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{how}"


def _row(item: Dataset, where: dict[str, list[list[int]]], places: Sequence[Place]) -> str:
    title = marked(item.title, where.get("title", []))
    if item.landing_page:
        address = html.escape(item.landing_page, quote=True)
        title = f'<a href="{address}" target="_blank" rel="noopener noreferrer">{title}</a>'
    if item.description:
        said = snippet(item.description, where.get("description", []))
        title += f'<div style="opacity:.75;max-width:36em">{said}</div>'
    source = html.escape(item.source)
    if places:
        also = ", ".join(sorted({html.escape(place.source) for place in places}))
        source += f'<div style="opacity:.75">also in {also}</div>'
    licence = html.escape(item.licence or "not stated")
    cells = [
        title,
        f"<code>{html.escape(item.id)}</code>",
        html.escape(item.agency),
        source,
        html.escape(", ".join(item.formats)),
        licence + (f" ({html.escape(item.access)})" if item.access else ""),
        "yes" if item.openable else "no, see its page",
    ]
    return "<tr>" + "".join(f"<td {_LEFT}>{cell}</td>" for cell in cells) + "</tr>"


def _facets(result: SearchResult) -> str:
    rows = []
    for name in _SHOWN_FACETS:
        values = list(result.facets.get(name, {}).items())
        if values and result.total > 1:
            listed = " · ".join(f"{html.escape(value)} ({count:,})" for value, count in values[:_MOST_VALUES])
            more = f" · {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
            rows.append(f'<tr><th scope="row" {_LEFT}>{name}</th><td {_LEFT}>{listed}{more}</td></tr>')
    if not rows:
        return ""
    return (
        "<details><summary>Narrow it: <code>agency=</code>, <code>format=</code> and so on</summary>"
        f"<table><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _nothing(result: SearchResult) -> str:
    if result.total:
        return "<p>These hits are no longer in the catalog. Search again.</p>"
    return "<p>Nothing found. Try fewer words, or <code>gw.catalog.search()</code> to see everything.</p>"


def _status(source: SourceStatus) -> str:
    counts = f"{source.records:,} record{'s' if source.records != 1 else ''}"
    if source.rejected:
        counts += f", {source.rejected:,} could not be read"
    reason = f": {html.escape(source.reason)}" if source.reason else ""
    when = html.escape(source.since, quote=True)
    return (
        f'<li><b>{html.escape(source.title)}</b> · <span title="{when}">{html.escape(source.line())}</span>'
        f"{reason} · {counts}</li>"
    )
