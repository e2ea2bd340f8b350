"""GeoTIFF and cloud-optimised GeoTIFF as lazy xarray datasets, tile by tile.

By tifffile, which is Python and reads from any file object, instead of GDAL: a remote file is read by the tiles that are
needed, and what GDAL follows by itself (VRT, /vsicurl) does not exist here.

Guarded: other files, tiles larger than memory, arrays that cannot be cut into blocks, files that end too early. Not
guarded: the codecs of imagecodecs are C, and hostile tiles may find a fault in them that ends the process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from genesis_workbench.catalog.content import Content, Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import MAX_BLOCK_BYTES, block_sizes, lazy, reading, sniffed
from genesis_workbench.core.errors import InvalidInput, TooLarge


@dataclass(frozen=True)
class Tiles:
    """One image of a file as an array of (band, y, x)."""

    content: Content
    page: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    missing: float = 0

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 3

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Decode the tiles that `key` needs, and no others."""
        rows, columns = (np.arange(n)[k] for n, k in zip(self.shape[1:], key[1:], strict=True))
        if rows.size == 0 or columns.size == 0:
            return np.asarray(np.empty(self.shape, self.dtype)[key])
        low, high = (int(rows.min()), int(columns.min())), (int(rows.max()) + 1, int(columns.max()) + 1)
        # What of the image has no tile is missing.
        out = np.full((self.shape[0], high[0] - low[0], high[1] - low[1]), self.missing, self.dtype)
        with reading(self.content.name), self.content.open() as stream, _open(stream) as file:
            page: Any = file.pages[self.page]
            for number in range(len(page.dataoffsets)):
                _copy(stream, page, number, out, low)
        return np.asarray(out[:, :, columns - low[1]][:, rows - low[0]][key[0]])


def _open(stream: Any) -> Any:
    import tifffile

    return tifffile.TiffFile(stream)


def _copy(stream: Any, page: Any, number: int, out: NDArray[Any], low: tuple[int, int]) -> None:
    """Decode one tile or strip into `out` where they meet."""
    band, y, x = _position(page, number)
    height, width = _tile(page)
    meets = (
        y < low[0] + out.shape[1] and x < low[1] + out.shape[2] and y + height > low[0] and x + width > low[1]
    )
    if not meets:
        return
    count = page.databytecounts[number]
    if count == 0:
        return
    if (
        count > MAX_BLOCK_BYTES
        or height * width * page.dtype.itemsize * page.samplesperpixel > MAX_BLOCK_BYTES
    ):
        raise TooLarge(f"A tile of {count:,} bytes is too large.")
    data = stream.read_at(page.dataoffsets[number], count)
    if len(data) < count:
        raise InvalidInput("The file ends before its tiles do: it is cut off. Get it again.")
    decoded, _index, shape = page.decode(data, number, jpegtables=page.jpegtables)
    if decoded is None:
        return
    tile = decoded[0, : shape[1], : shape[2]]  # (y, x, sample)
    top, left = max(y, low[0]), max(x, low[1])
    bottom, right = (
        min(y + tile.shape[0], low[0] + out.shape[1]),
        min(x + tile.shape[1], low[1] + out.shape[2]),
    )
    if bottom <= top or right <= left:
        return
    part = tile[top - y : bottom - y, left - x : right - x]
    target = out[band : band + part.shape[2], top - low[0] : bottom - low[0], left - low[1] : right - low[1]]
    target[...] = np.moveaxis(part, -1, 0)


def _position(page: Any, number: int) -> tuple[int, int, int]:
    """Return band, row and column of the first value of a tile or strip."""
    height, width = (
        (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    )
    across = math.ceil(page.imagewidth / width)
    down = math.ceil(page.imagelength / height)
    band, rest = divmod(number, across * down)
    return band, rest // across * height, rest % across * width


def _tile(page: Any) -> tuple[int, int]:
    """Return height and width of a tile; a strip is one of full width."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


class GeotiffOpener:
    """Opens the first image of a file at its full resolution, or one of its overviews."""

    formats: ClassVar[tuple[str, ...]] = ("geotiff", "cog", "tiff")

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        overview: int = 0,
    ) -> Any:
        """Open lazily as variable ``band_data`` of band, y and x, as rioxarray names it.

        Parameters
        ----------
        overview : int
            0 for full resolution, 1 for the first smaller copy in the file, and so on.
        """
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut

        content = places.content(distribution)
        sniffed(content, "tiff")
        with reading(content.name), content.open() as stream, _open(stream) as file:
            pages = [0, *(n for n, page in enumerate(file.pages) if n and getattr(page, "is_reduced", False))]
            if not 0 <= overview < len(pages):
                raise InvalidInput(
                    f"{content.name!r} has {len(pages) - 1} overviews; there is no {overview}."
                )
            page: Any = file.pages[pages[overview]]
            if page.dtype is None or page.imagedepth > 1:
                raise InvalidInput(f"{content.name!r} holds values of a kind that is not read here.")
            shape = (page.samplesperpixel, page.imagelength, page.imagewidth)
            nodata = _nodata(page)
            array = Tiles(content, pages[overview], shape, np.dtype(page.dtype), nodata or 0)
            known, coordinates = _georeference(file.pages[0], shape)
            tile = (
                (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
            )
        blocks = block_sizes(
            shape,
            array.dtype.itemsize,
            (shape[0], *(min(t, n) for t, n in zip(tile, shape[1:], strict=True))),
        )
        values = lazy(array, blocks, f"{content.state}/{array.page}")
        attributes = {} if nodata is None else {"_FillValue": array.dtype.type(nodata)}
        opened = xr.Dataset({"band_data": (("band", "y", "x"), values, attributes)}, coordinates, known)
        return cut(xr.decode_cf(opened) if attributes else opened, chunks)


def _nodata(page: Any) -> float | int | None:
    """Return the value that stands for missing ones; None where there is none, or the type of the values cannot be it."""
    tag, dtype = page.tags.get(42113), np.dtype(page.dtype)
    try:
        value = float(str(tag.value).strip("\x00 ")) if tag is not None else None
    except ValueError:
        return None
    if value is None or dtype.kind == "f":
        return value
    if dtype.kind not in "iu" or not value.is_integer():
        return None
    limits = np.iinfo(dtype)
    return int(value) if limits.min <= value <= limits.max else None


def _georeference(page: Any, shape: tuple[int, int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return attributes and coordinates of cell centres; of pixels where the file has no georeference.

    Source: OGC GeoTIFF 1.1, section 7 (ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeys).
    """
    tags = page.geotiff_tags or {}
    known = {
        "epsg": int(tags.get("ProjectedCSTypeGeoKey") or tags.get("GeographicTypeGeoKey") or 0),
        "crs_name": str(tags.get("GTCitationGeoKey") or tags.get("GeogCitationGeoKey") or ""),
    }
    bands = np.arange(1, shape[0] + 1)
    scale, tie, matrix = (tags.get(n) for n in ("ModelPixelScale", "ModelTiepoint", "ModelTransformation"))
    factor = (page.imagewidth / shape[2], page.imagelength / shape[1])
    centre = 0.0 if int(tags.get("GTRasterTypeGeoKey") or 1) == 2 else 0.5
    x, y = ((np.arange(n) + centre) * f for n, f in zip(shape[:0:-1], factor, strict=True))
    if scale is not None and tie is not None and len(tie) >= 6:
        x, y = tie[3] + (x - tie[0]) * scale[0], tie[4] - (y - tie[1]) * scale[1]
    elif matrix is not None:
        grid = np.asarray(matrix, float).reshape(4, 4)
        if grid[0, 1] or grid[1, 0]:
            known["transform"] = [float(v) for v in grid[:2].ravel()]
        else:
            x, y = grid[0, 3] + x * grid[0, 0], grid[1, 3] + y * grid[1, 1]
    return {k: v for k, v in known.items() if v}, {"band": bands, "y": y, "x": x}
