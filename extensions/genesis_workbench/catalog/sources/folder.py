"""A folder: files that lie on a disk that the workbench can read, such as a project's shared one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from genesis_workbench.catalog.dataset import Dataset, Distribution, Rejected
from genesis_workbench.catalog.sources._base import Page, make_dataset, read_page
from genesis_workbench.catalog.sources._files import local_path
from genesis_workbench.catalog.sources._objects import DATA_ENDINGS, described, ending
from genesis_workbench.catalog.sources._series import Series, address_of, described_series
from genesis_workbench.core.errors import GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.site import SourceSection

MAX_DEPTH = 20
_PER_PAGE = 500


@dataclass(frozen=True)
class _Entry:
    path: Path
    name: str
    size: int
    modified: float
    series: bool = False


class FolderSource:
    """Every file of a known format, every Zarr store, and every series of files, is one dataset. Files are listed, not read.

    `url` of the section is ``file:///folder``. What begins with a dot is left out. Links are followed only where they
    stay inside the folder.
    """

    kind: ClassVar[str] = "folder"
    protocol: ClassVar[str] = "files of a folder"
    incremental: ClassVar[bool] = False

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        self._section = section
        self._root = local_path(section)

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages of files in the order of their names, if anything has changed."""
        root = self._root
        if root is None:
            raise InvalidInput(f"The source {self._section.name!r} needs file:///folder as its url.")
        if not root.is_dir():
            raise NotFound(
                f"The source {self._section.name!r} names the folder {root.name!r}, which is not there."
            )
        rejected: list[Rejected] = []
        entries = _with_series(
            sorted(self._walk(root.resolve(), root.resolve(), 0, rejected), key=lambda e: e.name)
        )
        seen = {"digest": digest_json([[e.name, e.size, e.modified] for e in entries])}
        if state and cursor is None and state.get("digest") == seen["digest"]:
            yield Page([], state=seen, unchanged=True)
            return
        first = int(cursor) if cursor and cursor.isdigit() else 0
        for start in range(first, max(len(entries), first + 1), _PER_PAGE):
            chosen = entries[start : start + _PER_PAGE]
            after = str(start + _PER_PAGE) if start + _PER_PAGE < len(entries) else None
            made = read_page([vars(e) for e in chosen], self._read, lambda r: r["name"], after, state=seen)
            yield Page([*made.records, *(rejected if start == 0 else [])], after, made.natives, state=seen)

    def _walk(self, folder: Path, root: Path, depth: int, rejected: list[Rejected]) -> Iterator[_Entry]:
        try:
            children = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError as error:
            if folder == root:
                raise Unavailable(f"The folder {root.name!r} cannot be read.", detail=repr(error)) from error
            rejected.append(Rejected(folder.relative_to(root).as_posix(), "the folder cannot be read"))
            return
        for child in children:
            name = Path(child.path).relative_to(root).as_posix()
            if child.name.startswith("."):
                continue
            try:
                if child.is_symlink() and not Path(child.path).resolve().is_relative_to(root):
                    rejected.append(Rejected(name, "it is a link that leads out of the folder"))
                    continue
                status = child.stat()
                store = child.is_dir() and ending(child.name) == "zarr"
                if (child.is_file() and ending(child.name) in DATA_ENDINGS) or store:
                    yield _Entry(Path(child.path), name, 0 if store else status.st_size, status.st_mtime)
                elif child.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                    yield from self._walk(Path(child.path), root, depth + 1, rejected)
            except (OSError, GenesisError):
                rejected.append(Rejected(name, "it cannot be looked at"))

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        moment = datetime.fromtimestamp(record["modified"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = Path(record["path"])
        if record["series"]:
            fields = described_series(record["name"], moment)
            url = f"{path.parent.as_uri()}/{address_of(path.name)}"
        else:
            fields = described(record["name"], record["size"], moment)
            url = path.as_uri()
        whole = Distribution(format=fields.pop("format"), url=url, size_bytes=record["size"] or None)
        return make_dataset(
            self._section, {**record, "path": str(record["path"])}, distributions=[whole], **fields
        )


def _with_series(entries: Iterable[_Entry]) -> list[_Entry]:
    """Return `entries`, each series after its second file."""
    series, found = Series(), []
    for entry in entries:
        found.append(entry)
        pattern = series.add(entry.name)
        if pattern is not None:
            path = entry.path.with_name(pattern.rpartition("/")[2])
            found.append(_Entry(path, pattern, 0, entry.modified, series=True))
    return found
