"""Page 14: schedules of the learning rate at three lengths, and weight decay with SGD; with Adam it is page 09's."""

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
_RATES = {"constant": around(1e-3)}
DECAYS = {
    "coupled": {"weak": 1e-4, "usual": 5e-4, "strong": 2e-3},
    "decoupled": {"weak": 1e-3, "usual": 5e-3, "strong": 2e-2},
}
"""Kind → strengths, with SGD and Nesterov's momentum. Decoupled decay takes ten times the strength of coupled decay
(L2), which a momentum of 0.9 multiplies by ten."""


def _scheduled(name: str, epochs: int, **more) -> Variant:
    schedule, label = SCHEDULES.get(name, (RECIPE.schedule, "cosine schedule"))
    rate = f"schedules_sweep/{name}" if name in SCHEDULES else "baseline_sweep/plain"
    return changed(name, label, recipe={"schedule": schedule, "epochs": epochs}, **{"tuned_by": rate} | more)


def _decayed(name: str, strength: float, decay: str) -> Variant:
    called = "L2" if decay == "coupled" else "decoupled decay"
    recipe = {"optimizer": Optimizer("sgd", momentum=0.9, nesterov=True, weight_decay=strength, decay=decay)}
    more = {"pilot": name != "usual", "tuned_by": "optimizers_sweep/nesterov"}
    return changed(f"sgd_{decay}_{name}", f"SGD, {called} {strength:g}", recipe=recipe, **more)


def experiments(chosen: Chosen) -> tuple[Experiment, ...]:
    """What the page declares, with the learning rates that are chosen by now."""
    rates = dict.fromkeys(SCHEDULES, PLAIN_RATES) | _RATES
    short = [_scheduled(name, RECIPE.epochs // 2, seeds=COSTLY) for name in ("cosine", *SCHEDULES)]
    longer = [_scheduled(name, LONG, pilot=True) for name in SCHEDULES]
    decays = [_decayed(*one, decay) for decay, strengths in DECAYS.items() for one in strengths.items()]
    usual = [_scheduled(name, RECIPE.epochs) for name in SCHEDULES]
    return (
        *tuned("schedules", "How should the learning rate change over a run?", usual, rates, chosen, **FIVE),
        *tuned("schedules_short", "Does the order of schedules hold in half the epochs?", short, {}, chosen, **FIVE),
        *tuned("schedules_long", "Does it hold in three times the epochs?", longer, {}, chosen, **FIVE),
        *tuned("weight_decay", "What do both kinds of weight decay gain with SGD?", decays, {}, chosen, **FIVE),
    )
