"""One experiment: what is claimed, how it goes, what was found. Parameter: `experiment`, its identifier."""

import holoviews as hv
import panel as pn

import genesis_workbench as gw

pn.extension("tabulator")
hv.extension("bokeh")

from genesis_workbench.dashboards.experiment_page import live
from genesis_workbench.dashboards.frame import show

run = gw.experiments.get(gw.dashboards.parameters()["experiment"])
show(run.status()["title"], live(run))
