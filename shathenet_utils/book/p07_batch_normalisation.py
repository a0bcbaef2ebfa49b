"""Page 07: batch normalisation: its place, its batch size, its relatives. The valley of learning rates without and with
it is `baseline_sweep`."""

from shathenet_utils.book.baseline import COSTLY, FIVE, NORMALISED_RATES, PLAIN_RATES, RECIPE, changed
from shathenet_utils.book.learning_rates import Chosen, around, tuned
from shathenet_utils.experiment import Experiment, Variant

_RELATIVES = {"layer": "layer norm", "group": "group norm"}
_RATES = {8: (around(3e-4), around(1e-3)), 32: (around(1e-3), around(1e-3)), 512: (around(3e-3), around(1e-2))}
"""Images per step → the rates with which the sweeps of *plain* and *normalised* begin."""


def norm_momentum(batch_size: int) -> float:
    """The moving statistics then reach back over as many images as with the baseline's batch."""
    return round(0.9 ** (batch_size / RECIPE.batch_size), 4)


def _batches(batch_size: int, of: str, **arguments) -> Variant:
    momentum = {"norm_momentum": norm_momentum(batch_size)} if of == "normalised" else {}
    return changed(
        f"batch_{batch_size}", f"batches of {batch_size}", momentum, of=of, recipe={"batch_size": batch_size},
        **{"seeds": COSTLY} | arguments,
    )  # fmt: skip


def _batch_rates(*sizes: int) -> dict:
    names = {size: (f"batch_{size}", f"batch_{size}_normalised") for size in sizes}
    return {name: rates for size in sizes for name, rates in zip(names[size], _RATES[size], strict=True)}


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    after = changed("after_activation", "batch norm after the activation", {"normalisation": "batch_after_activation"})
    relatives = [
        changed(name, label, {"normalisation": name}, seeds=COSTLY) for name, label in _RELATIVES.items()
    ]  # fmt: skip
    sizes = [_batches(size, of) for size in (32, 512) for of in ("plain", "normalised")]
    smallest = _batches(8, "plain"), _batches(8, "normalised")
    return (
        *tuned(
            "batch_norm", "Does batch normalisation belong before or after the activation?", (after,),
            {"after_activation": NORMALISED_RATES}, chosen, **FIVE,
        ),
        *tuned(
            "layer_group_norm", "Do layer norm and group norm, which need no batch, do as well?", relatives,
            dict.fromkeys(_RELATIVES, PLAIN_RATES), chosen, epochs=4, **FIVE,
        ),
        *tuned(
            "batch_size", "How does the batch's size change what batch normalisation gains?", sizes,
            _batch_rates(32, 512), chosen, **FIVE,
        ),
        *tuned(
            "batch_size_8", "How does it change with batches of eight images?", smallest, _batch_rates(8), chosen,
            epochs=4, **FIVE,
        ),
    )  # fmt: skip
