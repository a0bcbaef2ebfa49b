"""Page 05: the baseline of part II, chosen and recorded; and what the scale of its inputs does."""

import dataclasses

from shathenet_utils.book.baseline import FIVE, NETWORKS, NORMALISED_RATES, PLAIN_RATES, RECIPE, changed
from shathenet_utils.book.learning_rates import Chosen, around, name_of, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Optimizer, Recipe

_SGD = Optimizer("sgd", momentum=0.9, nesterov=True)
_STUDY = Recipe(epochs=8, batch_size=128, schedule="cosine", precision="mixed_bfloat16")
_STUDIED = {
    ("sgd", "plain"): (_SGD, around(1e-1)),
    ("sgd", "normalised"): (_SGD, around(1e-1, above=2)),
    ("adam", "plain"): (Optimizer(), around(1e-3, above=2)),
    ("adam", "normalised"): (Optimizer(), around(3e-3)),
}
_SIZES = {"narrow": ((12, 24, 48), 8), "wide": ((24, 48, 96), 8), "twice_as_long": ((16, 32, 64), 16)}
"""Name → filters, epochs; the other runs of the study have the baseline's own filters, and eight epochs."""

SCALINGS = {
    "raw": "inputs 0 to 255", "minus_half_to_half": "inputs −0.5 to 0.5", "minus_1_to_1": "inputs −1 to 1",
    "per_channel": "inputs per channel",
    "per_image": "inputs per image", "zca": "ZCA-whitened inputs", "batch_norm": "batch norm as first layer",
}  # fmt: skip
"""Name → label; the baseline's own, 0 to 1, is `baseline`'s variant "plain"."""

FIRST_KERNELS = {
    "raw_small_kernel": ("inputs 0 to 255, first kernels / 255", {"scaling": "raw", "first_kernel": 1 / 255}),
    "large_kernel": ("inputs 0 to 1, first kernels × 255", {"first_kernel": 255.0}),
}
"""Name → label, arguments: in what raw pixels differ from 0 to 1 when Adam trains on them, one difference at a time.

A layer on raw pixels is one on values from 0 to 1 whose kernels are 255 times as large; and a step of Adam, whose size
does not depend on the gradient's, then is 255 times as large, too. The first variant has the large steps only, the
second the large initial kernels only."""


def _study() -> Experiment:
    """Which optimizer, which widths, how many epochs? Validation only, a run each."""
    by_rate = (
        Variant(
            f"{optimizer}_{network}_{name_of(rate)}", "baseline",
            dataclasses.replace(_STUDY, optimizer=settings, learning_rate=rate), NETWORKS[network],
            f"{optimizer.upper() if optimizer == 'sgd' else 'Adam'}, {network}, {name_of(rate)}",
        )
        for (optimizer, network), (settings, rates) in _STUDIED.items()
        for rate in rates
    )  # fmt: skip
    by_size = (
        Variant(
            f"{name}_{network}", "baseline",
            dataclasses.replace(_STUDY, epochs=epochs, optimizer=_SGD, learning_rate=3e-2),
            arguments | {"filters": filters},
            f"{'/'.join(map(str, filters))} filters, {epochs} epochs, {network}",
        )
        for name, (filters, epochs) in _SIZES.items()
        for network, arguments in NETWORKS.items()
    )  # fmt: skip
    question = "Which optimizer, learning rates, widths and epochs suit the baseline of part II?"
    return Experiment("baseline_study", question, (*by_rate, *by_size), sweep=True, threads=1)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    networks = (Variant(name, "baseline", RECIPE, arguments) for name, arguments in NETWORKS.items())
    valley = around(3e-3, below=3, above=3)
    inputs = (
        *(changed(name, label, {"scaling": name}) for name, label in SCALINGS.items()),
        *(
            changed(name, SCALINGS[name], {"scaling": name}, of="normalised")
            for name in ("raw", "per_channel")
        ),
    )  # fmt: skip
    rates = dict.fromkeys(SCALINGS, PLAIN_RATES) | {
        "raw": around(1e-4), "raw_normalised": NORMALISED_RATES, "per_channel_normalised": NORMALISED_RATES,
    }  # fmt: skip
    return (
        _study(),
        *tuned(
            "baseline", "What do the two networks reach that all of part II starts from?", networks,
            dict.fromkeys(NETWORKS, valley), chosen, keep_weights=tuple(NETWORKS),
            sweep_question="At which learning rates do the two networks train, and which suits each?",
            **FIVE | {"planned": False},
        ),
        *tuned(
            "normalisation", "How should the inputs be scaled?", inputs, rates, chosen, **FIVE | {"planned": False},
        ),
        *tuned(
            "first_kernel", "What do raw pixels cost with Adam: the large initial outputs, or the first layer's steps?",
            (changed(name, label, arguments) for name, (label, arguments) in FIRST_KERNELS.items()),
            dict.fromkeys(FIRST_KERNELS, around(1e-3)), chosen, **FIVE | {"planned": False},
        ),
    )  # fmt: skip
