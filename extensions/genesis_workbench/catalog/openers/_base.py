"""What openers share: the contract, and the way to a file of an installed package."""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol

from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.core.errors import InvalidInput, MissingDependency, NotFound, VerificationFailed
from genesis_workbench.core.identifiers import digest_file

SCHEME = "package://"
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXTRA = {"pvlib": "starter", "statsmodels": "starter"}


class Opener(Protocol):
    """Opens one format lazily.

    `open` reads no more than it needs to know shape and types. Before anything is read, the content is checked
    against the checksum of the record.
    """

    formats: ClassVar[tuple[str, ...]]
    """Formats that it opens, as distributions name them."""

    def open(self, dataset: Dataset, distribution: Distribution, **options: Any) -> Any:
        """Return an xarray.Dataset on dask arrays, or a dask DataFrame."""
        ...


def package_file(url: str) -> Path:
    """Return the file that ``package://<package>/<path>`` names.

    Raises
    ------
    InvalidInput
        If it is no such address, or leads out of the package.
    MissingDependency
        If the package is not installed.
    NotFound
        If the package has no such file.
    """
    package, _, inner = url.removeprefix(SCHEME).partition("/")
    parts = PurePosixPath(inner)
    if (
        not url.startswith(SCHEME)
        or not _PACKAGE.fullmatch(package)
        or not inner
        or "\\" in inner
        or parts.is_absolute()
        or ".." in parts.parts
    ):
        raise InvalidInput(
            f"{url!r} does not name a file inside a package, as package://<package>/<path> does."
        )
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        extra = _EXTRA.get(package)
        advice = f'pip install "genesis-workbench[{extra}]"' if extra else f"pip install {package}"
        raise MissingDependency(f"These data come with the package {package!r}. Install it with: {advice}")
    folder = Path(next(iter(found.submodule_search_locations))).resolve()
    path = (folder / parts).resolve()
    if not path.is_relative_to(folder):
        raise InvalidInput(f"{url!r} leads out of the package {package!r}, which is refused.")
    if not path.is_file():
        raise NotFound(f"The package {package!r} has no file {inner!r}. Has another version been installed?")
    return path


def verified_file(url: str, checksum: str | None) -> Path:
    """Return the file of `url` after its content was compared with `checksum`, once for each state of the file.

    Raises
    ------
    VerificationFailed
        If the record has no checksum, or the file has another one.
    """
    path = package_file(url)
    if not checksum:
        raise VerificationFailed(f"The record of {url!r} has no checksum, so it is not opened.")
    status = path.stat()
    seen = _digest(path, status.st_size, status.st_mtime_ns)
    if seen != checksum:
        raise VerificationFailed(
            f"{url!r} is not the file that the catalog lists: its checksum is {seen}, not {checksum}. "
            "Use the same version of the package here and where the catalog runs."
        )
    return path


@lru_cache(maxsize=64)
def _digest(path: Path, _size: int, _modified_ns: int) -> str:
    return digest_file(path)


def attributes(dataset: Dataset) -> dict[str, Any]:
    """Return the attributes that opened data carry, so that whatever is made of them can say where it is from."""
    return {
        "genesis_dataset": dataset.id,
        "title": dataset.title,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "label": dataset.label,
        "digest": dataset.native_digest,
        "source": dataset.source,
    }
