"""Page 04: a famous network as yardstick: frozen, fine-tuned, and with random weights."""

import dataclasses

from shathenet_utils.book.p24_how_fast import AIRBENCH
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Augmentation, Recipe, Schedule

LINEAR_HEAD = Recipe(
    epochs=30, batch_size=256, schedule="cosine", augmentation=Augmentation(flip="random"), test_views="flip"
)
_LITE0 = "efficientnet_lite0@224"
_FEW = dataclasses.replace(AIRBENCH, batch_size=128, learning_rate=0.3)
_INCEPTION = Recipe(
    epochs=3, batch_size=128, schedule=Schedule("one_cycle", warmup=0.2), precision="mixed_bfloat16",
    augmentation=Augmentation(flip="random", translate=4),
)  # fmt: skip

_FINE_TUNED = Recipe(
    epochs=5, batch_size=128, schedule="cosine", augmentation=Augmentation(flip="random"), test_views="flip"
)
_RANDOM = "efficientnet_lite0_random@128"
_RATES = {"1e-4": 1e-4, "3e-4": 3e-4, "1e-3": 1e-3, "3e-3": 3e-3, "1e-2": 1e-2, "3e-2": 3e-2}


def _fine_tuned(name: str, label: str, rate: float, epochs: int = 5, **arguments) -> Variant:
    recipe = dataclasses.replace(_FINE_TUNED, learning_rate=rate, epochs=epochs)
    return Variant(
        name, "efficientnet_lite0", recipe, {"size": 128}, label, images_per_class=500, starts_from="lite0_size/128",
        **arguments,
    )  # fmt: skip


def _head(name: str, label: str, rate: float, extractor: str, **arguments) -> Variant:
    recipe = dataclasses.replace(LINEAR_HEAD, learning_rate=rate)
    return Variant(
        name, "linear_head", recipe, label=label, images_per_class=500, feature_extractor=extractor, **arguments
    )


EXPERIMENTS = (
    Experiment(
        name="lite0",
        question="How accurate is a linear layer on a frozen EfficientNet-Lite0, and with how many images?",
        variants=(
            Variant(
                "all", "linear_head", LINEAR_HEAD, feature_extractor=_LITE0, validation=0, seeds=(0, 1, 2, 3, 4),
                label="all 50,000 images",
            ),
            *(
                Variant(
                    f"{count}_per_class", "linear_head", dataclasses.replace(LINEAR_HEAD, epochs=epochs),
                    images_per_class=count, feature_extractor=_LITE0, label=f"{count:,} images per class",
                )
                for count, epochs in ((10, 500), (100, 150), (1000, 60), (4500, 30))
            ),
        ),
        keep_weights=("all",),
    ),
    Experiment(
        name="few_from_scratch",
        question="How accurate is a network that is trained from scratch, with as few images?",
        variants=tuple(
            Variant(
                f"{count}_per_class", "airbench", dataclasses.replace(_FEW, epochs=epochs), images_per_class=count,
                label=f"{count:,} images per class",
            )
            for count, epochs in ((10, 200), (100, 80), (1000, 24))
        ),
    ),
    Experiment(
        name="inception_pilot",
        question="How fast does Inception-v3 learn from scratch, at its smallest input?",
        variants=(Variant("75", "inception_v3", _INCEPTION, pilot=True, label="75×75 pixels"),),
    ),
    Experiment(
        name="lite0_size",
        question="To what size should images be enlarged for a frozen EfficientNet-Lite0?",
        variants=tuple(
            Variant(
                str(size), "linear_head", LINEAR_HEAD, images_per_class=500,
                feature_extractor=f"efficientnet_lite0@{size}", label=f"{size}×{size} pixels",
            )
            for size in (96, 128, 160, 192, 224)
        ),
    ),
    Experiment(
        name="lite0_fine_tuning_sweep",
        question="Which learning rate suits a frozen body, a fine-tuned one, and one with random weights?",
        variants=(
            *(
                _head(f"frozen_{at}", f"frozen, {at}", _RATES[at], "efficientnet_lite0@128")
                for at in ("3e-4", "1e-3", "3e-3", "1e-2")
            ),
            *(_fine_tuned(f"fine_tuned_{at}", f"fine-tuned, {at}", _RATES[at], 3) for at in ("1e-4", "3e-4", "1e-3")),
            *(
                _head(f"frozen_random_{at}", f"frozen with random weights, {at}", _RATES[at], _RANDOM)
                for at in ("1e-3", "3e-3", "1e-2", "3e-2")
            ),
        ),
        sweep=True,
    ),
    Experiment(
        name="lite0_fine_tuning",
        question="What does fine-tuning gain over a frozen body, and what do ImageNet's weights gain over random ones?",
        variants=(
            _fine_tuned("fine_tuned", "fine-tuned", 3e-4, tuned_by="lite0_fine_tuning_sweep"),
            _head("frozen_random", "frozen with random weights", 3e-3, _RANDOM, tuned_by="lite0_fine_tuning_sweep"),
        ),
    ),
)  # fmt: skip
