"""What dashboards show of a training run. Only dashboards' scripts import this."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import holoviews as hv
import panel as pn

from genesis_workbench.core.errors import PermissionRefused
from genesis_workbench.core.service import Service, service
from genesis_workbench.training import get
from genesis_workbench.training.report import curves, report

TEXT = {"font-size": "15px", "line-height": "1.5"}
Curves = Mapping[str, Sequence[Sequence[float]]]


def look(run: str, audience: Iterable[str]) -> tuple[dict[str, Any], Curves]:
    """Return where a run stands and what is drawn of it, as the service was told; in a bare notebook as it is.

    Parameters
    ----------
    run : str
        Its identifier.
    audience : iterable of str
        Groups that can open the dashboard; none where only its owner can.

    Raises
    ------
    PermissionRefused
        If it is trained on data that are not public, and others can open the dashboard.
    """
    remote: Service | None = service()
    if remote is None:
        lines = get(run).lines()
        return report(get(run), lines).model_dump(mode="json"), curves(lines)
    told = remote.get(f"training/runs/{run}")
    if told.get("label") != "public" and list(audience):
        raise PermissionRefused(
            "This run is trained on data that are not for everybody, so its curves are shown to its owner alone."
        )
    return told, remote.get(f"training/runs/{run}/curves")


def page(told: Mapping[str, Any], drawn: Curves) -> list[Any]:
    """Return everything of one run, as it is now."""
    return [facts(told), *plots(drawn)]


def facts(told: Mapping[str, Any]) -> Any:
    """Return state, progress and cost in words, escaped: names are people's own."""
    state = f"{told['state']}: {told['ended']}" if told["ended"] else told["state"]
    lines = [
        f"{told['recipe']} on {', '.join(told['data']) or 'data of its own'}",
        f"{state}; attempt {told['attempt']}. {told['reason']}",
        f"Step {told['step']:,} of {told['steps']:,}, epoch {told['epoch']} of {told['epochs']}",
    ]
    if told["samples_per_s"] is not None:
        lines.append(f"{told['samples_per_s']:,.0f} samples/s on {told['device']}")
    budget = f" of {told['budget_node_hours']:g}" if told["budget_node_hours"] else ""
    lines.append(f"{told['node_hours']:.3g}{budget} node-hours")
    if told["best"] is not None:
        lines.append(f"Best validation loss: {told['best']:.6g}")
    if told["checkpoints"]:
        last = told["checkpoints"][-1]
        lines.append(f"Checkpoint of step {last['step']:,}, {last['time'][:16].replace('T', ' ')}")
    if told["model"]:
        lines.append(f"It became the model {told['model']}.")
    return pn.pane.HTML("<br>".join(html.escape(line) for line in lines), styles=TEXT)


def plots(drawn: Curves) -> list[Any]:
    """Return the losses and the speed over the steps."""
    losses = [_curve(drawn, name, "loss") for name in ("training", "validation") if drawn.get(name)]
    if not losses:
        return [pn.pane.Str("It has not written a step yet.")]
    frame = {"responsive": True, "show_grid": True, "toolbar": None, "title": "", "fontsize": {"labels": 11}}
    # A loss falls over orders of magnitude; one that may be negative has no logarithm.
    falls = all(value > 0 for name in ("training", "validation") for _, value in drawn.get(name, ()))
    shown = [
        hv.Overlay(losses).opts(hv.opts.Overlay(height=340, legend_position="top_right", logy=falls, **frame))
    ]
    if drawn.get("samples_per_s"):
        speed = _curve(drawn, "samples_per_s", "samples/s")
        shown.append(speed.opts(hv.opts.Curve(height=220, **frame)))
    return shown


def _curve(drawn: Curves, name: str, label: str) -> hv.Curve:
    points = [(step, value) for step, value in drawn[name]]
    return hv.Curve(points, "step", label, label=name.replace("_per_s", "/s")).opts(
        hv.opts.Curve(tools=["hover"], default_tools=[], line_width=2)
    )
