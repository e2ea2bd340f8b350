"""A small look into whatever the catalog opens: a picture, a line, some rows. Little is read for it."""

from __future__ import annotations

import math
from typing import Any

_MOST = 160
"""Points along each side of a picture."""
_WIDEST = 8192
"""Points along each side that are read for it."""
_ROWS = 8
_COLUMNS = 12
_POINTS = 400


def preview(opened: Any) -> dict[str, Any]:
    """Return what a page can draw of `opened`, as JSON values.

    Parameters
    ----------
    opened : xarray.Dataset, dask.dataframe.DataFrame or another
        What ``gw.open`` gave.

    Returns
    -------
    dict
        ``kind`` (``image``, ``line``, ``rows`` or ``words``) and what belongs to it.
    """
    if hasattr(opened, "data_vars"):
        return _array(opened)
    if hasattr(opened, "npartitions") or hasattr(opened, "iloc"):
        return _table(opened.head(_POINTS))
    if hasattr(opened, "limit") and hasattr(opened, "df"):  # a DuckDB relation
        return _table(opened.limit(_POINTS).df())
    return {"kind": "words", "words": repr(opened)[:2000]}


def _array(opened: Any) -> dict[str, Any]:
    import numpy as np

    about = {"about": f"{', '.join(f'{name}: {size}' for name, size in opened.sizes.items())}"}
    numeric = [
        name for name, variable in opened.data_vars.items() if np.issubdtype(variable.dtype, np.number)
    ]
    if not numeric:
        return {"kind": "words", "words": repr(opened)[:2000], **about}
    name = max(numeric, key=lambda each: (opened[each].ndim >= 2, opened[each].ndim))
    shown = opened[name]
    label = str(shown.attrs.get("long_name") or name)
    unit = str(shown.attrs.get("units", ""))[:60]
    about |= {"title": label[:200], "unit": "" if unit == "1" else unit}
    if shown.ndim == 0:
        return {"kind": "words", "words": f"{label} = {float(shown)}", **about}
    if shown.ndim == 1:
        kept = shown.isel({shown.dims[0]: slice(None, None, _stride(shown.size, _POINTS))})
        return {"kind": "line", "values": _numbers(kept.values), "axis": str(shown.dims[0]), **about}
    rows, columns = shown.dims[-2:]
    first = dict.fromkeys(shown.dims[:-2], 0)
    at = [f"{dim} 1 of {shown.sizes[dim]}" for dim in first]
    for dim in (rows, columns):
        if (size := shown.sizes[dim]) > _WIDEST:
            begin = (size - _WIDEST) // 2
            shown = shown.isel({dim: slice(begin, begin + _WIDEST)})
            at.append(f"the middle {_WIDEST} of {size} along {dim}")
    aspect = shown.sizes[rows] / shown.sizes[columns]
    step = {dim: slice(None, None, _stride(shown.sizes[dim], _MOST)) for dim in (rows, columns)}
    picture = shown.isel(first | step).values.astype(float)
    # North is up, where the rows are latitudes that grow.
    if rows in opened.coords and opened.coords[rows].size > 1:
        ends = opened.coords[rows].values
        if np.issubdtype(ends.dtype, np.number) and ends[0] < ends[-1]:
            picture = picture[::-1]
    return {
        "kind": "image", "values": [_numbers(row) for row in picture], "axes": [str(rows), str(columns)], "at": ", ".join(at), "aspect": aspect, **about,
    }  # fmt: skip


def _table(head: Any) -> dict[str, Any]:
    columns = list(head.columns)[:_COLUMNS]
    rows = [[_word(value) for value in row] for row in head[columns].head(_ROWS).itertuples(index=False)]
    made: dict[str, Any] = {
        "kind": "rows",
        "columns": [str(name) for name in columns],
        "rows": rows,
        "about": f"{len(head.columns)} columns",
    }
    numeric = [name for name in head.columns if head[name].dtype.kind in "fiu"]
    if numeric and len(head) > 2:
        made |= {"line": _numbers(head[numeric[-1]].to_numpy(dtype=float)), "title": str(numeric[-1])}
    return made


def _stride(size: int, most: int) -> int:
    return max(1, math.ceil(size / most))


def _numbers(values: Any) -> list[float | None]:
    """Numbers that JSON can hold: what is not finite is None."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in map(float, values)]


def _word(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text[:80]
