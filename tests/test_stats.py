"""Means, intervals and differences, against SciPy, by hand, against simulations and against the records."""

import json
import math

import numpy as np
import pytest
from helpers import python, tries
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from shathenet_utils import ROOT, records, stats

accuracies = some.lists(some.floats(0, 1), min_size=2, max_size=12)
correctness = arrays.arrays(bool, some.tuples(some.integers(2, 5), some.integers(2, 30)))


@tries(100)
@given(accuracies)
def test_the_interval_is_students(values):
    from scipy.stats import sem, t

    found = stats.mean_ci(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.n == len(values)
    if sem(values) == 0:
        assert found.low == found.mean == found.high
    else:
        low, high = t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=sem(values))
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_a_known_interval():
    found = stats.mean_ci([0.60, 0.61, 0.62])  # t(2, 97.5 %) = 4.3027, standard error 0.01 / √3
    assert found.high - found.mean == pytest.approx(4.30265 * 0.01 / math.sqrt(3), rel=1e-5)


def test_one_value_has_a_mean_and_no_bounds():
    mean, low, high, n = stats.mean_ci([0.6])
    assert (mean, n) == (0.6, 1)
    assert math.isnan(low) and math.isnan(high)


def test_equal_values_have_an_interval_of_no_width():
    assert stats.mean_ci([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 0.6, [0.6, math.nan], [0.6, math.inf], [0.6, None]])
def test_what_is_no_row_of_finite_numbers_is_refused(values):
    with pytest.raises(ValueError, match=r"mean_ci\(\) needs a row of finite numbers"):
        stats.mean_ci(values)
    with pytest.raises(ValueError, match=r"welch_difference\(\) needs a row of finite numbers"):
        stats.welch_difference([0.1, 0.2], values)


@pytest.mark.filterwarnings("ignore:Precision loss occurred")
@tries(100)
@given(accuracies, accuracies)
def test_an_unpaired_difference_is_welchs(values, baseline):
    from scipy.stats import ttest_ind

    found = stats.welch_difference(values, baseline)
    assert isinstance(found, stats.Difference)
    assert found.mean == pytest.approx(np.mean(values) - np.mean(baseline))
    assert found.n == min(len(values), len(baseline))
    if found.low < found.high and np.std(values) + np.std(baseline) > 1e-3:
        low, high = ttest_ind(values, baseline, equal_var=False).confidence_interval(0.95)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_a_difference_from_one_seed_has_no_bounds():
    for found in (
        stats.welch_difference([0.6], [0.5, 0.6]),
        stats.welch_difference([0.6, 0.5], [0.5]),
        stats.paired_difference([0.6], [0.5]),
        stats.two_way_difference([[1, 0]], [[1, 1], [0, 1]]),
        stats.two_way_difference([[1, 0], [1, 1]], [[1, 1]]),
        stats.two_way_mean_ci([[1, 0, 1]]),
    ):
        assert found.n == 1
        assert math.isnan(found.low) and math.isnan(found.high)
    with pytest.raises(ValueError, match="at least two seeds"):
        stats.standard_errors([[1, 0, 1]])


@tries(100)
@given(accuracies)
def test_a_paired_difference_is_the_interval_of_the_differences(values):
    baseline = np.linspace(0.2, 0.3, len(values))
    assert stats.paired_difference(values, baseline) == tuple(stats.mean_ci(np.array(values) - baseline))


def test_pairing_removes_what_the_seeds_share():
    baseline = np.array([0.2, 0.5, 0.8])
    found = stats.paired_difference(baseline + 0.1, baseline)
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.low < 1e-9


def test_unequal_numbers_of_pairs_are_refused():
    with pytest.raises(ValueError, match="one value per pair on both sides, not 2 and 1"):
        stats.paired_difference([0.1, 0.2], [0.1])


def sums_of_squares(table):
    """The two-way analysis of variance by its textbook definition: mean squares of seeds, images, residual."""
    seeds, images = table.shape
    grand = table.mean()
    of_seeds = sum(images * (table[i].mean() - grand) ** 2 for i in range(seeds))
    of_images = sum(seeds * (table[:, j].mean() - grand) ** 2 for j in range(images))
    of_rest = ((table - grand) ** 2).sum() - of_seeds - of_images
    return of_seeds / (seeds - 1), of_images / (images - 1), of_rest / (seeds - 1) / (images - 1)


@tries(100)
@given(correctness)
def test_the_two_way_variance_is_that_of_the_analysis_of_variance(correct):
    of_seeds, of_images, of_rest = sums_of_squares(correct.astype(float))
    expected = max(of_seeds + of_images - of_rest, of_seeds, of_rest) / correct.size
    found = stats.standard_errors(correct)
    assert found.both == pytest.approx(math.sqrt(max(expected, 0)), abs=1e-6)
    assert found.seeds == pytest.approx(math.sqrt(of_seeds / correct.size), abs=1e-6)
    assert found.images == pytest.approx(math.sqrt(max(of_images - of_rest, 0) / correct.size), abs=1e-6)


@tries(100)
@given(correctness)
def test_two_way_intervals_are_whole_and_never_narrower_than_the_seeds_alone_allow(correct):
    found = stats.two_way_mean_ci(correct)
    assert found.mean == pytest.approx(correct.mean())
    assert np.isfinite(found[:3]).all() and found.low <= found.mean <= found.high
    errors = stats.standard_errors(correct)
    assert found.high - found.mean >= 1.95 * errors.seeds - 1e-12  # 1.96 is the normal distribution's
    swapped = stats.two_way_difference(~correct, correct)
    assert swapped.mean == pytest.approx(1 - 2 * correct.mean(), abs=1e-9)
    mirrored = stats.two_way_difference(correct, ~correct)
    assert (mirrored.low, mirrored.high) == (pytest.approx(-swapped.high), pytest.approx(-swapped.low))


def test_degrees_of_freedom_by_hand():
    correct = np.array([[1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1], [1, 1, 0, 1, 0, 0]], float)
    of_seeds, of_images, of_rest = (square / correct.size for square in sums_of_squares(correct))
    variance = of_seeds + of_images - of_rest
    freedom = variance**2 / (of_seeds**2 / 2 + of_images**2 / 5 + of_rest**2 / 10)
    from scipy.stats import t

    found = stats.two_way_mean_ci(correct)
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(variance))


def test_a_variance_that_would_be_negative_is_held_at_its_floor():
    complementary = np.array([[1, 0, 1, 0], [0, 1, 0, 1]])  # equal seed means, equal image means: s + i − r < 0
    found = stats.two_way_mean_ci(complementary)
    assert found.low < 0.5 < found.high
    assert stats.standard_errors(complementary).images == 0
    difference = stats.two_way_difference(complementary, 1 - complementary)
    assert difference.low < 0 < difference.high


@pytest.mark.parametrize("value", [0, 1])
def test_all_alike_has_an_interval_of_no_width(value):
    correct = np.full((3, 8), value)
    assert stats.two_way_mean_ci(correct) == (value, value, value, 3)
    assert stats.two_way_difference(correct, correct) == (0, 0, 0, 3)


def test_a_network_without_chance_leaves_the_images_alone():
    row = np.arange(100) % 4 > 0
    found = stats.two_way_mean_ci(np.stack([row] * 5))  # the same answers from each seed
    alone = stats.mean_ci(row)
    assert (found.low, found.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


@pytest.mark.parametrize("correct", [[1, 0], np.ones((0, 5)), np.ones((3, 1)), [[1, math.nan], [0, 1]], 1.0])
def test_what_is_no_table_of_seeds_and_images_is_refused(correct):
    with pytest.raises(ValueError, match=r"two_way_mean_ci\(\) needs finite numbers of shape \(seeds, images\)"):
        stats.two_way_mean_ci(correct)


def test_two_networks_on_different_numbers_of_images_are_refused():
    with pytest.raises(ValueError, match="on the same images, not on 5 and 6"):
        stats.two_way_difference(np.ones((2, 5)), np.ones((2, 6)))


def simulated(stream, count, seeds, images, mean, of_seeds, of_images, of_rest, shared=0.0):
    """Made-up experiments (count, seeds, images) with known standard deviations; shared: added for each image."""
    noise = stream.standard_normal
    return (
        mean
        + of_seeds * noise((count, seeds, 1))
        + of_images * noise((count, 1, images))
        + of_rest * noise((count, seeds, images))
        + shared
    )


def coverage(intervals, truth):
    return np.mean([found.low <= truth <= found.high for found in intervals])


@pytest.mark.parametrize(
    ("seeds", "of_seeds", "of_images", "of_rest"),
    [
        (5, 0.020, 0.3, 0.3),  # seeds and images count alike
        (5, 0.002, 0.4, 0.2),  # airbench's kind: the images count
        (5, 0.060, 0.3, 0.2),  # v1.2's kind: the seeds count
        (3, 0.020, 0.3, 0.3),
    ],
)
def test_an_interval_over_seeds_and_images_covers_the_truth_in_95_of_100_experiments(
    seeds, of_seeds, of_images, of_rest
):
    tables = simulated(np.random.default_rng(1), 2000, seeds, 300, 0.7, of_seeds, of_images, of_rest)
    assert 0.93 < coverage(map(stats.two_way_mean_ci, tables), 0.7) < 0.97
    if of_images > 100 * of_seeds:  # the narrower interval claims less
        assert coverage((stats.mean_ci(table.mean(axis=1)) for table in tables), 0.7) < 0.9


@pytest.mark.parametrize(
    ("seeds", "others", "of_seeds", "of_own", "of_rest"),
    [(5, 5, 0.02, 0.1, 0.3), (5, 3, 0.02, 0.2, 0.3), (5, 5, 0.002, 0.3, 0.2), (3, 3, 0.05, 0.1, 0.2)],
)
def test_a_difference_over_seeds_and_images_covers_the_truth_in_95_of_100_experiments(
    seeds, others, of_seeds, of_own, of_rest
):
    stream = np.random.default_rng(2)
    shared = 0.3 * stream.standard_normal((2000, 1, 300))  # an image is hard for both networks
    ours = simulated(stream, 2000, seeds, 300, 0.7, of_seeds, of_own, of_rest, shared)
    theirs = simulated(stream, 2000, others, 300, 0.65, of_seeds / 2, of_own, of_rest, shared)
    assert 0.93 < coverage(map(stats.two_way_difference, ours, theirs), 0.05) < 0.975


def test_where_neither_seeds_nor_images_matter_an_interval_is_wide_rather_than_narrow():
    tables = simulated(np.random.default_rng(3), 1000, 5, 200, 0.7, 0, 0, 0.4)
    assert coverage(map(stats.two_way_mean_ci, tables), 0.7) > 0.95


def test_it_covers_for_right_and_wrong_too():
    stream = np.random.default_rng(4)

    def chances(count, seeds, images):  # each image and seed shifts the log-odds of being correct
        odds = 1 + 0.15 * stream.standard_normal((count, seeds, 1)) + 2.5 * stream.standard_normal((count, 1, images))
        return 1 / (1 + np.exp(-odds))

    truth = chances(20_000, 1, 100).mean()
    tables = (chance > stream.random(chance.shape) for chance in chances(2000, 5, 300))
    assert 0.93 < coverage(map(stats.two_way_mean_ci, tables), truth) < 0.97


def recorded_correctness(experiment, variant):
    labels = records.decode_classes(records.facts("cifar10")["test_labels"])
    paths = sorted((ROOT / "data" / "records" / experiment / variant).glob("seed*.json"))
    return np.stack(
        [records.decode_classes(json.loads(path.read_text())["test_predictions"]) == labels for path in paths]
    )


@pytest.mark.parametrize(
    ("experiment", "variant", "mean", "seeds", "images", "both"),
    [
        ("airbench", "epochs_12", 91.91, 0.04, 0.21, 0.22),
        ("v1_0", "adam_1e-3", 59.78, 0.27, 0.32, 0.42),
        ("v1_1", "original_3e-4", 69.25, 0.19, 0.35, 0.40),
        ("v1_2", "original", 75.98, 0.60, 0.32, 0.68),
    ],
)
def test_the_records_give_the_errors_worked_out_elsewhere(experiment, variant, mean, seeds, images, both):
    correct = recorded_correctness(experiment, variant)
    assert 100 * stats.two_way_mean_ci(correct).mean == pytest.approx(mean, abs=0.0051)
    assert [100 * error for error in stats.standard_errors(correct)] == pytest.approx([seeds, images, both], abs=0.0051)


def test_between_two_networks_much_of_the_images_part_cancels():
    ours, theirs = recorded_correctness("v1_2", "original"), recorded_correctness("v1_1", "original_3e-4")
    errors = stats.standard_errors(ours, theirs)
    assert 100 * stats.two_way_difference(ours, theirs).mean == pytest.approx(6.74, abs=0.0051)
    assert (100 * errors.seeds, 100 * errors.images) == (pytest.approx(0.63, abs=0.005), pytest.approx(0.19, abs=0.005))


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0123, "+1.2 points"), (-0.0123, "−1.2 points"), (-0.0004, "0.0 points"), (0, "0.0 points")],
)
def test_points_carry_their_sign(fraction, text):
    assert stats.points(fraction) == text


def test_per_cent_have_a_narrow_space_that_does_not_break():
    assert stats.percent(0.278) == "27.8\u202f%"


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (stats.Difference(0.067, 0.049, 0.086, 5), "+6.7 points (+4.9 to +8.6)"),
        (stats.Difference(-0.002, -0.01, 0.006, 5), "−0.2 points (−1.0 to +0.6)"),
        (stats.Difference(0.03, math.nan, math.nan, 1), "+3.0 points"),
    ],
)
def test_a_difference_reads_as_a_sentence_has_it(difference, text):
    assert stats.format_difference(difference) == text


def test_a_mean_reads_as_a_sentence_has_it():
    assert stats.format_mean_ci(stats.Interval(0.76, 0.743, 0.777, 5)) == "76.0\u202f% (74.3 to 77.7)"
    assert stats.format_mean_ci(stats.mean_ci([0.76])) == "76.0\u202f%"


def test_an_interval_costs_no_import_of_scipy_stats():
    python(
        "import sys\nfrom shathenet_utils import stats\nassert 'scipy' not in sys.modules\n"
        "stats.two_way_mean_ci([[1, 0, 1], [1, 1, 0]])\nassert 'scipy.stats' not in sys.modules\n"
    )
