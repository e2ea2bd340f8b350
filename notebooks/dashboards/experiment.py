"""One experiment: what is claimed, how it goes, what was found. Parameter: `experiment`, its identifier."""

import holoviews as hv
import panel as pn

import genesis_workbench as gw

pn.extension("tabulator")
hv.extension("bokeh")

from genesis_workbench.dashboards.experiment_page import page

run = gw.experiments.get(gw.dashboards.parameters()["experiment"])
content = pn.Column(*page(run), sizing_mode="stretch_width")


def refresh():
    """Show what came meanwhile, until the experiment has ended."""
    content[:] = page(run)
    if run.status()["state"] == "ended":
        timer.stop()


if run.status()["state"] != "ended":
    timer = pn.state.add_periodic_callback(refresh, period=2000)

pn.template.FastListTemplate(
    title=run.status()["title"], main=[content], theme_toggle=True, main_max_width="1100px"
).servable()
