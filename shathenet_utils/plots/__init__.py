"""Every figure the book draws. Each function returns a `Drawing`, which a notebook shows as its last expression."""

from shathenet_utils.plots.atlas import EffectRow, effects
from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure, percent_axis
from shathenet_utils.plots.images import architecture, confusion, images, kernels
from shathenet_utils.plots.ledger import ledger
from shathenet_utils.plots.live import LiveCurve
from shathenet_utils.plots.results import bars, differences, dots_per_seed, learning_curves, lines, scatter, sweep
from shathenet_utils.plots.speed import stacked_bars, timing_bars

__all__ = [
    "PALETTE",
    "Drawing",
    "EffectRow",
    "LiveCurve",
    "architecture",
    "bars",
    "confusion",
    "differences",
    "dots_per_seed",
    "effects",
    "images",
    "kernels",
    "learning_curves",
    "ledger",
    "lines",
    "new_figure",
    "percent_axis",
    "scatter",
    "stacked_bars",
    "sweep",
    "timing_bars",
]
