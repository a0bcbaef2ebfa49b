"""Page 01: v1.0, its learning rate, a dense network of as many parameters, and what its first layer really is."""

import dataclasses

from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Recipe

_V1_0 = Recipe(epochs=60, batch_size=32)
_RATES = {"1e-4": 1e-4, "3e-4": 3e-4, "1e-3": 1e-3, "3e-3": 3e-3, "1e-2": 1e-2}


def _at(learning_rate: float, epochs: int) -> Recipe:
    return dataclasses.replace(_V1_0, learning_rate=learning_rate, epochs=epochs)


DENSE = {
    "dense": ({"units": (5, 156)}, "dense, on all 3,072 numbers"),
    "dense_2x2": ({"units": (22, 29), "block": 2}, "dense, on means of 2×2 pixels"),
    "dense_4x4": ({"units": (64, 73), "block": 4}, "dense, on means of 4×4 pixels"),
}
"""Dense networks of about as many parameters as v1.0: name → (arguments, label)."""

_DENSE_RATES = {"dense": 1e-4, "dense_2x2": 3e-4, "dense_4x4": 1e-3}

FIRST_LAYERS = {
    "enlarged_7x7": "7×7 on the enlarged image (v1.0)",
    "conv_2x2": "2×2 with usual initial weights",
    "conv_2x2_initial": "2×2 with v1.0's initial function",
    "conv_2x2_initial_and_steps": "2×2 with v1.0's initial function and step size",
}

EXPERIMENTS = (
    Experiment(
        name="v1_0",
        question="How far do 17,882 parameters go?",
        variants=(
            Variant(
                "adam_1e-4", "v1_0", dataclasses.replace(_V1_0, learning_rate=1e-4), label="learning rate 1e-4, nearest"
            ),
            Variant("adam_1e-3", "v1_0", _V1_0, label="learning rate 1e-3, nearest"),
            Variant(
                "adam_1e-3_bilinear", "v1_0", _V1_0, {"interpolation": "bilinear"}, label="learning rate 1e-3, bilinear"
            ),
        ),
        seeds=(0, 1, 2, 3, 4),
        quick_epochs=8,
        keep_weights=("adam_1e-4", "adam_1e-3", "adam_1e-3_bilinear"),
        keep_weight_history=("adam_1e-3",),
    ),
    Experiment(
        name="v1_0_sweep",
        question="Which learning rate suits v1.0?",
        variants=tuple(
            Variant(f"adam_{name}", "v1_0", _at(rate, 15), label=f"learning rate {name}")
            for name, rate in _RATES.items()
        ),
        sweep=True,
        threads=1,
    ),
    Experiment(
        name="dense_sweep",
        question="Which learning rate suits each dense network?",
        variants=tuple(
            Variant(f"{dense}_{name}", "dense_network", _at(rate, 15), arguments, label=f"{label}, {name}")
            for dense, (arguments, label) in DENSE.items()
            for name, rate in (_RATES | {"3e-5": 3e-5}).items()
        ),
        sweep=True,
        threads=1,
    ),
    Experiment(
        name="dense",
        question="What does a network without convolutions reach, with about as many parameters as v1.0?",
        variants=tuple(
            Variant(dense, "dense_network", _at(_DENSE_RATES[dense], 60), arguments, label, tuned_by="dense_sweep")
            for dense, (arguments, label) in DENSE.items()
        ),
        seeds=(0, 1, 2, 3, 4),
        quick_epochs=8,
        threads=1,
    ),
    Experiment(
        name="v1_0_first_layer",
        question="Why does a 2×2 convolution train worse than the enlarged 7×7 that computes the same functions?",
        variants=tuple(
            Variant(name, "v1_0", _at(1e-3, 8), {"first_layer": name} if name != "enlarged_7x7" else {}, label)
            for name, label in FIRST_LAYERS.items()
        ),
        seeds=(0, 1, 2, 3, 4),
        threads=1,
    ),
)
