"""An X gate on a transmon by one DRAG pulse, by QuTiP: the Lindblad master equation of an anharmonic oscillator.

QuTiP: Johansson, Nation and Nori (2013), Computer Physics Communications 184, 1234. Transmon: Koch et al. (2007),
Physical Review A 76, 042319. DRAG: Motzoi, Gambetta, Rebentrost and Wilhelm (2009), Physical Review Letters 103, 110501.

In the frame of a drive that lies D above the qubit, with the anharmonicity A (hbar = 1)::

    H = -D n + A/2 n (n - 1) + U(t)/2 (a + a*) + V(t)/2 i (a* - a),    V = -drag dU/dt / A

U is a Gaussian of standard deviation duration/4, lowered to begin and end at zero; its area is amplitude * pi. The
transition from 1 to 2 sees, to first order, 1 - drag of it: with 1, as in the paper of 2009, nothing leaks. There the
frequency follows too, since the drive shifts level 1. On resonance it is 1/2 that undoes this shift, the error being
proportional to (1/2 - drag)^2: Lucero et al. (2010), Physical Review A 82, 042339; both in Gambetta, Motzoi, Merkel and
Wilhelm (2011), Physical Review A 83, 012308.

The average gate fidelity is the mean over all pure states of the qubit. For a map E of all levels it is
F = (2 F_e + 1 - L)/3, with the entanglement fidelity F_e = sum_ij <i|X E(|i><j|) X|j>/4 over the qubit's two levels, X
swapping them, and the leakage L = 1 - tr P E(P)/2, P being their projector: Nielsen (2002), Physics Letters A 303, 249;
with leakage Pedersen, Moller and Molmer (2007), Physics Letters A 367, 47. The frames of drive and qubit give the same F
where their phases meet in the middle of the pulse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from genesis_workbench.experiments.executors._base import ProcessSimulator, covered, run_as_job
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.record import Record

_LIMITS = {
    "duration": (2.0, 200.0, "ns"),
    "amplitude": (0.0, 2.0, ""),
    "drag": (-5.0, 5.0, ""),
    "detuning": (-200.0, 200.0, "MHz"),
}
_MHZ = 2 * math.pi * 1e-3  # in radians a nanosecond
_SMALLEST = 1e-12  # below that the solver's own error is all there is to see


class Transmon(Record):
    """The qubit, and how long it keeps a state."""

    anharmonicity: float = Field(
        -250.0, ge=-1000, le=-50, description="Frequency from level 1 to 2 less that from 0 to 1 (MHz)."
    )
    t1_us: float = Field(100.0, ge=0.1, le=1e6, description="Time in which level 1 decays (us).")
    t2_us: float = Field(100.0, ge=0.1, le=2e6, description="Time in which a superposition decays (us).")
    levels: int = Field(4, ge=3, le=6, strict=True, description="Levels of the oscillator.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.t2_us > 2 * self.t1_us:
            raise ValueError(f"t2_us is {self.t2_us:g}; it is at most twice t1_us, {2 * self.t1_us:g}")
        return self


class GateSimulator(ProcessSimulator):
    """The gate's error and what leaks out of the qubit, averaged over states. Level k decays k times as fast as level 1."""

    name: ClassVar[str] = "qutip"
    settings: ClassVar[type[Record]] = Transmon
    parameters: ClassVar[Mapping[str, str]] = {name: unit for name, (_, _, unit) in _LIMITS.items()}
    outcomes: ClassVar[Mapping[str, str]] = {
        "infidelity": "",
        "log10_infidelity": "",
        "leakage": "",  # out of levels 0 and 1
        "log10_leakage": "",
    }

    @classmethod
    def simulate(cls, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the average gate infidelity against X, and the leakage, each with its logarithm."""
        given = covered(parameters, _LIMITS)
        transmon = read(Transmon, cls.name, arguments)
        found = _against_x(_channel(transmon, **given))
        logarithms = {f"log10_{name}": math.log10(max(value, _SMALLEST)) for name, value in found.items()}
        return found | logarithms


def _channel(transmon: Transmon, duration: float, amplitude: float, drag: float, detuning: float) -> Any:
    """Return what the pulse does to the operators |i><j|: an array with the indices l, k of <k|E(|i><j|)|l> and j, i."""
    import qutip

    deviation, middle = duration / 4, duration / 2
    lowered = math.exp(-2)  # what a Gaussian has two deviations away from its middle
    area = deviation * math.sqrt(2 * math.pi) * math.erf(math.sqrt(2)) - duration * lowered
    height = amplitude * math.pi / area
    anharmonicity = transmon.anharmonicity * _MHZ

    def gaussian(t: float) -> float:
        return height * math.exp(-(((t - middle) / deviation) ** 2) / 2)

    def in_phase(t: float) -> float:
        return gaussian(t) - height * lowered

    def quadrature(t: float) -> float:
        return drag * (t - middle) / deviation**2 * gaussian(t) / anharmonicity

    a = qutip.destroy(transmon.levels)
    n = a.dag() * a
    still = anharmonicity / 2 * n * (n - 1) - detuning * _MHZ * n
    driven = [[(a + a.dag()) / 2, in_phase], [1j * (a.dag() - a) / 2, quadrature]]
    decay = 1e-3 / transmon.t1_us  # in 1/ns, as all rates
    dephasing = 1e-3 / transmon.t2_us - decay / 2
    losses = [math.sqrt(decay) * a, math.sqrt(2 * max(dephasing, 0.0)) * n]
    options = {"atol": 1e-11, "rtol": 1e-9, "nsteps": 1_000_000}
    found = qutip.propagator(qutip.QobjEvo([still, *driven]), duration, losses, options=options)
    return found.full().reshape([transmon.levels] * 4)


def _against_x(channel: Any) -> dict[str, float]:
    qubit = (0, 1)
    kept = sum(channel[k, k, i, i].real for k in qubit for i in qubit) / 2
    entanglement = sum(channel[1 - j, 1 - i, j, i].real for j in qubit for i in qubit) / 4
    return {"infidelity": float(1 - (2 * entanglement + kept) / 3), "leakage": float(1 - kept)}


if __name__ == "__main__":
    run_as_job(GateSimulator)
