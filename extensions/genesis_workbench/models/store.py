"""Where the zoo keeps artifacts, and what of it nothing refers to any more."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from genesis_workbench.core.errors import NotFound
from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import Blobs, BlobStore, Stored

GRACE_S = 7 * 24 * 3600.0
"""What is younger is kept: something that will name it may be on its way."""
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Collection:
    """What a look at a store found, or deleted.

    Attributes
    ----------
    kept : int
        Blobs that an event names.
    young : int
        Blobs that none names, but which were written within the grace period.
    unused : tuple of Stored
        The others.
    """

    kept: int
    young: int
    unused: tuple[Stored, ...]

    @property
    def unused_bytes(self) -> int:
        """Bytes of what nothing refers to."""
        return sum(each.size_bytes for each in self.unused)


def artifacts(site: Site, state: State) -> Blobs:
    """Open the store that the site names: a bucket, a folder, or the blobs of the state folder."""
    section = site.models
    if section.store.startswith("s3://"):
        from genesis_workbench.core.objects import S3Blobs

        return S3Blobs(
            section.store,
            endpoint=section.s3_endpoint,
            region=section.s3_region,
            credentials_file=section.s3_credentials_file,
        )
    return BlobStore(Path(section.store).expanduser() if section.store else state.blobs)


def collect(ledger: Ledger, blobs: Blobs, *, grace_s: float = GRACE_S, delete: bool = False) -> Collection:
    """Find the blobs that no event of the ledger names, of whatever kind; and delete them where asked.

    A registration writes the blob, then the event, then looks whether the blob is there. Here a blob is read, deleted, and
    written again where an event has named it meanwhile. So whichever comes first, what is named is there.
    """
    named, seen = _named(ledger, 0)
    now, kept, young, unused = time.time(), 0, 0, []
    for blob in list(blobs.listed()):
        if blob.digest in named:
            kept += 1
        elif now - blob.modified < grace_s:
            young += 1
        elif not delete:
            unused.append(blob)
        else:
            gone, seen = _delete(ledger, blobs, blob, named, seen)
            unused += [blob] if gone else []
            kept += not gone
    return Collection(kept, young, tuple(unused))


def _delete(ledger: Ledger, blobs: Blobs, blob: Stored, named: set[str], seen: int) -> tuple[bool, int]:
    try:
        data = blobs.read(blob.digest)
    except NotFound:
        return True, seen
    blobs.delete(blob.digest)
    more, seen = _named(ledger, seen)
    named |= more
    if blob.digest in named:
        blobs.put(data)
        return False, seen
    return True, seen


def _named(ledger: Ledger, after: int) -> tuple[set[str], int]:
    """Return every digest that an event after `after` names, and the number of the last event."""
    named: set[str] = set()
    while events := ledger.read(after=after, limit=5000):
        for event in events:
            named |= {found.decode() for found in _DIGEST.findall(canonical_json(event.body))}
        after = events[-1].seq
    return named, after
