"""The book's experiments are declared well, their records hold against them and against themselves; the ledger."""

import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest
from helpers import WITHOUT_TENSORFLOW, a_record, declare, python

from shathenet_utils import book, datasets, records, runner, weights
from shathenet_utils.book import evidence, ledger, load_experiment
from shathenet_utils.experiment import Experiment, Variant, complete_config
from shathenet_utils.recipes import Recipe

EXPERIMENTS = list(book.EXPERIMENTS.values())
DECLARED = [
    pytest.param(experiment, variant, id=f"{experiment.name}-{variant.name}")
    for experiment in EXPERIMENTS
    for variant in experiment.variants
]
WITH_RECORDS = [
    declared
    for declared in DECLARED
    for experiment, variant in [declared.values]
    if not experiment.planned or any(experiment.path(variant, seed).exists() for seed in experiment.seeds_of(variant))
]
FIRST_CONVOLUTIONS = ("conv1/", "conv2/", "whiten/", "conv1a/")  # of v1.0; of the 64/128/128 network
RECORDED = sorted(records.RECORDS.glob("*/*/seed*.json"))
each_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
each_record = pytest.mark.parametrize("path", RECORDED, ids=lambda path: "-".join([*path.parts[-3:-1], path.stem]))


# What is declared


def test_an_unknown_experiment_is_one_sentence():
    with pytest.raises(ValueError, match=r"^There is no experiment 'v9'; there are v1_0.*\.$"):
        load_experiment("v9")


def test_pages_are_found_by_their_numbers():
    numbers = [int(page.__name__.rpartition(".p")[2][:2]) for page in book.PAGES]
    assert numbers == sorted(set(numbers))
    for experiment in EXPERIMENTS:
        pages = [page for page in book.PAGES if experiment in book.of_page(page)]
        assert len(pages) == 1
        assert load_experiment(experiment.name) is experiment


def pages(*experiments):
    return [type("page", (), {"EXPERIMENTS": experiments})]


def test_two_experiments_of_one_name_are_refused():
    one, other = (Experiment("twice", "?", (Variant("a", "v1_0", Recipe(epochs)),)) for epochs in (1, 2))
    with pytest.raises(ValueError, match="Two experiments are called twice"):
        book._by_name([*pages(one), *pages(other)])


def test_what_a_rate_was_chosen_by_must_be_a_sweep():
    sweep = Experiment("rates", "?", (Variant("a", "v1_0", Recipe(1)),), sweep=True)
    final = Experiment("final", "?", (Variant("a", "v1_0", Recipe(2), tuned_by="rates"),))
    assert list(book._by_name(pages(final, sweep))) == ["final", "rates"]
    for others in ((), (dataclasses.replace(sweep, sweep=False, seeds=(0,)),)):
        with pytest.raises(ValueError, match="^final is tuned by rates, which is no sweep"):
            book._by_name(pages(final, *others))


@each_experiment
def test_a_table_of_variants_never_shows_two_rows_alike(experiment):
    table = experiment.table()
    assert len(table) == len(experiment.variants)
    assert table.index.is_unique
    if len(table) > 1:
        assert not table.astype(str).duplicated().any(), table.to_string()


@each_experiment
def test_a_reader_sees_words_and_no_code_names(experiment):
    for variant in experiment.variants:
        assert "_" not in variant.label, variant.label
    assert experiment.question.endswith("?")
    assert 1 <= experiment.threads <= 2
    names = {variant.name for variant in experiment.variants}
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names), "a folder is named after it"


@each_experiment
def test_a_head_that_a_run_starts_from_is_declared_on_the_same_images(experiment):
    for variant in experiment.variants:
        if variant.starts_from:
            name, _, head = variant.starts_from.partition("/")
            frozen = load_experiment(name).variant(head)
            assert frozen.feature_extractor and frozen.model == "linear_head"
            for field in ("dataset", "validation", "images_per_class"):
                assert getattr(frozen, field) == getattr(variant, field), field


@each_experiment
def test_sweeps_choose_on_validation_and_versions_have_five_seeds(experiment):
    if experiment.sweep:
        assert experiment.name.endswith(("_sweep", "_study"))
        assert all(variant.validation == 5000 for variant in experiment.variants)
    else:
        assert not experiment.name.endswith("_sweep")


def test_every_version_and_row_of_the_ledger_is_declared():
    for version, name in ledger.VERSIONS.items():
        assert min(len(load_experiment(name).seeds_of(variant)) for variant in load_experiment(name).variants) == 5
        assert ledger.LEDGER[version][0] == name
    for name, variant, original in ledger.LEDGER.values():
        experiment = load_experiment(name)
        assert not experiment.sweep and not experiment.planned
        assert variant is None or experiment.variant(variant) in experiment.variants
        assert original is None or original in records.published()


@functools.cache
def built(model, arguments):
    from shathenet_utils import models

    return models.build(model, json.loads(arguments))


@functools.cache
def counted(model, arguments, feature_extractor):
    """What a record holds of an architecture; frozen bodies are large, and shared by many variants."""
    variant = Variant("any", model, Recipe(1), json.loads(arguments), feature_extractor=feature_extractor)
    return runner.architecture_stats(variant, built(model, arguments))


def stats_of(variant):
    return counted(variant.model, json.dumps(variant.model_arguments), variant.feature_extractor)


def test_the_kinds_of_kernels_spend_as_many_parameters():
    for name in ("v1_2_kernels", "v1_2_initialisation", "v1_2_branches"):
        for variant in load_experiment(name).variants:
            assert stats_of(variant)["parameters"] == pytest.approx(1.25e6, rel=0.02), variant.name
            assert stats_of(variant)["macs"] == pytest.approx(118e6, rel=0.08), variant.name


def test_dense_networks_and_v1_0_have_as_many_parameters():
    for variant in load_experiment("dense").variants:
        assert stats_of(variant)["parameters"] == pytest.approx(17_882, rel=0.1), variant.name


def test_the_book_is_declared_without_tensorflow():
    source = "from shathenet_utils import book\nprint(len(book.EXPERIMENTS))"
    assert python(WITHOUT_TENSORFLOW + source).stdout == f"{len(EXPERIMENTS)}\n"


# What is recorded


def test_every_recorded_run_is_there_whole_and_as_declared():
    assert evidence.check() == []


@each_record
def test_a_record_is_what_its_experiment_declares(path):
    record = records.load(path)
    experiment = load_experiment(record["experiment"])
    variant = experiment.variant(record["variant"])
    assert path == experiment.path(variant, record["seed"])
    assert record["seed"] in experiment.seeds_of(variant)
    assert record["config_hash"] == variant.config_hash()
    assert complete_config(record["config"]) == variant.config()
    assert (record["schema"], record["budget"], record["dataset"]) == (records.SCHEMA, "full", variant.dataset)
    assert record["threads"]["inter_op"] == 1
    assert record["precision"] == variant.recipe.precision
    assert record["split"]["validation"] == variant.validation
    assert record["split"]["train"] == (10 * variant.images_per_class or 50_000 - variant.validation)
    keeps = record["seed"] == experiment.seeds_of(variant)[0]
    kept = {"final": keeps and variant.name in experiment.keep_weights}
    kept["history"] = keeps and variant.name in experiment.keep_weight_history
    assert (record["weights"] or {}).keys() == {name for name, expected in kept.items() if expected}


@each_record
def test_a_records_numbers_agree_with_each_other(path):
    record = records.load(path)
    facts = records.facts(record["dataset"])
    assert record["data_fingerprint"] == facts["data_fingerprint"]
    assert record["status"] in ("finished", "diverged")
    lengths = {len(values) for name, values in record["history"].items() if "validation" not in name}
    lengths |= {len(record["history"][name]) or record["epochs"] for name in record["history"]}
    assert lengths == {record["epochs"]}
    assert bool(record["history"]["validation_loss"]) == bool(record["split"]["validation"])
    if record["status"] == "finished":
        recipe = load_experiment(record["experiment"]).variant(record["variant"]).recipe
        assert recipe.is_whole(record["history"])
        validation = record["history"]["validation_accuracy"] or [None] * record["epochs"]
        assert record["validation_accuracy"] == validation[recipe.kept_epoch(record["history"])]
        for part in ("test", "validation"):
            if record[f"{part}_predictions"] is not None:
                stored, answers = record[f"{part}_predictions"], facts[f"{part}_labels"]
                share = np.mean(records.decode_classes(stored) == records.decode_classes(answers))
                assert record[f"{part}_accuracy"] == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("experiment", "variant"), WITH_RECORDS)
def test_a_declared_model_is_the_recorded_one(experiment, variant):
    rebuilt = stats_of(variant)
    paths = [experiment.path(variant, seed) for seed in experiment.seeds_of(variant)]
    found = [records.load(path) for path in paths if path.exists() or not experiment.planned]
    assert found
    for record in found:
        assert {key: record[key] for key in rebuilt} == rebuilt


@pytest.mark.parametrize(("experiment", "variant"), WITH_RECORDS)
def test_kept_weights_fit_the_declared_model(experiment, variant):
    path = experiment.path(variant, experiment.seeds_of(variant)[0])
    if not path.exists():
        assert experiment.planned
        return
    kept = records.load(path)["weights"] or {}
    if not kept:
        return
    from shathenet_utils import training

    model = built(variant.model, json.dumps(variant.model_arguments))
    if "final" in kept:
        training.set_weights(model, weights.load_arrays(kept["final"]))
    if "history" in kept:
        epochs = variant.recipe.epochs
        history = weights.load_arrays(kept["history"])
        every = list(history.pop("epochs", range(epochs + 1)))
        few = list(history.pop("epochs of the rest", every))
        assert every[0] == 0 and every[-1] == epochs and (len(every) == epochs + 1 or len(every) >= 19)
        assert few in (every, [0, epochs // 2, epochs]) and set(few) <= set(every)
        lengths = {weight.path: len(history[weight.path]) for weight in model.weights}
        assert set(lengths.values()) <= {len(every), len(few)}
        assert all(length == len(every) for path, length in lengths.items() if path.startswith(FIRST_CONVOLUTIONS))
        shapes = {weight.path: (lengths[weight.path], *weight.shape) for weight in model.weights}
        assert {path: array.shape for path, array in history.items()} == shapes


# Records that are broken by hand: those of a made-up experiment, in a folder of their own


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    variants = (
        Variant("plain", "v1_0", Recipe(epochs=1), dataset="tiny", validation=50),
        Variant("bilinear", "v1_0", Recipe(epochs=1), {"interpolation": "bilinear"}, dataset="tiny", validation=50),
    )
    experiment = Experiment("made_up", "Does it work?", variants, seeds=(0, 1), keep_weights=("plain",))
    declare([experiment], tmp_path, monkeypatch.setattr)
    return experiment


@pytest.fixture
def recorded(experiment, tmp_path):
    """Every run's record, with nothing wrong in it."""
    split = {"train": 200, "validation": 50, "test": 60, "seed": 0, "digest": "0" * 16}
    same = {"dataset": "tiny", "split": split, "precision": "float32"}
    for variant in experiment.variants:
        own = {"variant": variant.name, "config": variant.config(), "config_hash": variant.config_hash()}
        for seed in experiment.seeds:
            kept = None
            if variant.name == "plain" and seed == 0:
                folder = tmp_path / "data" / "weights" / "made_up" / "plain"
                files = (("final", "seed0.npz"), ("history", "seed0_epochs.npz"))
                kept = {name: weights.save_arrays(folder / file, {"kernel": np.arange(99.0)}) for name, file in files}
            record = a_record(seed, epochs=1, weights=kept, **same | own)
            records.save(record, experiment.path(variant, seed))
    return experiment


def change(path, **changes):
    """Overwrite a record's keys; a dict's or list's parts where a function is given."""
    record = json.loads(path.read_text())
    for key, value in changes.items():
        record[key] = value(record[key]) if callable(value) else value
    path.write_text(json.dumps(record))


def test_a_whole_set_of_records_has_nothing_wrong(recorded):
    assert evidence.check() == []
    assert [len(found) for found in recorded.load().recorded.values()] == [2, 2]


def test_without_records_each_missing_one_is_named(experiment):
    wrong = evidence.check()
    assert len(wrong) == 4
    assert all("There is no record" in sentence and "python -m shathenet_utils train" in sentence for sentence in wrong)


def test_a_planned_experiment_may_lack_records_and_not_have_wrong_ones(recorded, monkeypatch):
    planned = dataclasses.replace(recorded, planned=True)
    monkeypatch.setattr(book, "EXPERIMENTS", {"made_up": planned})
    first, second = planned.variants
    planned.path(first, 0).unlink()
    assert evidence.check() == []
    planned.path(second, 0).write_text("{}")
    assert len(evidence.check()) == 1


def longer(values):
    return [*values, values[-1]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "There is no record"),
        (lambda path: path.write_text(path.read_text()[:500]), "can't be read"),
        (lambda path: path.write_text("{}"), "is not a whole record"),
        (lambda path: change(path, seed=5), "it says it is made_up plain seed 5, budget full"),
        (lambda path: change(path, variant="bilinear"), "it says it is made_up bilinear seed 0, budget full"),
        (lambda path: change(path, budget="quick"), "it says it is made_up plain seed 0, budget quick"),
        (lambda path: change(path, config_hash="0" * 16), "is of another declaration"),
        (lambda path: change(path, config=lambda old: old | {"data": {}}), "another configuration"),
        (lambda path: change(path, epochs=2), "it has 2 epochs, its declaration 1"),
        (lambda path: change(path, dataset="cifar10_of_another_kind"), "it is on other images than its declaration"),
        (lambda path: change(path, split=lambda old: old | {"validation": 0}), "it is on other images"),
        (lambda path: change(path, precision="mixed_bfloat16"), "it has precision mixed_bfloat16"),
        (lambda path: change(path, test_predictions=None), "it keeps no test predictions"),
        (
            lambda path: change(path, validation_accuracy=0.99),
            "validation accuracy is not that of the epoch",
        ),
        (
            lambda path: change(path, validation_accuracy=None),
            "validation accuracy is not that of the epoch",
        ),
        (lambda path: change(path, history=lambda old: old | {"loss": []}), "history has 0 values of loss for 1"),
        (lambda path: change(path, history=lambda old: old | {"loss": longer(old["loss"])}), "has 2 values of loss"),
        (lambda path: change(path, status="diverged"), "it diverged and has a test_accuracy"),
        (lambda path: change(path, seconds=lambda old: old | {"total": 1e4}), "seconds are not the sum of its epochs"),
        (lambda path: change(path, history={}), "it is damaged (KeyError"),
        (lambda path: change(path, history=None), "not a whole record, its history is 'None'"),
        (lambda path: change(path, split=None), "not a whole record, its split is 'None'"),
        (lambda path: change(path, seconds=lambda old: old | {"total": 10**400}), "it is damaged (OverflowError"),
        (lambda path: change(path, seconds=lambda old: old | {"median_epoch": 0.1}), "not the median of its epochs"),
        (lambda path: change(path, status="great"), "its status is 'great'"),
        (lambda path: change(path, test_accuracy_tta=1.5), "its test_accuracy_tta is no fraction"),
        (lambda path: change(path, history=lambda old: old | {"accuracy": [7]}), "history of accuracy is no fraction"),
        (lambda path: change(path, history=lambda old: old | {"loss": [-1]}), "history of loss has negative numbers"),
        (lambda path: change(path, history=lambda old: old | {"learning_rate": [3.0]}), "a higher learning rate"),
        (lambda path: change(path, weights=None), "it has no final weights, which its declaration keeps"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_that_is_not_what_a_run_wrote_is_named(recorded, damage, said):
    path = recorded.path(recorded.variants[0], 0)
    damage(path)
    wrong = evidence.check()
    assert wrong
    assert any(said in sentence for sentence in wrong), wrong
    assert all(str(path) in sentence and "\n" not in sentence for sentence in wrong)


@pytest.mark.parametrize("name", ["parameters", "macs", "model_digest"])
def test_runs_of_one_variant_are_of_one_network(recorded, name):
    first, second = (recorded.path(recorded.variants[0], seed) for seed in (0, 1))
    change(first, **{name: 17})
    assert evidence.check() == [f"{second}: its {name} differ from those of seed0.json."]


def test_one_run_under_two_seeds_is_named(recorded):
    first, second = (recorded.path(recorded.variants[1], seed) for seed in (0, 1))
    second.write_bytes(first.read_bytes())
    change(second, seed=1)
    assert evidence.check() == [f"{second}: its history is that of seed0.json, of another seed."]


def test_a_run_that_was_stopped_early_is_whole_and_has_its_best_epochs_accuracy(monkeypatch, tmp_path):
    variant = Variant("early", "v1_0", Recipe(epochs=9, early_stopping=2), dataset="tiny", validation=50)
    experiment = Experiment("made_up", "?", (variant,), seeds=(0,))
    declare([experiment], tmp_path, monkeypatch.setattr)
    split = {"train": 200, "validation": 50, "test": 60, "seed": 0, "digest": "0" * 16}
    own = {"variant": "early", "config": variant.config(), "config_hash": variant.config_hash(), "dataset": "tiny"}
    record = a_record(0, epochs=4, split=split, precision="float32", **own)
    record["history"]["validation_loss"] = [2.0, 1.5, 1.8, 1.6]
    path = experiment.path(variant, 0)
    records.save(record | {"validation_accuracy": record["history"]["validation_accuracy"][1]}, path)
    assert evidence.check() == []
    records.save(record, path)  # the last epoch's
    assert evidence.check() == [f"{path}: its validation accuracy is not that of the epoch that it ends with."]
    record["history"]["validation_loss"] = [2.0, 1.5, 1.8, 1.4]
    records.save(record, path)
    assert evidence.check() == [f"{path}: it has 4 epochs, its declaration 9."]


def test_a_record_that_is_older_than_a_field_of_recipes_is_what_is_declared(recorded):
    path = recorded.path(recorded.variants[0], 0)
    record = json.loads(path.read_text())
    del record["config"]["recipe"]["early_stopping"]
    del record["config"]["recipe"]["optimizer"]["scale_kernels"]
    path.write_text(json.dumps(record))
    assert evidence.check() == []
    record["config"]["recipe"]["optimizer"]["momentum"] = 0.5
    path.write_text(json.dumps(record))
    [sentence] = evidence.check()
    assert "another configuration" in sentence


def test_a_record_of_no_declared_run_is_named(recorded):
    stray = recorded.path(recorded.variants[0], 7)
    stray.write_bytes(recorded.path(recorded.variants[0], 0).read_bytes())
    assert evidence.check() == [f"{stray} belongs to no declared run: delete it, or declare it."]


def test_a_changed_declaration_makes_its_records_stale(recorded, monkeypatch):
    changed = dataclasses.replace(recorded.variants[0], recipe=Recipe(epochs=2))
    edited = dataclasses.replace(recorded, variants=(changed, recorded.variants[1]))
    monkeypatch.setattr(book, "EXPERIMENTS", {"made_up": edited})
    assert len(evidence.check()) == 2
    with pytest.raises(records.RecordError, match="another declaration .* train it again"):
        edited.load()


@pytest.mark.parametrize("name", ["seed0.npz", "seed0_epochs.npz"])
def test_altered_or_missing_weights_are_named(recorded, tmp_path, name):
    path = tmp_path / "data" / "weights" / "made_up" / "plain" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    [sentence] = evidence.check()
    assert f"{path} are not those of their record" in sentence
    path.unlink()
    [sentence] = evidence.check()
    assert f"data/weights/made_up/plain/{name} are missing" in sentence


# CIFAR-10's own records, held against its labels


@pytest.fixture(params=["v1_0/adam_1e-3/seed0.json", "airbench/epochs_12/seed1.json"])
def real_record(request):
    return records.load(records.RECORDS / request.param)


def test_the_books_records_contradict_nothing(real_record):
    assert evidence.contradictions(real_record) == []


def exchanged(predictions, part="test"):
    """One image that was classified correctly no longer is."""
    place = next(i for i, (one, other) in enumerate(zip(predictions, facts(part), strict=True)) if one == other)
    return f"{predictions[:place]}{(int(predictions[place]) + 1) % 10}{predictions[place + 1 :]}"


def facts(part):
    return records.facts()[f"{part}_labels"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda record: {"test_accuracy": 0.99}, "its test accuracy is not that of its test predictions"),
        (lambda record: {"test_accuracy": record["test_accuracy"] + 1e-4}, "its test accuracy is not that of its test"),
        (lambda record: {"test_accuracy": None}, "its test accuracy is not that of its test predictions"),
        (lambda record: {"test_predictions": exchanged(record["test_predictions"])}, "its test accuracy is not that"),
        (lambda record: {"test_predictions": record["test_predictions"][1:]}, "9,999 test predictions, not 10,000"),
        (lambda record: {"test_predictions": None}, "its test accuracy has no test predictions"),
        (lambda record: {"data_fingerprint": "0" * 16}, "its images are not those of the dataset's facts"),
        (lambda record: {"split": record["split"] | {"train": 40_000}}, "it has not "),
        (lambda record: {"split": record["split"] | {"test": 1_000}}, "it has not 10,000 test images"),
        (lambda record: {"test_accuracy_flip": 0.99995}, "its test_accuracy_flip is that of no number of images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_edited_accuracy_or_prediction_is_found(real_record, edit, said):
    found = evidence.contradictions(real_record | edit(real_record))
    assert len(found) == 1
    assert said in found[0]


def test_an_edited_test_accuracy_does_not_pass_check(monkeypatch, tmp_path):
    shutil.copytree(records.RECORDS / "v1_0", tmp_path / "v1_0")
    shutil.copytree(records.RECORDS / "facts", tmp_path / "facts")
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setattr(book, "EXPERIMENTS", {"v1_0": load_experiment("v1_0")})
    assert evidence.check() == []
    path = tmp_path / "v1_0" / "adam_1e-3" / "seed0.json"
    change(path, test_accuracy=0.99)
    assert evidence.check() == [f"{path}: its test accuracy is not that of its test predictions."]


def validated(record):
    """A record as runs write it now, with its validation predictions; and how many of them are correct."""
    answers = records.decode_classes(facts("validation"))
    accuracy = record["validation_accuracy"]
    wrong = np.arange(len(answers)) >= round(accuracy * len(answers))
    return record | {"validation_predictions": records.encode_classes((answers + wrong) % 10)}


def test_validation_predictions_are_held_against_the_validation_accuracy():
    record = validated(records.load(records.RECORDS / "v1_0" / "adam_1e-3" / "seed0.json"))
    assert evidence.contradictions(record) == []
    said = "its validation accuracy is not that of its validation predictions"
    other = record | {"validation_predictions": exchanged(record["validation_predictions"], "validation")}
    assert evidence.contradictions(other) == [said]
    short = record | {"validation_predictions": record["validation_predictions"][:4999]}
    assert evidence.contradictions(short) == ["it holds 4,999 validation predictions, not 5,000"]


# Sweeps decide learning rates


RATES = (1e-4, 3e-4, 1e-3, 3e-3)


@pytest.fixture
def swept(monkeypatch, tmp_path):
    """A function: validation accuracies at `RATES` → what speaks against a final of 3e-4; None: that run diverged."""
    variants = tuple(Variant(f"at_{rate:g}", "v1_0", Recipe(2, learning_rate=rate)) for rate in RATES)
    sweep = Experiment("rates", "?", variants, sweep=True)
    final = Variant("final", "v1_0", Recipe(20, learning_rate=3e-4), tuned_by="rates")
    experiment = Experiment("finals", "?", (final,))
    monkeypatch.setattr(records, "RECORDS", tmp_path)
    monkeypatch.setattr(book, "EXPERIMENTS", {"rates": sweep, "finals": experiment})

    def wrong(accuracies, final=final):
        for variant, accuracy in zip(sweep.variants, accuracies, strict=True):
            status = "finished" if accuracy is not None else "diverged"
            own = {"config_hash": variant.config_hash(), "status": status, "validation_accuracy": accuracy}
            records.save(a_record(100, **own), sweep.path(variant, sweep.seeds[0]))
        return evidence.wrong_rate(experiment, final)

    return wrong, final


def test_a_finals_learning_rate_is_its_sweeps_best(swept):
    wrong, _ = swept
    assert wrong([0.4, 0.6, 0.5, 0.3]) == []
    assert wrong([0.4, 0.6, 0.5, None]) == []
    assert wrong([0.4, 0.5, 0.6, 0.3]) == ["finals final has learning rate 0.0003; the best of rates is 0.001."]
    assert wrong([None, 0.5, 0.6, None]) == ["finals final has learning rate 0.0003; the best of rates is 0.001."]


def test_a_best_learning_rate_at_the_edge_of_its_sweep_is_refused(swept):
    wrong, final = swept
    for accuracies, rate in (([0.6, 0.5, 0.4, 0.3], 1e-4), ([0.3, 0.4, 0.5, 0.6], 3e-3)):
        at_edge = dataclasses.replace(final, recipe=dataclasses.replace(final.recipe, learning_rate=rate))
        [sentence] = wrong(accuracies, at_edge)
        assert f"{rate:g} is the best of rates and lies at its edge: extend the sweep" in sentence


def test_a_sweep_of_another_configuration_or_without_records_decides_nothing(swept):
    wrong, final = swept
    for change in ({"model_arguments": {"classes": 11}}, {"recipe": Recipe(20, 64, 3e-4)}, {"validation": 1000}):
        [sentence] = wrong([0.4, 0.6, 0.5, 0.3], dataclasses.replace(final, **change))
        assert sentence == "finals final: rates has no variant of its configuration."
    next(records.RECORDS.glob("rates/*/*.json")).unlink()
    [sentence] = evidence.wrong_rate(book.EXPERIMENTS["finals"], final)
    assert "There is no record" in sentence
    assert evidence.wrong_rate(book.EXPERIMENTS["finals"], dataclasses.replace(final, tuned_by="")) == []


def test_check_holds_finals_against_their_sweeps(swept):
    wrong, _ = swept
    wrong([0.4, 0.5, 0.6, 0.3])
    assert "finals final has learning rate 0.0003; the best of rates is 0.001." in evidence.check()


@pytest.mark.parametrize("tested", [{}, {"test_accuracy": 0.6}, {"test_predictions": "01"}, {"test_accuracy_tta": 0.6}])
def test_a_sweep_that_read_the_test_set_is_named(monkeypatch, tmp_path, tested):
    variant = Variant("at_1e-3", "v1_0", Recipe(epochs=3), dataset="made_up_images")
    sweep = Experiment("rates", "?", (variant,), sweep=True)
    declare([sweep], tmp_path, monkeypatch.setattr)
    own = {"experiment": "rates", "variant": "at_1e-3", "config": variant.config(), "precision": "float32"}
    own |= {"config_hash": variant.config_hash(), "test_accuracy": None, "test_predictions": None}
    path = sweep.path(variant, 100)
    records.save(a_record(100, **own | tested), path)
    assert evidence.check() == [f"{path}: it is of a sweep and has test accuracies."] * bool(tested)


# The lineage and the ledger


def test_the_ledger_holds_the_version_best_on_validation():
    rows, runs = ledger.ledger(), load_experiment("v1_0").load()
    assert list(rows) == list(ledger.LEDGER)
    assert rows["v1.0"]["accuracy"] == runs.mean_ci(runs.best())
    assert {key: rows["v1.0"][key] for key in ("parameters", "epochs", "diverged")} == {
        "parameters": 17_882, "epochs": 60, "diverged": 0,
    }  # fmt: skip
    assert rows["v1.0"]["original"] == records.published()["original_v1_0"]
    assert rows["airbench 64/128/128, our implementation"]["multi_crop"].mean > 0.92
    assert rows["v1.0"]["multi_crop"] is None


def test_a_variant_is_called_as_in_the_ledger():
    best = load_experiment("v1_0").load().best()
    assert ledger.ledger_label("v1_0", best) == "v1.0"
    assert ledger.ledger_label("v1_1", "flip_translate") == "v1.1 with flip and shift"
    assert ledger.ledger_label("v1_1", "plain") == "v1_1 plain"


def test_the_ledgers_figure_names_every_network_of_ours():
    drawing = ledger.ledger_figure()
    for label, row in ledger.ledger().items():
        short, mean = label.partition(",")[0], row["accuracy"].mean
        assert f"{short} {mean:.1%} with {row['parameters']:,}" in drawing.alt


def test_the_readmes_table_stands_between_its_marks():
    begin, end = ledger.TABLE_MARKS
    text = ledger.with_table(f"before\n{begin}\nold\n{end}\nafter\n", "new")
    assert text == f"before\n{begin}\nnew\n{end}\nafter\n"
    for lacking in ("no marks", begin, end):
        with pytest.raises(ValueError, match="README.md lacks the marks"):
            ledger.with_table(lacking, "new")


def test_the_readmes_table_says_what_the_ledger_says():
    lines = ledger.readme_table().splitlines()
    assert len(lines) == 2 + len(ledger.LEDGER)
    row = lines[2]
    assert row.startswith("| v1.0 | 17,882 | 2.9M | 60 |")
    mean = ledger.ledger()["v1.0"]["accuracy"].mean
    assert f"| {100 * mean:.1f}\u202f% (" in row and ", 5 seeds |" in row
    assert "| 59 % at 17K |" in row


def test_the_books_fingerprint_is_that_of_the_facts():
    assert {records.load(path)["data_fingerprint"] for path in RECORDED} == {records.facts()["data_fingerprint"]}


@pytest.mark.needs_cifar10
def test_the_facts_are_of_the_cifar10_that_is_here():
    assert datasets.cifar10(validation=0).fingerprint == records.facts()["data_fingerprint"]
