"""The simulator: maximum power of a photovoltaic module by the single-diode model of De Soto et al. (2006), as pvlib has it.

The surrogate sees what a data sheet tells; the simulator uses fitted parameters that no data sheet has. So two modules
with the same data sheet differ a little, and that the surrogate must say of its own answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

NAME = "pvlib single-diode model (De Soto)"
INPUTS = {
    "irradiance": ("W/m**2", "Effective irradiance on the module"),
    "cell_temperature": ("degC", "Temperature of the cells"),
    "I_sc_ref": ("A", "Short-circuit current at standard conditions"),
    "V_oc_ref": ("V", "Open-circuit voltage at standard conditions"),
    "I_mp_ref": ("A", "Current at maximum power at standard conditions"),
    "V_mp_ref": ("V", "Voltage at maximum power at standard conditions"),
    "alpha_sc": ("A/K", "Change of the short-circuit current with temperature"),
    "beta_oc": ("V/K", "Change of the open-circuit voltage with temperature"),
}
OUTPUT = ("maximum_power", "W", "Power at the maximum power point")
SHEET = ("I_sc_ref", "V_oc_ref", "I_mp_ref", "V_mp_ref", "alpha_sc", "beta_oc")
FITTED = ("a_ref", "I_L_ref", "I_o_ref", "R_s", "R_sh_ref", "Adjust")
IRRADIANCE_W_M2, TEMPERATURE_DEGC = (50.0, 1200.0), (-20.0, 80.0)


def simulate(modules: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Return one simulated operating point for each module.

    Parameters
    ----------
    modules : numpy.ndarray
        Records with the fields of `SHEET` and `FITTED`.
    random : numpy.random.Generator
        Draws irradiance and temperature, evenly over their ranges.
    """
    count = len(modules)
    irradiance = random.uniform(*IRRADIANCE_W_M2, count)
    temperature = random.uniform(*TEMPERATURE_DEGC, count)
    columns: dict[str, Any] = {name: modules[name] for name in SHEET}
    return {
        "x": np.stack([irradiance, temperature, *columns.values()], axis=1).astype("float32"),
        "y": maximum_power(modules, irradiance, temperature)[:, None].astype("float32"),
    }


def maximum_power(modules: np.ndarray, irradiance: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Return the maximum power in W."""
    from pvlib import pvsystem

    parameters = pvsystem.calcparams_cec(
        irradiance, temperature,
        alpha_sc=modules["alpha_sc"], a_ref=modules["a_ref"], I_L_ref=modules["I_L_ref"], I_o_ref=modules["I_o_ref"],
        R_sh_ref=modules["R_sh_ref"], R_s=modules["R_s"], Adjust=modules["Adjust"],
    )  # fmt: skip
    points = pvsystem.max_power_point(*parameters, method="newton")
    return np.asarray(points["p_mp"], dtype="float64")
