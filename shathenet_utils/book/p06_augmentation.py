"""Page 06: image augmentation, one kind at a time; with a tenth of the images, and with three times the epochs."""

from shathenet_utils.book.baseline import COSTLY, FIVE, LONG, PLAIN_RATES, changed
from shathenet_utils.book.learning_rates import Chosen, around, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, Augmentation

KINDS = {
    "flip": (Augmentation(flip="random"), "flip"),
    "translate_2": (Augmentation(translate=2), "shift by 2 pixels"),
    "translate_4": (Augmentation(translate=4), "shift by 4 pixels"),
    "flip_translate_4": (Augmentation(flip="random", translate=4), "flip + shift by 4 pixels"),
    "original": (ORIGINAL_AUGMENTATION, "original augmentation"),
    "rotation": (Augmentation(rotate=15.0), "rotation by 15 degrees"),
    "cutout": (Augmentation(cutout=8), "cutout of 8×8 pixels"),
    "mixup": (Augmentation(mixup=0.2), "mixup"),
    "vertical_flip": (Augmentation(vertical_flip=True), "vertical flip"),
}
"""Name → (augmentation, label); none is `baseline`'s variant "plain"."""
_OWN_RATE = ("flip_translate_4", "original", "rotation", "cutout", "mixup", "vertical_flip")
"""The others are parts of `flip_translate_4`: if its best learning rate is that of none, it serves them, too."""
TENTH = 450
"""Images per class, of 4,500."""


def _augmented(name: str, tuned_by: str, recipe: dict | None = None, **arguments) -> Variant:
    augmentation, label = KINDS.get(name, (Augmentation(), "none"))
    return changed(
        name, label, recipe={"augmentation": augmentation} | (recipe or {}), tuned_by=tuned_by, **arguments
    )  # fmt: skip


def _rate_of(name: str) -> str:
    return f"augmentation_sweep/{name}" if name in _OWN_RATE else "baseline_sweep/plain"


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    longer = (
        _augmented(
            name, _rate_of(name), {"epochs": LONG}, seeds=COSTLY, pilot=name in ("original", "cutout", "mixup")
        )
        for name in ("none", "flip_translate_4", "vertical_flip", "original", "cutout", "mixup")
    )  # fmt: skip
    few = (
        _augmented(name, "augmentation_tenth_sweep/none", {"epochs": 80}, images_per_class=TENTH, seeds=COSTLY)
        for name in ("none", "flip", "flip_translate_4", "vertical_flip", "original", "cutout", "mixup")
    )
    return (
        *tuned(
            "augmentation", "What does each kind of image augmentation gain?",
            (_augmented(name, _rate_of(name)) for name in KINDS), dict.fromkeys(_OWN_RATE, PLAIN_RATES), chosen,
            keep_weights=("flip_translate_4", "vertical_flip", "mixup"), **FIVE,
        ),
        *tuned(
            "augmentation_long", "What does it gain with three times the epochs?", longer, {}, chosen,
            keep_weights=("none", "flip_translate_4"), **FIVE,
        ),
        *tuned(
            "augmentation_tenth", "What does it gain with a tenth of the images?", few, {"none": around(3e-3)}, chosen,
            **FIVE,
        ),
    )  # fmt: skip
