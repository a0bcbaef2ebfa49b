"""The atlas drawn: effects one below the other, with their intervals and costs."""

from typing import NamedTuple

import numpy as np

from shathenet_utils import stats
from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure


class EffectRow(NamedTuple):
    """A line of the figure: words, the difference with its interval (a fraction of 1), which group colours it, and two
    costs as text."""

    label: str
    difference: stats.Difference
    group: int
    parameters: str
    seconds: str


def effects(rows: list[EffectRow], *, name: str) -> Drawing:
    """Differences to a baseline in percentage points, a row each, with their 95 % intervals; beside them parameters,
    and the time of an epoch in times the baseline's. Rows are drawn in their order; groups differ in colour."""
    figure, axes = new_figure(7.5, 0.19 * len(rows) + 1.4)
    ax, words = axes[0][0], []
    groups = sorted({row.group for row in rows})
    for place, row in enumerate(rows):
        mean, low, high = (100 * bound for bound in row.difference[:3])
        colour = PALETTE[groups.index(row.group) % (len(PALETTE) - 1)]
        clear = low > 0 or high < 0
        ax.errorbar(
            mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour, markersize=4.5, capsize=2,
            markerfacecolor=colour if clear else "white",
        )  # fmt: skip
        words.append(f"{row.label} {stats.format_difference(row.difference)}, {row.parameters}, {row.seconds}")
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    ax.set_ylim(len(rows) - 0.4, -1.6)
    ax.grid(axis="y", color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)
    costs = ax.twinx()
    costs.spines[:].set_visible(False)
    costs.set_ylim(ax.get_ylim())
    beside = [f"{one:>10} {other:>6}" for one, other in (("parameters", "time"), *(row[3:] for row in rows))]
    costs.set_yticks(range(-1, len(rows)), beside, fontsize=7, fontfamily="monospace")
    costs.tick_params(length=0)
    unit = "test accuracy minus its baseline's, in percentage points"
    bounds = [100 * bound for row in rows for bound in row.difference[1:3]] or [0]
    if np.ptp(bounds) > 40:  # a few that don't train at all would press the others together
        unit += ", logarithmic beyond ±2"
        ax.set_xscale("symlog", linthresh=2)
        ticks = (-50, -15, -5, -2, -1, 0, 1, 2, 5, 15, 50)
        ax.set_xticks(ticks, [str(tick).replace("-", "−") for tick in ticks])
        ax.set_xlim(min(-2, 1.6 * min(bounds)), max(2, 1.6 * max(bounds)))
    ax.set_xlabel(f"{unit}\n(95 % interval over seeds and images; hollow: it holds 0)")
    return Drawing(figure, name, f"Effects on test accuracy (95 % over seeds and images): {'; '.join(words)}.")
