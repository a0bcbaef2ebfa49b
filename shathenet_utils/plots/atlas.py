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
    and seconds per epoch in times the baseline's. Rows are drawn in their order; groups differ in colour and shade."""
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
    beside = ax.get_yaxis_transform()
    for place, row in enumerate((EffectRow("", None, 0, "parameters", "s per epoch"), *rows), -1):
        ax.text(1.13, place, row.parameters, transform=beside, fontsize=8, ha="right", va="center")
        ax.text(1.27, place, row.seconds, transform=beside, fontsize=8, ha="right", va="center")
    ax.set_xlabel("test accuracy minus its baseline's, in percentage points\n(95 % interval over seeds and images)")
    spread = np.ptp([100 * bound for row in rows for bound in row.difference[1:3]]) if rows else 0
    if spread > 40:  # a few that don't train at all would press the others together
        ax.set_xscale("symlog", linthresh=2)
        ax.set_xticks(
            [-50, -20, -10, -5, -2, -1, 0, 1, 2, 5], ["−50", "−20", "−10", "−5", "−2", "−1", "0", "1", "2", "5"]
        )
    return Drawing(figure, name, f"Effects on test accuracy (95 % over seeds and images): {'; '.join(words)}.")
