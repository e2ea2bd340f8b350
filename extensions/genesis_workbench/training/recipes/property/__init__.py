"""A property model for materials: a graph network on crystals, whose energies ASE's effective-medium theory computes."""

from .recipe import PropertyModel as Recipe

__all__ = ["Recipe"]
