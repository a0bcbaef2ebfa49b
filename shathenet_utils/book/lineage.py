"""The lineage from v1.3 on: which changes a next version keeps, by a rule that page 05 states beforehand."""

import dataclasses
from collections.abc import Iterable

from shathenet_utils import stats
from shathenet_utils.runs import Runs

VERSIONS = {"v1.3": "baseline/plain", "v1.4": "normalisation/minus_1_to_1"}
"""Version → what it is, as "experiment/variant"; a change that a page keeps makes the next one."""
TOLERATED, SAVED = 0.003, 0.2
"""How much accuracy a change may cost, and what share of the seconds it must then save."""
GROWTH = 2
"""In how many times as many parameters, trained or not, a change may end. Page 05 says why and when it was added."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a change is kept, and what decided: the difference of validation accuracies, as a fraction, over seeds
    and images, and the seconds per epoch, in times the last version's (None where they can't be compared)."""

    kept: bool
    difference: stats.Difference
    seconds: float | None
    why: str


def verdict(runs: Runs, change: str, last: str) -> Verdict:
    """The rule: a change of the last version is kept if the interval of its difference on validation, over seeds and
    images, lies above zero, or if its lower end lies above −0.3 points and the change saves a fifth of the seconds; and
    if it does not more than double the parameters.

    runs: hold both variants, each with all of its seeds. Raises ValueError where one has a single seed or diverged, and
    as `Runs.difference` does.
    """
    for variant in (change, last):
        if len(runs.finished(variant)) < 2 or runs.diverged(variant):
            raise ValueError(f"{variant} needs two seeds or more, and none that diverged, to be judged.")
    difference = runs.difference(change, last, "validation_accuracy")
    seconds = runs.relative_seconds(change, last)
    parameters, before = (runs.recorded[variant][0]["parameters"] for variant in (change, last))
    gains = difference.low > 0
    saves = seconds is not None and seconds <= 1 - SAVED and difference.low > -TOLERATED
    found = f"{stats.format_difference(difference)} on validation"
    if parameters > GROWTH * before:
        why = f"{found}, with {parameters / before:.0f} times the parameters: too many."
    elif gains:
        why = f"{found}: the interval lies above zero."
    elif saves:
        why = f"{found}, in {seconds:.0%} of the seconds: not clearly worse, and faster."
    else:
        why = f"{found}: neither clearly better, nor as good and a fifth faster."
    return Verdict(parameters <= GROWTH * before and (gains or saves), difference, seconds, why)


def kept(runs: Runs, changes: Iterable[str], last: str) -> str | None:
    """Of the changes that the rule keeps, the one with the highest validation accuracy; None where it keeps none.
    Raises as `verdict` does."""
    passed = [change for change in changes if verdict(runs, change, last).kept]
    return max(passed, key=lambda change: runs.mean_ci(change, "validation_accuracy").mean, default=None)
