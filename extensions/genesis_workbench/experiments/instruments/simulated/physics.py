"""What happens to a film of methylammonium lead halide, MAPb(I1-xBrx)3, in the simulated laboratory.

Forms of the laws are those of the sources named below. The rate constants were chosen, not fitted: they put the best
anneal near 100 degC and 10 minutes, where the usual recipe has it. The band gap's coefficients are measured ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

GAS_CONSTANT = 8.314462618  # J/(mol K), CODATA 2018
ZERO_CELSIUS_K = 273.15
ROOM_C = 22.0
RAMP_C_PER_S = 1.0  # heating; cooling is Newton's law
COOLING_TIME_S = 300.0

_CRYSTALLISATION = (2.0e-3, 90e3)  # 1/s at 100 degC, J/mol
_DECOMPOSITION = (2.5e-5, 120e3)
_REFERENCE_K = 100.0 + ZERO_CELSIUS_K
_AVRAMI_EXPONENT = 2.0

GRID_EV: NDArray[np.float64] = np.linspace(1.40, 2.50, 551)
"""Energies of the spectrometer's channels, shape (551,), in eV."""


def band_gap(x: float) -> float:
    """Band gap in eV at the bromide fraction `x`, with its bowing.

    Source: Noh, Im, Heo, Mandal and Seok (2013), Nano Letters 13, 1764: Eg = 1.57 + 0.39 x + 0.33 x^2.
    """
    return 1.57 + 0.39 * x + 0.33 * x**2


def line_width(x: float) -> float:
    """Standard deviation of the emission line in eV: thermal, and disorder of the alloy, whose variance goes as x(1-x).

    Source of the form: Schubert, Göbel, Horikoshi, Ploog and Queisser (1984), Physical Review B 30, 813.
    """
    return math.sqrt(0.035**2 + 0.05**2 * x * (1 - x))


def arrhenius(rate: tuple[float, float], temperature_c: float) -> float:
    """Rate in 1/s at a temperature, from the rate at 100 degC and the activation energy in J/mol."""
    at_reference, energy = rate
    kelvin = temperature_c + ZERO_CELSIUS_K
    return at_reference * math.exp(-energy / GAS_CONSTANT * (1 / kelvin - 1 / _REFERENCE_K))


def furnace_temperature(start_c: float, target_c: float, hold_s: float, at_s: float) -> float:
    """Temperature in degC `at_s` seconds after the start: a linear ramp, a plateau, then Newton's law of cooling."""
    ramp_s = max(target_c - start_c, 0.0) / RAMP_C_PER_S
    if at_s <= ramp_s:
        return start_c + RAMP_C_PER_S * at_s
    if at_s <= ramp_s + hold_s:
        return target_c
    return ROOM_C + (target_c - ROOM_C) * math.exp(-(at_s - ramp_s - hold_s) / COOLING_TIME_S)


def anneal_duration(start_c: float, target_c: float, hold_s: float, until_c: float = 40.0) -> float:
    """Seconds from the start until the furnace has cooled down to `until_c`."""
    ramp_s = max(target_c - start_c, 0.0) / RAMP_C_PER_S
    cooling = COOLING_TIME_S * math.log(max(target_c - ROOM_C, 1e-9) / (until_c - ROOM_C))
    return ramp_s + hold_s + max(cooling, 0.0)


def annealed(start_c: float, target_c: float, hold_s: float, for_s: float) -> tuple[float, float]:
    """Integrals of the rates of crystallisation and of decomposition over the first `for_s` seconds, without units."""
    times = np.linspace(0.0, for_s, 400)
    temperatures = [furnace_temperature(start_c, target_c, hold_s, at) for at in times.tolist()]
    grown = [arrhenius(_CRYSTALLISATION, each) for each in temperatures]
    lost = [arrhenius(_DECOMPOSITION, each) for each in temperatures]
    return float(np.trapezoid(grown, times)), float(np.trapezoid(lost, times))


def quality(grown: float, lost: float) -> float:
    """Share of the film that is crystalline and intact.

    Crystallisation: Avrami (1939), Journal of Chemical Physics 7, 1103, for a changing temperature by the integral of
    the rate; decomposition: first order.
    """
    return (1 - math.exp(-(grown**_AVRAMI_EXPONENT))) * math.exp(-lost)


def emission(x: float, intact: float, lamp: float, shift_ev: float) -> NDArray[np.float64]:
    """Expected counts in each channel in one second, shape (551,): a Gaussian line at the band gap, and dark counts."""
    width = line_width(x)
    peak = 4000.0 * intact * lamp * 0.035 / width
    dark = 20.0
    return peak * np.exp(-0.5 * ((GRID_EV - band_gap(x) - shift_ev) / width) ** 2) + dark


def fit_peak(counts: NDArray[np.float64], integration_s: float) -> dict[str, tuple[float, float]] | None:
    """Place (eV), height (counts/s) and width (eV) of the line with standard uncertainties; None where there is none.

    Least squares of a Gaussian on a constant, weighted by the counts (Poisson).
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    def line(
        energy: NDArray[np.float64], at: float, height: float, width: float, base: float
    ) -> NDArray[np.float64]:
        return np.asarray(height * np.exp(-0.5 * ((energy - at) / width) ** 2) + base)

    base = float(np.median(counts))
    smooth = np.convolve(counts, np.ones(15) / 15, "same")
    top = float(smooth[8:-8].max())
    if top - base < 5 * math.sqrt(max(base, 1.0) / 15):
        return None
    first = (float(GRID_EV[8 + int(np.argmax(smooth[8:-8]))]), top - base, 0.04, base)
    try:
        found, covariance = curve_fit(
            line, GRID_EV, counts, p0=first, sigma=np.sqrt(np.maximum(counts, 1.0)), absolute_sigma=True,
            bounds=((1.4, 0, 0.005, 0), (2.5, np.inf, 0.3, np.inf)),
        )  # fmt: skip
    except (RuntimeError, OptimizeWarning):
        return None
    spread = np.sqrt(np.diag(covariance))
    return {
        "peak_energy": (float(found[0]), float(spread[0])),
        "peak_intensity": (float(found[1]) / integration_s, float(spread[1]) / integration_s),
        "linewidth": (float(found[2]), float(spread[2])),
    }
