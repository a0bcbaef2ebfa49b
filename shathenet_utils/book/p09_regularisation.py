"""Page 09: regularisation, of one kind and strength at a time; on all images and on 500 per class."""

from shathenet_utils.book.baseline import COSTLY, FIVE, LONG, RECIPE, changed
from shathenet_utils.book.learning_rates import Chosen, around, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Optimizer


def decayed(strength: float, decay: str) -> dict:
    """The recipe with weight decay, "coupled" (L2) or "decoupled"."""
    return {"optimizer": Optimizer(RECIPE.optimizer.name, weight_decay=strength, decay=decay)}


KINDS = {
    "l2": ("L2, 1e-4", {}, decayed(1e-4, "coupled")),
    "decoupled": ("decoupled decay, 0.1", {}, decayed(0.1, "decoupled")),
    "dropout": ("dropout 0.5", {"dropout": 0.5}, {}),
    "spatial_dropout": ("spatial dropout 0.1", {"spatial_dropout": 0.1}, {}),
    "label_smoothing": ("label smoothing 0.1", {}, {"label_smoothing": 0.1}),
    "early_stopping": ("early stopping", {}, {"early_stopping": 3}),
}
"""Name → (label, arguments, recipe); none is `baseline`'s variant "plain"."""
STRENGTHS = {
    "l2_weak": ("L2, 1e-5", {}, decayed(1e-5, "coupled")),
    "l2_strong": ("L2, 1e-3", {}, decayed(1e-3, "coupled")),
    "decoupled_weak": ("decoupled decay, 0.01", {}, decayed(0.01, "decoupled")),
    "decoupled_strong": ("decoupled decay, 1.0", {}, decayed(1.0, "decoupled")),
    "dropout_weak": ("dropout 0.2", {"dropout": 0.2}, {}),
    "spatial_dropout_strong": ("spatial dropout 0.3", {"spatial_dropout": 0.3}, {}),
    "label_smoothing_strong": ("label smoothing 0.2", {}, {"label_smoothing": 0.2}),
}
FEW = 500
"""Images per class."""


def _regularised(name: str, recipe: dict | None = None, **more) -> Variant:
    label, arguments, own = (KINDS | STRENGTHS).get(name, ("none", {}, {}))
    return changed(name, label, arguments, recipe=own | (recipe or {}), **more)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    long_run = changed(
        "early_stopping_long", f"early stopping of {LONG} epochs", seeds=COSTLY,
        recipe={"epochs": LONG, "early_stopping": 5},
    )  # fmt: skip
    variants = (
        *map(_regularised, KINDS),
        *(_regularised(name, pilot=True) for name in STRENGTHS),
        long_run,
        *(_regularised(name, of="normalised") for name in ("l2", "dropout", "spatial_dropout")),
    )
    patient = {"early_stopping": {"early_stopping": 15}}  # an epoch is a ninth as long
    rate = "regularisation_few_sweep/none"
    few = (
        _regularised(name, {"epochs": 80} | patient.get(name, {}), images_per_class=FEW, seeds=COSTLY, tuned_by=rate)
        for name in ("none", *KINDS, "l2_strong", "spatial_dropout_strong")
    )
    return (
        *tuned(
            "regularisation", "What does each kind of regularisation gain?", variants, {}, chosen,
            keep_weights=tuple(KINDS), **FIVE,
        ),
        *tuned(
            "regularisation_few", "What does it gain with 500 images per class?", few, {"none": around(3e-3)}, chosen,
            keep_weights=("none", *KINDS, "l2_strong", "spatial_dropout_strong"), **FIVE,
        ),
    )  # fmt: skip
