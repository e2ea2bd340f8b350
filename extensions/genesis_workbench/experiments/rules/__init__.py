"""Decision rules, one small file each: what is claimed of observations, and the test that decides it.

A rule sees observations only, in the order in which they came, and gives the same verdict whoever asks. The digest of its
own source is part of the committed hypothesis. Nothing about ledgers, proposers or executors here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genesis_workbench.experiments.rules._base import Decision, Observed, Verdict, observations, source_digest
from genesis_workbench.experiments.rules.betting import Betting
from genesis_workbench.experiments.rules.equivalence import Equivalence
from genesis_workbench.experiments.rules.mean import Mean
from genesis_workbench.experiments.rules.posterior import Posterior
from genesis_workbench.experiments.rules.sequential import Sequential
from genesis_workbench.experiments.rules.superiority import Superiority
from genesis_workbench.experiments.rules.threshold import Threshold

AnyRule = Threshold | Mean | Superiority | Equivalence | Sequential | Betting | Posterior
Rule = Annotated[AnyRule, Field(discriminator="type")]

__all__ = [
    "AnyRule",
    "Betting",
    "Decision",
    "Equivalence",
    "Mean",
    "Observed",
    "Posterior",
    "Rule",
    "Sequential",
    "Superiority",
    "Threshold",
    "Verdict",
    "observations",
    "source_digest",
]
