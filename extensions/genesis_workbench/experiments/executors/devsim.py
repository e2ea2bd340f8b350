"""A silicon p-n diode, by DEVSIM: Poisson's equation with drift and diffusion in one dimension.

DEVSIM: Sanchez (2022), Journal of Open Source Software 7, 3898. Equations: Scharfetter and Gummel (1969), IEEE
Transactions on Electron Devices 16, 64; recombination of Shockley, Read and Hall. At 300 K.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._base import ProcessSimulator, run_as_job

_LENGTH_CM, _SPACING_CM = 20e-4, 1e-7
_STEP_V = 0.05
_LIBRARIES = "libopenblas.so.0:liblapack.so.3:libblas.so.3"


class DiodeSimulator(ProcessSimulator):
    """An abrupt junction in the middle of 20 um, with long contacts, swept to the bias. It takes no arguments."""

    name: ClassVar[str] = "devsim"
    parameters: ClassVar[Mapping[str, str]] = {"acceptors": "1/cm**3", "donors": "1/cm**3", "bias": "V"}
    outcomes: ClassVar[Mapping[str, str]] = {
        "current_density": "A/cm**2",
        "peak_field": "V/cm",  # without bias
        "slope": "mV",  # bias for ten times the current, at the bias
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the current at the bias, and the largest field without bias."""
        acceptors, donors, bias = (float(parameters[name]) for name in ("acceptors", "donors", "bias"))
        if not (1e14 <= acceptors <= 1e19 and 1e14 <= donors <= 1e19 and 0.1 <= bias <= 0.8):
            raise InvalidInput(
                f"The simulator covers dopings of 1e14 to 1e19 per cm3 and a bias of 0.1 to 0.8 V, not {acceptors:g}, "
                f"{donors:g} and {bias:g}."
            )
        devsim = _library()
        try:
            return _swept(devsim, acceptors, donors, bias)
        finally:
            devsim.reset_devsim()


def _library() -> Any:
    # DEVSIM looks for BLAS and LAPACK itself; of these it takes those that are there.
    os.environ.setdefault("DEVSIM_MATH_LIBS", _LIBRARIES)
    try:
        import devsim
    except RuntimeError as error:
        raise InvalidInput(
            "DEVSIM found no BLAS and LAPACK. Install liblapack3 or libopenblas0, or name the files in DEVSIM_MATH_LIBS."
        ) from error
    return devsim


def _swept(devsim: Any, acceptors: float, donors: float, bias: float) -> dict[str, float]:
    from devsim.python_packages import model_create, simple_physics

    device = region = "diode"
    _mesh(devsim, device)
    simple_physics.SetSiliconParameters(device, region, 300)
    model_create.CreateNodeModel(device, region, "Acceptors", f"{acceptors!r} * step({_LENGTH_CM / 2!r} - x)")
    model_create.CreateNodeModel(device, region, "Donors", f"{donors!r} * step(x - {_LENGTH_CM / 2!r})")
    model_create.CreateNodeModel(device, region, "NetDoping", "Donors - Acceptors")

    def solve() -> None:
        devsim.solve(type="dc", absolute_error=1e10, relative_error=1e-9, maximum_iterations=60)

    simple_physics.CreateSiliconPotentialOnly(device, region)
    for contact in ("p", "n"):
        devsim.set_parameter(device=device, name=simple_physics.GetContactBiasName(contact), value=0.0)
        simple_physics.CreateSiliconPotentialOnlyContact(device, region, contact)
    solve()
    for carrier in ("Electrons", "Holes"):
        model_create.CreateSolution(device, region, carrier)
        devsim.set_node_values(device=device, region=region, name=carrier, init_from=f"Intrinsic{carrier}")
    simple_physics.CreateSiliconDriftDiffusion(device, region)
    for contact in ("p", "n"):
        simple_physics.CreateSiliconDriftDiffusionAtContact(device, region, contact)
    solve()
    field = max(map(abs, devsim.get_edge_model_values(device=device, region=region, name="ElectricField")))

    def current(at: float) -> float:
        devsim.set_parameter(device=device, name=simple_physics.GetContactBiasName("p"), value=at)
        solve()
        carriers = ("ElectronContinuityEquation", "HoleContinuityEquation")
        parts = [devsim.get_contact_current(device=device, contact="p", equation=each) for each in carriers]
        return abs(math.fsum(parts))

    steps = int(bias / _STEP_V)
    for number in range(1, steps):
        current(number * _STEP_V)
    before, at = current(bias - 0.01), current(bias)
    return {"current_density": at, "peak_field": field, "slope": 10.0 / math.log10(at / before)}


def _mesh(devsim: Any, device: str) -> None:
    devsim.create_1d_mesh(mesh=device)
    for place, spacing, tag in (
        (0, 1e-5, "p"),
        (_LENGTH_CM / 2, _SPACING_CM, "junction"),
        (_LENGTH_CM, 1e-5, "n"),
    ):
        devsim.add_1d_mesh_line(mesh=device, pos=place, ps=spacing, tag=tag)
    for contact in ("p", "n"):
        devsim.add_1d_contact(mesh=device, name=contact, tag=contact, material="metal")
    devsim.add_1d_region(mesh=device, material="Si", region=device, tag1="p", tag2="n")
    devsim.finalize_mesh(mesh=device)
    devsim.create_device(mesh=device, device=device)


if __name__ == "__main__":
    run_as_job(DiodeSimulator)
