"""The book's experiments, a file per page, found by its number; nothing here needs TensorFlow."""

from shathenet_utils.book import p01_first_network, p02_bigger, p03_mixing_convolutions, p04_yardstick, p24_how_fast
from shathenet_utils.experiment import Experiment

PAGES = (p01_first_network, p02_bigger, p03_mixing_convolutions, p04_yardstick, p24_how_fast)


def _by_name(pages) -> dict[str, Experiment]:
    """Every declared experiment, in the pages' order. Raises ValueError where two have one name, or where what a
    variant was tuned by is no sweep."""
    found = {}
    for page in pages:
        for experiment in page.EXPERIMENTS:
            if experiment.name in found:
                raise ValueError(f"Two experiments are called {experiment.name}.")
            found[experiment.name] = experiment
    for experiment in found.values():
        for name in {variant.tuned_by for variant in experiment.variants} - {""}:
            if name not in found or not found[name].sweep:
                raise ValueError(f"{experiment.name} is tuned by {name}, which is no sweep.")
    return found


EXPERIMENTS = _by_name(PAGES)


def load_experiment(name: str) -> Experiment:
    """The declared experiment of that name. Raises ValueError, listing those there are, for an unknown one."""
    if name not in EXPERIMENTS:
        raise ValueError(f"There is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]
