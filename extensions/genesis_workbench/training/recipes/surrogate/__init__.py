"""A surrogate of a simulator with calibrated uncertainty: a deep ensemble (Lakshminarayanan et al. 2017)."""

from .recipe import Surrogate as Recipe

__all__ = ["Recipe"]
