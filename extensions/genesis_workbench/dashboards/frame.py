"""What stands around every dashboard: the header with its title, the theme, the width. Only dashboards' scripts import this."""

from __future__ import annotations

import html
from typing import Any

import panel as pn

# A long title is cut where the header ends, and does not make the page wider than the window.
HEADER = ".app-header { min-width: 0; } .app-header .title { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }"


def show(title: str, *content: Any, max_width_px: int = 1100) -> None:
    """Make `content` the page of the script that calls this.

    Parameters
    ----------
    title : str
        Other people's words, as they wrote them: shown in the header and as the name of the browser's tab, and never run.
    """
    # Panel writes its title as it is into the header and into <meta>, and escapes the document's in <title> by itself.
    pn.template.FastListTemplate(
        title=html.escape(title),
        main=[pn.Column(*content, sizing_mode="stretch_width")],
        theme_toggle=True,
        raw_css=[HEADER],
        main_max_width=f"{max_width_px}px",
    ).servable()
    if (document := pn.state.curdoc) is not None:  # there is none where nothing is served
        document.title = title
