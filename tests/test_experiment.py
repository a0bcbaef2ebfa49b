"""An experiment is checked when it is declared, its hash says what it is, and loading its records never trains."""

import dataclasses
import functools
import json
import os

import pytest
from helpers import WITHOUT_TENSORFLOW, a_record, python

from shathenet_utils import records, runner
from shathenet_utils.book import load_experiment
from shathenet_utils.experiment import SWEEP_SEED, Experiment, Variant, check_budget, custom_experiment
from shathenet_utils.recipes import Augmentation, Optimizer, Recipe, Schedule

V1_0 = load_experiment("v1_0")
PLAIN = V1_0.variant("adam_1e-3")
HASHES = {"adam_1e-4": "c555c0225f6419f6", "adam_1e-3": "a88f7cc766172b66", "adam_1e-3_bilinear": "87d09135d868f376"}


def made_up(*variants, **arguments):
    """An experiment of these variants; of two of its own where none are given."""
    variants = variants or (Variant("plain", "v1_0", Recipe(1)), Variant("longer", "v1_0", Recipe(2)))
    return Experiment("made_up", "?", variants, **arguments)


# What is declared


def test_a_declarations_hash_never_changes():
    assert {variant.name: variant.config_hash() for variant in V1_0.variants} == HASHES


def test_a_new_field_with_its_default_leaves_the_hash_as_it_is():
    @dataclasses.dataclass(frozen=True)
    class GrownRecipe(Recipe):
        sharpness: float = 0.0

    grown = dataclasses.replace(PLAIN, recipe=GrownRecipe(60))
    assert grown.config()["recipe"]["sharpness"] == 0.0
    assert grown.config_hash() == HASHES["adam_1e-3"]
    sharper = dataclasses.replace(PLAIN, recipe=GrownRecipe(60, sharpness=0.1))
    assert sharper.config_hash() != HASHES["adam_1e-3"]


@pytest.mark.parametrize(
    "change",
    [
        {"images_per_class": 10}, {"feature_extractor": "efficientnet_lite0@64"}, {"starts_from": "lite0_size/128"},
        {"model": "v1_1"}, {"model_arguments": {"classes": 11}}, {"dataset": "toy_shapes"}, {"validation": 0},
        {"recipe": Recipe(epochs=61)}, {"recipe": Recipe(epochs=60, batch_size=64)},
        {"recipe": Recipe(60, optimizer="adamw")}, {"recipe": Recipe(60, schedule="cosine")},
        {"recipe": Recipe(60, optimizer=Optimizer("adam", weight_decay=1e-4))},
        {"recipe": Recipe(60, augmentation=Augmentation(flip="random"))},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_another_run_changes_the_hash(change):
    assert dataclasses.replace(PLAIN, **change).config_hash() != HASHES["adam_1e-3"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "renamed"}, {"label": "other words"}, {"pilot": True}, {"seeds": (0,)}, {"images_per_class": 0},
        {"tuned_by": "v1_0_sweep"}, {"recipe": Recipe(60, 32, 0.001, "adam", "constant")},
        {"recipe": Recipe(60, optimizer=Optimizer(), schedule=Schedule(), augmentation=Augmentation())},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_other_run_leaves_the_hash(change):
    assert dataclasses.replace(PLAIN, **change).config_hash() == HASHES["adam_1e-3"]


def test_whole_numbers_in_place_of_fractions_leave_the_hash():
    one, other = (dataclasses.replace(PLAIN, recipe=Recipe(60, learning_rate=rate)) for rate in (1, 1.0))
    assert one.config_hash() == other.config_hash()
    whole = Recipe(60, augmentation=Augmentation(rotate=35, zoom=0), label_smoothing=0)
    fractions = Recipe(60, augmentation=Augmentation(rotate=35.0, zoom=0.0), label_smoothing=0.0)
    one, other = (dataclasses.replace(PLAIN, recipe=recipe) for recipe in (whole, fractions))
    assert json.dumps(one.config()) == json.dumps(other.config())
    assert one.config_hash() == other.config_hash()


def test_a_tuple_and_a_list_of_arguments_are_one_configuration():
    one, other = (Variant("wide", "v1_0", Recipe(1), {"filters": kind((8, 8, 8))}) for kind in (tuple, list))
    assert one.config() == other.config() == json.loads(json.dumps(one.config()))
    assert one.config_hash() == other.config_hash()


TWINS = Variant("plain", "v1_0", Recipe(1)), Variant("twin", "v1_0", Recipe(1))


@pytest.mark.parametrize(
    ("variants", "arguments", "sentence"),
    [
        ((TWINS[0], Variant("plain", "v1_0", Recipe(2))), {}, "two variants of one name: plain, plain"),
        (TWINS, {}, "two variants of one configuration"),
        ((TWINS[0], Variant("two", "v1_0", Recipe(2), label="plain")), {}, "two variants of one label: plain, plain"),
        ((), {"keep_weights": ("typo",)}, "keep_weights names no variant: typo"),
        ((), {"keep_weight_history": ("plain", "typo")}, "keep_weight_history names no variant: typo"),
        ((), {"seeds": ()}, r"needs seeds, each once and none 100, not \(\)"),
        ((), {"seeds": (0, 1, 0)}, r"needs seeds, each once and none 100, not \(0, 1, 0\)"),
        ((), {"seeds": (0, SWEEP_SEED)}, r"needs seeds, each once and none 100, not \(0, 100\)"),
        ((Variant("a", "v1_0", Recipe(1), seeds=(3, 3)),), {}, r"needs seeds, .* not \(3, 3\)"),
        ((), {"quick_epochs": -1}, "quick_epochs from 0"),
        ((), {"threads": 0}, "threads from 1"),
        ((Variant("a", "v1_0", Recipe(1), validation=0),), {"sweep": True}, "a sweep chooses on validation images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_declaration_is_refused_when_it_is_made(variants, arguments, sentence):
    with pytest.raises(ValueError, match=f"^Experiment made_up.* {sentence}") as refused:
        made_up(*variants, **arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("argument", ["epochs_by_budget", "keep_snapshots", "taste_epochs"])
def test_an_argument_that_there_is_not_is_refused(argument):
    with pytest.raises(TypeError, match=argument):
        made_up(**{argument: {"tatse": 1}})


def test_an_unknown_budget_is_one_sentence():
    with pytest.raises(ValueError, match=r"^budget must be one of quick, full, not 'taste'\.$"):
        check_budget("taste")


def test_a_variant_without_a_label_is_called_by_its_name():
    assert Variant("flip_translate", "v1_0", Recipe(1)).label == "flip translate"
    assert Variant("flip_translate", "v1_0", Recipe(1), label="flip + shift").label == "flip + shift"


def test_features_are_not_augmented_but_by_flips():
    frozen = {"feature_extractor": "efficientnet_lite0@64"}
    Variant("head", "linear_head", Recipe(1, augmentation=Augmentation(flip="random")), **frozen)
    with pytest.raises(ValueError, match="^head: features of images can be flipped, and not augmented otherwise"):
        Variant("head", "linear_head", Recipe(1, augmentation=Augmentation(translate=2)), **frozen)


def test_an_unknown_variant_is_one_sentence():
    with pytest.raises(ValueError, match=r"^Experiment v1_0 has no variant 'sgd'; it has adam_1e-4, adam_1e-3, .*\.$"):
        V1_0.variant("sgd")
    with pytest.raises(ValueError, match="has no variant 'sgd'"):
        V1_0.load(["sgd"])
    with pytest.raises(ValueError, match="has no variant 'sgd'"):
        runner.train(V1_0, ["sgd"])


def test_the_seeds_of_a_variant_a_pilot_and_a_sweep():
    variants = (
        Variant("all", "v1_0", Recipe(1)), Variant("few", "v1_0", Recipe(2), seeds=(0, 1)),
        Variant("trial", "v1_0", Recipe(3), pilot=True),
    )  # fmt: skip
    usual, sweep = made_up(*variants, seeds=(0, 1, 2)), made_up(*variants, sweep=True)
    assert [usual.seeds_of(variant) for variant in variants] == [(0, 1, 2), (0, 1), (0,)]
    assert [sweep.seeds_of(variant) for variant in variants] == [(SWEEP_SEED,)] * 3


# What an experiment shows


def test_an_experiment_shows_its_question_and_what_differs_between_its_variants():
    table = V1_0.table()
    assert set(table.columns) == {"learning rate", "model's interpolation"}
    assert table.loc[PLAIN.label].tolist() == [1e-3, "default"]
    assert list(table.index) == [variant.label for variant in V1_0.variants]
    shown = Experiment("x", "<b>?", V1_0.variants)._repr_html_()
    assert "&lt;b&gt;?" in shown and "3 seeds per variant" in shown
    seeds = Variant("one", "v1_0", Recipe(1), pilot=True), Variant("five", "v1_0", Recipe(2), seeds=(0, 1, 2, 3, 4))
    assert "1 to 5 seeds per variant" in repr(made_up(*seeds))
    assert "one (pilot)" in repr(made_up(*seeds))
    assert "One seed." in repr(made_up(seeds=(7,)))


def test_a_models_argument_and_a_recipes_field_of_one_name_have_columns_of_their_own():
    def variant(name, warmup, argument):
        return Variant(name, "v1_0", Recipe(9, schedule=Schedule("linear", warmup=warmup)), {"warmup": argument})

    table = made_up(variant("a", 0.1, 1), variant("b", 0.2, 1), variant("c", 0.1, 2)).table()
    assert table["warmup"].tolist() == [0.1, 0.2, 0.1]
    assert table["model's warmup"].tolist() == [1, 1, 2]
    named = Variant("a", "v1_0", Recipe(1, optimizer="sgd")), Variant("b", "v1_1", Recipe(1), {"name": "x"})
    table = made_up(*named, Variant("c", "v1_1", Recipe(1, schedule="cosine"), {"name": "y"})).table()
    assert len(table.drop_duplicates()) == 3
    assert table["model"].tolist() == ["v1_0", "v1_1", "v1_1"]
    assert table["optimizer"].tolist() == ["sgd", "adam", "adam"]


# What is loaded


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where made-up records and runs lie; nothing may be trained."""
    monkeypatch.setattr(records, "RECORDS", tmp_path / "data" / "records")
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    monkeypatch.setattr(runner, "train_run", lambda *_, **__: pytest.fail("it trained"))
    return tmp_path


def keep(experiment, name, seed, *, recorded=False, dataset="cifar10", age=0, **changes):
    """Write a made-up record of a run of this experiment: the book's, or a user's."""
    variant = experiment.variant(name)
    place = records.RECORDS if recorded else records.runs_folder(dataset, "full")
    same = {"variant": name, "dataset": dataset, "config_hash": variant.config_hash(), "config": variant.config()}
    path = experiment.path(variant, seed, place)
    records.save(a_record(seed, **same | changes), path)
    os.utime(path, (1e9 - age, 1e9 - age))
    return records.load(path)


def test_loading_reads_the_records_and_the_users_runs_beside_them(folder):
    experiment = made_up(seeds=(0, 1))
    kept = {name: [keep(experiment, name, seed, recorded=True) for seed in (0, 1)] for name in ("plain", "longer")}
    assert experiment.load().recorded == kept
    assert experiment.load().user_runs == {}
    mine = keep(experiment, "longer", 1, test_accuracy=0.9)
    runs = experiment.load()
    assert (runs.recorded, runs.user_runs) == (kept, {"longer": [mine]})
    assert list(experiment.load(["plain"]).recorded) == ["plain"]
    assert experiment.load(["plain"]).user_runs == {}
    assert runs.labels == {"plain": "plain", "longer": "longer"}


def test_a_missing_record_is_an_error_and_not_trained(folder):
    experiment = made_up(seeds=(0, 1))
    keep(experiment, "plain", 0, recorded=True)
    with pytest.raises(records.RecordError, match=r"There is no record .*seed1\.json: restore it .*or train it with"):
        experiment.load(["plain"])


def test_a_users_run_never_stands_in_a_missing_records_place(folder):
    experiment = made_up(seeds=(0,))
    keep(experiment, "plain", 0, recorded=True)
    keep(experiment, "longer", 0, dataset="toy_shapes")
    keep(experiment, "longer", 0)
    with pytest.raises(records.RecordError, match="There is no record .*longer"):
        experiment.load()
    assert list(experiment.load(["plain"]).recorded) == ["plain"]


def test_a_record_of_another_declaration_is_an_error_and_a_users_run_of_one_is_left_out(folder):
    experiment = made_up(seeds=(0,))
    keep(experiment, "plain", 0, recorded=True)
    keep(experiment, "plain", 0, config_hash="another")
    assert experiment.load(["plain"]).user_runs == {}
    keep(experiment, "plain", 0, recorded=True, config_hash="another")
    with pytest.raises(records.RecordError, match=r"of another declaration than made_up plain has now: train it again"):
        experiment.load(["plain"])


def test_a_damaged_run_of_the_users_is_left_out(folder):
    experiment = made_up(seeds=(0,))
    keep(experiment, "plain", 0, recorded=True)
    keep(experiment, "plain", 0)
    experiment.path(experiment.variant("plain"), 0, records.runs_folder("cifar10", "full")).write_text("{")
    assert experiment.load(["plain"]).user_runs == {}


def test_a_pilots_and_a_sweeps_own_seeds_are_loaded(folder):
    pilot = made_up(Variant("trial", "v1_0", Recipe(1), pilot=True), seeds=(5, 6))
    keep(pilot, "trial", 5, recorded=True)
    assert pilot.load().pilots == ("trial",)
    assert list(pilot.load().table().index) == ["trial (pilot)"]
    sweep = made_up(sweep=True)
    for name in ("plain", "longer"):
        keep(sweep, name, SWEEP_SEED, recorded=True, test_accuracy=None, test_predictions=None)
    assert [[record["seed"] for record in found] for found in sweep.load().recorded.values()] == [[100], [100]]


CUSTOM = {"custom": True, "seeds": (0, 1, 2)}


def test_a_custom_experiments_runs_stand_in_the_records_place(folder):
    experiment = made_up(**CUSTOM)
    assert (experiment.load().recorded, experiment.load().user_runs) == ({}, {})
    kept = [keep(experiment, "plain", seed) for seed in (0, 2)]
    assert (experiment.load().recorded, experiment.load().user_runs) == ({"plain": kept}, {})


def test_of_a_custom_experiment_only_runs_on_the_newest_runs_images_are_loaded(folder):
    experiment = made_up(**CUSTOM)
    whole = {"data_fingerprint": "aa" * 8}
    few = {"data_fingerprint": "aa" * 8, "split": {"train": 4000, "validation": 1000, "test": 10_000, "seed": 0}}
    keep(experiment, "plain", 0, age=3, **few)
    keep(experiment, "plain", 1, age=2, **whole)
    keep(experiment, "plain", 2, age=1, **whole)
    keep(experiment, "longer", 0, age=4, data_fingerprint="bb" * 8)
    assert [record["seed"] for record in experiment.load().recorded["plain"]] == [1, 2]
    assert "longer" not in experiment.load().recorded
    keep(experiment, "plain", 0, age=0, **few)
    assert [record["seed"] for record in experiment.load().recorded["plain"]] == [0]
    assert experiment.load().mean_ci("plain").n == 1
    assert [record["seed"] for record in experiment.load(["longer"]).recorded["longer"]] == [0]


def test_a_model_in_place_of_its_function_is_one_sentence():
    class Built:
        __name__, layers = "built", ()

        def __call__(self):
            pass

    said = r"^custom_experiment\(\) needs the function that returns a model, not {}: leave out the \(\)\.$"
    for what, kind in ((Built(), "Built"), (functools.partial(max, 1), "partial"), (None, "NoneType"), ("v1_0", "str")):
        with pytest.raises(TypeError, match=said.format(kind)):
            custom_experiment(what, Recipe(1))


def test_a_custom_experiment_is_named_after_its_function():
    def my_network(width=4):
        """Never called here."""

    experiment = custom_experiment(my_network, Recipe(3), seeds=[4, 5], label="mine", validation=0)
    [variant] = experiment.variants
    assert (experiment.name, experiment.seeds, experiment.custom) == ("custom_my_network", (4, 5), True)
    assert (variant.name, variant.label, variant.validation) == ("my_network", "mine", 0)
    assert variant.config()["model"] == {"name": "custom:my_network", "arguments": {}}


def test_records_are_loaded_without_tensorflow_and_nothing_is_written(tmp_path):
    source = (
        "from shathenet_utils.book import load_experiment\n"
        "runs = load_experiment('v1_0').load()\n"
        "print(runs.best(), len(runs.recorded['adam_1e-3']))"
    )
    found = python(WITHOUT_TENSORFLOW + source, SHATHENET_OUTPUT=str(tmp_path))
    assert found.stdout.split()[1:] == ["5"]
    assert list(tmp_path.iterdir()) == []
