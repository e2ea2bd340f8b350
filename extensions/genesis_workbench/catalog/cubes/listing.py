"""Which files a cube is made of, and how each of them was."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote, unquote

from genesis_workbench.catalog.content import HttpContent, LocalContent, Places, bucket, directory
from genesis_workbench.catalog.content.local import Stamp
from genesis_workbench.catalog.content.places import MAX_FILES, local_path
from genesis_workbench.core.errors import InvalidInput, NotFound, PermissionRefused, TooLarge, Unavailable

YOUNG_NS = 2 * 10**9
"""Age below which a file is left alone: somebody may be writing it, and clocks are coarse."""
_AT_ONCE = 16


@dataclass(frozen=True)
class Listing:
    """The files that an address with wildcards names, by name.

    Attributes
    ----------
    folder : str
        Folder of the site that they lie in, as a real path; or the address of their bucket or web folder.
    files : tuple of LocalContent or of HttpContent
        The files, each as it is now.
    """

    folder: str
    files: tuple[LocalContent | HttpContent, ...]

    @property
    def far(self) -> bool:
        """Whether they lie in a bucket or behind a web server."""
        return any(isinstance(each, HttpContent) for each in self.files[:1])

    def old_enough(self, now_ns: int) -> Listing:
        """Return those that were not changed just now (in the future counts as just now).

        An object of a bucket is there as a whole or not at all, however young it is.
        """
        kept = tuple(each for each in self.files if not _young(each, now_ns))
        return Listing(self.folder, kept)


def _young(file: LocalContent | HttpContent, now_ns: int) -> bool:
    if isinstance(file, HttpContent):
        return file.young
    return max(file.stamp.modified_ns, file.stamp.changed_ns) >= now_ns - YOUNG_NS


def listed(url: str, places: Places) -> Listing:
    """Look at the files that ``file:///folder/name-*.nc`` or ``s3://bucket/folder/name-*.nc`` names.

    An ``http(s)`` address names objects of a bucket too, as ``https://host/bucket/folder/name-*.nc``; where no bucket
    answers, the files that the page of the folder links.

    Raises
    ------
    PermissionRefused
        If the folder is not open, or a link among the files leads out of it.
    InvalidInput
        If no file has such a name, or what answers is neither a bucket nor a folder that says how its files are.
    TooLarge
        If there are more than can be handled.
    """
    if url.startswith("file://"):
        return _of_folder(url, places)
    if url.startswith("s3://"):
        return _of_bucket(url, places)
    try:
        return _of_bucket(url, places)
    except (InvalidInput, NotFound, Unavailable) as no_bucket:
        try:
            found = directory.linked(places.fetcher(url), f"{url.rpartition('/')[0]}/")
        except (InvalidInput, NotFound, Unavailable):  # neither answers: what was said first is as good
            raise no_bucket from None
    return _of_web_folder(url, found, places)


def _of_web_folder(url: str, found: dict[str, str], places: Places) -> Listing:
    folder, _, name = url.rpartition("/")
    pattern = unquote(name)
    named = sorted(each for each in found if fnmatchcase(each, pattern))
    if not named:
        raise InvalidInput(f"No file has a name like {pattern!r} in {folder}/.")
    if len(named) > MAX_FILES:
        raise TooLarge(f"More than {MAX_FILES:,} files have that name. Name fewer.")
    private = places.is_private(url)

    def seen(each: str) -> HttpContent:
        return HttpContent.seen(found[each], private=private, cache=places.cache, max_bytes=places.max_bytes)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="cube-files") as pool:
        return Listing(folder, tuple(pool.map(seen, named)))


def _of_bucket(url: str, places: Places) -> Listing:
    address = places.address(url)
    root, pattern = bucket.bucket_and_key(address)
    folder, _, name = pattern.rpartition("/")
    _refuse_wildcards(folder)
    start = re.split(r"[*?\[]", name, maxsplit=1)[0]
    prefix = f"{folder}/{start}" if folder else start
    private = places.is_private(address)
    found: list[HttpContent] = []
    for each in bucket.all_listed(places.fetcher(address), root, prefix):
        if fnmatchcase(each.key, pattern) and "/" not in each.key[len(folder) + 1 if folder else 0 :]:
            where = f"{root}/{quote(each.key)}"
            found.append(
                HttpContent(where, each.size, each.etag, True, private, places.cache, places.max_bytes)
            )
        if len(found) > MAX_FILES:
            raise TooLarge(f"More than {MAX_FILES:,} objects have that name. Name fewer.")
    if not found:
        raise InvalidInput(f"No object has a name like {name!r} in its bucket.")
    return Listing(root, tuple(sorted(found, key=lambda each: each.place)))


def _refuse_wildcards(folder: str) -> None:
    if any(mark in folder for mark in "*?["):
        raise InvalidInput("Wildcards are understood in the last part of an address only.")


def _of_folder(url: str, places: Places) -> Listing:
    pattern = local_path(url)
    _refuse_wildcards(str(pattern.parent))
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
