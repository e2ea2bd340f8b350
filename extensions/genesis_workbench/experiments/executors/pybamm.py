"""A lithium-ion cell under constant current, by PyBaMM: the Doyle-Fuller-Newman model of the LG M50 cell.

Model: Doyle, Fuller and Newman (1993), Journal of the Electrochemical Society 140, 1526; PyBaMM: Sulzer et al. (2021),
Journal of Open Research Software 9, 14. Parameters: Chen et al. (2020), Journal of the Electrochemical Society 167, 080534.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

_COBALT_SHARE, _COBALT_G_PER_MOL = 0.1, 58.933


class Model(Record):
    """How the cell is modelled."""

    model: Literal["DFN", "SPMe"] = Field("DFN", description="SPMe is coarser and faster.")


class CellSimulator(ProcessSimulator):
    """A discharge from full to 2.5 V."""

    name: ClassVar[str] = "pybamm"
    settings: ClassVar[type[Record]] = Model
    parameters: ClassVar[Mapping[str, str]] = {
        "negative_thickness": "um",
        "positive_thickness": "um",
        "current": "A",
    }
    outcomes: ClassVar[Mapping[str, str]] = {
        "capacity": "A*h",
        "energy": "W*h",
        "mean_voltage": "V",
        "cobalt": "g",  # in the positive electrode
        "energy_per_cobalt": "W*h/g",
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return what the cell gives until its voltage has fallen to the limit."""
        negative, positive = float(parameters["negative_thickness"]), float(parameters["positive_thickness"])
        current = float(parameters["current"])
        if not (20 <= negative <= 250 and 20 <= positive <= 250 and 0.05 <= current <= 25):
            raise InvalidInput(
                f"The simulator covers electrodes of 20 to 250 um and currents of 0.05 to 25 A, not {negative:g} um, "
                f"{positive:g} um and {current:g} A."
            )
        # Nothing of what people simulate leaves the machine.
        os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"
        import pybamm

        values = pybamm.ParameterValues("Chen2020")
        values.update(
            {
                "Negative electrode thickness [m]": negative * 1e-6,
                "Positive electrode thickness [m]": positive * 1e-6,
                "Current function [A]": current,
            }
        )
        model = getattr(pybamm.lithium_ion, read(Model, cls.name, arguments).model)(
            {"calculate discharge energy": "true"}
        )
        # Three times the nominal 5 A h would have flowed: the voltage ends the discharge long before.
        longest_s = 3 * 5.0 / current * 3600 * max(negative / 85.2, positive / 75.6, 1.0)
        solution = pybamm.Simulation(model, parameter_values=values).solve([0, longest_s])
        if "voltage" not in solution.termination:
            raise InvalidInput(
                f"The discharge did not end at the lowest voltage, but with: {solution.termination}."
            )
        capacity = float(solution["Discharge capacity [A.h]"].entries[-1])
        energy = float(solution["Discharge energy [W.h]"].entries[-1])
        cobalt = _cobalt(values)
        return {
            "capacity": capacity,
            "energy": energy,
            "mean_voltage": energy / capacity,
            "cobalt": cobalt,
            "energy_per_cobalt": energy / cobalt,
        }


def _cobalt(values: Any) -> float:
    """Return the cobalt in grams: a tenth of the metal in NMC 811 (Chen et al. 2020), of which each unit stores one lithium."""
    volume = math.prod(
        values[f"{name} [m]"]
        for name in ("Electrode height", "Electrode width", "Positive electrode thickness")
    )
    units = (
        volume
        * values["Positive electrode active material volume fraction"]
        * values["Maximum concentration in positive electrode [mol.m-3]"]
    )
    return float(_COBALT_SHARE * units * _COBALT_G_PER_MOL)


if __name__ == "__main__":
    run_as_job(CellSimulator)
