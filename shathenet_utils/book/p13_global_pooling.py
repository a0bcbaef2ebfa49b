"""Page 13: what stands between the last feature maps and the classes."""

from shathenet_utils.book.baseline import FIVE, NORMALISED_RATES, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment

HEADS = {
    "linear": ("flatten + linear", "baseline_sweep/plain"),
    "average": ("global average-pool", ""),
    "max": ("global max-pool", ""),
    "average_dense": ("global average-pool + dense", "global_pooling_sweep/average"),
    "convolution_average": ("1×1 convolution + global average-pool", "global_pooling_sweep/average"),
}
"""Name → (label, the series whose learning rate it has, "" for its own); flatten + dense is `baseline`'s. Averages have
one rate, since their gradients have one scale."""


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    variants = [changed(name, label, {"head": name}, tuned_by=rate) for name, (label, rate) in HEADS.items()]
    variants.append(changed("average", HEADS["average"][0], {"head": "average"}, of="normalised"))
    rates = {"average": PLAIN_RATES, "max": PLAIN_RATES, "average_normalised": NORMALISED_RATES}
    question = "What should stand between the last feature maps and the classes?"
    keep = ("average", "convolution_average")
    return tuned("global_pooling", question, variants, rates, chosen, keep_weights=keep, **FIVE)
