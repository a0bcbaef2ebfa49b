"""Page 11: how feature maps get smaller: pooling, strides, blurs."""

from shathenet_utils.book.baseline import FIVE, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment

DOWNSAMPLING = {
    "average": "average-pool", "stride": "stride", "extra_convolution": "convolution with stride", "blur": "blur-pool",
    "max_blur": "max + blur",
}  # fmt: skip
"""Name → label; max-pool is `baseline`'s."""


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    variants = [changed(name, label, {"downsampling": name}) for name, label in DOWNSAMPLING.items()]
    return tuned(
        "striding_pooling", "How should feature maps be made smaller?", variants,
        dict.fromkeys(DOWNSAMPLING, PLAIN_RATES), chosen, keep_weights=tuple(DOWNSAMPLING), **FIVE,
    )  # fmt: skip
