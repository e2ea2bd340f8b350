"""What stands around every dashboard: titles are other people's words, shown and never run."""

from __future__ import annotations

import weakref
from html.parser import HTMLParser
from types import SimpleNamespace

import panel as pn
from bokeh.document import Document
from bokeh.server.contexts import BokehSessionContext
from panel.io.resources import Resources
from panel.io.server import server_html_page_for_session
from panel.io.state import set_curdoc

from genesis_workbench.dashboards.frame import show

TITLE = '<script>taken()</script>"><img src=x onerror=taken()> Sun & wind'


class Page(HTMLParser):
    """Notes what the browser would run of a title, and the words of the header and of the tab."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.live: list[str] = []
        self.words = {"header": "", "tab": ""}
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = "tab" if tag == "title" else "header" if ("class", "title") in attrs else tag
        if ("onerror", "taken()") in attrs:
            self.live.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in self.words:
            self.words[self._within] += data
        if self._within == "script" and data == "taken()":
            self.live.append("script")


class Session:
    """What Panel asks of a session to write its page."""

    token, id = "t", "s"

    def __init__(self, document: Document) -> None:
        self.document = document


def test_a_title_is_shown_as_it_was_written_and_is_not_run() -> None:
    document = Document()
    context = BokehSessionContext("s", None, document)
    context._request = SimpleNamespace(arguments={}, cookies={}, headers={})
    document._session_context = weakref.ref(context)  # as a server does: without one nothing is served
    with set_curdoc(document):
        show(TITLE, pn.pane.Str("inside"))
        text = server_html_page_for_session(
            Session(document), Resources(mode="server"), document.title,
            template=document.template, template_variables=document.template_variables,
        )  # fmt: skip
    page = Page(text)
    assert page.live == []
    assert page.words == {"header": TITLE, "tab": TITLE}
