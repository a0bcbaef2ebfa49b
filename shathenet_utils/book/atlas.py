"""The atlas: every effect of pages 05 to 15, as points gained or lost on its baseline, beside what it costs.

Made from the records, and grown by each experiment: a variant joins when all of its seeds and its baseline's are there.
"""

import dataclasses
import math
from collections.abc import Iterable

from shathenet_utils import book, records, stats
from shathenet_utils.experiment import Experiment, Variant, load_record
from shathenet_utils.runs import Runs

PAGES = range(5, 16)
BASELINES = {
    "augmentation_long": "augmentation_long/none",
    "augmentation_tenth": "augmentation_tenth/none",
    "initialisation_deep": "initialisation_deep/glorot_uniform",
    "regularisation_few": "regularisation_few/none",
    "schedules_short": "schedules_short/cosine",
    "schedules_long": "augmentation_long/none",
    "weight_decay": "optimizers/nesterov",
}
"""Experiment → what its variants are compared with, "experiment/variant", where it is not the baseline of part II."""


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a variant does to its baseline.

    page: its number. difference: of test accuracies, as fractions, over seeds and images; without bounds where one side
    has a single seed, None where every seed diverged. parameters: of both. seconds: per epoch, in times the baseline's,
    see `Runs.relative_seconds`; None where no two runs are alike. main: of the baseline's own epochs and images, with
    an interval.
    """

    page: int
    experiment: str
    variant: str
    label: str
    baseline: str
    difference: stats.Difference | None
    parameters: int
    baseline_parameters: int
    seconds: float | None
    main: bool


def baseline_of(experiment: Experiment, variant: Variant) -> tuple[Experiment, Variant] | None:
    """What a variant is compared with; None for a baseline itself.

    That is *normalised* for a variant that is *normalised* with one thing changed, a plain network of its depth for one
    of `depth`, and otherwise what `BASELINES` names, or *plain*.
    """
    name = BASELINES.get(experiment.name, "baseline/plain")
    if variant.name.endswith("_normalised"):
        name = "depth/plain_20" if experiment.name == "initialisation_deep" else "baseline/normalised"
    if experiment.name == "depth":
        name = f"depth/plain_{variant.name.rpartition('_')[2]}"
    if f"{experiment.name}/{variant.name}" in (name, "baseline/plain"):
        return None
    of, _, baseline = name.partition("/")
    return book.load_experiment(of), book.load_experiment(of).variant(baseline)


def effects(pages: Iterable[int] = PAGES) -> list[Effect]:
    """Every effect that is recorded, the largest gain first; pages: the numbers of those that are wanted.

    Raises RecordError for a damaged record; one that is missing, or of an older declaration, leaves its variant out.
    """
    found = []
    for page in book.PAGES:
        number = int(page.__name__.rpartition(".p")[2][:2])
        if number not in pages or number not in PAGES:
            continue
        for experiment in (book.load_experiment(experiment.name) for experiment in book.of_page(page)):
            if not experiment.sweep:
                effects_of = (_effect(number, experiment, variant) for variant in experiment.variants)
                found += [effect for effect in effects_of if effect]
    return sorted(found, key=lambda effect: math.inf if effect.difference is None else -effect.difference.mean)


def _effect(page: int, experiment: Experiment, variant: Variant) -> Effect | None:
    compared = baseline_of(experiment, variant)
    sides = [_recorded(experiment, variant), _recorded(*compared) if compared else None]
    if None in sides:
        return None
    runs = Runs(experiment.name, dict(zip(("variant", "baseline"), sides, strict=True)))
    difference = runs.difference("variant", "baseline") if runs.finished("variant") else None
    first, other = (side[0] for side in sides)
    usual = compared[0].name == "baseline" and variant.recipe.epochs == compared[1].recipe.epochs
    return Effect(
        page=page,
        experiment=experiment.name,
        variant=variant.name,
        label=variant.label,
        baseline=compared[1].label,
        difference=difference,
        parameters=first["parameters"],
        baseline_parameters=other["parameters"],
        seconds=runs.relative_seconds("variant", "baseline"),
        main=usual and difference is not None and not math.isnan(difference.low),
    )


def _recorded(experiment: Experiment, variant: Variant) -> list[dict] | None:
    """All of a variant's records; None where one is missing, or of an older declaration."""
    found = []
    for seed in experiment.seeds_of(variant):
        if not experiment.path(variant, seed).exists():
            return None
        if records.load(experiment.path(variant, seed))["config_hash"] != variant.config_hash():
            return None
        found.append(load_record(experiment, variant, seed))
    return found


def table(found: list[Effect]):
    """A pandas table, a row per effect: page, variant, baseline, points with interval, parameters, seconds per epoch in
    times the baseline's."""
    import pandas

    rows = [
        {
            "page": f"{effect.page:02}",
            "variant": effect.label,
            "compared with": effect.baseline,
            "test accuracy (95\u202f% interval over seeds and images)": "diverged"
            if effect.difference is None
            else stats.format_difference(effect.difference),
            "parameters": f"{effect.parameters:,}",
            "seconds per epoch": _times(effect.seconds),
        }
        for effect in found
    ]
    return pandas.DataFrame(rows)


def _times(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.2f}×"


def figure(found: list[Effect], name: str = "atlas"):
    """The effects that have an interval, drawn one below the other, a `plots.Drawing`."""
    from shathenet_utils import plots

    rows = [
        plots.EffectRow(
            f"{effect.label} ({effect.page:02})", effect.difference, effect.page, f"{effect.parameters / 1000:,.0f}K",
            _times(effect.seconds),
        )
        for effect in found
        if effect.difference is not None and not math.isnan(effect.difference.low)
    ]  # fmt: skip
    return plots.effects(rows, name=name)


TABLE_MARKS = ("<!-- atlas: written by python -m shathenet_utils table -->", "<!-- end of atlas -->")


def readme_table() -> str:
    """The main effects in a Markdown table."""
    shown = table([effect for effect in effects() if effect.main])
    lines = ["| " + " | ".join(shown.columns) + " |", "|" + "---|" * len(shown.columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in shown.itertuples(index=False))])
