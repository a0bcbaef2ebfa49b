"""A learning curve that redraws itself while a run trains."""

import matplotlib

from shathenet_utils.plots.drawing import PALETTE, Drawing, new_figure, percent_axis


class LiveCurve:
    """A learning curve that redraws itself while a run trains: pass it as `on_epoch`."""

    def __init__(self):
        self._handle = None

    def __call__(self, history: dict) -> None:
        from IPython.display import display

        drawing = self.draw(history)
        if self._handle is None:
            self._handle = display(drawing, display_id=True)
        else:
            self._handle.update(drawing)

    def draw(self, history: dict) -> Drawing:
        """The curve of one run so far."""
        figure, axes = new_figure(5.5, 3)
        ax = axes[0][0]
        for colour, key, label in (
            (PALETTE[1], "accuracy", "training"),
            (PALETTE[0], "validation_accuracy", "validation"),
        ):
            values = history[key]
            ax.plot(range(1, len(values) + 1), values, "o-", color=colour, markersize=4, label=label)
        epochs = len(history["loss"])
        ax.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), xlim=(0.5, max(epochs, 8) + 0.5))
        ax.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        percent_axis(ax.yaxis)
        ax.legend(frameon=False, loc="lower right")
        label, values = "validation", history["validation_accuracy"]
        if not values:  # all images are trained on
            label, values = "training", history["accuracy"]
        return Drawing(figure, "", f"After epoch {epochs}: {label} accuracy {values[-1]:.1%}.")
