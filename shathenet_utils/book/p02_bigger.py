"""Page 02: v1.1, seventy times the parameters, with and without augmentation."""

import dataclasses

from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, Augmentation, Recipe

# v1.1 and v1.2 take 128 images per step where the original's v1.0 took 32; v1_1_batch tries what that changes.
_V1_1 = Recipe(epochs=70, batch_size=128, precision="mixed_bfloat16")
_FLIP_SHIFT = Augmentation(flip="random", translate=4)
_ORIGINAL = dataclasses.replace(_V1_1, augmentation=ORIGINAL_AUGMENTATION)
_FLIP_TRANSLATE = dataclasses.replace(_V1_1, augmentation=_FLIP_SHIFT)
_SIZE = dataclasses.replace(_FLIP_TRANSLATE, epochs=20)
_SIZES = (
    Variant(
        "v1_0_wide", "v1_0", _SIZE, {"filters": (144, 144, 288), "dense_units": 288}, label="v1.0, widened to 1.25M"
    ),
    Variant("v1_1_small_dense", "v1_1", _SIZE, {"dense_units": 32}, label="v1.1, dense layer of 32"),
    Variant("v1_1", "v1_1", _SIZE, label="v1.1"),
)
_SWEEP_RATES = {"1e-4": 1e-4, "3e-4": 3e-4, "1e-3": 1e-3, "3e-3": 3e-3}

_RECORDED = (
    Experiment(
        name="v1_1",
        question="What did seventy times the parameters buy, and what did augmentation?",
        variants=(
            Variant(
                "original_1e-3", "v1_1", dataclasses.replace(_ORIGINAL, epochs=35),
                label="v1.1, original augmentation, learning rate 1e-3",
            ),
            Variant(
                "original_3e-4", "v1_1", dataclasses.replace(_ORIGINAL, learning_rate=3e-4), seeds=(0, 1, 2, 3, 4),
                label="v1.1, original augmentation",
            ),
            Variant(
                "plain", "v1_1", dataclasses.replace(_V1_1, learning_rate=3e-4, epochs=35), label="v1.1, none"
            ),
            Variant(
                "flip_translate", "v1_1", dataclasses.replace(_FLIP_TRANSLATE, learning_rate=3e-4),
                label="v1.1, flip + shift",
            ),
            Variant("small_plain", "v1_0", _V1_1, label="v1.0, none"),
            Variant("small_flip_translate", "v1_0", _FLIP_TRANSLATE, label="v1.0, flip + shift"),
            Variant("small_original", "v1_0", _ORIGINAL, label="v1.0, original augmentation"),
        ),
        quick_epochs=4,
        keep_weights=("original_3e-4", "flip_translate"),
    ),
    Experiment(
        name="v1_1_batch",
        question="Does the original's batch of 32 images explain the gap?",
        variants=(
            Variant(
                "batch_32", "v1_1", dataclasses.replace(_ORIGINAL, learning_rate=3e-4, batch_size=32, epochs=35),
                label="batches of 32", pilot=True,
            ),
        ),
    ),
    Experiment(
        name="v1_1_sweep",
        question="Which learning rate suits v1.1, with the original augmentation?",
        variants=tuple(
            Variant(
                f"original_{name}", "v1_1", dataclasses.replace(_ORIGINAL, learning_rate=rate, epochs=10),
                label=f"learning rate {name}",
            )
            for name, rate in _SWEEP_RATES.items()
        ),
        sweep=True,
        threads=1,
    ),
    Experiment(
        name="v1_0_long",
        question="Does v1.0 with augmentation underfit, or was it stopped too early?",
        variants=(
            Variant(
                "original", "v1_0", dataclasses.replace(_ORIGINAL, epochs=140),
                label="original augmentation, 140 epochs", pilot=True,
            ),
            Variant(
                "flip_translate", "v1_0", dataclasses.replace(_FLIP_TRANSLATE, epochs=140),
                label="flip + shift, 140 epochs", pilot=True,
            ),
        ),
        threads=1,
    ),
)  # fmt: skip


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    return (
        *_RECORDED,
        *tuned(
            "v1_1_size", "With flip and shift, is it the parameters or the architecture that v1.1 gains by?", _SIZES,
            dict.fromkeys((variant.name for variant in _SIZES), (1e-4, 3e-4, 1e-3, 3e-3)), chosen, epochs=10,
            threads=1,
        ),
    )  # fmt: skip
