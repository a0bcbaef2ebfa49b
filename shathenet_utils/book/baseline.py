"""What pages 05 to 15 start from: the recipe of *plain* and *normalised*, and how a page declares what it changes."""

import dataclasses

from shathenet_utils.book.learning_rates import around
from shathenet_utils.experiment import Variant
from shathenet_utils.recipes import Recipe

RECIPE = Recipe(epochs=10, batch_size=128, learning_rate=3e-3, schedule="cosine", precision="mixed_bfloat16")
"""Of every run of part II but for what its page changes. Never edited now that there are records: all effects are
measured on it.

Chosen by `baseline_study`: Adam, as v1.0 to v1.2 have it, was ahead of SGD with momentum on *plain* and on
*normalised*; wider networks and twice the epochs gained, and would have taken a run beyond three minutes of two
cores."""
PLAIN_RATES = NORMALISED_RATES = around(3e-3)
"""The learning rates with which the sweep of a variant begins, unless its page knows better."""
NETWORKS = {"plain": {}, "normalised": {"normalisation": "batch"}}
LONG = 3 * RECIPE.epochs
"""Epochs of the longest runs."""
COSTLY = (0, 1, 2)
"""Seeds of a variant that takes long, and of every variant of *normalised*."""


def changed(
    name: str, label: str, arguments: dict | None = None, *, of: str = "plain", recipe: dict | None = None, **more
) -> Variant:
    """A variant of *plain* or *normalised* with other arguments of `models.baseline` or another recipe.

    recipe: fields of `RECIPE` that change. more: as for `Variant`. A variant of *normalised* is named and labelled so,
    and has three seeds. Without `tuned_by`, the learning rate is that of what it is a variant of.
    """
    if of == "normalised":
        name, label = f"{name}_normalised", f"{label}, normalised"
        more = {"seeds": COSTLY} | more
    return Variant(
        name, "baseline", dataclasses.replace(RECIPE, **recipe or {}), NETWORKS[of] | (arguments or {}),
        label, **{"tuned_by": f"baseline_sweep/{of}"} | more,
    )  # fmt: skip


FIVE = {"seeds": (0, 1, 2, 3, 4), "threads": 1, "planned": True}
"""What all experiments of part II have in common."""
