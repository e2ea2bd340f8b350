"""How to cite a dataset."""

from __future__ import annotations

from genesis_workbench.catalog.dataset import Dataset


def cite(dataset: Dataset) -> str:
    """Return the citation that its makers ask for, or one made from the record."""
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
