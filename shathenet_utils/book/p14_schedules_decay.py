"""Page 14: schedules of the learning rate at three lengths, and weight decay with Adam; with SGD it is page 09's."""

from shathenet_utils.book.baseline import COSTLY, FIVE, LONG, PLAIN_RATES, RECIPE, changed
from shathenet_utils.book.learning_rates import Chosen, around, tuned
from shathenet_utils.experiment import Experiment, Variant
from shathenet_utils.recipes import Optimizer, Schedule

SCHEDULES = {
    "constant": (Schedule("constant"), "constant schedule"),
    "step": (Schedule("step"), "step schedule"),
    "exponential": (Schedule("exponential", final_fraction=0.01), "exponential schedule"),
    "linear": (Schedule("linear"), "linear schedule"),
    "one_cycle": (Schedule("one_cycle", warmup=0.3, warmup_from=0.04), "one-cycle schedule"),
    "warmup": (Schedule("cosine", warmup=0.1), "cosine with warm-up"),
}
"""Name → (schedule, label); the cosine is `baseline`'s, with three times the epochs `augmentation_long`'s "none"."""
_RATES = {"constant": around(1e-2), "one_cycle": around(1e-1), "warmup": around(1e-1)}
COUPLED = {"weak": 1e-5, "usual": 1e-4, "strong": 1e-3}
DECOUPLED = {"weak": 1e-2, "strong": 1.0}
"""Strengths of decay with Adam; decoupled decay of 0.1 is page 12's AdamW."""


def _scheduled(name: str, epochs: int, **more) -> Variant:
    schedule, label = SCHEDULES.get(name, (RECIPE.schedule, "cosine schedule"))
    rate = f"schedules_sweep/{name}" if name in SCHEDULES else "baseline_sweep/plain"
    return changed(name, label, recipe={"schedule": schedule, "epochs": epochs}, **{"tuned_by": rate} | more)


def _adam(name: str, strength: float, decay: str, rate: str) -> Variant:
    called = "L2" if decay == "coupled" else "decoupled decay"
    recipe = {"optimizer": Optimizer("adam", weight_decay=strength, decay=decay)}
    more = {"pilot": name != "usual", "tuned_by": rate}
    return changed(f"adam_{decay}_{name}", f"Adam, {called} {strength:g}", recipe=recipe, **more)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    rates = dict.fromkeys(SCHEDULES, PLAIN_RATES) | _RATES
    short = [_scheduled(name, RECIPE.epochs // 2, seeds=COSTLY) for name in ("cosine", *SCHEDULES)]
    longer = [_scheduled(name, LONG, pilot=True) for name in SCHEDULES]
    decays = [
        *(_adam(name, strength, "coupled", "optimizers_sweep/adam") for name, strength in COUPLED.items()),
        *(_adam(name, strength, "decoupled", "optimizers_sweep/adamw") for name, strength in DECOUPLED.items()),
    ]
    usual = [_scheduled(name, RECIPE.epochs) for name in SCHEDULES]
    return (
        *tuned("schedules", "How should the learning rate change over a run?", usual, rates, chosen, **FIVE),
        *tuned("schedules_short", "Does the order of schedules hold in half the epochs?", short, {}, chosen, **FIVE),
        *tuned("schedules_long", "Does it hold in three times the epochs?", longer, {}, chosen, **FIVE),
        *tuned("weight_decay", "What do both kinds of weight decay gain with Adam?", decays, {}, chosen, **FIVE),
    )
