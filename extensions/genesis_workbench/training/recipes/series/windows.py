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


def cut(found: list[np.ndarray], length: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Return at most `most` windows, shape (windows, length); a year that repeats is continued, from a random month on."""
    windows = []
    for each in found:
        if len(each) == 12:
            begin = random.integers(12)
            windows.append(np.resize(np.roll(each, -begin), length)[None])
        elif len(each) >= length:
            windows.append(np.lib.stride_tricks.sliding_window_view(each, length))
    if not windows:
        raise InvalidInput(f"No series of the data has {length} values. Choose a smaller length.")
    together = np.concatenate(windows)
    together = together[np.isfinite(together).all(axis=1)]
    chosen = random.permutation(len(together))[:most]
    return np.ascontiguousarray(together[chosen], "float32")
