"""One experiment: what is claimed, how it goes, what was found. Parameter: `experiment`, its identifier."""

import html

import holoviews as hv
import panel as pn

import genesis_workbench as gw

pn.extension("tabulator")
hv.extension("bokeh")

TEXT = {"font-size": "15px", "line-height": "1.5"}
run = gw.experiments.get(gw.dashboards.parameters()["experiment"])


def facts(summary):
    """The hypothesis, the decision and the best trial, escaped: titles and reasons are other people's words."""
    trials, best, finding = summary["trials"], summary["best"], summary["finding"]
    lines = [
        summary["hypothesis"]["statement"],
        f"Rule, committed before the first trial: {summary['hypothesis']['rule']}",
        f"Commitment: {summary['hypothesis']['digest'][:23]}…",
        f"{trials['observed']} of {trials['budget']} trials observed, {trials['failed']} failed; {summary['state']}. "
        f"{summary['reason']}",
    ]
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


def plots(state):
    """The objective over the trials, and over each parameter."""
    objective = state.spec.objective
    if not any(objective.name in trial.values for trial in state.observed):
        return pn.pane.Str("Nothing was observed yet.")
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
        points = hv.Points(table, [x, label], ["trial"])
        scatters.append(
            points.opts(
                responsive=True, height=260, size=8, color="trial", cmap="viridis", tools=["hover"], toolbar=None,
                show_grid=True, xticks=5, ylabel="", fontsize={"labels": 11},
            )
        )  # fmt: skip
    return pn.Column(
        run.plot(responsive=True),
        pn.pane.HTML(html.escape(f"{label} over each parameter; later trials are lighter"), styles=TEXT),
        pn.Row(*scatters, sizing_mode="stretch_width"),
        sizing_mode="stretch_width",
    )


def page():
    """Everything, as it is now."""
    summary = run.status()
    badge = (
        pn.pane.Alert("Simulated: every observation comes from a simulator, none from an instrument.", alert_type="warning")
        if summary["simulated"]
        else pn.Spacer(height=0)
    )  # fmt: skip
    table = pn.widgets.Tabulator(
        run.trials(),
        disabled=True,
        pagination="local",
        page_size=10,
        layout="fit_data_stretch",
        sizing_mode="stretch_width",
    )
    return [badge, facts(summary), plots(run.state()), table]


content = pn.Column(*page(), sizing_mode="stretch_width")


def refresh():
    """Show what came meanwhile, until the experiment has ended."""
    content[:] = page()
    if run.status()["state"] == "ended":
        timer.stop()


if run.status()["state"] != "ended":
    timer = pn.state.add_periodic_callback(refresh, period=2000)

pn.template.FastListTemplate(
    title=run.status()["title"], main=[content], theme_toggle=True, main_max_width="1100px"
).servable()
