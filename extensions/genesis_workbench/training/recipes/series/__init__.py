"""A foundation-style model of series: a masked transformer, pretrained over several datasets and fine-tuned to forecast one."""

from .recipe import SeriesModel as Recipe

__all__ = ["Recipe"]
