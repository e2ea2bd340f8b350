"""Series of whatever the catalog opens, and windows of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from genesis_workbench.core.errors import InvalidInput

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
PLACES = 4000
"""Most places that are taken of a gridded climatology, evenly over the rows."""


def series(opened: Any) -> list[np.ndarray]:
    """Return the series that a dataset holds, each with one value a month (or a year, where it has no more).

    Raises
    ------
    InvalidInput
        If it is neither a monthly climatology on a grid, nor a table with dates or years.
    """
    if hasattr(opened, "data_vars"):
        return _climatologies(opened)
    frame = opened.compute(scheduler="sync")
    if set(MONTHS) <= set(frame.columns):
        return [frame[list(MONTHS)].to_numpy("float32").reshape(-1)]
    dates = [name for name in frame.columns if frame[name].dtype.kind == "M"]
    numbers = [name for name in frame.columns if frame[name].dtype.kind == "f"]
    if dates and numbers:
        monthly = frame.set_index(dates[0])[numbers[0]].resample("MS").mean().interpolate()
        return [monthly.to_numpy("float32")]
    if "YEAR" in frame.columns and numbers:
        return [frame[numbers[0]].to_numpy("float32")]
    raise InvalidInput(
        f"The dataset {opened.attrs.get('id', '')} holds no series that this recipe knows: a grid with the dimension 'month', or a "
        f"table with a column of dates or years. It has {', '.join(map(str, frame.columns))[:200]}."
    )


def _climatologies(dataset: Any) -> list[np.ndarray]:
    name = next(iter(dataset.data_vars))
    array = dataset[name]
    if "month" not in array.dims or array.sizes["month"] != 12 or array.ndim != 3:
        raise InvalidInput(
            f"{name} has the dimensions {array.dims}; this recipe takes a grid with 12 of 'month'."
        )
    rows, columns = (each for each in array.dims if each != "month")
    step = max(1, int(np.sqrt(array.sizes[rows] * array.sizes[columns] / PLACES)))
    thinned = array.isel({rows: slice(step // 2, None, step), columns: slice(step // 2, None, step)})
    values = thinned.transpose(..., "month").to_numpy().reshape(-1, 12).astype("float32")
    values = values[np.isfinite(values).all(axis=1) & (values.std(axis=1) > 0)]
    return list(values)


def parts(
    found: list[np.ndarray], length: int, most: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return windows for training, validation and test that have no value in common.

    A long series is cut in time: its last tenth, or one window's length where that is more, is the test, what is as long before
    it the validation. One too short for three windows is for training alone. Of years that repeat, a tenth of the places each
    is held out; a year is continued, from a random month on.

    Parameters
    ----------
    found : list of numpy.ndarray
        Series, each one value a month.
    length : int
        Values of a window.
    most : int
        Most windows of all three together.

    Returns
    -------
    tuple of numpy.ndarray
        Three arrays of shape (windows, length); validation and test may be empty.
    """
    years = [
        np.resize(np.roll(each, -random.integers(12)), length)[None] for each in found if len(each) == 12
    ]
    order = random.permutation(len(years))
    held = len(years) // 10
    kinds = [
        [years[at] for at in order[2 * held :]],
        [years[at] for at in order[held : 2 * held]],
        [years[at] for at in order[:held]],
    ]
    for each in found:
        if length <= len(each) != 12:
            last = max(len(each) // 10, length)
            ends = [len(each) - 2 * last, len(each) - last] if len(each) >= 2 * last + length else []
            for kind, stretch in zip(kinds, np.split(each, ends), strict=False):
                kind.append(np.lib.stride_tricks.sliding_window_view(stretch, length))
    if not any(kinds):
        raise InvalidInput(f"No series of the data has {length} values. Choose a smaller length.")
    shares = (most - 2 * (most // 10), most // 10, most // 10)
    return tuple(_some(kind, length, share, random) for kind, share in zip(kinds, shares, strict=True))  # type: ignore[return-value]


def _some(windows: list[np.ndarray], length: int, most: int, random: np.random.Generator) -> np.ndarray:
    together = np.concatenate([np.empty((0, length), "float32"), *windows])
    together = together[np.isfinite(together).all(axis=1)]
    chosen = random.permutation(len(together))[:most]
    return np.ascontiguousarray(together[chosen], "float32")
