"""XML from places that nobody here controls: no entities, no network, bounded in size and depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lxml import etree

from genesis_workbench.core.errors import InvalidInput, TooLarge

MAX_BYTES = 64 * 2**20


def parse(body: bytes, what: str) -> Any:
    """Return the root element of a document.

    Depth and length of text are bounded by libxml2 (256 levels, 10 MB); entities are refused, not expanded.

    Parameters
    ----------
    body : bytes
        The document, in whatever encoding it declares.
    what : str
        What was expected, for the message: ``a THREDDS catalog``.

    Raises
    ------
    InvalidInput
        If it is not XML, or declares entities.
    TooLarge
        If it has more than 64 MB.
    """
    if len(body) > MAX_BYTES:
        raise TooLarge(f"A document of {len(body):,} bytes is too large for {what}; {MAX_BYTES:,} are read.")
    if b"<!ENTITY" in body:
        raise InvalidInput(f"The document declares entities, which {what} does not need; it is refused.")
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        start = body[:200].lstrip().lower()
        kind = "HTML" if start.startswith((b"<!doctype html", b"<html")) else "no readable XML"
        raise InvalidInput(
            f"The answer is {kind if body else 'empty'}, where {what} was expected.", detail=str(error)
        ) from error
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None and any(True for _ in declared.iterentities()):
        raise InvalidInput(f"The document declares entities, which {what} does not need; it is refused.")
    return root


def local(element: Any) -> str:
    """Return an element's name without its namespace."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def inside(element: Any, *path: str) -> Iterator[Any]:
    """Yield the elements at `path` below `element`, by names without namespaces."""
    if element is None:
        return
    if not path:
        yield element
        return
    for child in element:
        if local(child) == path[0]:
            yield from inside(child, *path[1:])


def first(element: Any, *path: str) -> Any:
    """Return the first element at `path`, or None."""
    return next(inside(element, *path), None)


def texts(element: Any, *path: str) -> list[str]:
    """Return the texts at `path`, those without any left out."""
    found = ("".join(each.itertext()).strip() for each in inside(element, *path))
    return [text for text in found if text]


def text(element: Any, *path: str) -> str:
    """Return the first text at `path`; empty where there is none."""
    return next(iter(texts(element, *path)), "")


def attribute(element: Any, name: str) -> str:
    """Return an attribute by its name without namespace; empty where there is none."""
    if element is None:
        return ""
    return next((str(v) for k, v in element.attrib.items() if etree.QName(k).localname == name), "")


def record(element: Any, **more: Any) -> Mapping[str, Any]:
    """Return an element as a record for ``read_page``: with its native text."""
    return {"#text": etree.tostring(element, encoding="unicode", with_tail=False), "element": element, **more}
