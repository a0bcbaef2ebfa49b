"""Page 03: v1.2, and which kernels are worth their parameters."""

import dataclasses

from shathenet_utils.book.learning_rates import Chosen, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, Augmentation, Recipe, Schedule

_ORIGINAL = Recipe(
    epochs=70, batch_size=128, learning_rate=3e-4, precision="mixed_bfloat16", augmentation=ORIGINAL_AUGMENTATION
)
_KERNELS = Recipe(
    epochs=8, batch_size=128, precision="mixed_bfloat16", schedule=Schedule("cosine", warmup=0.1),
    augmentation=Augmentation(flip="random", translate=4),
)  # fmt: skip

KERNELS = {
    "stacked": ({}, "stacked as in v1.2"),
    "3x3": ({"kernels": "3x3", "widths": (48, 64, 64, 128, 128)}, "3×3 only"),
    "5x5": ({"kernels": "5x5", "widths": (32, 32, 48, 80, 96), "dense_units": 448}, "5×5 only"),
    "side_by_side": (
        {"kernels": "side_by_side", "widths": (48, 64, 64, 96, 128), "dense_units": 528}, "side by side",
    ),
}  # fmt: skip
"""v1.2 at equal parameters: name → (arguments, label)."""

_WITHOUT_5X5 = {"kernels": "side_by_side", "kernel_sizes": (1, 3), "widths": (66, 81, 81, 126, 150)}
_BRANCHES = {
    "without_5x5": (_WITHOUT_5X5, "side by side without 5×5"),
    "without_5x5_he": (
        {**_WITHOUT_5X5, "kernel_initializer": "he_normal"}, "side by side without 5×5, He initialisation",
    ),
    "3x3_and_5x5": (
        {"kernels": "side_by_side", "kernel_sizes": (3, 5), "factorised": False, "widths": (36, 48, 52, 88, 108)},
        "3×3 and 5×5 side by side",
    ),
}  # fmt: skip


def _he(arguments: dict) -> dict:
    return {**arguments, "kernel_initializer": "he_normal"}


_RECORDED = (
    Experiment(
        name="v1_2",
        question="What does the original's own v1.2 reach?",
        variants=(Variant("original", "v1_2", _ORIGINAL, label="v1.2, original augmentation"),),
        seeds=(0, 1, 2, 3, 4),
        quick_epochs=1,
        keep_weights=("original",),
        keep_weight_history=("original",),
    ),
    Experiment(
        name="v1_2_kernels",
        question="At equal parameters, which kernels: stacked as in v1.2, of one size, or side by side?",
        variants=tuple(
            Variant(name, "v1_2", _KERNELS, arguments, label) for name, (arguments, label) in KERNELS.items()
        ),
        quick_epochs=3,
        keep_weights=("side_by_side",),
    ),
    Experiment(
        name="v1_2_branches",
        question="At equal parameters, which of the branches are worth theirs?",
        variants=tuple(
            Variant(name, "v1_2", _KERNELS, arguments, label) for name, (arguments, label) in _BRANCHES.items()
        ),
        quick_epochs=3,
    ),
)  # fmt: skip


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    with_he = {
        name: Variant(name, "v1_2", _KERNELS, _he(arguments), label) for name, (arguments, label) in KERNELS.items()
    }
    sweep, final = tuned(
        "v1_2_kernels_he",
        "At equal parameters, which kernels, with He initialisation and each at its own learning rate?",
        with_he.values(), dict.fromkeys(KERNELS, (1e-4, 3e-4, 1e-3, 3e-3)),
        chosen, epochs=3, threads=1,
    )  # fmt: skip
    # What the sweep chose for "side by side" was recorded before it: one configuration, one record.
    before = dataclasses.replace(with_he["side_by_side"], tuned_by=f"{sweep.name}/side_by_side")
    (branches,) = tuned(
        "v1_2_initialisation", "Do branches reach more with He initialisation, which suits each kernel's size?",
        (before,), {}, chosen, quick_epochs=3,
    )  # fmt: skip
    to_do = tuple(variant for variant in final.variants if variant.name != before.name)
    return *_RECORDED, branches, sweep, dataclasses.replace(final, variants=to_do)
