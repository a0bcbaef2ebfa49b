"""The learning rates that sweeps chose: `data/learning_rates.json`, written from the records, read by declarations.

A sweep that may be extended (`Experiment.outer_rates`) has a series of variants per final, named after it and their
rate: "tanh_3e-2". Where the best of a series lies at its edge, the next rate joins the sweep; where it does not, the
finals that were tuned by the series are declared with it. So no rate is typed by hand, and the file follows from the
records: `python -m shathenet_utils rates`, and the queue after each run of a sweep, write it; `check` compares.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from shathenet_utils import files, records
from shathenet_utils.experiment import Experiment, Variant

OUTER_RATES = tuple(float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 3))
"""To what the book's sweeps may be extended: 1e-6, 3e-6, 1e-5 … 30."""


def path() -> Path:
    """Where the file lies: beside the folder of records."""
    return records.RECORDS.with_name("learning_rates.json")


def name_of(rate: float) -> str:
    """A learning rate as it ends a variant's name: 0.03 → "3e-2", 1.0 → "1e0"."""
    digits, _, power = f"{rate:e}".partition("e")
    return f"{float(digits):g}e{int(power)}"


def series_of(variant: Variant) -> str:
    """The series that a sweep's variant belongs to: its name without the rate."""
    return variant.name.rpartition("_")[0]


def series_by_label(sweep: Experiment) -> dict[str, list[str]]:
    """Label → the names of a series' variants, by rate: what `plots.sweep` draws as one line each."""
    found = {}
    for variant in sorted(sweep.variants, key=lambda variant: variant.recipe.learning_rate):
        found.setdefault(variant.label.rpartition(", ")[0], []).append(variant.name)
    return found


def around(centre: float, below: int = 2, above: int = 1) -> tuple[float, ...]:
    """A centre of `OUTER_RATES` with its neighbours, four rates unless said otherwise."""
    place = OUTER_RATES.index(centre)
    return OUTER_RATES[place - below : place + above + 1]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What the file holds: sweep → series → {"rates": [...], "best": a rate or None}."""

    entries: dict[str, dict[str, dict]]

    def rates(self, sweep: str, series: str, base: Iterable[float]) -> tuple[float, ...]:
        """The rates of a series: those it begins with, and those it was extended by."""
        return tuple(sorted({*base, *self.entries.get(sweep, {}).get(series, {}).get("rates", ())}))

    def best(self, sweep: str, series: str) -> float | None:
        """The rate that a sweep chose; None while it has not."""
        return self.entries.get(sweep, {}).get(series, {}).get("best")


def load() -> Chosen:
    """The file as it is; nothing chosen where there is none. Raises RecordError where it is damaged."""
    try:
        return Chosen(json.loads(path().read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Chosen({})
    except ValueError:
        raise records.RecordError(
            f"{path()} can't be read: `python -m shathenet_utils rates` writes it anew, once it is deleted."
        ) from None


def tuned(
    name: str, question: str, variants: Iterable[Variant], rates: dict[str, Iterable[float]], chosen: Chosen, *,
    epochs: int = 0, sweep_question: str = "", **arguments,
) -> tuple[Experiment, ...]:  # fmt: skip
    """A sweep of learning rates for each variant that `rates` names, and the experiment whose rates it chooses; the
    latter alone where it names none.

    variants: with any learning rate. One that `rates` does not name has its rate from `tuned_by`, "sweep/series", or is
    taken as it is. rates: those that a series begins with. epochs: of the sweep; half of each variant's own where none
    are given. arguments: as for `Experiment`, of both.
    """
    variants = [_with_best(variant, name, rates, chosen) for variant in variants]
    swept = [variant for variant in variants if variant.name in rates]
    final = Experiment(name=name, question=question, variants=tuple(variants), **arguments)
    if not swept:
        return (final,)
    of_sweep = tuple(
        _at(variant, rate, epochs or max(1, variant.recipe.epochs // 2))
        for variant in swept
        for rate in chosen.rates(f"{name}_sweep", variant.name, rates[variant.name])
    )
    threads = {"threads": final.threads, "planned": final.planned}
    question = sweep_question or f"Which learning rate suits each variant? {question}"
    return Experiment(f"{name}_sweep", question, of_sweep, sweep=True, outer_rates=OUTER_RATES, **threads), final


def _with_best(variant: Variant, name: str, rates: dict, chosen: Chosen) -> Variant:
    """A final with the rate that its sweep chose; until it has, with one of the sweep's."""
    tuned_by = f"{name}_sweep" if variant.name in rates else variant.tuned_by
    sweep, _, series = tuned_by.partition("/")
    rate = chosen.best(sweep, series or variant.name) or next(iter(rates.get(variant.name, ())), None)
    recipe = dataclasses.replace(variant.recipe, learning_rate=rate) if rate else variant.recipe
    return dataclasses.replace(variant, recipe=recipe, tuned_by=tuned_by)


def _at(variant: Variant, rate: float, epochs: int) -> Variant:
    recipe = dataclasses.replace(variant.recipe, learning_rate=rate, epochs=epochs)
    names = {"name": f"{variant.name}_{name_of(rate)}", "label": f"{variant.label}, {name_of(rate)}"}
    return dataclasses.replace(variant, recipe=recipe, tuned_by="", seeds=(), pilot=False, **names)


def accuracy_of(sweep: Experiment, variant: Variant) -> float | None:
    """The validation accuracy of a sweep's run, −1 where it diverged; None where it has no record of the declaration as
    it is now."""
    place = sweep.path(variant, sweep.seeds[0])
    if not place.exists():
        return None
    record = records.load(place)
    if record["config_hash"] != variant.config_hash():
        return None
    return -1.0 if record["status"] == "diverged" else record["validation_accuracy"]


def judge(accuracies: dict[float, float]) -> tuple[float, int]:
    """The rate of the best accuracy, and where it lies: −1 at the lower edge, 1 at the upper one, 0 between them.

    Of rates with one best accuracy, such as that of chance, the one nearest to the middle counts.
    """
    rates, best = sorted(accuracies), max(accuracies.values())
    middle = (len(rates) - 1) / 2
    place = min((i for i, rate in enumerate(rates) if accuracies[rate] == best), key=lambda i: abs(i - middle))
    edge = 1 if place == len(rates) - 1 else -1 if place == 0 else 0
    return rates[place], edge


def of_records(experiments: Iterable[Experiment]) -> tuple[dict, list[str]]:
    """What the file should hold, and a sentence per series whose best lies where the sweep can't be extended."""
    entries, stuck, before = {}, [], load().entries
    for sweep in experiments:
        if not sweep.outer_rates:
            continue
        found = {}
        for variant in sweep.variants:
            found.setdefault(series_of(variant), {})[variant.recipe.learning_rate] = accuracy_of(sweep, variant)
        for series, accuracies in found.items():
            rates, best = sorted(accuracies), None
            if None not in accuracies.values():
                rate, edge = judge(accuracies)
                further = [r for r in sweep.outer_rates if (r > rates[-1] if edge > 0 else r < rates[0])]
                if not edge:
                    best = rate
                elif further:
                    rates = sorted([*rates, further[0] if edge > 0 else further[-1]])
                else:
                    stuck.append(f"{sweep.name}: {rate:g} is the best of {series} and lies at its edge: extend it.")
            if best or len(rates) > len(accuracies) or series in before.get(sweep.name, {}):
                entries.setdefault(sweep.name, {})[series] = {"rates": rates, "best": best}
    return entries, stuck


def settle(experiments: Iterable[Experiment]) -> list[str]:
    """Write what the records say, if that is new; returns a sentence per change, and per series that is stuck.

    The declarations that are loaded already don't change by it: see `book.declare_again`.
    """
    before = load().entries
    entries, stuck = of_records(experiments)
    said = []
    for sweep, series in entries.items():
        for name, entry in series.items():
            if entry != before.get(sweep, {}).get(name):
                tried = ", ".join(f"{rate:g}" for rate in entry["rates"])
                chosen = f"{entry['best']:g} is the best of {tried}" if entry["best"] else f"to be tried at {tried}"
                said.append(f"{sweep} {name}: {chosen}.")
    if entries != before:
        files.write_text(path(), files.to_json(entries))
    return said + stuck
