"""What lies in a folder of a web server, by the page with links that it answers with."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import unquote, urljoin, urlsplit

from genesis_workbench.catalog.content.file import kind
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher

_LINK = re.compile(rb"""<a\s[^<>]{0,500}?href\s{0,5}=\s{0,5}["']?([^"'<>\s]{1,1000})["'\s>]""", re.IGNORECASE)


def linked(fetcher: Fetcher, folder: str) -> dict[str, str]:
    """Return the addresses of the files in a folder by their names; folders below it are left out.

    Parameters
    ----------
    folder : str
        Address of the folder, with a slash at its end.

    Raises
    ------
    InvalidInput
        If what answers is no page with links.
    """
    answer = fetcher.fetch(folder, headers={"accept": "text/html"})
    if kind(answer.body[:512]) != "an HTML page":
        raise InvalidInput(f"{shown(folder)} answers with no page that lists its files.")
    found = {}
    for match in _LINK.finditer(answer.body):
        address = urljoin(answer.url, unescape(match.group(1).decode("utf-8", "replace")))
        parts = urlsplit(address)
        below = address.removeprefix(folder)
        if (
            address.startswith(folder)
            and below
            and "/" not in below
            and not parts.query
            and not parts.fragment
        ):
            found[unquote(below)] = address
    return found
