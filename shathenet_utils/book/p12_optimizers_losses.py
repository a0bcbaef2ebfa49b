"""Page 12: optimizers, each at its own learning rate; and losses. Label smoothing is in page 09's `regularisation`."""

from shathenet_utils.book.baseline import FIVE, changed
from shathenet_utils.book.learning_rates import Chosen, around, tuned
from shathenet_utils.experiment import Experiment
from shathenet_utils.recipes import Optimizer

OPTIMIZERS = {
    "sgd": (Optimizer("sgd"), "SGD", around(3e-1)),
    "momentum": (Optimizer("sgd", momentum=0.9), "SGD, momentum", around(3e-2)),
    "nesterov": (Optimizer("sgd", momentum=0.9, nesterov=True), "SGD, Nesterov's momentum", around(3e-2)),
    "rmsprop": (Optimizer("rmsprop"), "RMSprop", around(1e-3)),
    "adamw": (Optimizer("adamw", weight_decay=0.1), "AdamW", around(3e-3)),
    "lion": (Optimizer("lion"), "Lion", around(3e-4)),
    "muon": (Optimizer("muon", momentum=0.9, nesterov=True, scale_kernels=False), "Muon", around(1e-2)),
}
"""Name → (optimizer, label, the rates that its sweep begins with); Adam is `baseline`'s."""
LOSSES = {"focal": ("focal loss", around(3e-3)), "mse": ("squared error", around(3e-3))}
"""Name → (label, rates); cross-entropy is `baseline`'s."""


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    optimizers = [
        changed(name, OPTIMIZERS[name][1], of=of, recipe={"optimizer": OPTIMIZERS[name][0]})
        for of, names in (("plain", OPTIMIZERS), ("normalised", ("nesterov", "muon")))
        for name in names
    ]
    rates = {name: rates for name, (_, _, rates) in OPTIMIZERS.items()}
    rates |= {"nesterov_normalised": around(3e-2), "muon_normalised": around(1e-2)}
    losses = [changed(name, label, recipe={"loss": name}) for name, (label, _) in LOSSES.items()]
    loss_rates = {name: rates for name, (_, rates) in LOSSES.items()}
    return (
        *tuned(
            "optimizers", "Which optimizer trains best, each at its own learning rate?", optimizers, rates, chosen,
            **FIVE,
        ),
        *tuned("losses", "Which loss trains best?", losses, loss_rates, chosen, keep_weights=tuple(LOSSES), **FIVE),
    )  # fmt: skip
