"""Escherichia coli on glucose, by COBRApy: the fluxes of its core metabolism, and what it secretes while it grows.

COBRApy: Ebrahim et al. (2013), BMC Systems Biology 7, 74. Model: Orth, Fleming and Palsson (2010), EcoSal Plus 4, as the
package has it: 95 reactions at steady state, and cells that grow as fast as these allow. Least and most of what they secrete:
flux variability, Mahadevan and Schilling (2003), Metabolic Engineering 5, 264.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any, ClassVar, Literal

from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

REACTIONS = {
    "adh": ("ACALD", "ALCD2x"),  # acetyl-CoA to ethanol
    "frd": ("FRD7",),  # fumarate to succinate, as without oxygen
    "ldh": ("LDH_D",),  # pyruvate to lactate
    "mae": ("ME1", "ME2"),  # malate to pyruvate
    "nuo": ("NADH16",),  # NADH to the respiratory chain
    "pfl": ("PFL",),  # pyruvate to formate
    "pgi": ("PGI",),  # glucose 6-phosphate into glycolysis
    "pta": ("PTAr",),  # acetyl-CoA to acetate
    "pyk": ("PYK",),  # phosphoenolpyruvate to pyruvate
    "sdh": ("SUCDi",),  # succinate to fumarate, as with oxygen
    "zwf": ("G6PDH2r",),  # glucose 6-phosphate into the pentose phosphate pathway
}
"""What may be knocked out, and the model's reactions that stop then: of several enzymes for one step, all are gone."""

_EXCHANGES = {
    "acetate": "EX_ac_e",
    "ethanol": "EX_etoh_e",
    "formate": "EX_for_e",
    "lactate": "EX_lac__D_e",
    "succinate": "EX_succ_e",
}
_NO_GROWTH_PER_H = 1e-6  # the solver's zero is smaller


class Culture(Record):
    """What is looked at."""

    product: Literal["acetate", "ethanol", "formate", "lactate", "succinate"] = Field(
        "succinate", description="What the cells are to secrete."
    )
    near_optimal: float = Field(
        0.99, gt=0, le=1, description="Cells grow at least at this share of the fastest rate."
    )


class CultureSimulator(ProcessSimulator):
    """Cells of which each gram, dry, takes up at most so much. A knock-out is 1; it is 0, or left out, where there is none."""

    name: ClassVar[str] = "cobra"
    settings: ClassVar[type[Record]] = Culture
    optional: ClassVar[frozenset[str]] = frozenset(f"no_{enzyme}" for enzyme in REACTIONS)
    parameters: ClassVar[Mapping[str, str]] = {
        "glucose_uptake": "mmol/g/h",
        "oxygen_uptake": "mmol/g/h",
        **dict.fromkeys(sorted(optional), ""),
    }
    outcomes: ClassVar[Mapping[str, str]] = {
        "growth_rate": "1/h",  # the fastest
        "least_secretion": "mmol/g/h",  # of the product, however the cells arrange their fluxes
        "most_secretion": "mmol/g/h",
        "least_yield": "",  # moles of product for each of glucose
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return how fast the cells grow, and what they secrete then; those that cannot grow secrete nothing."""
        culture = read(Culture, cls.name, arguments)
        glucose, oxygen = float(parameters["glucose_uptake"]), float(parameters["oxygen_uptake"])
        if not (1 <= glucose <= 20 and 0 <= oxygen <= 60):
            raise InvalidInput(
                f"The simulator covers uptakes of 1 to 20 mmol/g/h of glucose and 0 to 60 of oxygen, not {glucose:g} and "
                f"{oxygen:g}."
            )
        knocked_out = [enzyme for enzyme in REACTIONS if _switch(f"no_{enzyme}", parameters)]
        model = _model(glucose, oxygen, knocked_out)
        growth = float(model.slim_optimize(error_value=0.0))
        least = most = 0.0
        if growth < _NO_GROWTH_PER_H:
            growth = 0.0
        else:
            least, most = _secreted(model, _EXCHANGES[culture.product], culture.near_optimal)
        return {
            "growth_rate": growth,
            "least_secretion": least,
            "most_secretion": most,
            "least_yield": least / glucose,
        }


def _switch(name: str, parameters: Mapping[str, Any]) -> bool:
    value = parameters.get(name, 0)
    if value not in (0, 1):
        raise InvalidInput(f"{name} is {value!r}; it is 1 for a knock-out, and 0 for none.")
    return bool(value)


def _model(glucose: float, oxygen: float, knocked_out: list[str]) -> Any:
    from cobra.io import read_sbml_model

    # The package's own file. By its name, load_model("textbook"), COBRApy would ask the internet where it is missing.
    model = read_sbml_model(str(files("cobra.data") / "textbook.xml.gz"))
    model.solver = "glpk"
    model.reactions.EX_glc__D_e.lower_bound = -glucose
    model.reactions.EX_o2_e.lower_bound = -oxygen
    for enzyme in knocked_out:
        for reaction in REACTIONS[enzyme]:
            model.reactions.get_by_id(reaction).knock_out()
    return model


def _secreted(model: Any, exchange: str, near_optimal: float) -> tuple[float, float]:
    """Return the least and the most that leaves the cells while they grow nearly as fast as they can."""
    from cobra.flux_analysis import flux_variability_analysis

    found = flux_variability_analysis(model, [exchange], fraction_of_optimum=near_optimal, processes=1)
    least, most = found.loc[exchange, ["minimum", "maximum"]]
    return max(0.0, float(least)), max(0.0, float(most))


if __name__ == "__main__":
    run_as_job(CultureSimulator)
