"""Icechunk repositories in folders of the site, as lazy xarray datasets."""

from __future__ import annotations

from typing import Any, ClassVar

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.openers._base import reading
from genesis_workbench.core.errors import InvalidInput, PermissionRefused


class IcechunkOpener:
    """Opens a branch, a tag or a snapshot.

    Icechunk connects by itself, so a remote repository, and references to files elsewhere, would pass by the site's
    rules: both are refused, and so are links in the folder. Not guarded: hostile bytes reach Icechunk's own reader, in Rust.
    """

    formats: ClassVar[tuple[str, ...]] = ("icechunk",)

    def open(
        self,
        dataset: Dataset,
        distribution: Distribution,
        places: Places,
        *,
        chunks: Any = "auto",
        group: str | None = None,
        branch: str = "main",
        tag: str | None = None,
        snapshot: str | None = None,
    ) -> Any:
        """Open lazily; the newest state of `branch` unless `tag` or `snapshot` names another."""
        import icechunk
        import xarray as xr

        from genesis_workbench.catalog.openers._hdf5 import cut
        from genesis_workbench.catalog.openers._zarr import CheckedStore, ContentStore

        if not distribution.url.startswith("file://"):
            raise InvalidInput(
                "An Icechunk repository is opened from a folder of this site only: its library connects by itself, past "
                "the site's rules. Copy it to a folder that the site opens."
            )
        root = ContentStore(distribution.url, places)._root
        links = [path for path in root.rglob("*") if path.is_symlink()] if root is not None else []
        if root is None or links:
            raise PermissionRefused(f"The repository holds the link {links[0].name!r}, which is refused.")
        which = {"snapshot_id": snapshot} if snapshot else {"tag": tag} if tag else {"branch": branch}
        with reading(root.name):
            storage = icechunk.local_filesystem_storage(str(root))
            session = icechunk.Repository.open(storage).readonly_session(**which)  # type: ignore[arg-type]
            store = CheckedStore(session.store)
            opened = xr.open_zarr(store, group=group, consolidated=False, zarr_format=3, chunks=None)
        opened.attrs["icechunk_snapshot"] = session.snapshot_id
        return cut(opened, chunks)
