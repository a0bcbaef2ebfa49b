"""Page 15: plain, residual, dense and inception connections at equal parameters and MACs; and depth."""

from shathenet_utils.book.baseline import COSTLY, FIVE, NORMALISED_RATES, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment, Variant

CONNECTIONS = {
    "residual": (
        "residual connections", {"connections": "residual"}, {"connections": "residual"},
    ),
    "dense": ("dense connections", {"connections": "dense"}, {"connections": "dense"}),
    "inception": (
        "inception blocks",
        {"connections": "inception", "filters": (21, 42, 72), "dense_units": 62},
        {"connections": "inception", "filters": (12, 18, 36), "dense_units": 76},
    ),
}  # fmt: skip
"""Name → (label, arguments with the baseline's 8 layers, arguments with 20); plain is `baseline`'s."""
THIN = (8, 16, 32)
"""Filters of the networks that are compared by depth: with 20 layers they have about the baseline's MACs."""
DEPTHS = {8: 1, 20: 3, 32: 5, 44: 7}
"""Layers with weights → pairs of convolutions per stage."""


def _deep(name: str, label: str, layers: int, arguments: dict, **more) -> Variant:
    arguments = {"filters": THIN, "pairs": DEPTHS[layers], "normalisation": "batch"} | arguments
    more = {"tuned_by": f"depth_sweep/{name}_44", "pilot": True} if layers == 32 else more
    return changed(f"{name}_{layers}", f"{label}, {layers} layers", arguments, seeds=COSTLY, **more)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    variants = [changed(name, label, arguments) for name, (label, arguments, _) in CONNECTIONS.items()]
    deep = [
        *(_deep("plain", "plain", layers, {}) for layers in DEPTHS),
        *(_deep("residual", "residual connections", layers, CONNECTIONS["residual"][2]) for layers in DEPTHS),
        *(_deep(name, CONNECTIONS[name][0], 20, CONNECTIONS[name][2]) for name in ("dense", "inception")),
    ]
    rates = {variant.name: NORMALISED_RATES for variant in deep if not variant.pilot}
    return (
        *tuned(
            "connections", "Which connections between layers train best, at equal parameters?", variants,
            dict.fromkeys(CONNECTIONS, PLAIN_RATES), chosen, **FIVE,
        ),
        *tuned(
            "depth", "How deep can a network be, with batch normalisation, without and with residual connections?",
            deep, rates, chosen, epochs=4, **FIVE,
        ),
    )  # fmt: skip
