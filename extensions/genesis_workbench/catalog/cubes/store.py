"""The references of a cube in an Icechunk repository: one writer with a lock, readers that need nothing.

A cube is a folder: ``repository`` (Icechunk), ``<snapshot>.json`` (the files that a snapshot refers to, and how each was)
and ``current`` (the name of the snapshot to read). ``current`` is replaced as a whole after everything else is there, so a
reader sees the cube before or after a change, never in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import zarr
from zarr.codecs import numcodecs as filters
from zarr.storage import WrapperStore

from genesis_workbench.catalog.content import HttpContent, LocalContent
from genesis_workbench.catalog.cubes.guard import GuardedStore
from genesis_workbench.catalog.cubes.scan import FileScan, Layout, Unsuitable
from genesis_workbench.core.errors import DeadlineExceeded

# Commits hold a lock here, so what Icechunk warns of on a plain folder cannot happen.
icechunk.set_logs_filter("error")
_LOCK_S = 900.0
CubeFile = LocalContent | HttpContent
FORM = 2
"""Changes with what is kept: a cube of another form is made anew."""


class CubeStore:
    """One cube on disk.

    Parameters
    ----------
    folder : Path
        Folder of its own.
    sources : str
        Folder, or address of a bucket, that its files lie in: nothing outside it is ever read for it.
    """

    def __init__(self, folder: Path, sources: str) -> None:
        self.folder = folder
        self.sources = sources

    def current(self) -> dict[str, Any] | None:
        """Return the manifest to read; None where there is none of this form."""
        try:
            name = (self.folder / "current").read_text()
            if not name.isalnum():
                return None
            manifest: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return manifest if manifest.get("form") == FORM else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the cube's lock.

        Raises
        ------
        DeadlineExceeded
            If somebody else holds it for a quarter of an hour.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_S
        with (self.folder / "lock").open("a") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DeadlineExceeded(
                            "Somebody else has been making this cube for a quarter of an hour. Try again later."
                        ) from None
                    time.sleep(0.05)
            yield

    def build(self, files: Sequence[CubeFile], scans: Sequence[FileScan], dim: str, stamp_s: float) -> None:
        """Write all references anew. The lock must be held."""
        session = self._repository(make=True).writable_session("main")
        first = scans[0]
        starts = np.cumsum([0, *(s.length for s in scans)])
        _check_alignment(first.layouts, scans, starts)
        group = zarr.group(session.store, overwrite=True, zarr_format=3, attributes=first.attributes[""])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr")
            for name, layout in first.layouts.items():
                _create(group, name, layout, int(starts[-1]), scans, first.attributes[name])
        self._refer(session, None, files, scans, [int(s) for s in starts[:-1]], stamp_s)
        self._commit(session, files, [s.length for s in scans], first, dim)

    def mend(
        self,
        manifest: dict[str, Any],
        files: Sequence[CubeFile],
        changed: dict[int, FileScan],
        stamp_s: float,
    ) -> None:
        """Write the references of some of the `files` anew, where they are. The lock must be held."""
        session = self._repository().writable_session("main")
        if session.snapshot_id != manifest["snapshot"]:
            raise Unsuitable("another writer left the cube between two states")
        lengths = [row[1] for row in manifest["files"]]
        starts = np.cumsum([0, *lengths])
        group = zarr.open_group(session.store, mode="a")
        for number, scan in changed.items():
            for name, values in scan.loaded.items():
                if manifest["dim"] in scan.layouts[name].dims:
                    group[name][int(starts[number]) : int(starts[number + 1])] = values  # type: ignore[index]
        contents, scans = [files[n] for n in changed], list(changed.values())
        self._refer(session, manifest, contents, scans, [int(starts[n]) for n in changed], stamp_s)
        self._commit(session, files, lengths, scans[0], manifest["dim"])

    def store(self, manifest: dict[str, Any]) -> WrapperStore[Any]:
        """Return the store to read the cube from."""
        session = self._repository().readonly_session(snapshot_id=manifest["snapshot"])
        return GuardedStore(session.store, str(self.folder / f"{manifest['snapshot']}.json"))

    def _repository(self, *, make: bool = False) -> icechunk.Repository:
        config = icechunk.RepositoryConfig.default()
        prefix = Path(self.sources).as_uri() + "/"
        local = icechunk.local_filesystem_store(prefix.removeprefix("file://"))
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, local))
        storage = icechunk.local_filesystem_storage(str(self.folder / "repository"))
        open_ = icechunk.Repository.open_or_create if make else icechunk.Repository.open
        return open_(storage, config=config, authorize_virtual_chunk_access={prefix: None})

    def _refer(
        self,
        session: icechunk.Session,
        manifest: dict[str, Any] | None,
        files: Sequence[Any],
        scans: Sequence[FileScan],
        starts: Sequence[int],
        stamp_s: float,
    ) -> None:
        """Write where the pieces of `files` lie, which begin at `starts` of a cube; `manifest` where it is mended."""
        stamp = datetime.fromtimestamp(int(stamp_s), UTC)
        for name, layout in scans[0].layouts.items():
            if layout.loaded:
                continue
            specs = [
                icechunk.VirtualChunkSpec(
                    index=[position[0] + start // layout.chunks[0], *position[1:]],
                    location=Path(content.file).as_uri(),
                    offset=offset,
                    length=length,
                    last_updated_at_checksum=stamp,
                )
                for content, scan, start in zip(files, scans, starts, strict=True)
                for position, offset, length in scan.pieces[name]
            ]
            refused = session.store.set_virtual_refs(f"/{name}", specs, validate_containers=True)
            if refused:
                raise Unsuitable(f"{len(refused)} pieces of {name!r} lie outside the folder")

    def _commit(
        self,
        session: icechunk.Session,
        files: Sequence[CubeFile],
        lengths: Sequence[int],
        scan: FileScan,
        dim: str,
    ) -> None:
        self._check(files)
        snapshot = session.commit(f"{len(files)} files along {dim}")
        self._keep(snapshot)
        chunk_lengths = {name: layout.chunks[0] for name, layout in scan.layouts.items() if not layout.loaded}
        manifest = {
            "form": FORM,
            "snapshot": snapshot,
            "dim": dim,
            "units": scan.units,
            "chunk_lengths": chunk_lengths,
            "files": [[each.place, n, *each.version] for each, n in zip(files, lengths, strict=True)],
        }
        _replace(self.folder / f"{snapshot}.json", json.dumps(manifest))
        _replace(self.folder / "current", snapshot)

    def _check(self, files: Sequence[Any]) -> None:
        """Look once more, before anybody reads by these references; Conflict where a file changed."""
        for content in files:
            content.check()

    def _keep(self, snapshot: str) -> None:
        """Keep what lies beside the repository for `snapshot`: nothing, where Icechunk has the references."""


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}-{os.getpid()}")
    new.write_text(text)
    new.replace(path)


def _check_alignment(layouts: dict[str, Layout], scans: Sequence[FileScan], starts: Any) -> None:
    for name, layout in layouts.items():
        if layout.loaded:
            continue
        step = layout.chunks[0]
        ragged = [n for n, start in enumerate(starts[:-1]) if start % step]
        if ragged:
            raise Unsuitable(
                f"the pieces of {name!r} are {step} long, which the {scans[ragged[0] - 1].length} of a file do not fit"
            )


def _create(
    group: zarr.Group, name: str, layout: Layout, total: int, scans: Sequence[FileScan], known: dict[str, Any]
) -> None:
    from xarray.backends.zarr import FillValueCoder

    shape = tuple(total if n == -1 else n for n in layout.shape)
    dtype = np.dtype(layout.dtype)
    attributes = dict(known)
    if "_FillValue" in attributes:
        attributes["_FillValue"] = FillValueCoder.encode(dtype.type(attributes["_FillValue"]), dtype)
    compressors = [_codec(codec, value) for codec, value in layout.codecs]
    array = group.create_array(
        name,
        shape=shape,
        chunks=tuple(max(n, 1) for n in (shape if layout.loaded else layout.chunks)),
        dtype=dtype,
        compressors=compressors or None,
        filters=None,
        fill_value=np.frombuffer(layout.fill, dtype)[0],
        dimension_names=layout.dims,
        attributes=attributes,
    )
    if layout.loaded:
        whole = [s.loaded[name] for s in scans] if -1 in layout.shape else [scans[0].loaded[name]]
        array[...] = np.concatenate(whole) if -1 in layout.shape else whole[0]


def _codec(name: str, value: int) -> Any:
    if name == "zlib":
        return filters.Zlib(level=value)
    return filters.Shuffle(elementsize=value) if name == "shuffle" else filters.Fletcher32()
