"""Seconds: contenders in turn, what an epoch consists of."""

import numpy as np

from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure


def timing_bars(seconds: dict[str, list[float]], *, label: str, name: str) -> Drawing:
    """Seconds of contenders that took turns: a bar for the mean, a dot per round, and how many times faster than the
    first."""
    figure, axes = new_figure(6.5, 0.42 * len(seconds) + 0.8)
    ax = axes[0][0]
    first, words, labels = np.mean(next(iter(seconds.values()))), [], []
    for row, (contender, rounds) in enumerate(seconds.items()):
        mean = np.mean(rounds)
        ax.barh(row, mean, color=PALETTE[0], alpha=0.45, height=0.62)
        ax.plot(rounds, np.full(len(rounds), row), "o", color="black", markersize=3, alpha=0.7)
        times = "" if row == 0 else f", {first / mean:.2f} times as fast"
        place = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        labels.append(ax.annotate(f"{mean:.1f} s{times}", (max(rounds), row), **place))
        words.append(f"{contender} {mean:.1f} s{times}")
    ax.set_yticks(range(len(seconds)), list(seconds))
    ax.invert_yaxis()
    ax.set(xlabel=f"{label}; dots: rounds")
    ax.set_xlim(0, _room_for(labels, ax))
    return Drawing(figure, name, f"{label.capitalize()}: {'; '.join(words)}.")


def _room_for(labels, ax) -> float:
    """Where an axis that begins at 0 must end so that no label, which begins at its own x, leaves it."""
    for label in labels:
        label.set_in_layout(False)  # else the axes shrink to hold a label that begins near their end
    ax.figure.draw_without_rendering()
    width = ax.get_window_extent().width
    ends = [
        label.xy[0] * width / (width - label.get_window_extent().width - 10)
        for label in labels
    ]  # fmt: skip
    return 1.02 * max(ends)


def stacked_bars(parts: dict[str, dict[str, float]], *, label: str, name: str) -> Drawing:
    """What a quantity consists of: a bar for each name, divided into the same parts, each with its number."""
    kinds = list(next(iter(parts.values())))
    figure, axes = new_figure(6.5, 0.55 * len(parts) + 1.4)
    ax, words = axes[0][0], []
    for row, (bar, amounts) in enumerate(parts.items()):
        left = 0.0
        for colour, kind in zip(PALETTE, kinds, strict=False):
            ax.barh(row, amounts[kind], left=left, color=colour, height=0.62, label=kind if row == 0 else None)
            if amounts[kind] > 0.06 * max(sum(other.values()) for other in parts.values()):
                middle = left + amounts[kind] / 2
                ax.annotate(f"{amounts[kind]:.1f}", (middle, row), ha="center", va="center", color="white", fontsize=9)
            left += amounts[kind]
        ax.annotate(f"{left:.1f}", (left, row), (5, 0), textcoords="offset points", va="center", fontsize=9)
        words.append(f"{bar} {left:.1f}: {', '.join(f'{kind} {amount:.1f}' for kind, amount in amounts.items())}")
    ax.set_yticks(range(len(parts)), list(parts))
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set(xlabel=label)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return Drawing(figure, name, f"{label.capitalize()}. {'; '.join(words)}.")
