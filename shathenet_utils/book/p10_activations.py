"""Page 10: activations, of *plain* and *normalised*."""

from shathenet_utils.book.baseline import FIVE, NORMALISED_RATES, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment

ACTIVATIONS = {
    "linear": "no activation (linear)", "sigmoid": "sigmoid", "tanh": "tanh", "leaky_relu": "leaky ReLU", "elu": "ELU",
    "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish",
}  # fmt: skip
"""Name → label; ReLU is `baseline`'s."""


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    variants = [
        changed(name, label, {"activation": name}, of=of)
        for of in ("plain", "normalised")
        for name, label in ACTIVATIONS.items()
    ]
    rates = dict.fromkeys(ACTIVATIONS, PLAIN_RATES) | {f"{name}_normalised": NORMALISED_RATES for name in ACTIVATIONS}
    question = "Which activation trains best?"
    return tuned("activations", question, variants, rates, chosen, keep_weights=tuple(ACTIVATIONS), **FIVE)
