"""The book's experiments, a file per page, found by its number; nothing here needs TensorFlow.

A page has its experiments in `EXPERIMENTS`, or, where sweeps choose their learning rates, a function `experiments` that
makes them from the rates that are chosen so far.
"""

from shathenet_utils.book import (
    learning_rates,
    p01_first_network,
    p02_bigger,
    p03_mixing_convolutions,
    p04_yardstick,
    p05_normalising_inputs,
    p06_augmentation,
    p07_batch_normalisation,
    p08_initialisation,
    p09_regularisation,
    p10_activations,
    p11_striding_pooling,
    p12_optimizers_losses,
    p13_global_pooling,
    p14_schedules_decay,
    p15_connections,
    p24_how_fast,
)
from shathenet_utils.experiment import Experiment

PAGES = (
    p01_first_network,
    p02_bigger,
    p03_mixing_convolutions,
    p04_yardstick,
    p05_normalising_inputs,
    p06_augmentation,
    p07_batch_normalisation,
    p08_initialisation,
    p09_regularisation,
    p10_activations,
    p11_striding_pooling,
    p12_optimizers_losses,
    p13_global_pooling,
    p14_schedules_decay,
    p15_connections,
    p24_how_fast,
)


def of_page(page) -> tuple[Experiment, ...]:
    """The experiments that a page declares, as the learning rates are now."""
    return page.experiments(learning_rates.load()) if hasattr(page, "experiments") else page.EXPERIMENTS


def _by_name(pages) -> dict[str, Experiment]:
    """Every declared experiment, in the pages' order. Raises ValueError where two have one name, or where what a
    variant was tuned by is no sweep."""
    found = {}
    for page in pages:
        for experiment in of_page(page):
            if experiment.name in found:
                raise ValueError(f"Two experiments are called {experiment.name}.")
            found[experiment.name] = experiment
    for experiment in found.values():
        for name in {variant.tuned_by.partition("/")[0] for variant in experiment.variants} - {""}:
            if name not in found or not found[name].sweep:
                raise ValueError(f"{experiment.name} is tuned by {name}, which is no sweep.")
    return found


EXPERIMENTS = _by_name(PAGES)


def declare_again() -> None:
    """Make all declarations anew: learning rates may have been chosen since."""
    declared = _by_name(PAGES)
    EXPERIMENTS.clear()
    EXPERIMENTS.update(declared)


def load_experiment(name: str) -> Experiment:
    """The declared experiment of that name. Raises ValueError, listing those there are, for an unknown one."""
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]
