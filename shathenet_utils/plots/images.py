"""Images, kernels, confusion matrices and networks, drawn."""

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure


def images(
    images, titles=None, *, columns: int = 10, rows=None, name: str, alt: str, missing: str = "CIFAR-10 is"
) -> Drawing:
    """A sheet of images: uint8 (n, height, width, 3), with a title each, or a label per row.

    No images at all, where the dataset is not there, gives a sheet that says so; missing: what they need, and "is".
    """
    if len(images) == 0:
        figure, axes = new_figure(6.5, 0.6)
        axes[0][0].text(0, 0.5, f"These images can be drawn only where {missing}.", va="center")
        axes[0][0].axis("off")
        return Drawing(figure, name, alt)
    lines, (height, width) = -(-len(images) // columns), images[0].shape[:2]
    across = 0.85 * max(1, 0.9 * width / height)  # inches; a pair of images gets more room than one
    high = across * height / width + (0.04 if titles is None else 0.22)
    figure, axes = new_figure(columns * (across + 0.04) + (0.6 if rows else 0), lines * high, lines, columns)
    for i, ax in enumerate(axes.flat):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if i < len(images):
            ax.imshow(images[i], interpolation="nearest")
            if titles is not None:
                ax.set_title(titles[i], fontsize=7, loc="center", pad=2)
    for ax, label in zip(axes[:, 0], rows or (), strict=False):
        ax.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return Drawing(figure, name, alt, resolution=80)


def kernels(
    panels: dict[str, np.ndarray],
    *,
    name: str,
    alt: str,
    columns: int = 8,
    one_scale: bool = False,
    numbers: bool = False,
) -> Drawing:
    """Kernels as colour images, float (height, width, 3, filters) per panel; grey is zero.

    Each kernel is scaled by its own largest absolute weight; with one_scale all panels by the largest of them all, so
    that their sizes can be compared: then the figure states the scale's two ends. numbers: the filter's number, from 0,
    below its kernel.
    """
    shared = max(np.abs(array).max() for array in panels.values())
    rows = {title: -(-array.shape[-1] // columns) for title, array in panels.items()}
    height = sum(rows.values()) * (0.95 if numbers else 0.8) + 0.35 * len(panels) + (0.2 if one_scale else 0)
    figure, axes = new_figure(columns * 0.8, height, sum(rows.values()), columns)
    top = 0
    for title, array in panels.items():
        for i, ax in enumerate(axes[top : top + rows[title]].flat):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set(visible=i < array.shape[-1], color="0.4", linewidth=0.8)
            if i < array.shape[-1]:
                kernel = array[..., i].astype(np.float32)
                largest = max(shared if one_scale else np.abs(kernel).max(), 1e-9)
                ax.imshow(np.clip(0.5 + 0.5 * kernel / largest, 0, 1), interpolation="nearest")
                if numbers:
                    ax.set_xlabel(str(i), fontsize=8, labelpad=2)
        axes[top][0].set_title(" ", fontsize=10)  # holds the height; the words, longer than a kernel, widen nothing
        axes[top][0].annotate(
            title, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=10
        ).set_in_layout(False)
        top += rows[title]
    if one_scale:
        ends = f"Scale of each colour: none at −{shared:.2f}, half at 0, full at +{shared:.2f}."
        figure.supxlabel(ends, x=0.005, ha="left", fontsize=8)
    return Drawing(figure, name, " ".join(alt.split()))


def confusion(matrix, class_names, *, name: str) -> Drawing:
    """A confusion matrix of shares: row = true class, column = predicted class; each row sums to 1."""
    import seaborn

    figure, axes = new_figure(7.2, 5.4)
    ax = axes[0][0]
    seaborn.heatmap(
        matrix, ax=ax, vmin=0, vmax=1, cmap="cividis", annot=True, fmt=".0%", annot_kws={"size": 8}, square=True,
        xticklabels=class_names, yticklabels=class_names,
        cbar_kws={"label": "fraction of the true class's images", "format": matplotlib.ticker.PercentFormatter(1)},
    )  # fmt: skip
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.tick_params(axis="x", rotation=40)
    right = np.diag(matrix)
    wrong = np.array(matrix) * (1 - np.eye(len(class_names)))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    best, worst = right.argmax(), right.argmin()
    alt = (
        f"Confusion matrix. Highest accuracy: {class_names[best]} ({right[best]:.0%}); lowest: {class_names[worst]} "
        f"({right[worst]:.0%}); most frequent error: {class_names[i]} as {class_names[j]} ({wrong[i, j]:.0%})."
    )
    return Drawing(figure, name, alt)


_LAYERS = {  # kind of layer → colour and how it is named
    "Conv2D": (PALETTE[0], "convolution"), "MaxPooling2D": (PALETTE[2], "pooling"), "Dense": (PALETTE[1], "dense"),
    "Concatenate": (PALETTE[4], "concatenation"), "UpSampling2D": ("0.6", "enlarged image"),
    "Resizing": ("0.6", "enlarged image"),
}  # fmt: skip


def architecture(rows: list[dict], *, name: str) -> Drawing:
    """A network from left to right, from `models.layer_table`: what each layer that shrinks, mixes or enlarges gives,
    as high as the feature map is and as wide as it has channels (roots of both), with its kernel and its parameters.
    """
    shown = [row for row in rows if row["kind"] in _LAYERS]
    figure, axes = new_figure(max(6.5, 0.75 * len(shown) + 0.5), 3.4)
    ax, left, words = axes[0][0], 0.0, []
    for row in shown:
        *side, channels = row["output"]
        colour, kind = _LAYERS[row["kind"]]
        height, width = (side[0] ** 0.5 if side else channels**0.5 / 4), max(0.8, channels**0.5 / 4 if side else 0.8)
        ax.add_patch(Rectangle((left, -height / 2), width, height, facecolor=colour, alpha=0.85, linewidth=0))
        size = "×".join(map(str, row["output"]))
        kernel = row["count"].split("·")
        label = [row["layer"], f"{kernel[0]}×{kernel[1]}" if row["kind"] == "Conv2D" else ""]
        ax.annotate(size, (left + width / 2, height / 2), (0, 4), textcoords="offset points", ha="center", fontsize=8)
        ax.annotate(
            "\n".join([*filter(None, label), f"{row['parameters']:,}" if row["parameters"] else ""]),
            (left + width / 2, -height / 2), (0, -4), textcoords="offset points", ha="center", va="top", fontsize=8,
        )  # fmt: skip
        words.append(f"{row['layer']}, {kind} {label[1]}".strip() + f" → {size}")
        left += width + 1.4
    top = max(row["output"][0] ** 0.5 if len(row["output"]) > 1 else 1 for row in shown) / 2
    ax.set(xlim=(-0.7, left - 0.7), ylim=(-1.35 * top - 1.5, 1.2 * top + 0.5))
    ax.axis("off")
    kinds = {row["kind"]: _LAYERS[row["kind"]] for row in shown}
    handles = {label: Rectangle((0, 0), 1, 1, facecolor=colour, alpha=0.85) for colour, label in kinds.values()}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    total = sum(row["parameters"] for row in rows)
    return Drawing(figure, name, f"A network of {total:,} parameters: {'; '.join(words)}.")
