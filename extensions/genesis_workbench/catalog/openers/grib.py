"""GRIB files (editions 1 and 2) as lazy xarray datasets, by cfgrib on ecCodes.

Every message is looked at first, since cfgrib skips a broken one in silence, and data would be missing. Not guarded: a bug
of ecCodes on hostile bytes can end the process.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Any, ClassVar

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import Guarded, block_sizes, lazy, reading, sniffed
from genesis_workbench.core.errors import InvalidInput, TooLarge

_MAX_MESSAGES = 200_000


class GribOpener:
    """Opens a file whole: one Dataset, or a DataTree where its messages do not fit one."""

    formats: ClassVar[tuple[str, ...]] = ("grib", "grib1", "grib2")

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        filter_by_keys: dict[str, Any] | None = None,
    ) -> Any:
        """Open lazily; the file is fetched whole where it is remote.

        Parameters
        ----------
        filter_by_keys : dict, optional
            Only messages with these keys, such as ``{"typeOfLevel": "surface"}``.
        """
        ecmwf_library()
        import cfgrib
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut

        content = places.content(distribution)
        sniffed(content, "grib")
        count = check_messages(content)
        with reading(content.name), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # cfgrib 0.9.15 merges by a default that xarray will change
            keys = {"indexpath": "", "errors": "raise", "filter_by_keys": filter_by_keys or {}}
            found = cfgrib.open_datasets(str(content.path()), backend_kwargs=keys)
        if not found:
            raise InvalidInput(f"{content.name!r} has {count} messages, and none with these keys.")
        parts = [cut(_guarded(each, content), None if chunks is None else chunks) for each in found]
        if len(parts) == 1:
            return parts[0]
        return xr.DataTree.from_dict(dict(zip(_names(parts), parts, strict=True)))


def ecmwf_library() -> Any:
    """Import ecCodes and return it.

    It puts a libldap of its own before every other in the process. The libpq of psycopg, loaded after it, would use parts
    of both, and the process would crash at its end; loaded before it, each keeps its own.
    """
    with suppress(ImportError):
        import psycopg  # noqa: F401

    import eccodes

    return eccodes


def check_messages(content: Content) -> int:
    """Walk from message to message and return how many there are.

    Raises
    ------
    InvalidInput
        If one does not begin or end as it should, or is not decodable: such files lose data when they are read.
    """
    eccodes = ecmwf_library()
    count = at = 0
    with content.open() as stream:
        while at < content.size:
            start = stream.read_at(at, 16)
            if not start.startswith(b"GRIB"):
                rest = stream.read_at(at, 4096)
                gap = rest.find(b"GRIB")
                if gap < 0 and not rest.strip(b"\x00"):
                    break
                if gap < 0 or rest[:gap].strip(b"\x00\r\n "):
                    raise _broken(content, count + 1, "does not begin as a message does")
                at += gap
                continue
            length = (
                int.from_bytes(start[8:16], "big") if start[7] == 2 else int.from_bytes(start[4:7], "big")
            )
            if length < 16 or stream.read_at(at + length - 4, 4) != b"7777":
                raise _broken(content, count + 1, "does not end where it says")
            message = stream.read_at(at, length)
            handle = None
            try:
                handle = eccodes.codes_new_from_message(message)
                eccodes.codes_get(handle, "paramId")
            except eccodes.CodesInternalError as error:
                raise _broken(content, count + 1, f"cannot be decoded ({error})") from error
            finally:
                if handle is not None:
                    eccodes.codes_release(handle)
            count, at = count + 1, at + length
            if count > _MAX_MESSAGES:
                raise TooLarge(f"{content.name!r} holds more than {_MAX_MESSAGES:,} messages.")
    return count


def _broken(content: Content, number: int, what: str) -> InvalidInput:
    return InvalidInput(
        f"Message {number} of {content.name!r} {what}: the file is broken, and reading on would leave data out. Get it again."
    )


def _guarded(found: Any, content: Content) -> Any:
    """Put each variable on dask, reading through the check that the file is still the one that was opened."""
    made = {}
    for name, variable in found.data_vars.items():
        if variable.ndim:
            blocks = block_sizes(variable.shape, 4, (1,) * (variable.ndim - 2) + variable.shape[-2:])
            array = lazy(
                Guarded(content.name, variable.variable, content),
                blocks,
                f"{content.state}/{name}/{variable.attrs}",
            )
            made[name] = (variable.dims, array, variable.attrs)
    return found.assign(made)


def _names(parts: list[Any]) -> list[str]:
    names: list[str] = []
    for part in parts:
        first = next(iter(part.data_vars.values()))
        level = str(first.attrs.get("GRIB_typeOfLevel", "messages"))
        same = sum(name.partition("-")[0] == level for name in names)
        names.append(f"{level}-{same + 1}" if same else level)
    return names
