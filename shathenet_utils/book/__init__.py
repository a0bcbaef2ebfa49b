"""The book's experiments, a file per page, found by its number; nothing here needs TensorFlow.

A page has its experiments in `EXPERIMENTS`, or, where sweeps choose their learning rates, a function `experiments` that
makes them from the rates that are chosen so far.
"""

import importlib
import pkgutil
import re

from shathenet_utils.book import learning_rates
from shathenet_utils.experiment import Experiment

PAGES = tuple(
    importlib.import_module(f"{__name__}.{file.name}")
    for file in pkgutil.iter_modules(__path__)
    if re.match(r"p\d\d_", file.name)
)
"""The files of this folder that are named after a page, in the pages' order."""


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
