"""All experiments of a group: state, best, budget, finding; each with a page of its own.

Share it with a group: ``gw.share("experiments", title="Solar", groups=["solar"])``. It shows what everybody who can open it may
see, and follows where it is shared with others later.
"""

import holoviews as hv
import panel as pn

import genesis_workbench as gw

pn.extension("tabulator")
hv.extension("bokeh")

from genesis_workbench.dashboards.experiment_page import live, table, visible
from genesis_workbench.dashboards.frame import show

TITLE = {"font-size": "20px", "white-space": "pre-wrap", "overflow-wrap": "anywhere"}


def found():
    """What may be shown here, at this moment."""
    return visible(gw.experiments.search(), gw.dashboards.audience())


def several():
    """A table with filters, as long as somebody looks."""
    words = pn.widgets.TextInput(name="Words", placeholder="in title or name of who launched it")
    state = pn.widgets.MultiChoice(name="State", options=["running", "paused", "ended"])
    finding = pn.widgets.MultiChoice(name="Finding", options=["supported", "not supported", "undecided"])
    real = pn.widgets.Checkbox(name="Leave out what is simulated")
    count = pn.pane.Str("")
    rows = pn.widgets.Tabulator(
        table(found()),
        disabled=True,
        show_index=False,
        hidden_columns=["id", "url"],
        formatters={
            "experiment": {"type": "link", "labelField": "experiment", "urlField": "url"},
            "simulated": {"type": "tickCross", "crossElement": False},
        },
        pagination="local",
        page_size=20,
        layout="fit_data_stretch",
        # One long title would push everything else out of the page; all of it is shown under the pointer.
        widths={"experiment": 360},
        configuration={"columnDefaults": {"tooltip": True}},
        sizing_mode="stretch_width",
    )

    def choose(*_):
        everything = table(found())
        everything["url"] = "?experiment=" + everything["id"]
        kept = everything
        if words.value_input or words.value:
            text = (words.value_input or words.value).lower()
            said = (kept["experiment"] + " " + kept["by"]).str.lower()
            kept = kept[said.str.contains(text, regex=False)]
        if state.value:
            kept = kept[kept["state"].isin(state.value)]
        if finding.value:
            kept = kept[kept["finding"].isin(finding.value)]
        if real.value:
            kept = kept[~kept["simulated"].astype(bool)]
        kept = kept.reset_index(drop=True)
        if not kept.equals(rows.value):
            rows.value = kept
        count.object = (
            f"{len(kept)} of {len(everything)} experiments"
            if len(everything)
            else "No experiment is shared with everybody who can open this page. Launch one with groups=[...]."
        )

    words.param.watch(choose, ["value", "value_input"])
    for each in (state, finding, real):
        each.param.watch(choose, "value")
    choose()
    pn.state.add_periodic_callback(choose, period=3000)
    # A narrow page has them below one another.
    filters = pn.FlexBox(words, state, finding, pn.Column(pn.Spacer(height=18), real))
    return [filters, count, rows]


def single(experiment):
    """One experiment in full, if it may be shown here."""
    back = pn.pane.HTML("<a href='?'>All experiments</a>", styles={"font-size": "15px"})
    if experiment not in {each["id"] for each in found()}:
        return [
            back,
            pn.pane.Str(
                "There is no such experiment here, or it is not shared with everybody who can open this page."
            ),
        ]
    run = gw.experiments.get(experiment)
    return [back, pn.pane.Str(run.status()["title"], styles=TITLE), live(run)]


asked = [each.decode("ascii", "replace") for each in pn.state.session_args.get("experiment", [])]
show(
    gw.dashboards.parameters().get("title") or gw.dashboards.title(),
    *(single(asked[0]) if asked else several()),
    max_width_px=1300,
)
