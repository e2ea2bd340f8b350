"""A finding as a notebook shows it."""

from __future__ import annotations

import html
from typing import Any


class Finding(dict[str, Any]):
    """The decision, the rule that made it and the evidence, as a dictionary that a notebook shows readably."""

    def _repr_html_(self) -> str:
        best = self["evidence"]["best"]
        rows = [
            ("Hypothesis", self["statement"]),
            ("Rule, committed before the first trial", self["rule"]),
            ("Commitment", self["hypothesis_digest"]),
            ("Observed", f"{self['evidence']['observed']} trials, {self['evidence']['failed']} failed"),
        ]
        proposers = self["evidence"].get("proposers", {})
        if len(proposers) > 1:
            rows.append(("Points by", ", ".join(f"{name}: {many}" for name, many in proposers.items())))
        if self.get("reason"):
            rows.append(("Ended", self["reason"]))
        if "says" in self:
            rows.append(("The rule says", self["says"]))
        if self.get("caution"):
            rows.append(("Caution", self["caution"]))
        if self["evidence"]["reaching"]:
            rows.append(("Trials that reach the bound", ", ".join(map(str, self["evidence"]["reaching"]))))
        rows += [
            (
                f"Changed after {change['observed']} observations",
                f"{change['reason']} Rule: {change['rule']}; it would decide: {change['would_decide']}.",
            )
            for change in self.get("deviations", ())
        ]
        if best:
            values = ", ".join(
                f"{name} = {each['value']:.6g} {each['unit']}".rstrip()
                for name, each in best["values"].items()
            )
            parameters = ", ".join(
                f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
                for name, value in best["parameters"].items()
            )
            rows += [("Best trial", f"number {best['trial']}: {parameters}"), ("It gave", values)]
        front = self["evidence"].get("front")
        if front:
            rows.append(
                ("Pareto front", f"{len(front)} points: trials {', '.join(str(p['trial']) for p in front)}")
            )
        if self["simulated"]:
            of = self["evidence"]["observed"]
            rows.append(("Simulated", computed(self["evidence"].get("simulated", of), of)))
        body = "".join(
            f"<tr><th style='text-align:left;padding-right:1em'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
            for name, value in rows
        )
        return f"<h4>{html.escape(self['decision'].capitalize())}</h4><table>{body}</table>"


def computed(many: int, of: int) -> str:
    """Say how many observations of an experiment that is told as simulated come from simulators."""
    if many == of:
        return "As declared, every observation is computed, and none comes from an instrument."
    return f"{many} of {of} observations are computed, and come from no instrument."
