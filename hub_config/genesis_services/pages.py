"""The few pages that the service itself shows."""

from __future__ import annotations

import html

from starlette.responses import HTMLResponse

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>{head}<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0 16px; }}
main {{ max-width: 34rem; }} h1 {{ font-size: 1.4rem; margin: 0 0 .5rem; }} progress {{ width: 100%; }}
</style></head><body><main><h1>{title}</h1><p>{text}</p>{more}</main></body></html>"""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def message(title: str, text: str, *, status: int = 200) -> HTMLResponse:
    """Return a page that says one thing."""
    page = _PAGE.format(title=html.escape(title), text=html.escape(text), head="", more="")
    return HTMLResponse(page, status, headers=_HEADERS)


def waiting(title: str, text: str) -> HTMLResponse:
    """Return a page that shows that something is under way and looks again each second."""
    page = _PAGE.format(
        title=html.escape(title),
        text=html.escape(text),
        head='<meta http-equiv="refresh" content="1">',
        more='<progress aria-label="starting"></progress>',
    )
    return HTMLResponse(page, 200, headers=_HEADERS)
