"""A tokamak of ITER's size, by TORAX: heat, particles and current through the radius, to a steady burn.

TORAX: Citrin et al. (2024), arXiv:2406.06718. The cross-section is circular and the transport coefficients constant, so
this is for trying out a loop over a real solver, not for predicting ITER: the gain comes out far below ITER's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, covered, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

_LIMITS = {
    "plasma_current": (2.0, 17.0, "MA"),
    "heating_power": (1.0, 120.0, "MW"),
    "heating_width": (0.05, 0.5, ""),
}


class Discharge(Record):
    """How long the plasma lasts."""

    duration_s: float = Field(20.0, ge=1, le=500, description="Seconds of plasma.")


class TokamakSimulator(ProcessSimulator):
    """The state at the end of the discharge. A run compiles first: a minute, and some twenty seconds from the second one on."""

    name: ClassVar[str] = "torax"
    settings: ClassVar[type[Record]] = Discharge
    walltime_s: ClassVar[float] = 1800
    memory_bytes: ClassVar[int] = 4 * 2**30
    parameters: ClassVar[Mapping[str, str]] = {name: unit for name, (_, _, unit) in _LIMITS.items()}
    outcomes: ClassVar[Mapping[str, str]] = {
        "fusion_power": "MW",
        "fusion_gain": "",
        "core_temperature": "keV",  # of the electrons
        "stored_energy": "MJ",
        "density": "1/m**3",  # of the electrons, averaged over the volume
        "greenwald_fraction": "",
        "safety_factor": "",  # at 95 % of the flux
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return powers, temperatures and the density at the end."""
        given = covered(parameters, _LIMITS)
        # Compiling is most of a run; what one trial has compiled, the next ones take over.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache/genesis-workbench/jax"))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        import torax

        config = torax.ToraxConfig.from_dict(
            _described(given, read(Discharge, cls.name, arguments).duration_s)
        )
        tree, history = torax.run_simulation(config, progress_bar=False)
        if history.sim_error is not torax.SimError.NO_ERROR:
            raise InvalidInput(f"TORAX did not reach the end of the discharge: {history.sim_error.name}.")
        last = tree.scalars.dataset.isel(time=-1)
        return {
            "fusion_power": float(last["P_fusion"]) / 1e6,
            "fusion_gain": float(last["Q_fusion"]),
            "core_temperature": float(tree.profiles.dataset["T_e"][-1, 0]),
            "stored_energy": float(last["W_thermal_total"]) / 1e6,
            "density": float(last["n_e_volume_avg"]),
            "greenwald_fraction": float(last["fgw_n_e_volume_avg"]),
            "safety_factor": float(last["q95"]),
        }


def _described(given: Mapping[str, float], duration_s: float) -> dict[str, Any]:
    """Return TORAX' own description of the discharge: its defaults, with what is varied."""
    return {
        "profile_conditions": {"Ip": given["plasma_current"] * 1e6},
        "plasma_composition": {},
        "numerics": {"t_final": duration_s},
        "geometry": {"geometry_type": "circular"},
        "neoclassical": {"bootstrap_current": {}},
        "sources": {
            "generic_current": {},
            "generic_particle": {},
            "gas_puff": {},
            "pellet": {},
            "generic_heat": {
                "P_total": given["heating_power"] * 1e6,
                "gaussian_width": given["heating_width"],
            },
            "fusion": {},
            "ei_exchange": {},
            "ohmic": {},
        },
        "pedestal": {},
        "transport": {"model_name": "constant"},
        "solver": {"solver_type": "linear"},
        "time_step_calculator": {"calculator_type": "chi"},
    }


if __name__ == "__main__":
    run_as_job(TokamakSimulator)
