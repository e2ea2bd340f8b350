"""Files of a package that somebody else made: a folder, or a zip archive, which is read in place and never unpacked.

Refused are names that lead out of it, links, files of which there are two, what is encrypted, and what unpacks to more than it
says or than is taken.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from genesis_workbench.core.errors import InvalidInput, NotFound, TooLarge
from genesis_workbench.core.identifiers import digest_file
from genesis_workbench.models.exchange._base import has, read_file
from genesis_workbench.models.formats._base import MAX_BYTES

MOST_FILES = 2000
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Package:
    """Reads files by their names; `digest` is that of the archive, empty for a folder."""

    read: Callable[[str, int], bytes] = field(repr=False)
    has: Callable[[str], bool] = field(repr=False)
    digest: str = ""


def open_package(path: Path) -> Package:
    """Return the files of a folder or of a zip archive.

    Raises
    ------
    NotFound
        If there is neither.
    InvalidInput
        If it is no archive, or one that is not taken.
    TooLarge
        If it has more, or larger, files than are taken.
    """
    if path.is_dir():
        return Package(
            lambda name, most: _from_folder(path, name, most), lambda name: has(path, check_name(name))
        )
    if not path.is_file():
        raise NotFound(f"There is no folder and no archive {path}. Download the package first.")
    entries = _entries(path)
    return Package(
        lambda name, most: _from_zip(path, entries, name, most), entries.__contains__, digest_file(path)
    )


def check_name(name: object) -> str:
    """Return `name` if it names a file inside a package.

    Raises
    ------
    InvalidInput
        If it leads out of it, or is an address.
    """
    text = name if isinstance(name, str) else ""
    parts = PurePosixPath(text)
    if (
        not text
        or "\\" in text
        or ":" in text
        or "\0" in text
        or parts.is_absolute()
        or {"..", "~"} & set(parts.parts)
    ):
        raise InvalidInput(
            f"The package names the file {str(name)[:100]!r}, which does not lie in it. Download it with all its files."
        )
    return str(parts)


def _from_folder(folder: Path, name: str, most_bytes: int) -> bytes:
    inner = PurePosixPath(check_name(name))
    for parent in list(inner.parents)[:-1]:
        if (folder / parent).is_symlink():
            raise InvalidInput(
                f"{folder / parent} is a link, and links are not followed. Put the files in place."
            )
    return read_file(folder / inner.parent, inner.name, most_bytes)


def _entries(path: Path) -> dict[str, zipfile.ZipInfo]:
    if path.stat().st_size > 2 * MAX_BYTES:
        raise TooLarge(f"{path} has {path.stat().st_size:,} bytes; at most {2 * MAX_BYTES:,} are taken.")
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidInput(f"{path} is no zip archive that can be read: {str(error)[:200]}.") from error
    files = [entry for entry in listed if not entry.is_dir()]
    if len(listed) > MOST_FILES:
        raise TooLarge(f"{path} has {len(listed):,} files; at most {MOST_FILES:,} are taken.")
    for entry in listed:
        mode = entry.external_attr >> 16
        if (
            stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
            or entry.flag_bits & 1
            or entry.compress_type not in _PACKED
        ):
            raise InvalidInput(
                f"{entry.filename[:100]!r} in {path} is a link, encrypted or packed in an unusual way. Pack plain files."
            )
    entries = {check_name(entry.filename): entry for entry in files}
    if len(entries) != len(files):
        raise InvalidInput(f"{path} has two files of one name, so nothing says which counts. Pack it again.")
    return entries


def _from_zip(path: Path, entries: dict[str, zipfile.ZipInfo], name: str, most_bytes: int) -> bytes:
    entry = entries.get(check_name(name))
    if entry is None:
        raise InvalidInput(f"{path} has no file {name[:100]!r}.")
    if entry.file_size > most_bytes:
        raise TooLarge(
            f"{name[:100]!r} in {path} has {entry.file_size:,} bytes; at most {most_bytes:,} are taken."
        )
    try:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
            data = file.read(most_bytes + 1)
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        zlib.error,
    ) as error:
        raise InvalidInput(f"{name[:100]!r} in {path} is damaged: {str(error)[:200]}.") from error
    if len(data) != entry.file_size:
        raise InvalidInput(f"{name[:100]!r} in {path} unpacks to more than it says, so it is not taken.")
    return data
