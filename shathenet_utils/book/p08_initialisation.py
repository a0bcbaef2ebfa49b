"""Page 08: initial weights, of *plain* and *normalised*, with 8 layers and with 20."""

from shathenet_utils.book.baseline import COSTLY, FIVE, NORMALISED_RATES, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment

INITIALISERS = {
    "truncated_normal": "truncated normal 0.05", "he_normal": "He initialisation",
    "orthogonal": "orthogonal initialisation", "lsuv": "LSUV initialisation",
}  # fmt: skip
"""Name → label; Glorot is `baseline`'s. Zeros are apart: at chance, whatever the learning rate."""
DEEP = {"filters": (8, 16, 32), "pairs": 3}
"""20 layers at about the baseline's MACs. Glorot, normalised, is the variant "plain_20" of page 15's `depth`."""


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    networks = (("plain", PLAIN_RATES), ("normalised", NORMALISED_RATES))
    variants, rates = [], {}
    for of, of_network in networks:
        variants.append(changed("zeros", "initial weights of 0", {"initialiser": "zeros"}, of=of, pilot=True))
        swept = [changed(name, label, {"initialiser": name}, of=of) for name, label in INITIALISERS.items()]
        variants += swept
        rates |= {variant.name: of_network for variant in swept}
    deep = [
        changed(name, f"{label}, 20 layers", DEEP | {"initialiser": name}, seeds=COSTLY)
        for name, label in INITIALISERS.items()
    ]
    deep.append(changed("glorot_uniform", "Glorot initialisation, 20 layers", DEEP, seeds=COSTLY))
    deep_normalised = [
        changed(name, f"{INITIALISERS[name]}, 20 layers", DEEP | {"initialiser": name}, of="normalised", pilot=True)
        for name in ("truncated_normal", "he_normal")
    ]
    deep_rates = {variant.name: PLAIN_RATES for variant in deep}
    deep_rates |= {variant.name: NORMALISED_RATES for variant in deep_normalised}
    return (
        *tuned(
            "initialisation", "Which initial weights train best, without and with batch normalisation?", variants,
            rates, chosen, keep_weights=tuple(INITIALISERS), **FIVE,
        ),
        *tuned(
            "initialisation_deep", "With which initial weights does a network of 20 layers train?",
            (*deep, *deep_normalised), deep_rates, chosen, **FIVE,
        ),
    )  # fmt: skip
