"""How to cite a dataset, or whatever was opened of one."""

from __future__ import annotations

from typing import Any

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.core.errors import InvalidInput


def cite(thing: Dataset | Any) -> str:
    """Return the citation that the makers ask for, or one made from the record.

    Parameters
    ----------
    thing : Dataset, or anything that was opened
        A record; an xarray object, a table or a structure that still has the attributes it was opened with.

    Raises
    ------
    InvalidInput
        If it does not say where it is from.
    """
    if isinstance(thing, Dataset):
        return _of_record(thing)
    for name in ("attrs", "info"):
        known = getattr(thing, name, None)
        if isinstance(known, dict) and known.get("cite_as"):
            return str(known["cite_as"])
    raise InvalidInput(
        f"This {type(thing).__name__} does not say from which dataset it is: it lost its attributes on the way. Keep them "
        "with xarray.set_options(keep_attrs=True), or cite by name: gw.catalog.cite('name-of-the-dataset')."
    )


def _of_record(dataset: Dataset) -> str:
    if dataset.citation:
        text = dataset.citation
    else:
        year = f" ({dataset.modified[:4]})" if dataset.modified else ""
        text = f"{dataset.agency or dataset.source}{year}. {dataset.title}."
    if dataset.doi and dataset.doi not in text:
        text += f" https://doi.org/{dataset.doi}"
    elif not dataset.citation and dataset.landing_page:
        text += f" {dataset.landing_page}"
    return text
