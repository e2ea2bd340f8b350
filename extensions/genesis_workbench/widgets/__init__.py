"""What people see in a notebook: one Python file and one .js file of the same name for each widget (anywidget)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.compute import GenesisCluster
    from genesis_workbench.experiments import Run

__all__ = ["compute_panel", "explore", "progress"]


def compute_panel(cluster: GenesisCluster) -> Any:
    """Show a Dask cluster as it goes: workers, the queue and why they wait, memory, tasks; scale or stop it there.

    Parameters
    ----------
    cluster : GenesisCluster
        What ``gw.cluster(...)`` returned.
    """
    from genesis_workbench.widgets.cluster_panel import ComputePanel

    return ComputePanel(cluster)


def explore(text: str = "") -> Any:
    """Look through the catalog: words, facets, map, time, a look into the data, and the line that opens them.

    Parameters
    ----------
    text : str
        Words to begin with, in the language of ``gw.catalog.search``.
    """
    from genesis_workbench.widgets.catalog_explorer import CatalogExplorer

    return CatalogExplorer(text)


def progress(run: Run) -> Any:
    """Show an experiment as it goes: the launcher's view of it, without form and list.

    Parameters
    ----------
    run : Run
        What ``Experiment.launch()`` or ``experiments.get(id)`` returned.
    """
    from genesis_workbench.widgets.experiment_launcher import ExperimentLauncher

    return ExperimentLauncher(run, only=True)
