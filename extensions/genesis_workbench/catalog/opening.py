"""Open a dataset: the first distribution that an installed opener understands."""

from __future__ import annotations

from typing import Any

from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.openers._base import SCHEME
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput, MissingDependency


def open_dataset(dataset: Dataset, **options: Any) -> Any:
    """Open `dataset` lazily.

    Parameters
    ----------
    dataset : Dataset
        Record from the catalog.
    **options
        For the opener, such as ``chunks={"latitude": 540}``.

    Raises
    ------
    InvalidInput
        If none of its distributions can be opened here.
    MissingDependency
        If the package that holds or reads them is not installed.
    VerificationFailed
        If the content is not what the record says.
    """
    missing: MissingDependency | None = None
    for distribution in dataset.distributions:
        if not distribution.url.startswith(SCHEME):
            continue
        for name in plugins.names("openers"):
            try:
                opener = plugins.load("openers", name)
            except MissingDependency as error:
                missing = error
                continue
            if distribution.format in opener.formats:
                return _labelled(opener().open(dataset, distribution, **options))
    if missing is not None:
        raise missing
    where = f" Its page is {dataset.landing_page}" if dataset.landing_page else ""
    raise InvalidInput(
        f"{dataset.id!r} is listed but cannot be opened in one call yet: it is offered as "
        f"{', '.join(dataset.formats) or 'nothing that names its format'}.{where}"
    )


def _labelled(opened: Any) -> Any:
    """Say on each variable of arrays too from which dataset it is: a variable goes its own way from here."""
    for variable in getattr(opened, "data_vars", {}).values():
        for name in ("genesis_dataset", "label"):
            variable.attrs.setdefault(name, opened.attrs[name])
    return opened
