"""Model FLOP utilisation: what share of an accelerator's peak goes into the model's own arithmetic.

Source: Chowdhery et al., PaLM (2022), appendix B. Activations that are computed twice to save memory count once: it is the model's
arithmetic, not the machine's.
"""

from __future__ import annotations

PEAK_BFLOAT16 = {
    # Dense matrix products in bfloat16, FLOP/s, by the beginning of the name that torch gives; from NVIDIA's data sheets.
    "NVIDIA H200": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "NVIDIA L40S": 362e12,
}


def transformer_flops(parameters: int, blocks: int, width: int, length: int) -> float:
    """Return floating-point operations of one sample, forward and backward.

    Parameters
    ----------
    parameters : int
        Of the matrices that each place goes through, without embeddings.
    blocks, width, length : int
        Blocks of attention, features of a place, and places of a sample.
    """
    return length * (6.0 * parameters + 12.0 * blocks * width * length)


def utilisation(flops_of_sample: float, samples_per_s: float, device: str, *, count: int = 1) -> float | None:
    """Return the share of the peak, from 0 to 1; None where the peak of `device` is not known.

    Parameters
    ----------
    flops_of_sample : float
        Of one sample, as :func:`transformer_flops` gives it.
    samples_per_s : float
        Of all accelerators together.
    device : str
        Name of the accelerator, as torch gives it.
    count : int
        How many there are.
    """
    peak = next((each for name, each in PEAK_BFLOAT16.items() if device.startswith(name)), None)
    return None if peak is None else flops_of_sample * samples_per_s / (peak * count)
