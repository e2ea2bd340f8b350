"""Functions on which our own optimiser was tuned: none of them is reported.

Sixteen well known ones, each rotated about a point drawn at random and stretched, so that no optimum lies at the middle, at a
corner or along an axis (Surjanovic and Bingham's Virtual Library of Simulation Experiments has their formulas). Points are
in the unit cube; values are to be minimised, above a smallest value that is 0 within the cube up to its edge.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ackley(z: Array) -> float:
    """Many shallow wells around one deep one."""
    return float(
        20 + np.e - 20 * np.exp(-0.2 * np.sqrt((z**2).mean())) - np.exp(np.cos(2 * np.pi * z).mean())
    )


def levy(z: Array) -> float:
    """Waves on a bowl."""
    w = 1 + z / 4
    ends = np.sin(np.pi * w[0]) ** 2 + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
    return float(ends + ((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)).sum())


def rosenbrock(z: Array) -> float:
    """A bent valley."""
    w = z / 3 + 1
    return float((100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum())


def dixon_price(z: Array) -> float:
    """A valley with two floors, about one of them."""
    d = len(z)
    i = np.arange(1, d + 1)
    w = z / 3 + 2 ** (-((2.0**i - 2) / 2.0**i))
    return float((w[0] - 1) ** 2 + (i[1:] * (2 * w[1:] ** 2 - w[:-1]) ** 2).sum())


def zakharov(z: Array) -> float:
    """A plate that bends up steeply."""
    tilt = (0.5 * np.arange(1, len(z) + 1) * z).sum()
    return float((z**2).sum() + tilt**2 + tilt**4)


def griewank(z: Array) -> float:
    """Small waves on a wide bowl."""
    w = 4 * z
    return float((w**2).sum() / 400 - np.cos(w / np.sqrt(np.arange(1, len(w) + 1))).prod() + 1)


def styblinski_tang(z: Array) -> float:
    """Two wells along each axis, one of them deeper."""
    w = z - 2.903534
    return float((w**4 - 16 * w**2 + 5 * w).sum() / 2 + 39.16616570377142 * len(w))


def powers(z: Array) -> float:
    """A bowl that is flatter along each further axis."""
    return float((np.abs(z) ** np.linspace(1.5, 4, len(z))).sum())


def trid(z: Array) -> float:
    """A quadratic whose axes are coupled."""
    d, i = len(z), np.arange(1, len(z) + 1)
    w = i * (d + 1 - i) + z * d
    return float(((w - 1) ** 2).sum() - (w[1:] * w[:-1]).sum() + d * (d + 4) * (d - 1) / 6)


def branin(z: Array) -> float:
    """Three wells of equal depth; more coordinates than two add bowls."""
    a, b = z[0] * 1.2 + np.pi, z[1] * 1.2 + 2.275
    well = (b - 5.1 * a**2 / (4 * np.pi**2) + 5 * a / np.pi - 6) ** 2
    return float(
        well + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10 - 0.39788735772973816 + (z[2:] ** 2).sum()
    )


def salomon(z: Array) -> float:
    """Rings of equal height around a well."""
    r = float(np.sqrt((z**2).sum()))
    return float(1 - np.cos(2 * np.pi * r / 2) + 0.1 * r)


def alpine(z: Array) -> float:
    """Ridges that grow outwards, with edges."""
    w = 2 * z
    return float(np.abs(w * np.sin(w) + 0.1 * w).sum())


def bohachevsky(z: Array) -> float:
    """Waves on a bowl, closer along one axis than along the next."""
    w = z[:, None]
    waves = 0.3 * (1 - np.cos(3 * np.pi * w[0::2])).sum() + 0.4 * (1 - np.cos(4 * np.pi * w[1::2])).sum()
    return float((z**2 * np.where(np.arange(len(z)) % 2, 2, 1)).sum() + 4 * waves)


def egg_crate(z: Array) -> float:
    """A bowl in which an egg crate stands."""
    return float((z**2).sum() + 25 * (np.sin(z) ** 2).sum())


def drop_wave(z: Array) -> float:
    """Rings that flatten outwards, where nothing tells of the middle."""
    r = float(np.sqrt((z**2).sum()))
    return float(1 - (1 + np.cos(3 * r)) / (0.5 * r**2 + 2))


_CENTRES = np.random.default_rng(7).uniform(-4, 4, size=(8, 20))


def hartmann(z: Array) -> float:
    """Eight wells of random places and widths, as in Hartmann's family; the first is the deepest."""
    depth = np.array([3.0, 2.4, 2.0, 1.8, 1.5, 1.2, 1.0, 0.8])
    width = np.array([0.15, 0.3, 0.2, 0.4, 0.1, 0.3, 0.2, 0.15])
    centres = _CENTRES[:, : len(z)] - _CENTRES[0, : len(z)]
    return float(depth[0] - (depth * np.exp(-width * ((z - centres) ** 2).mean(axis=1) * 2)).max())


FUNCTIONS: dict[str, Callable[[Array], float]] = {
    each.__name__: each
    for each in (
        ackley, levy, rosenbrock, dixon_price, zakharov, griewank, styblinski_tang, powers, trid, branin, hartmann,
        salomon, alpine, bohachevsky, egg_crate, drop_wave,
    )
}  # fmt: skip


def problem(name: str, d: int, instance: int) -> Callable[[Array], float]:
    """Return a function of points of the unit cube, its optimum moved, its axes rotated and stretched."""
    rng = np.random.default_rng([list(FUNCTIONS).index(name), d, instance])
    centre = rng.uniform(0.15, 0.85, d)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0] if instance % 3 else np.eye(d)
    stretch = 10 * np.exp(rng.uniform(-0.5, 0.5, d))
    function = FUNCTIONS[name]
    return lambda point: function(rotation @ (stretch * (np.asarray(point) - centre)))
