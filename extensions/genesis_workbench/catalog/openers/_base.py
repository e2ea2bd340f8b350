"""What openers share: the contract, the way to a file of an installed package, and what opened data carry."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.content.file import head, kind
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.core.errors import (
    GenesisError,
    InvalidInput,
    MissingDependency,
    NotFound,
    TooLarge,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest_file

if TYPE_CHECKING:
    import dask.array as da

BLOCK_BYTES = 64 * 2**20
"""Size towards which blocks are made."""
MAX_BLOCK_BYTES = 2**30
"""Most bytes that one read may take in memory."""
MAX_BLOCKS = 200_000
SCHEME = "package://"
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXTRA = {"pvlib": "starter", "statsmodels": "starter"}


class Opener(Protocol):
    """Opens one format lazily.

    `open` reads no more than it needs to know shape and types, through `places` and nothing else. The module imports what
    its format needs inside functions; a missing package becomes the error that names the extra of the entry point.
    """

    formats: ClassVar[tuple[str, ...]]
    """Formats that it opens, as distributions name them."""

    def open(self, dataset: Dataset, distribution: Distribution, places: Places, **options: Any) -> Any:
        """Return an xarray.Dataset or DataTree on dask arrays, a dask DataFrame, or an object with `info`.

        Raises
        ------
        GenesisError
            With the reason, and with what would help, for everything that it cannot open.
        """
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


def sniffed(content: Content, *expected: str) -> str:
    """Return what the file is by its first bytes.

    Raises
    ------
    InvalidInput
        If it is none of `expected`, saying what it is instead.
    """
    found = kind(head(content))
    if found not in expected:
        raise InvalidInput(
            f"{content.name!r} should be {' or '.join(expected)}, but is {found}. {_ADVICE.get(found, _WRONG)}"
        )
    return found


_WRONG = "Look at the dataset's page, and open another of its distributions."
_ADVICE = {
    "HDF4": "HDF4 is another format than HDF5: ask its publisher for NetCDF or HDF5, or convert it with h4toh5.",
    "empty": "Get it again, or ask its publisher.",
    "a Git LFS pointer instead of the file": "Get the file itself with `git lfs pull`.",
    "a zip archive": "Unpack it into a folder that the site opens.",
}


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn whatever a library raises over broken content into an error that says so.

    A library for a format raises any kind of error over bytes that are none of it; ours go through, and so does a missing
    package.
    """
    try:
        yield
    except (GenesisError, ImportError, MemoryError):
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:  # one of ours, raised while a library read: h5py wraps it
            if isinstance(cause, GenesisError):
                raise cause from error
            cause = cause.__cause__ or cause.__context__
        said = " ".join(str(error).split())[:300]
        raise InvalidInput(
            f"{name!r} cannot be read: {said or type(error).__name__}. It may be broken, or cut off; get it again, or "
            "open another distribution of the dataset.",
            detail=repr(error),
        ) from error


def block_sizes(
    shape: tuple[int, ...],
    itemsize: int,
    native: tuple[int, ...] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[int, ...]:
    """Return lengths of blocks that a computation can hold in memory.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the array's axes.
    itemsize : int
        Bytes of one value.
    native : tuple of int, optional
        Lengths of the file's own pieces: blocks are multiples of them.
    block_bytes : int
        Size towards which they are made.

    Raises
    ------
    TooLarge
        If the array cannot be cut into so few blocks of that size that a computation could be described.
    """
    step = [max(1, min(n, c)) for n, c in zip(shape, native or shape, strict=True)]
    if native is None:
        for axis in range(len(step)):  # leading axes are cut first
            while math.prod(step) * itemsize > block_bytes and step[axis] > 1:
                step[axis] = max(1, step[axis] // 2)
    piece = math.prod(step) * itemsize
    if piece > MAX_BLOCK_BYTES:
        raise TooLarge(
            f"The file declares pieces of {piece:,} bytes; at most {MAX_BLOCK_BYTES:,} are read at once."
        )
    for axis in reversed(range(len(step))):
        while step[axis] < shape[axis] and math.prod(step) * itemsize * 2 <= block_bytes:
            step[axis] = min(shape[axis], step[axis] * 2)
    blocks = math.prod(-(-n // s) for n, s in zip(shape, step, strict=True) if s)
    if blocks > MAX_BLOCKS:
        raise TooLarge(
            f"The file declares an array of {math.prod(shape) * itemsize:,} bytes: {blocks:,} blocks, more than a "
            "computation can be made of. Open it with chunks=None and select a part first."
        )
    return tuple(step)


class Guarded:
    """An array that a library reads: what it raises over broken content becomes an error of ours.

    Parameters
    ----------
    name : str
        What messages call the file.
    array : object
        Has shape, dtype and indexing, and can be sent to workers.
    path_of : Content, optional
        The content, where the library reads it by its path: it is then looked at after each read.
    """

    def __init__(self, name: str, array: Any, path_of: Content | None = None) -> None:
        self._name, self._array, self._content = name, array, path_of
        self.shape: tuple[int, ...] = array.shape
        self.ndim = len(array.shape)
        self.dtype = array.dtype

    def __getitem__(self, key: Any) -> Any:
        import numpy as np

        with reading(self._name):
            values = np.asarray(self._array[key])
        if self._content is not None:
            self._content.path()  # Conflict where it changed
        return values


def lazy(array: Any, blocks: tuple[int, ...], name: str) -> da.Array:
    """Return a dask array on an object with shape, dtype and indexing that can be sent to workers.

    Parameters
    ----------
    name : str
        Text that differs wherever the content differs.
    """
    import dask.array as da
    import numpy as np
    from dask.base import tokenize

    made: da.Array = da.from_array(
        array,
        chunks=blocks,
        name=f"open-{tokenize(name, blocks)}",
        asarray=True,
        inline_array=True,
        lock=False,
        meta=np.empty((0,) * len(array.shape), array.dtype),
    )
    return made
