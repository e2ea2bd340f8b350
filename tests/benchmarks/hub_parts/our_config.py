"""The workbench's own settings; only the servers are stand-ins."""

from benchmarks.hub_parts.stand_in import StandInSpawner
from genesis_hub.settings import Settings
from genesis_hub.spawners._base import WorkbenchSpawner


class OurStandIn(WorkbenchSpawner, StandInSpawner):
    """A stand-in that asks and tells as the workbench's spawners do."""


c = get_config()  # noqa: F821
Settings.from_environment().apply(c)
c.JupyterHub.spawner_class = OurStandIn
