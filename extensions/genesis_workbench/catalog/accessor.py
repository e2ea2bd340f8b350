"""``dataset.genesis``: what opened arrays know of where they are from."""

from __future__ import annotations

from typing import Any

import xarray as xr

from genesis_workbench.catalog.citation import cite


@xr.register_datatree_accessor("genesis")
@xr.register_dataset_accessor("genesis")
@xr.register_dataarray_accessor("genesis")
class GenesisAccessor:
    """Identifier, licence, citation and access label of arrays that the catalog opened."""

    def __init__(self, opened: Any) -> None:
        self._attrs = opened.attrs
        self._opened = opened

    @property
    def identifier(self) -> str:
        """DOI or landing page, else the dataset's name in the catalog."""
        return str(self._attrs.get("identifier", ""))

    @property
    def licence(self) -> str:
        """Licence, as a name or an address."""
        return str(self._attrs.get("licence", ""))

    @property
    def label(self) -> str:
        """Access label; whatever is made of the data has at least this one."""
        return str(self._attrs.get("label", ""))

    def cite(self) -> str:
        """Return how to cite the data; InvalidInput where they do not say where they are from."""
        return cite(self._opened)
