"""Which files a cube is made of, and how each of them was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from genesis_workbench.catalog.content import LocalContent, Places
from genesis_workbench.catalog.content.local import Stamp
from genesis_workbench.catalog.content.places import MAX_FILES, local_path
from genesis_workbench.core.errors import InvalidInput, PermissionRefused, TooLarge

YOUNG_NS = 2 * 10**9
"""Age below which a file is left alone: somebody may be writing it, and clocks are coarse."""


@dataclass(frozen=True)
class Listing:
    """The files that an address with wildcards names, by name.

    Attributes
    ----------
    folder : str
        Folder of the site that they lie in, as a real path.
    files : tuple of LocalContent
        The files, each with its stamp.
    """

    folder: str
    files: tuple[LocalContent, ...]

    def old_enough(self, now_ns: int) -> Listing:
        """Return those that were not changed just now (in the future counts as just now)."""
        kept = [f for f in self.files if max(f.stamp.modified_ns, f.stamp.changed_ns) < now_ns - YOUNG_NS]
        return Listing(self.folder, tuple(kept))


def listed(url: str, places: Places) -> Listing:
    """Look at the files that ``file:///folder/name-*.nc`` names.

    Raises
    ------
    PermissionRefused
        If the folder is not open, or a link among the files leads out of it.
    InvalidInput
        If no file has such a name.
    TooLarge
        If there are more than can be handled.
    """
    pattern = local_path(url)
    if any(mark in part for part in pattern.parts[:-1] for mark in "*?["):
        raise InvalidInput("Wildcards are understood in the last part of an address only.")
    parent = pattern.parent.resolve()
    allowed = [f for f in (Path(f).resolve() for f in places.data_folders) if parent.is_relative_to(f)]
    if not allowed:
        raise PermissionRefused(
            f"The folder of {pattern.name!r} is none that this site opens. Its operator can name it in the site file: "
            "catalog.data_folders."
        )
    folder = str(allowed[0])
    try:
        with os.scandir(parent) as entries:
            named = (e for e in entries if fnmatchcase(e.name, pattern.name) and not e.name.startswith("."))
            files = tuple(sorted(_looked_at(named, str(parent), folder, places), key=lambda f: f.file))
    except FileNotFoundError:
        files = ()
    if not files:
        raise InvalidInput(f"No file has a name like {pattern.name!r} in its folder.")
    return Listing(folder, files)


def _looked_at(
    entries: Iterable[os.DirEntry[str]], parent: str, folder: str, places: Places
) -> Iterable[LocalContent]:
    for number, entry in enumerate(entries):
        if number >= MAX_FILES:
            raise TooLarge(f"More than {MAX_FILES:,} files have that name. Name fewer.")
        if entry.is_symlink():
            yield LocalContent.at(Path(entry.path), places.data_folders)
            continue
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield LocalContent(f"{parent}/{entry.name}", folder, Stamp.of(status))
