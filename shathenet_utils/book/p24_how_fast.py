"""Page 24: the fast network, K. Jordan's airbench (2024), our implementation."""

import dataclasses

from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe, Schedule

AIRBENCH = Recipe(
    epochs=12, batch_size=512, learning_rate=0.75,
    optimizer=Optimizer(
        "sgd", momentum=0.85, nesterov=True, weight_decay=0.0013, decay="coupled", beta_lr_multiplier=64
    ),
    schedule=Schedule("linear", warmup=0.23, warmup_from=0.2, final_fraction=0.07),
    augmentation=Augmentation(flip="alternating", translate=2),
    label_smoothing=0.2, averaging="lookahead", precision="mixed_bfloat16", test_views="multi_crop",
)  # fmt: skip
"""Its learning rate of 11.5 per kilostep is 0.75 for the mean loss of 512 images."""


def _epochs(epochs: int) -> Recipe:
    return dataclasses.replace(AIRBENCH, epochs=epochs)


EXPERIMENTS = (
    Experiment(
        name="airbench",
        question="How accurate is airbench 64/128/128, trained on all 50,000 images, and how long does it take?",
        variants=tuple(
            Variant(f"epochs_{epochs}", "airbench", _epochs(epochs), validation=0, label=f"{epochs} epochs")
            for epochs in (12, 8)
        ),
        seeds=(0, 1, 2, 3, 4),
        quick_epochs=2,
        keep_weights=("epochs_12",),
        keep_weight_history=("epochs_12",),
    ),
    Experiment(
        name="airbench_length",
        question="How few epochs of airbench 64/128/128 reach the yardstick's 91 %?",
        variants=tuple(
            Variant(f"epochs_{epochs}", "airbench", _epochs(epochs), label=f"{epochs} epochs") for epochs in (7, 8)
        ),
        seeds=(0, 1, 2, 3, 4),
        quick_epochs=2,
    ),
    Experiment(
        name="airbench_precision",
        question="Does airbench 64/128/128 end at another accuracy in float32 than in bfloat16?",
        variants=(
            Variant(
                "float32", "airbench", dataclasses.replace(_epochs(8), precision="float32"), label="8 epochs, float32"
            ),
        ),
    ),
)
