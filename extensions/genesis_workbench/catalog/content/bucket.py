"""What lies in an S3 bucket that everybody may list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from genesis_workbench.catalog import xml
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher

_AMAZON = ".amazonaws.com"


@dataclass(frozen=True)
class Object:
    """One object, as the listing has it.

    Attributes
    ----------
    size : int
        Size in bytes; 0 where the listing gives none.
    etag : str
        Entity tag, as the object's own answer gives it.
    modified : str
        Time of its last change, ISO 8601.
    """

    key: str
    size: int
    etag: str
    modified: str


def listed(
    fetcher: Fetcher, bucket: str, prefix: str = "", cursor: str | None = None
) -> tuple[list[Object], str | None]:
    """Ask for up to 1,000 objects whose keys begin with `prefix`.

    Parameters
    ----------
    bucket : str
        Address of the bucket, without a slash at its end.
    cursor : str, optional
        Where the answer before left off.

    Returns
    -------
    list of Object, and the cursor of the next answer; None after the last

    Raises
    ------
    InvalidInput
        If what answers is no bucket that may be listed.
    """
    params = {
        "list-type": "2",
        "prefix": prefix or None,
        "max-keys": "1000",
        "continuation-token": cursor,
    }
    root = xml.parse(fetcher.fetch(f"{bucket}/", params=params).body, "the listing of a bucket")
    if xml.local(root) != "ListBucketResult":
        said = "".join(c for c in xml.text(root, "Message") or xml.local(root) if c.isprintable())
        raise InvalidInput(f"{shown(bucket)} sent no listing of a bucket, but: {said[:200]}.")
    return list(_objects(root)), xml.text(root, "NextContinuationToken") or None


def all_listed(fetcher: Fetcher, bucket: str, prefix: str) -> Iterator[Object]:
    """Yield all objects whose keys begin with `prefix`, in the order of their keys."""
    cursor: str | None = None
    while True:
        found, following = listed(fetcher, bucket, prefix, cursor)
        yield from found
        if following is None or following == cursor:
            return
        cursor = following


def bucket_and_key(address: str) -> tuple[str, str]:
    """Return the address of the bucket, and the key, of an object's http(s) address.

    Amazon has buckets as names of hosts; elsewhere the first part of the path is the bucket.
    """
    parts = urlsplit(address)
    host, path = f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
    name = parts.hostname or ""
    if name.endswith(_AMAZON) and not name.startswith(("s3.", "s3-")):
        return host, unquote(path)
    bucket, _, key = path.partition("/")
    return f"{host}/{quote(unquote(bucket))}", unquote(key)


def _objects(root: Any) -> Iterator[Object]:
    for entry in xml.inside(root, "Contents"):
        size = xml.text(entry, "Size")
        yield Object(
            xml.text(entry, "Key"),
            int(size) if size.isdigit() and len(size) < 20 else 0,
            xml.text(entry, "ETag"),
            xml.text(entry, "LastModified"),
        )
