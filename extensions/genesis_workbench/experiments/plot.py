"""Plots of an experiment."""

from __future__ import annotations

import textwrap
from typing import Any

from genesis_workbench.core.errors import Conflict
from genesis_workbench.experiments.state import ExperimentState


def convergence(state: ExperimentState, *, responsive: bool = False) -> Any:
    """Return a HoloViews overlay: each observed objective, and the best so far as steps."""
    import holoviews as hv
    import numpy as np

    if not hv.extension._loaded:
        hv.extension("bokeh")
    objective = state.spec.objective
    trials = [trial for trial in state.observed if objective.name in trial.values]
    if not trials:
        raise Conflict("Nothing was observed yet, so there is nothing to plot.")
    numbers = [trial.number for trial in trials]
    values = [float(trial.values[objective.name]["value"]) for trial in trials]
    best = np.maximum.accumulate(values) if objective.maximize else np.minimum.accumulate(values)
    axis = hv.Dimension(objective.name, label=objective.name.replace("_", " "), unit=objective.unit or None)
    points = hv.Scatter((numbers, values), "trial", axis, label="observed")
    steps = hv.Curve((numbers, best), "trial", axis, label="best so far")
    title = f"{state.spec.title} (simulated)" if state.simulated else state.spec.title
    if state.spec.further_objectives:
        title += f": {objective.name.replace('_', ' ')}, the first of {len(state.spec.objectives)} objectives"
    size: dict[str, Any] = {"responsive": True} if responsive else {"width": 640}
    # The wheel is the page's: it scrolls, until a reader takes a tool. Long words go on in a second line, and are not cut.
    return (points.opts(size=7) * steps.opts(interpolation="steps-post")).opts(
        title=textwrap.fill(title, 70), ylabel=textwrap.fill(axis.pprint_label, 32), active_tools=[],
        height=320, legend_position="bottom_right", show_grid=True, **size,
    )  # fmt: skip
