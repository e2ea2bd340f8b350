"""Where data may be read from: the site's rules, and the way from an address to its bytes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

import httpx

from genesis_workbench.catalog.content.file import Content
from genesis_workbench.catalog.content.local import LocalContent, PackageContent
from genesis_workbench.catalog.content.remote import HttpContent, check_digest, fetcher
from genesis_workbench.catalog.dataset import Distribution
from genesis_workbench.core.connections import shown
from genesis_workbench.core.errors import InvalidInput, TooLarge
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import Site, this_site

SCHEMES = ("package", "file", "http", "https", "s3")
VERIFIED_BYTES = 256 * 2**20
"""A remote file up to this size is fetched whole where the record has a checksum of it."""
MAX_FILES = 100_000


@dataclass(frozen=True)
class Places:
    """What a site allows. It travels to workers with what was opened.

    Attributes
    ----------
    data_folders : tuple of str
        Folders whose files may be opened.
    private_hosts : tuple of str
        Hosts that may be reached though they are not public.
    cache, cubes, own_cubes : str
        Folders for whole copies, for the references of cubes of public data, and for those of other data.
    max_bytes : int
        Most bytes read from one remote file.
    """

    data_folders: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()
    s3_endpoint: str = "https://s3.amazonaws.com"
    cache: str = ""
    cubes: str = ""
    own_cubes: str = ""
    max_bytes: int = 2**30

    def limited(self, max_bytes: int | None) -> Places:
        """Return the same with another limit on what is read."""
        return self if max_bytes is None else replace(self, max_bytes=int(max_bytes))

    def address(self, url: str) -> str:
        """Return `url` with s3 put into http."""
        if url.startswith("s3://"):
            bucket, _, key = url[5:].partition("/")
            if not bucket or not key:
                raise InvalidInput(f"{url[:200]!r} names no object of a bucket, as s3://bucket/key does.")
            return f"{self.s3_endpoint.rstrip('/')}/{quote(bucket)}/{quote(key)}"
        return url

    def is_private(self, url: str) -> bool:
        """Whether the site lets `url` be reached though its host is not public."""
        parsed = httpx.URL(url)
        return parsed.host in self.private_hosts or f"{parsed.host}:{parsed.port}" in self.private_hosts

    def fetcher(self, url: str, max_bytes: int | None = None) -> Fetcher:
        """Return a client that may reach `url`."""
        return fetcher(self.is_private(url), max_bytes or self.max_bytes)

    def content(self, distribution: Distribution) -> Content:
        """Look at the file of a distribution, and check it where the record has a checksum.

        Raises
        ------
        InvalidInput, PermissionRefused
            If its address is none that may be read here.
        NotFound, Unavailable, DeadlineExceeded
            If it is not there.
        VerificationFailed
            If it has another checksum than the record says.
        """
        scheme = distribution.url.partition("://")[0]
        if scheme == "package":
            found: Content = PackageContent(distribution.url, distribution.checksum)
            found.path()
            return found
        found = self.file(distribution.url)
        if distribution.checksum and self.verifies(found):
            check_digest(found.path(), distribution.checksum, found.name)
        elif distribution.checksum:
            warnings.warn(
                f"{found.name!r} has {found.size:,} bytes: it is read in parts, and its checksum was not compared.",
                stacklevel=2,
            )
        return found

    def verifies(self, content: Content) -> bool:
        """Whether a checksum is compared: of every local file, of remote ones that are not large."""
        return not isinstance(content, HttpContent) or content.size <= min(self.max_bytes, VERIFIED_BYTES)

    def file(self, url: str) -> Content:
        """Look at one file that is not of a package."""
        if url.startswith("file://"):
            return LocalContent.at(local_path(url), self.data_folders)
        address = self.address(url)
        if not address.startswith(("http://", "https://")):
            raise InvalidInput(f"{url[:200]!r} cannot be read: use one of {', '.join(SCHEMES)}.")
        return HttpContent.at(
            address, private=self.is_private(address), cache=self.cache, max_bytes=self.max_bytes
        )

    def files(self, url: str) -> list[Path]:
        """Return the local files that ``file:///folder/name-*.nc`` names, by name.

        Only the last part may have wildcards. Links that lead out of the site's folders are refused when a file is
        opened.
        """
        pattern = local_path(url)
        if any(mark in part for part in pattern.parts[:-1] for mark in "*?["):
            raise InvalidInput(f"{shown(url)}: wildcards are understood in the last part only.")
        if not any(pattern.parent.resolve().is_relative_to(Path(f).resolve()) for f in self.data_folders):
            LocalContent.at(pattern, self.data_folders)  # refuses, and says why
        found = sorted(path for path in pattern.parent.glob(pattern.name) if not path.name.startswith("."))
        if not found:
            raise InvalidInput(f"No file has a name like {pattern.name!r} in its folder.")
        if len(found) > MAX_FILES:
            raise TooLarge(f"More than {MAX_FILES:,} files have a name like {pattern.name!r}.")
        return found


def local_path(url: str) -> Path:
    """Return the path that a ``file://`` address names."""
    path = Path(unquote(url.removeprefix("file://").removeprefix("localhost")))
    if not url.startswith("file://") or not path.is_absolute():
        raise InvalidInput(f"{url[:200]!r} names no file of this machine, as file:///folder/file does.")
    if "\x00" in str(path):
        raise InvalidInput("A path has no null character.")
    return path


def site_places(site: Site | None = None) -> Places:
    """Return the rules of `site`, or of the one that this process belongs to."""
    catalog = (site or this_site()).catalog
    state = local_state()
    return Places(
        data_folders=tuple(catalog.data_folders),
        private_hosts=tuple(catalog.private_hosts),
        s3_endpoint=catalog.s3_endpoint,
        cache=str(state / "copies"),
        cubes=catalog.cube_folder or str(state / "cubes"),
        own_cubes=str(state / "cubes"),
        max_bytes=catalog.max_read_bytes,
    )
