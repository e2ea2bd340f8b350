"""Plots of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genesis_workbench.core.errors import Conflict
from genesis_workbench.training.metrics import STEP, VALIDATION


def curves(title: str, lines: Sequence[dict[str, Any]]) -> Any:
    """Return a HoloViews overlay of training and validation loss over steps."""
    import holoviews as hv

    if not hv.extension._loaded:
        hv.extension("bokeh")
    shown = {"training": STEP, "validation": VALIDATION}
    points = {
        label: [(each["step"], each["loss"]) for each in lines if each["kind"] == kind]
        for label, kind in shown.items()
    }
    drawn = [hv.Curve(each, "step", "loss", label=label) for label, each in points.items() if each]
    if not drawn:
        raise Conflict(
            "Nothing was measured yet, so there is nothing to plot. It begins with the first steps."
        )
    positive = all(value > 0 for each in points.values() for _, value in each)
    return hv.Overlay(drawn).opts(
        title=title, width=640, height=320, logy=positive, show_grid=True, legend_position="top_right"
    )
