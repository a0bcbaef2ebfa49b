"""The ledger drawn: accuracy against parameters, among published networks."""

from collections.abc import Iterable

import matplotlib

from shathenet_utils import records
from shathenet_utils.plots.drawing import PALETTE, Drawing, label_where_there_is_room, new_figure


def ledger(
    networks: dict[str, tuple], published: Iterable[dict], *, yardstick: float | None = None, name: str
) -> Drawing:
    """Test accuracy against parameters, on scales on which half the parameters and half the errors are steps alike:
    the book's networks among published ones.

    networks: the book's, label → (parameters, mean accuracy, low, high). published: entries of `records.published`;
    those that say `"original": True`, of the document that the book grew from, stand out. Others are named where there
    is room. yardstick: an accuracy that all others are held against, drawn as a line.
    """
    figure, axes = new_figure(8, 7)
    ax, words, labels = axes[0][0], [], []
    ax.set(xscale="log", yscale="log", xlabel="parameters", ylabel="test accuracy")
    ax.set(xlim=(4e3, 6e7), ylim=(0.5, 0.022))
    if yardstick is not None:
        ax.axhline(1 - yardstick, color=PALETTE[1], linewidth=1, linestyle="--", zorder=0)
        words.append(f"a line at the yardstick, {yardstick:.0%}")
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(f"yardstick, {yardstick:.0%}", (0, 1 - yardstick), (6, 4), **place, color="0.2", fontsize=9)
    for label, (x, y, low, high) in networks.items():
        error = [[high - y], [y - low]]  # of 1 - y
        ax.errorbar(x, 1 - y, error, fmt="o", color=PALETTE[0], markersize=8, capsize=4, zorder=3)
        labels.append((label, x, 1 - y, {"fontsize": 10, "color": PALETTE[0]}))
        words.append(f"the book's {label} {y:.1%} with {x:,}")
    for entry in sorted(published, key=lambda entry: not entry.get("original")):
        original, x, y = entry.get("original", False), records.count(entry["parameters"]), 1 - entry["value"]
        ax.plot(
            x, y, "D" if original else "o", color=PALETTE[1] if original else "0.6", markersize=7 if original else 4
        )
        label = entry["network"].partition(",")[0]
        labels.append((label, x, y, {"fontsize": 9 if original else 7, "color": "0.2" if original else "0.4"}))
        if original:
            words.append(f"the original's {label} {entry['value']:.0%} with {entry['parameters']}")
    ax.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    ticks = [0.6, 0.7, 0.8, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97]
    ax.set_yticks([1 - tick for tick in ticks], [f"{tick:.0%}" for tick in ticks])
    ax.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # so that the line crosses no word
    label_where_there_is_room(ax, [(*label, {**style, "bbox": behind, "zorder": 1}) for *label, style in labels])
    return Drawing(figure, name, f"Test accuracy against parameters: {'; '.join(words)}; others in grey.")
