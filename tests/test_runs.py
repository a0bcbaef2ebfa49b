"""Runs: intervals, differences, choices and tables over made-up records, and over the book's own."""

import dataclasses
import json
import math

import numpy as np
import pytest
from helpers import WITHOUT_TENSORFLOW, python, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, records, stats
from shathenet_utils.runs import INTERVAL, Runs

TEST, VALIDATION = "test accuracy" + INTERVAL, "validation accuracy" + INTERVAL
LABELS = {
    part: np.random.default_rng(size).integers(0, 10, size) for part, size in (("test", 400), ("validation", 200))
}
FACTS = {"data_fingerprint": "00ff", **{f"{part}_labels": records.encode_classes(LABELS[part]) for part in LABELS}}


@pytest.fixture(autouse=True)
def made_up_facts(monkeypatch):
    def facts(dataset="cifar10"):
        if dataset != "made_up_images":
            raise records.RecordError(f"The facts {dataset} can't be read.")
        return FACTS

    monkeypatch.setattr(records, "facts", facts)


def predictions(part, accuracy, seed):
    """Classes of which a share of `accuracy` are the true ones, which of them depends on the seed; and that share."""
    labels = LABELS[part]
    wrong = np.random.default_rng(seed).permutation(len(labels))[round(accuracy * len(labels)) :]
    classes = labels.copy()
    classes[wrong] = (classes[wrong] + 1) % 10
    return {
        f"{part}_accuracy": float(np.mean(classes == labels)),
        f"{part}_predictions": records.encode_classes(classes),
    }


def a_run(seed=0, variant="plain", *, test=0.5, validation=0.4, **changes):
    """A record with what `Runs` reads; its predictions give its accuracies."""
    return {
        "experiment": "made_up", "variant": variant, "seed": seed, "budget": "full", "status": "finished",
        "dataset": "made_up_images", "data_fingerprint": "00ff", "parameters": 17882, "macs": 2896192, "epochs": 3,
        "split": {"train": 1000, "validation": 200, "test": 400, "seed": 0},
        "history": {"accuracy": [0.3, 0.5, 0.6 + 0.01 * seed]}, "test_accuracy_flip": None, "test_accuracy_tta": None,
        **predictions("test", test, seed), **predictions("validation", validation, seed), **changes,
    }  # fmt: skip


def diverged(record):
    kept = {"validation_accuracy": None, "validation_predictions": None, "test_accuracy": None}
    return record | kept | {"test_predictions": None, "status": "diverged"}


def some_runs(**changes):
    """Two variants of three seeds; "better" is above "plain" by 6, 5 and 4 points of test accuracy."""
    plain = [a_run(seed, test=0.50 + 0.01 * seed) for seed in range(3)]
    better = [a_run(seed, "better", test=0.56, validation=0.6 + 0.01 * seed) for seed in range(3)]
    return Runs("made_up", {"plain": plain, "better": better}, **changes)


def test_runs_give_numbers_by_seed():
    runs = some_runs()
    np.testing.assert_allclose(runs.values("plain"), [0.50, 0.51, 0.52])
    np.testing.assert_allclose(runs.values("plain", "training_accuracy"), [0.6, 0.61, 0.62])
    assert runs.mean_ci("plain") == stats.mean_ci([0.50, 0.51, 0.52])
    assert runs.mean_ci("plain", "training_accuracy").mean == pytest.approx(0.61)


def test_an_interval_of_accuracies_ends_at_0_and_1():
    runs = Runs("made_up", {"plain": [a_run(0, test=0.98), a_run(1, test=0.99)]})
    assert stats.mean_ci([0.98, 0.99]).high > 1
    assert runs.mean_ci("plain")[1:3] == (pytest.approx(0.985 - 12.706 * 0.005, abs=1e-4), 1)
    assert "98.5\u202f% (92.1 to 100.0)" in runs.table().to_string()


def test_a_difference_over_seeds_takes_them_as_independent():
    found = some_runs().difference("better", "plain", over="seeds")
    assert found == stats.welch_difference([0.56] * 3, [0.50, 0.51, 0.52])
    assert found.mean == pytest.approx(0.05)


def test_intervals_over_seeds_and_images_come_from_the_predictions():
    runs = some_runs()
    correct = {name: runs.correctness(name) for name in runs.recorded}
    assert correct["plain"].shape == (3, 400) and correct["plain"].dtype == bool
    np.testing.assert_allclose(correct["plain"].mean(axis=1), runs.values("plain"))
    assert runs.mean_ci("plain", over="seeds and images") == stats.two_way_mean_ci(correct["plain"])
    assert runs.difference("better", "plain") == stats.two_way_difference(correct["better"], correct["plain"])
    on_validation = runs.correctness("better", "validation_accuracy")
    assert on_validation.shape == (3, 200)
    np.testing.assert_allclose(on_validation.mean(axis=1), [0.60, 0.61, 0.62])


numbers_by_seed = some.dictionaries(some.integers(0, 9), some.floats(0, 1))


@tries(50)
@given(numbers_by_seed, numbers_by_seed)
def test_pairs_are_those_of_one_seed(values, baseline):
    found = {
        name: [a_run(seed, name) | {"test_accuracy": value} for seed, value in numbers.items()]
        for name, numbers in (("ours", values), ("theirs", baseline))
    }
    runs = Runs("made_up", found)
    both = values.keys() & baseline.keys()
    if both:
        difference = runs.paired_difference("ours", "theirs")
        assert difference.n == len(both)
        assert difference.mean == pytest.approx(np.mean([values[seed] - baseline[seed] for seed in both]), abs=1e-12)
    else:
        with pytest.raises(ValueError, match="ours and theirs have no seed in common with test accuracy"):
            runs.paired_difference("ours", "theirs")


def test_variants_on_a_subset_drawn_for_each_seed_can_be_compared():
    def drawn(seed, variant):
        part = {"train": 100, "validation": 200, "test": 400, "seed": 0, "drawn by": seed, "digest": f"{seed:04x}"}
        return a_run(seed, variant, split=part)

    found = {"plain": [drawn(seed, "plain") for seed in range(3)], "other": [drawn(1, "other")]}
    runs = Runs("few", found, {"plain": [drawn(3, "plain"), drawn(4, "plain")]})
    assert runs.paired_difference("other", "plain").mean == 0
    assert math.isnan(runs.difference("other", "plain").low)
    assert len(runs.table()) == 3


def test_seeds_lost_on_both_sides_are_never_paired_with_each_other():
    runs = some_runs()
    runs.recorded["plain"][1] = diverged(runs.recorded["plain"][1])
    runs.recorded["better"][2] = diverged(runs.recorded["better"][2])
    found = runs.paired_difference("better", "plain")
    assert (found.n, found.mean) == (1, pytest.approx(0.06))
    assert math.isnan(found.low)


def test_a_diverged_seed_is_left_out_and_named():
    runs = some_runs()
    runs.recorded["plain"][1] = diverged(runs.recorded["plain"][1])
    assert (len(runs.finished("plain")), runs.diverged("plain"), runs.diverged("better")) == (2, [1], [])
    assert runs.mean_ci("plain") == stats.mean_ci([0.50, 0.52])
    assert runs.correctness("plain").shape == (2, 400)
    assert runs.difference("better", "plain", over="seeds").n == 2
    assert runs.table().loc["plain", "seeds"] == "3, diverged: 1"


def test_where_every_seed_diverged_there_is_no_number():
    runs = some_runs()
    runs.recorded["plain"] = [diverged(record) for record in runs.recorded["plain"]]
    for attempt in (
        lambda: runs.mean_ci("plain"),
        lambda: runs.mean_ci("plain", over="seeds and images"),
        lambda: runs.difference("better", "plain"),
        lambda: runs.difference("better", "plain", over="seeds"),
    ):
        with pytest.raises(ValueError, match=r"^made_up/plain has no test accuracy: every seed diverged\.$"):
            attempt()
    assert runs.best() == "better"
    assert runs.table().loc["plain", TEST] == "–"


def test_a_number_that_was_not_recorded_is_named():
    runs = some_runs()
    with pytest.raises(ValueError, match="made_up/plain has no test accuracy tta: its records have none."):
        runs.mean_ci("plain", "test_accuracy_tta")
    with pytest.raises(ValueError, match="Records have no number 'accuracy'."):
        runs.mean_ci("plain", "accuracy")
    with pytest.raises(ValueError, match='over="seeds" or over="seeds and images", not \'images\''):
        runs.mean_ci("plain", over="images")
    with pytest.raises(ValueError, match="Only validation_accuracy and test_accuracy are known image by image"):
        runs.mean_ci("plain", "test_accuracy_tta", over="seeds and images")


def test_an_unknown_variant_is_refused_with_those_there_are():
    runs = some_runs(user_runs={"yours": [a_run(variant="yours")]})
    for attempt in (runs.values, runs.mean_ci, runs.finished, lambda name: runs.difference("plain", name)):
        for name in ("other", "yours"):
            with pytest.raises(ValueError, match=f"made_up has no recorded variant '{name}'; it has plain, better."):
                attempt(name)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"split": {"train": 1200, "validation": 0, "test": 400, "seed": 0}}, "on different numbers of images"),
        ({"dataset": "toy_shapes"}, "on different data"),
        ({"data_fingerprint": "ffff"}, "on different data"),
    ],
)
def test_networks_trained_on_other_images_are_never_subtracted(changes, what):
    runs = some_runs()
    runs.recorded["better"] = [record | changes for record in runs.recorded["better"]]
    for attempt in (
        lambda: runs.difference("better", "plain"),
        lambda: runs.difference("better", "plain", over="seeds"),
        lambda: runs.paired_difference("better", "plain"),
    ):
        with pytest.raises(ValueError, match=f"better and plain were trained {what}: no difference"):
            attempt()


def test_one_variant_holds_runs_of_one_kind():
    plain = [a_run(seed) for seed in range(2)]
    for other, sentence in (
        (a_run(2, dataset="toy_shapes"), "made_up/plain: its runs are on different data"),
        (a_run(2, data_fingerprint="ffff"), "made_up/plain: its runs are on different data"),
        (a_run(2, split={"train": 5}), "made_up/plain: its runs trained on different numbers of images"),
        (a_run(1), "made_up/plain has two runs of one seed: 0, 1, 1."),
    ):
        with pytest.raises(ValueError, match=sentence):
            Runs("made_up", {"plain": [*plain, other]})


def test_missing_or_altered_predictions_are_one_sentence():
    runs = some_runs()
    runs.recorded["plain"][1]["validation_predictions"] = None
    with pytest.raises(records.RecordError, match="made_up/plain/seed1 keeps no validation predictions"):
        runs.difference("better", "plain", "validation_accuracy")
    del runs.recorded["plain"][1]["validation_predictions"]  # a record older than the key
    with pytest.raises(records.RecordError, match="made_up/plain/seed1 keeps no validation predictions"):
        runs.difference("better", "plain", "validation_accuracy")
    for changes in ({"test_accuracy": 0.9}, {"test_predictions": runs.recorded["plain"][0]["test_predictions"][:-1]}):
        altered = Runs("made_up", {"plain": [runs.recorded["plain"][0] | changes]})
        with pytest.raises(records.RecordError, match="seed0: its test predictions don't give its test accuracy"):
            altered.correctness("plain")


def test_labels_that_are_not_there_are_one_sentence(monkeypatch):
    only_test = {name: value for name, value in FACTS.items() if name != "validation_labels"}
    elsewhere = Runs("made_up", {"plain": [a_run(dataset="toy_shapes")]})
    with pytest.raises(records.RecordError, match='No labels of toy_shapes are recorded, take over="seeds"'):
        elsewhere.correctness("plain")
    with pytest.raises(records.RecordError, match="seed0 is on other data than the facts of made_up_images"):
        Runs("made_up", {"plain": [a_run(data_fingerprint="ffff")]}).correctness("plain")
    monkeypatch.setattr(records, "facts", lambda dataset: only_test)
    assert some_runs().correctness("plain").shape == (3, 400)
    with pytest.raises(records.RecordError, match="The facts of made_up_images have no validation labels"):
        some_runs().correctness("plain", "validation_accuracy")


def test_the_best_variant_is_the_best_on_validation_and_not_on_the_test_set():
    runs = some_runs()
    for record in runs.recorded["plain"]:
        record["test_accuracy"] = 0.99
    assert runs.best() == "better"
    assert runs.best("test_accuracy") == "plain"


def test_a_variant_that_diverged_once_or_was_a_pilot_is_not_chosen():
    runs = some_runs()
    pilot = dataclasses.replace(runs, pilots=("better",))
    assert pilot.best() == "plain"
    assert list(pilot.table().index) == ["plain", "better (pilot)"]
    runs.recorded["better"][0] = diverged(runs.recorded["better"][0])
    assert runs.best() == "plain"
    runs.recorded["plain"][1] = diverged(runs.recorded["plain"][1])
    assert runs.best() == "better"


def test_no_best_is_made_up():
    runs = some_runs()
    for record in [*runs.recorded["plain"], *runs.recorded["better"]]:
        record["validation_accuracy"] = None
    with pytest.raises(ValueError, match="No variant of made_up has validation accuracy: no best variant."):
        runs.best()
    with pytest.raises(ValueError, match="made_up has only pilots, which decide nothing: no best variant."):
        some_runs(pilots=("plain", "better")).best()
    with pytest.raises(ValueError, match="No variant of empty has validation accuracy"):
        Runs("empty", {}).best()


def test_a_variant_on_other_data_is_never_ranked_with_the_records():
    runs = some_runs()
    runs.recorded["better"] = [record | {"dataset": "toy_shapes"} for record in runs.recorded["better"]]
    with pytest.raises(ValueError, match="The variants of made_up are on different data: no best variant."):
        runs.best()
    assert runs.table()["data"].tolist() == ["made_up_images", "toy_shapes"]


def other_runs(**changes):
    run = {"experiment": "other"} | changes
    return Runs("other", {"third": [a_run(seed, "third", **run) for seed in range(2)]}, labels={"third": "the third"})


def test_joined_runs_can_be_subtracted():
    joined = some_runs(pilots=("plain",)).joined(other_runs())
    assert list(joined.recorded) == ["plain", "better", "third"]
    assert joined.labels == {"plain": "plain", "better": "better", "third": "the third"}
    assert joined.pilots == ("plain",)
    assert joined.difference("better", "third").mean == pytest.approx(0.06)
    assert len(joined.table()) == 3


def test_joining_two_variants_of_one_name_takes_a_prefix():
    runs = some_runs(labels={"plain": "no augmentation"}, user_runs={"plain": [a_run(5)]})
    again = dataclasses.replace(runs, experiment="again")
    with pytest.raises(
        ValueError, match=r'both have a variant better, plain: give prefixes .* prefixes=\("made_up", ""\)'
    ):
        runs.joined(again)
    with pytest.raises(ValueError, match="both have a variant made_up/better, made_up/plain"):
        runs.joined(again, ("made_up", "made_up"))
    joined = runs.joined(again, ("made_up", ""))
    assert list(joined.recorded) == ["made_up/plain", "made_up/better", "plain", "better"]
    assert joined.labels["made_up/plain"] == "made_up: no augmentation"
    assert list(joined.user_runs) == ["made_up/plain", "plain"]
    assert joined.difference("made_up/plain", "plain").mean == 0
    assert runs.labels["plain"] == "no augmentation"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"dataset": "toy_shapes"}, "have no dataset in common, so they can't be compared"),
        ({"data_fingerprint": "ffff"}, "have no dataset in common, so they can't be compared"),
        ({"split": {"train": 1200, "validation": 0, "test": 400, "seed": 0}}, "have no split in common"),
        ({"split": {"train": 1000, "validation": 200, "test": 400, "seed": 1}}, "have no split in common"),
    ],
)
def test_runs_that_cannot_be_compared_are_not_joined(changes, what):
    with pytest.raises(ValueError, match=f"made_up and other {what}.*: not joined"):
        some_runs().joined(other_runs(**changes))
    assert list(some_runs().joined(Runs("other", {})).recorded) == ["plain", "better"]


def test_the_table_shows_the_records_and_below_them_the_users_runs():
    user_runs = {"plain": [a_run(7, test=0.49)]}
    table = some_runs(user_runs=user_runs, labels={"better": "flip + shift"}).table()
    assert list(table.index) == ["plain", "flip + shift", "plain (yours)"]
    low, high = stats.mean_ci([0.50, 0.51, 0.52])[1:3]
    assert table.loc["plain", TEST] == f"51.0\u202f% ({100 * low:.1f} to {100 * high:.1f})"
    assert table.loc["plain (yours)", TEST] == "49.0\u202f%"
    assert table.loc["plain", ["parameters", "MACs", "epochs", "seeds"]].tolist() == ["17,882", "2.9M", 3, 3]
    alone = some_runs(user_runs=user_runs).table(user_only=True)
    assert list(alone.index) == ["plain (yours)"]
    assert "test accuracy" in alone and TEST not in alone  # one seed has no interval to name


@pytest.mark.parametrize(
    ("macs", "text"), [(2_896_192, "2.9M"), (117_990_000, "118.0M"), (100_000, "0.1M"), (17_690, "0.018M"), (0, "0M")]
)
def test_few_macs_are_not_shown_as_none(macs, text):
    runs = Runs("made_up", {"plain": [a_run(0, macs=macs)]})
    assert runs.table().loc["plain", "MACs"] == text


def test_a_users_runs_on_other_data_or_of_another_budget_have_rows_of_their_own():
    found = [
        a_run(0), a_run(1), a_run(0, budget="quick", epochs=1), a_run(1, budget="quick", epochs=2),
        a_run(0, dataset="toy_shapes", split={"train": 500, "validation": 0}), a_run(0, data_fingerprint="ffff"),
    ]  # fmt: skip
    table = some_runs(user_runs={"plain": found}).table()
    yours = [
        "plain (yours)",
        "plain (yours, quick run)",
        "plain (yours, toy_shapes)",
        "plain (yours, other made_up_images images)",
    ]
    assert list(table.index) == ["plain", "better", *yours]
    assert table.loc[yours, "epochs"].tolist() == [3, "1 to 2", 3, 3]
    assert table["data"].tolist() == [*["made_up_images 00ff"] * 4, "toy_shapes 00ff", "made_up_images ffff"]
    assert table["training images"].tolist() == [*["1,000"] * 4, "500", "1,000"]


def test_a_column_stands_in_the_table_only_where_it_has_a_number():
    runs = some_runs()
    assert not [column for column in runs.table() if "flip" in column or "multi-crop" in column or column == "data"]
    for record in runs.recorded["better"]:
        record["test_accuracy_tta"] = 0.61
    assert runs.table()["test accuracy, multi-crop" + INTERVAL].tolist() == ["–", "61.0\u202f% (61.0 to 61.0)"]
    sweep = Runs("sweep", {"1e-3": [a_run(100, "1e-3", test_accuracy=None)]})
    assert list(sweep.table())[-1] == "validation accuracy"
    lost = Runs("lost", {"plain": [diverged(a_run())]}).table()
    assert lost[["validation accuracy", "test accuracy"]].iloc[0].tolist() == ["–", "–"]
    assert Runs("empty", {"plain": []}).table().empty


def test_no_two_rows_of_joined_experiments_are_alike():
    labels = {"third": "plain"}
    joined = some_runs().joined(dataclasses.replace(other_runs(), labels=labels))
    assert list(joined.table().index) == ["plain (plain)", "better", "plain (third)"]


def test_runs_are_shown_in_a_line():
    assert repr(some_runs()) == "Runs(plain: 3 of made_up; better: 3 of made_up)"
    assert repr(some_runs(user_runs={"plain": [a_run(5)]})).endswith("; plain: 1 of the user's)")
    assert repr(Runs("empty", {})) == "Runs(none of empty)"


def test_runs_open_without_tensorflow():
    python(WITHOUT_TENSORFLOW + "from shathenet_utils import runs\nassert 'pandas' not in sys.modules\n")


def recorded(experiment, *variants):
    folder = ROOT / "data" / "records" / experiment
    found = {name: sorted((folder / name).glob("seed*.json")) for name in variants}
    return Runs(experiment, {name: [json.loads(path.read_text()) for path in found[name]] for name in variants})


def test_every_record_of_the_book_gives_its_accuracy_from_its_predictions(monkeypatch):
    monkeypatch.undo()
    for path in sorted((ROOT / "data" / "records").glob("*/*/seed0.json")):
        experiment, variant = path.parts[-3:-1]
        runs = recorded(experiment, variant)
        if len(runs.values(variant)):
            assert runs.correctness(variant).mean() == pytest.approx(runs.mean_ci(variant).mean, abs=1e-6)


def test_what_the_book_says_of_v1_2_and_of_airbench_over_seeds_and_images(monkeypatch):
    monkeypatch.undo()
    joined = recorded("v1_2", "original").joined(recorded("v1_1", "original_3e-4"))
    gain = joined.difference("original", "original_3e-4")
    assert stats.format_difference(gain) == "+6.7 points (+5.1 to +8.4)"
    airbench = recorded("airbench", "epochs_12")
    assert stats.format_mean_ci(airbench.mean_ci("epochs_12")) == "91.9\u202f% (91.8 to 92.0)"
    wider = airbench.mean_ci("epochs_12", over="seeds and images")
    assert stats.format_mean_ci(wider) == "91.9\u202f% (91.5 to 92.3)"
