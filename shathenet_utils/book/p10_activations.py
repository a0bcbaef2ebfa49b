"""Page 10: activations, of *plain* and *normalised*."""

from shathenet_utils.book.baseline import FIVE, NORMALISED_RATES, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment, Variant

ACTIVATIONS = {
    "linear": "no activation (linear)", "sigmoid": "sigmoid", "tanh": "tanh", "leaky_relu": "leaky ReLU", "elu": "ELU",
    "selu": "SELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish",
}  # fmt: skip
"""Name → label; ReLU is `baseline`'s."""
_OWN_RATE = ("linear", "sigmoid", "selu")
"""After batch normalisation all activations get inputs of one scale. These three differ most from ReLU: where their
best rate is that of ReLU, it serves the others."""


def _variant(name: str, of: str) -> Variant:
    shared = of == "normalised" and name not in _OWN_RATE
    tuned_by = "baseline_sweep/normalised" if shared else ""
    return changed(name, ACTIVATIONS[name], {"activation": name}, of=of, tuned_by=tuned_by)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    variants = [_variant(name, of) for of in ("plain", "normalised") for name in ACTIVATIONS]
    rates = dict.fromkeys(ACTIVATIONS, PLAIN_RATES) | {f"{name}_normalised": NORMALISED_RATES for name in _OWN_RATE}
    question = "Which activation trains best?"
    return tuned("activations", question, variants, rates, chosen, keep_weights=tuple(ACTIVATIONS), **FIVE)
