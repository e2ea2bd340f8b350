"""The dashboard of a group shows no more than each of its viewers may see."""

from __future__ import annotations

from genesis_workbench.dashboards.experiment_page import table, visible


def summary(name, *groups, **changes):
    return {
        "id": f"exp_{name}",
        "title": name,
        "owner": "alice",
        "created": "2026-11-28T10:00:00.000000Z",
        "state": "running",
        "simulated": True,
        "trials": {"budget": 40, "proposed": 10, "observed": 8},
        "best": None,
        "budget": {},
        "finding": None,
        "spec": {"groups": list(groups)},
        **changes,
    }


def test_only_what_every_group_that_can_look_may_see():
    everything = [summary("own"), summary("one", "solar"), summary("both", "fusion", "solar")]
    for audience, shown in {
        (): ["own", "one", "both"],
        ("solar",): ["one", "both"],
        ("solar", "fusion"): ["both"],
        ("wind",): [],
    }.items():
        assert [each["title"] for each in visible(everything, audience)] == shown


def test_a_row_says_how_much_is_used_and_what_was_found():
    spent = {"money": {"limit": 200, "spent": 40, "reserved": 10, "unit": "EUR"}}
    best = {"value": 0.123456789, "unit": "g"}
    ended = summary("a", state="ended", budget=spent, best=best, finding={"decision": "supported"})
    [row] = table([ended]).to_dict("records")
    assert row["budget used"] == "25 % of trials, 25 % of EUR"
    assert (row["best"], row["finding"], row["trials"]) == ("0.12346 g", "supported", "8 of 40")


def test_a_table_of_nothing_has_its_columns():
    assert list(table([]).columns)[:3] == ["experiment", "by", "state"]
