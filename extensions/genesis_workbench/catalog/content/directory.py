"""What lies in a folder of a web server, by the page with links that it answers with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote, urljoin, urlsplit

from genesis_workbench.catalog.content.file import kind
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher

_LINK = re.compile(
    rb"""<a\s[^<>]{0,500}?href\s{0,5}=\s{0,5}(?:["']([^"'<>]{1,1000})["']|([^"'<>\s]{1,1000}))""",
    re.IGNORECASE,
)
_READ_BYTES = 8 * 2**20


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
    here = [each for each in below(answer.body, answer.url) if _parent(each) == _parent(answer.url)]
    return {unquote(address.rpartition("/")[2]): address for address in here}


def below(page: bytes, url: str) -> Iterator[str]:
    """Yield the addresses below a page's own folder that it links: no queries, no fragments, nothing that is no address."""
    folder = _parent(url)
    for match in _LINK.finditer(page[:_READ_BYTES]):
        try:
            address = urljoin(url, unescape((match[1] or match[2]).decode("utf-8", "replace")))
            parts = urlsplit(address)
        except ValueError:
            continue
        if (
            address.startswith(folder)
            and address not in (url, folder)
            and not parts.query
            and not parts.fragment
        ):
            yield address


def _parent(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[0] + "/"
