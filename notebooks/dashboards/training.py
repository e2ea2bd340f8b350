"""One training run, live: losses, speed, node-hours, checkpoints. Parameter: `run`, its identifier.

Share it: ``gw.share("training", title="Pretraining", parameters={"run": run.id}, groups=["fusion"])``.
"""

import holoviews as hv
import panel as pn

import genesis_workbench as gw

pn.extension()
hv.extension("bokeh")

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.dashboards.frame import show
from genesis_workbench.dashboards.training_page import look, page

run = gw.dashboards.parameters()["run"]
content = pn.Column(sizing_mode="stretch_width")
seen = {}


def refresh():
    """Show what came meanwhile; why not, where it cannot be shown."""
    try:
        told, drawn = look(run, gw.dashboards.audience())
    except GenesisError as error:
        content[:] = [pn.pane.Str(error.message)]
        seen.clear()
        return
    if seen.get("now") != (told, drawn):
        seen["now"] = told, drawn
        content[:] = page(told, drawn)


refresh()
pn.state.add_periodic_callback(refresh, period=2000)
show(seen["now"][0]["name"] if seen else "Training", content)
