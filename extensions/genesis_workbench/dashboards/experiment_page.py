"""What dashboards show of experiments: one of them in full, and many as a table. Only dashboards' scripts import this."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
from bokeh.palettes import interp_palette

from genesis_workbench.core.ledger import Event
from genesis_workbench.experiments.run import Run
from genesis_workbench.experiments.space import Categorical
from genesis_workbench.experiments.state import ExperimentState, fold_on

TEXT = {"font-size": "15px", "line-height": "1.5"}
# Viridis, its dark end lightened for dark pages, as in the widgets' plots.
LIGHTER = interp_palette(("#6e40aa", "#3b528b", "#21918c", "#5ec962", "#fde725"), 256)
COLUMNS = (
    "experiment",
    "by",
    "state",
    "trials",
    "best",
    "budget used",
    "finding",
    "launched",
    "id",
    "simulated",
)


def live(run: Run) -> Any:
    """Return everything of one experiment, which follows it until it has ended.

    It is drawn again only where something came, and into what is there: who sorted the table, reads its second page or has
    scrolled down is not thrown back.
    """
    state = run.state()
    summary = state.summary()
    badge = (
        pn.pane.Alert("Simulated: as declared, observations are computed, all or some of them, and come from no instrument.", alert_type="warning")
        if summary["simulated"]
        else pn.Spacer(height=0)
    )  # fmt: skip
    said, drawn = facts(summary), plots(run)
    table = pn.widgets.Tabulator(
        run.trials(),
        disabled=True,
        pagination="local",
        page_size=10,
        layout="fit_data_stretch",
        sizing_mode="stretch_width",
    )

    def refresh() -> None:
        if came := run.events(state.seq):
            fold_on(state, [Event(**event) for event in came])
            now = plots(run)
            said.object = facts(state.summary()).object
            drawn.min_height, drawn[:] = now.min_height, now.objects
            table.value = run.trials()
        if state.state == "ended":
            timer.stop()

    if summary["state"] != "ended":
        timer = pn.state.add_periodic_callback(refresh, period=2000)
    return pn.Column(badge, said, drawn, table, sizing_mode="stretch_width")


def facts(summary: Mapping[str, Any]) -> Any:
    """Return the hypothesis, the decision and the best trial, escaped: titles and reasons are other people's words."""
    trials, finding = summary["trials"], summary["finding"]
    lines = [
        summary["hypothesis"]["statement"],
        f"Rule, committed before the first trial: {summary['hypothesis']['rule']}",
        f"Commitment: {summary['hypothesis']['digest'][:23]}…",
        f"{trials['observed']} of {trials['budget']} trials observed, {trials['failed']} failed; {summary['state']}. "
        f"{summary['reason']}",
        *_best(summary),
    ]
    if finding:
        lines.append(f"The hypothesis is {finding['decision']}. {finding.get('says', '')}")
        if finding.get("caution"):
            lines.append(finding["caution"])
        lines += [
            f"Changed after {change['observed']} observations: {change['reason']} That rule would decide: "
            f"{change['would_decide']}."
            for change in finding.get("deviations", ())
        ]
    return pn.pane.HTML("<br>".join(html.escape(line) for line in lines), styles=TEXT)


def _best(summary: Mapping[str, Any]) -> list[str]:
    lines, best = [], summary["best"]
    if best:
        parameters = ", ".join(
            f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
            for name, value in best["parameters"].items()
        )
        lines.append(f"Best: trial {best['trial']}, {best['value']:.6g} {best['unit']} at {parameters}")
    further = len(summary["spec"].get("further_objectives", ()))
    if further:
        lines.append(
            f"Shown is the first of {further + 1} objectives; {len(summary['front'])} points are on the Pareto front."
        )
    return lines


def plots(run: Run) -> Any:
    """Return the objective over the trials, and over each parameter."""
    state: ExperimentState = run.state()
    objective = state.spec.objective
    if not any(objective.name in trial.values for trial in state.observed):
        return pn.Column(pn.pane.Str("Nothing was observed yet."), sizing_mode="stretch_width")
    frame = run.trials()
    frame = frame[frame["state"] == "observed"].dropna(subset=[objective.name]).reset_index()
    label = f"{objective.name.replace('_', ' ')} ({objective.unit})" if objective.unit else objective.name
    scatters = []
    for parameter in state.spec.space:
        x = f"{parameter.name} ({parameter.unit})" if parameter.unit else parameter.name
        given = frame.dropna(subset=[parameter.name])  # not every parameter is active in every trial
        if given.empty:
            continue
        table = {x: given[parameter.name], label: given[objective.name], "trial": given["trial"]}
        # Bokeh cannot draw a number of ticks on an axis of words, and then draws nothing of the page.
        ticks = None if isinstance(parameter, Categorical) else 5
        points = hv.Points(table, [x, label], ["trial"])
        scatters.append(
            points.opts(
                responsive=True, height=260, size=8, color="trial", cmap=LIGHTER, tools=["hover"], default_tools=[],
                toolbar=None, show_grid=True, xticks=ticks, ylabel="", fontsize={"labels": 11},
            )
        )  # fmt: skip
    return pn.Column(
        run.plot(responsive=True),
        pn.pane.HTML(html.escape(f"{label} over each parameter; later trials are lighter"), styles=TEXT),
        pn.Row(*scatters, sizing_mode="stretch_width"),
        sizing_mode="stretch_width",
        min_height=640,  # so that the page does not jump while they are drawn again
    )


def visible(summaries: Iterable[dict[str, Any]], audience: Iterable[str]) -> list[dict[str, Any]]:
    """Return those experiments that everybody who may open the dashboard may see.

    A dashboard runs with its owner's rights, and the owner may see more than the viewers: shown is what is shared with
    each group that can open it.

    Parameters
    ----------
    audience : iterable of str
        Groups that can open the dashboard; none where only its owner can.
    """
    groups = set(audience)
    return [summary for summary in summaries if groups <= set(summary["spec"]["groups"])]


def table(summaries: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row for each experiment."""
    rows = [
        {
            "experiment": each["title"],
            "by": each["owner"],
            "state": each["state"],
            "trials": f"{each['trials']['observed']} of {each['trials']['budget']}",
            "best": f"{each['best']['value']:.5g} {each['best']['unit']}".strip() if each["best"] else "",
            "budget used": _used(each),
            "finding": each["finding"]["decision"] if each["finding"] else "",
            "launched": each["created"][:16].replace("T", " "),
            "id": each["id"],
            "simulated": each["simulated"],
        }
        for each in summaries
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _used(summary: Mapping[str, Any]) -> str:
    """Return the share of each amount that is reserved or spent: that of the trials, and of those that have a limit."""
    trials = summary["trials"]
    parts = [f"{100 * trials['proposed'] / trials['budget']:.0f} % of trials"]
    parts += [
        f"{100 * (each['spent'] + each['reserved']) / each['limit']:.0f} % of {each['unit']}"
        for each in summary["budget"].values()
    ]
    return ", ".join(parts)
