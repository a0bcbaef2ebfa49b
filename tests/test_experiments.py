"""An experiment's records are what it declares; a reader's runs go beside them and change nothing."""

import dataclasses
import functools
import hashlib
import json
import math
import shutil
import types

import numpy as np
import pytest
from helpers import a_record, declared_experiment, tiny_dataset

from shathenet_utils import ROOT, datasets, experiments, records
from shathenet_utils.experiments import Experiment, Variant
from shathenet_utils.recipes import Recipe

HASHES = {"adam_1e-4": "c555c0225f6419f6", "adam_1e-3": "a88f7cc766172b66", "adam_1e-3_bilinear": "87d09135d868f376"}
V1_0 = experiments.get("v1_0")
DECLARED = [
    pytest.param(experiment, variant, id=f"{experiment.name}-{variant.name}")
    for experiment in experiments.EXPERIMENTS.values()
    for variant in experiment.variants
    if not experiment.planned or experiment.path(variant, 0).exists()
]
ON_PICTURES = [declared for declared in DECLARED if not declared.values[1].frozen]
ON_FEATURES = [declared for declared in DECLARED if declared.values[1].frozen and not declared.values[0].planned]
FIRST_CONVOLUTIONS = ("conv1/", "conv2/", "whiten/", "conv1a/")  # of v1.0; of the 64/128/128 network
RECORDED = sorted(records.RECORDS.glob("*/*/seed*.json"))


def files_below(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


# What is declared


def test_every_recorded_run_is_there_whole_and_as_declared():
    assert experiments.check() == []


def test_a_declarations_hash_never_changes():
    assert {variant.name: variant.config_hash() for variant in V1_0.variants} == HASHES


def test_a_new_field_with_its_default_leaves_the_hash_as_it_is():
    @dataclasses.dataclass(frozen=True)
    class GrownRecipe(Recipe):
        sharpness: float = 0.0

    variant = V1_0.variant("adam_1e-3")
    grown = dataclasses.replace(variant, recipe=GrownRecipe(**variant.recipe.config()))
    assert grown.config()["recipe"]["sharpness"] == 0.0
    assert grown.config_hash() == HASHES["adam_1e-3"]
    sharper = dataclasses.replace(variant, recipe=GrownRecipe(**variant.recipe.config(), sharpness=0.1))
    assert sharper.config_hash() != HASHES["adam_1e-3"]


@pytest.mark.parametrize(
    "change",
    [
        {"images_a_class": 10}, {"frozen": "efficientnet_lite0@64"},
        {"model": "v1_1"}, {"model_arguments": {"classes": 11}}, {"dataset": "toy_shapes"}, {"validation": 0},
        {"recipe": Recipe(epochs=61)}, {"recipe": Recipe(epochs=60, batch_size=64)},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_another_run_changes_the_hash(change):
    assert dataclasses.replace(V1_0.variant("adam_1e-3"), **change).config_hash() != HASHES["adam_1e-3"]


@pytest.mark.parametrize(
    "change",
    [{"name": "renamed"}, {"pilot": True}, {"seeds": (0,)}, {"images_a_class": 0}, {"recipe": Recipe(60, 32, "adam")}],
    ids=str,
)
def test_what_makes_no_other_run_leaves_the_hash(change):
    assert dataclasses.replace(V1_0.variant("adam_1e-3"), **change).config_hash() == HASHES["adam_1e-3"]


def test_an_unknown_experiment_or_variant_is_one_sentence():
    with pytest.raises(ValueError, match=r"^There is no experiment 'v9'; there are v1_0.*\.$"):
        experiments.get("v9")
    with pytest.raises(ValueError, match=r"^Experiment v1_0 has no variant 'sgd'; it has adam_1e-4, adam_1e-3, .*\.$"):
        V1_0.variant("sgd")
    with pytest.raises(ValueError, match="has no variant 'sgd'"):
        V1_0.run(variants=["sgd"])


def test_an_experiment_shows_its_question_and_what_differs_between_its_variants():
    table = V1_0.table()
    assert set(table.columns) == {"learning rate", "interpolation"}
    assert table.loc["adam_1e-3", "interpolation"] == "default"
    shown = Experiment("x", "<b>?", V1_0.variants)._repr_html_()
    assert "&lt;b&gt;?" in shown
    assert "3 seeds each" in shown


# What is recorded


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_record_is_what_its_experiment_declares(path):
    record = records.load(path)
    experiment = experiments.get(record["experiment"])
    variant = experiment.variant(record["variant"])
    assert path == experiment.path(variant, record["seed"])
    assert record["seed"] in experiment.seeds_of(variant)
    assert record["config_hash"] == variant.config_hash()
    declared = variant.config()
    assert Recipe(**record["config"]["recipe"]) == variant.recipe  # fields that came later have their defaults
    assert {**record["config"], "recipe": None} == {**declared, "recipe": None}
    assert (record["schema"], record["budget"], record["dataset"]) == (1, "full", variant.dataset)
    assert record["threads"]["inter_op"] == 1
    assert record["split"]["validation"] == variant.validation


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
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
        assert record["epochs"] == record["config"]["recipe"]["epochs"]
        validation = record["history"]["validation_accuracy"] or [None]
        assert record["validation_accuracy"] == validation[-1]
        predicted, answers = (
            records.decode_classes(text) for text in (record["test_predictions"], facts["test_labels"])
        )
        assert record["test_accuracy"] == pytest.approx(np.mean(predicted == answers), abs=1e-12)


@pytest.mark.parametrize(("experiment", "variant"), DECLARED)
def test_a_declared_model_is_the_recorded_one(experiment, variant):
    from shathenet_utils import models

    model = models.build(variant.model, variant.model_arguments)
    counted = experiments.counts(variant, model)
    rebuilt = (counted["model_digest"], counted["parameters"], counted["macs"])
    paths = [experiment.path(variant, seed) for seed in experiment.seeds_of(variant)]
    found = [records.load(path) for path in paths if path.exists() or not experiment.planned]
    assert {(record["model_digest"], record["parameters"], record["macs"]) for record in found} == {rebuilt}


def test_a_large_network_keeps_its_epochs_in_less_than_four_megabytes(tmp_path, monkeypatch):
    from shathenet_utils import models
    from shathenet_utils.lens import payload

    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    draw, model = np.random.default_rng(0), models.v1_2()
    shapes = {weight.path: weight.shape for weight in model.weights}
    draws = ({path: draw.normal(size=shape) for path, shape in shapes.items()} for _ in range(2))
    start, end = ({path: 0.05 * np.clip(drawn, -2, 2) for path, drawn in drawns.items()} for drawns in draws)
    snapshots = [{path: start[path] + (end[path] - start[path]) * epoch / 70 for path in shapes} for epoch in range(71)]
    kept = records.save_arrays(tmp_path / "epochs.npz", experiments._stacked(model, snapshots))
    assert (tmp_path / "epochs.npz").stat().st_size < 4_000_000
    loaded = records.load_arrays(kept)
    assert loaded["epochs of the rest"].tolist() == [0, 35, 70]
    for path in ("conv1b/kernel", "dense/kernel"):
        epochs = loaded["epochs" if path == "conv1b/kernel" else "epochs of the rest"]
        for array, epoch in zip(loaded[path], epochs, strict=True):
            np.testing.assert_allclose(array, snapshots[epoch][path], atol=2e-3)
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    shown = payload.payload(model, pictures, snapshots=loaded)
    assert shown["epochs"] == loaded["epochs"].tolist() and len(shown["epochs"]) in (19, 20)
    assert shown["arrays"]["dense/kernel"]["epochs"] == [0, 35, 70]


@pytest.mark.parametrize(("experiment", "variant"), DECLARED)
def test_kept_weights_fit_the_declared_model(experiment, variant):
    from shathenet_utils import models, training

    kept = records.load(experiment.path(variant, experiment.seeds[0]))["weights"] or {}
    assert ("final" in kept) == (variant.name in experiment.keep_weights)
    model = models.build(variant.model, variant.model_arguments)
    if "final" in kept:
        training.set_weights(model, records.load_arrays(kept["final"]))
    if "snapshots" in kept:
        epochs = variant.recipe.epochs
        snapshots = records.load_arrays(kept["snapshots"])
        every = list(snapshots.pop("epochs", range(epochs + 1)))
        few = list(snapshots.pop("epochs of the rest", every))
        assert every[0] == 0 and every[-1] == epochs and (len(every) == epochs + 1 or len(every) >= 19)
        assert few in (every, [0, epochs // 2, epochs]) and set(few) <= set(every)
        lengths = {weight.path: len(snapshots[weight.path]) for weight in model.weights}
        assert set(lengths.values()) <= {len(every), len(few)}
        assert all(length == len(every) for path, length in lengths.items() if path.startswith(FIRST_CONVOLUTIONS))
        shapes = {weight.path: (lengths[weight.path], *weight.shape) for weight in model.weights}
        assert {path: array.shape for path, array in snapshots.items()} == shapes


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize(("experiment", "variant"), ON_PICTURES)
def test_kept_weights_reach_the_recorded_accuracy(experiment, variant):
    """Picture by picture: half precision tips few of the test set's, and moves an accuracy by no more than as many tips
    do by chance, three standard deviations."""
    from shathenet_utils import training

    if variant.name not in experiment.keep_weights:
        with pytest.raises(ValueError, match="kept no weights"):
            experiments.trained(experiment.name, variant.name, experiment.seeds[0])
        return
    data = datasets.cifar10(validation=variant.validation)
    model, record = experiments.trained(experiment.name, variant.name, experiment.seeds[0])
    logits = training.predict(model, data.test_images)
    tipped = np.mean(np.argmax(logits, axis=1) != records.decode_classes(record["test_predictions"]))
    assert tipped < 0.01
    found = {"test": training.accuracy(logits, data.test_labels)}
    if variant.validation:
        logits = training.predict(model, data.validation_images)
        found["validation"] = training.accuracy(logits, data.validation_labels)
    for part, accuracy in found.items():
        spread = math.sqrt(max(tipped, 0.001) / len(getattr(data, f"{part}_labels")))
        assert accuracy == pytest.approx(record[f"{part}_accuracy"], abs=3 * spread), part


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize(("experiment", "variant"), ON_PICTURES)
def test_a_recorded_run_begins_again_as_it_did(experiment, variant):
    """To the last digit on the recorded kind of machine; another rounds differently, and an epoch makes that larger."""
    from shathenet_utils import training

    seed = max(seed for seed in experiment.seeds_of(variant) if experiment.path(variant, seed).exists())
    recorded = records.load(experiment.path(variant, seed))["history"]
    histories = []

    def stop(history):
        histories.append({name: list(values) for name, values in history.items()})
        raise KeyboardInterrupt  # the schedule is that of the whole run

    model = experiments.built(variant, seed)
    _, data = experiments.shown(variant, seed)
    training.fit(model, data, variant.recipe, seed=seed, on_epoch=stop)
    assert histories[0]["loss"][0] == pytest.approx(recorded["loss"][0], rel=0.01)
    if variant.validation:
        found = histories[0]["validation_accuracy"][0]
        assert found == pytest.approx(recorded["validation_accuracy"][0], abs=0.03)


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize(("experiment", "variant"), [one for one in ON_FEATURES if one.values[1].name == "all"])
def test_kept_weights_on_features_say_what_was_recorded(experiment, variant):
    """Of some test pictures: the features of all of them take half an hour."""
    from shathenet_utils import pretrained, training

    record = records.load(experiment.path(variant, 0))
    model = experiments.built(variant, 0)
    training.set_weights(model, records.load_arrays(record["weights"]["final"]))
    pictures = datasets.cifar10(validation=variant.validation).test_images[:500]
    codes = pretrained.extractor(pretrained.frozen(variant.frozen))(pictures)
    said = training.predict(model, codes).argmax(axis=1)
    assert (said == records.decode_classes(record["test_predictions"])[:500]).mean() > 0.99


# A declared experiment of the test's own, recorded in a folder of its own


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    return declared_experiment(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory):
    """The files of a fully recorded experiment: trained once for all tests that break one of them."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        experiment = declared_experiment(patch, folder)
        for variant in experiment.variants:
            for seed in experiment.seeds:
                experiments.train(experiment, variant, seed, record=True)
    return folder


@pytest.fixture
def recorded(experiment, recorded_once, tmp_path):
    shutil.copytree(recorded_once, tmp_path, dirs_exist_ok=True)
    return experiment


def test_a_recorded_run_has_every_key_and_keeps_its_first_seeds_weights(recorded, tmp_path):
    first, second = (records.load(recorded.path(recorded.variants[0], seed)) for seed in (0, 1))
    assert first.keys() == second.keys() == set(records.KEYS)
    assert {key for key in records.KEYS if first[key] is None} == {"test_accuracy_flip", "test_accuracy_tta"}
    assert (first["dataset"], first["data_fingerprint"], first["budget"]) == ("tiny", "0" * 16, "full")
    assert (first["parameters"], first["macs"], len(first["test_predictions"])) == (17882, 2896192, 60)
    assert first["versions"].keys() == {"tensorflow", "keras", "numpy", "python"}
    assert second["weights"] is None
    assert first["weights"]["final"]["path"] == "data/weights/made_up/plain/seed0.npz"
    final, snapshots = (records.load_arrays(first["weights"][name]) for name in ("final", "snapshots"))
    assert snapshots["conv1/kernel"].shape == (2, *final["conv1/kernel"].shape)
    np.testing.assert_allclose(snapshots["conv1/kernel"][-1], final["conv1/kernel"], atol=1e-3)


def test_a_whole_set_of_records_has_nothing_wrong(recorded):
    assert experiments.check() == []
    assert [len(found) for found in recorded.run().recorded.values()] == [2, 2]


def test_the_ways_to_spend_v1_2s_parameters_spend_as_many():
    from shathenet_utils import models

    for name in ("v1_2_kernels", "v1_2_start", "v1_2_branches"):
        for variant in experiments.get(name).variants:
            network = models.build(variant.model, variant.model_arguments)
            assert network.count_params() == pytest.approx(1.25e6, rel=0.02), variant.name
            assert models.macs(network) == pytest.approx(118e6, rel=0.08), variant.name


def test_a_planned_experiment_may_lack_records_and_not_have_wrong_ones(recorded, monkeypatch):
    planned = dataclasses.replace(recorded, planned=True)
    monkeypatch.setattr(experiments, "EXPERIMENTS", {"made_up": planned})
    first, second = planned.variants
    planned.path(first, 0).unlink()
    assert experiments.check() == []
    planned.path(second, 0).write_text("{}")
    assert len(experiments.check()) == 1


def test_without_records_each_missing_one_is_named(experiment):
    wrong = experiments.check()
    assert len(wrong) == 4
    assert all("There is no record" in sentence and "python -m shathenet_utils train" in sentence for sentence in wrong)
    with pytest.raises(records.RecordError, match="There is no record"):
        experiment.load()


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "There is no record"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "can't be read"),
        (lambda path: change(path, config_hash="0" * 16), "is of another declaration than made_up plain has now"),
        (lambda path: change(path, seed=7), "says it is made_up plain seed 7"),
        (lambda path: change(path, budget="taste"), "says it is"),
        (lambda path: shutil.copy(path.with_name("seed1.json"), path), "says it is made_up plain seed 1"),
    ],
    ids=["missing", "cut in half", "another declaration", "another seed", "another budget", "copied"],
)
def test_a_damaged_record_is_named(recorded, damage, said):
    path = recorded.path(recorded.variants[0], 0)
    damage(path)
    [sentence] = experiments.check()
    assert str(path) in sentence
    assert said in sentence
    assert "\n" not in sentence


def test_a_record_that_nothing_declares_is_named(recorded):
    stray = recorded.path(recorded.variants[0], 5)
    records.save(a_record(5), stray)
    assert experiments.check() == [f"{stray} belongs to no declared run: delete it, or declare it."]


def test_a_changed_declaration_makes_its_records_stale(recorded, monkeypatch):
    changed = dataclasses.replace(recorded.variants[0], recipe=Recipe(epochs=2))
    edited = dataclasses.replace(recorded, variants=(changed, recorded.variants[1]))
    monkeypatch.setattr(experiments, "EXPERIMENTS", {"made_up": edited})
    assert len(experiments.check()) == 2
    with pytest.raises(records.RecordError, match="another declaration .* train it again"):
        edited.run()


@pytest.mark.parametrize("name", ["seed0.npz", "seed0_epochs.npz"])
def test_altered_or_missing_weights_are_named(recorded, tmp_path, name):
    path = tmp_path / "data" / "weights" / "made_up" / "plain" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    [sentence] = experiments.check()
    assert f"{path} are not those of their record" in sentence
    path.unlink()
    [sentence] = experiments.check()
    assert f"data/weights/made_up/plain/{name} are missing" in sentence


@pytest.mark.parametrize(
    "arguments",
    [{"budget": "taste"}, {"data": tiny_dataset()}, {"seconds": 10}, {"seed": 2}],
    ids=["shorter budget", "other data", "limited seconds", "undeclared seed"],
)
def test_what_is_no_evidence_is_not_recorded(experiment, tmp_path, arguments):
    with pytest.raises(ValueError, match=r"^Only a .* can be recorded"):
        experiments.train(experiment, experiment.variants[0], **{"seed": 0, "record": True} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_undeclared_experiment_is_not_recorded(experiment):
    twin = dataclasses.replace(experiment, question="Is it declared?")
    with pytest.raises(ValueError, match="Only a declared run can be recorded"):
        experiments.train(twin, twin.variants[0], 0, record=True)


def test_an_unknown_budget_is_one_sentence(experiment):
    with pytest.raises(ValueError, match="budget must be one of taste, lesson, full, not 'long'"):
        experiment.run(budget="long")


def test_a_folder_that_can_not_be_written_is_told_before_training(experiment, tmp_path, monkeypatch):
    from shathenet_utils import training

    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it trained first"))
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(records.RecordError, match="can't be written"):
        experiments.train(experiment, experiment.variants[0], 0)


def test_a_readers_rerun_stands_beside_the_records_and_changes_none(recorded, tmp_path):
    kept = files_below(tmp_path)
    runs = recorded.run(retrain=True, data=tiny_dataset(name="drawn"), variants=["plain"], seeds=[0])
    assert [record["seed"] for record in runs.recorded["plain"]] == [0, 1]
    assert [record["seed"] for record in runs.own["plain"]] == [0]
    assert list(runs.table().index) == ["plain", "plain (yours)"]
    after = files_below(tmp_path)
    assert {path: after[path] for path in kept} == kept
    new = {path.relative_to(tmp_path).as_posix() for path in after.keys() - kept.keys()}
    assert new == {f"data/runs/drawn/full/made_up/plain/seed0{end}" for end in (".json", ".npz", "_epochs.npz")}
    assert recorded.run(data=tiny_dataset(name="drawn")).own["plain"] == runs.own["plain"]  # loaded, not trained again
    assert recorded.run().own == {}  # another dataset's


def test_a_run_without_a_record_is_trained_and_stands_in_its_place(recorded, monkeypatch):
    recorded.path(recorded.variant("plain"), 1).unlink()
    with pytest.raises(records.RecordError, match="There is no record"):
        recorded.load()
    seen = []
    data = tiny_dataset(name="cifar10")
    runs = recorded.run(data=data, on_epoch=seen.append)
    assert [(record["variant"], record["seed"]) for record in runs.recorded["plain"]] == [("plain", 0), ("plain", 1)]
    assert len(seen) == 1
    assert runs.own == {}
    assert not recorded.path(recorded.variant("plain"), 1).exists()
    recorded.run(data=data, on_epoch=seen.append)
    assert len(seen) == 1


def test_a_rerun_of_the_books_own_experiment_changes_no_committed_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    kept = {folder: files_below(folder) for folder in (records.RECORDS, records.WEIGHTS)}
    runs = V1_0.run(retrain=True, budget="taste", variants=["adam_1e-3"], seeds=[0], data=tiny_dataset())
    assert runs.own["adam_1e-3"][0]["epochs"] <= 8
    assert len(runs.recorded["adam_1e-3"]) == 5
    assert list(runs.table().index) == ["adam_1e-3", "adam_1e-3 (yours)"]
    assert {folder: files_below(folder) for folder in kept} == kept


def test_ctrl_c_begins_no_other_run(recorded, monkeypatch):
    begun = []

    def interrupted(experiment, variant, seed, **_):
        begun.append((variant.name, seed))

    monkeypatch.setattr(experiments, "train", interrupted)
    runs = recorded.run(retrain=True)
    assert begun == [("plain", 0)]
    assert (len(runs.recorded), runs.own) == (2, {})


def test_a_diverged_run_is_kept_as_one(experiment):
    diverging = dataclasses.replace(experiment.variants[0], recipe=Recipe(2, optimizer="sgd", learning_rate=1e30))
    record = experiments.train(experiment, diverging, 1)
    assert record["status"] == "diverged"
    assert (record["validation_accuracy"], record["test_accuracy"], record["test_predictions"]) == (None, None, None)
    assert records.load(experiment.path(diverging, 1, records.runs_folder("tiny", "full"))) == record


# A network of the reader's own


def small(width=4):
    from shathenet_utils.blocks import keras, layers

    def my_network():
        pictures = keras.Input((32, 32, 3))
        x = layers.Dense(width)(layers.Flatten()(layers.AveragePooling2D(8)(pictures)))
        return keras.Model(pictures, layers.Dense(10)(x))

    return my_network


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Counts the runs that are trained: a list of seeds."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    seeds, train = [], experiments.train

    def counted(experiment, variant, seed, **arguments):
        seeds.append(seed)
        return train(experiment, variant, seed, **arguments)

    monkeypatch.setattr(experiments, "train", counted)
    return seeds


def test_a_network_of_ones_own_goes_through_the_same_protocol(trained, tmp_path):
    kept = files_below(records.RECORDS)
    runs = experiments.own(small(), Recipe(epochs=1)).run(data=tiny_dataset())
    assert trained == [0, 1, 2]
    assert runs.table().loc["my_network", ["parameters", "seeds"]].tolist() == [f"{48 * 4 + 4 + 4 * 10 + 10:,}", 3]
    assert runs.interval("my_network").n == 3
    record = records.load(tmp_path / "data" / "runs" / "tiny" / "full" / "own_my_network" / "my_network" / "seed0.json")
    assert record["config"]["model"] == {"name": "own:my_network", "arguments": {}}
    assert files_below(records.RECORDS) == kept


def test_a_network_of_ones_own_is_trained_once(trained):
    experiment = experiments.own(small(), Recipe(epochs=1), seeds=(0,))
    first = experiment.run(data=tiny_dataset())
    again = experiments.own(small(), Recipe(epochs=1), seeds=(0,)).run(data=tiny_dataset())
    assert trained == [0]
    assert again.recorded == first.recorded
    assert experiment.run(data=tiny_dataset(), retrain=True).recorded.keys() == first.recorded.keys()
    assert trained == [0, 0]


@pytest.mark.parametrize(
    ("width", "recipe", "data"),
    [(5, Recipe(1), {}), (4, Recipe(2), {}), (4, Recipe(1), {"seed": 1}), (4, Recipe(1), {"validation": 20})],
    ids=["its architecture", "its recipe", "its pictures", "its split"],
)
def test_a_network_of_ones_own_is_trained_again_when_something_changes(trained, width, recipe, data):
    experiments.own(small(), Recipe(1), seeds=(0,)).run(data=tiny_dataset())
    runs = experiments.own(small(width), recipe, seeds=(0,)).run(data=tiny_dataset(**data))
    assert trained == [0, 0]
    assert runs.recorded["my_network"][0]["epochs"] == recipe.epochs


def test_a_variant_with_seeds_of_its_own_or_a_pilot_is_trained_with_those(trained):
    arms = (
        experiments.Variant("all", small(), Recipe(1)),
        experiments.Variant("few", small(), Recipe(1), seeds=(0, 1)),
        experiments.Variant("trial", small(), Recipe(1), pilot=True),
    )
    runs = Experiment("arms", "?", arms).run(data=tiny_dataset())
    assert trained == [0, 1, 2, 0, 1, 0]
    assert [len(found) for found in runs.recorded.values()] == [3, 2, 1]
    assert "1 to 3 seeds each" in Experiment("arms", "?", arms)._repr_html_()


def test_few_pictures_of_each_class_are_drawn_by_the_runs_seed(trained):
    experiment = experiments.own(small(), Recipe(1), seeds=(0, 1), images_a_class=3)
    data = tiny_dataset()
    first, second = experiment.run(data=data).recorded["my_network"]
    assert first["split"] == {"train": 30, "validation": 50, "test": 60, "seed": 0, "drawn by": 0}
    assert second["split"]["drawn by"] == 1
    assert first["config"]["data"]["images_a_class"] == 3
    experiment.run(data=data)
    assert trained == [0, 1]  # found again


def test_features_are_not_augmented_but_by_flips():
    with pytest.raises(ValueError, match="arm: features of pictures can be flipped, and not augmented otherwise"):
        Variant("arm", "linear_head", Recipe(1, translate=2), frozen="efficientnet_lite0@64")


def test_a_frozen_networks_features_take_the_place_of_the_pictures(trained, monkeypatch):
    from shathenet_utils import models, pretrained

    body = pretrained.efficientnet_lite0(64, imagenet=False)
    monkeypatch.setattr(pretrained, "frozen", lambda name, imagenet=True: body)
    arm = experiments.Variant(
        "frozen", "linear_head", Recipe(1, flip="random", test_views="flip"), frozen="efficientnet_lite0@64"
    )
    data = tiny_dataset(train=20, validation=10, test=10)
    [record] = Experiment("arms", "?", (arm,), (0,)).run(data=data).recorded["frozen"]
    assert record["parameters"] == 3_413_024 + 12_810
    assert record["macs"] == models.macs(body) + 12_800
    assert (record["data_fingerprint"], record["split"]) == (data.fingerprint, data.split)
    assert record["test_accuracy_flip"] is not None


def test_a_taste_or_a_run_on_other_data_never_stands_among_the_evidence(recorded):
    runs = recorded.run(variants=["plain"], seeds=[0, 7], data=tiny_dataset(seed=1))
    assert [record["seed"] for record in runs.recorded["plain"]] == [0, 1]
    assert [record["seed"] for record in runs.own["plain"]] == [7]
    assert recorded.run(variants=["plain"], seeds=[8], budget="taste").own["plain"][0]["seed"] == 8


def test_a_model_in_place_of_its_function_is_one_sentence():
    with pytest.raises(TypeError, match=r"^own\(\) needs the function that returns a model, not Functional: leave out"):
        experiments.own(small()(), Recipe(1))
    with pytest.raises(TypeError, match="not partial: leave out"):
        experiments.own(functools.partial(small(), 1), Recipe(1))


def test_a_run_of_another_length_is_not_there_already(recorded):
    run = experiments.Run(recorded, recorded.variants[0], 0, "full", "tiny", record=True)
    assert run.is_there()
    change(run.path, epochs=2)
    assert not run.is_there()


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(experiment, monkeypatch):
    variant = experiment.variants[0]
    experiments.train(experiment, variant, 0, record=True)
    path = experiment.path(variant, 0)
    content = path.read_bytes()
    path.unlink()

    def loads(variant):
        path.write_bytes(content)  # while this process was still loading its data
        return tiny_dataset()

    monkeypatch.setattr(experiments, "load_data", loads)
    monkeypatch.setattr(experiments, "_train", lambda *_: pytest.fail("it was trained again"))
    assert experiments.train(experiment, variant, 0, record=True) == json.loads(content)


def test_a_checkpoint_of_other_versions_is_not_gone_on_from(experiment, monkeypatch):
    from shathenet_utils import training

    asked = []
    stopped = types.SimpleNamespace(status="interrupted")
    monkeypatch.setattr(training, "fit", lambda *_, identity, **__: asked.append(identity) or stopped)
    for version in ("2.21.0", "9.9.9"):
        monkeypatch.setattr(experiments.metadata, "version", lambda name, version=version: version)
        assert experiments.train(experiment, experiment.variants[0], 0) is None
    assert asked[0] != asked[1] and '"inter_op": 1' in asked[0]


def test_a_damaged_run_of_ones_own_is_trained_again(trained, tmp_path):
    experiment = experiments.own(small(), Recipe(1), seeds=(0,))
    experiment.run(data=tiny_dataset())
    [path] = tmp_path.rglob("seed0.json")
    path.write_text("{")
    assert len(experiment.run(data=tiny_dataset()).recorded["my_network"]) == 1
    assert trained == [0, 0]


def test_a_variants_dataset_is_the_one_it_is_trained_on(monkeypatch):
    monkeypatch.setattr(datasets, "cifar10", lambda validation, download: ("cifar10", validation, download))
    monkeypatch.setattr(datasets, "toy_shapes", lambda: "drawn", raising=False)
    variant = V1_0.variant("adam_1e-3")
    assert experiments.load_data(variant) == ("cifar10", 5000, False)  # nothing is downloaded under test
    assert experiments.load_data(dataclasses.replace(variant, dataset="toy_shapes")) == "drawn"
    with pytest.raises(ValueError, match="There is no dataset 'mnist'; there are cifar10, toy_shapes"):
        experiments.load_data(dataclasses.replace(variant, dataset="mnist"))


def test_a_function_that_returns_no_model_is_told_so(trained):
    def my_network():
        pass

    with pytest.raises(TypeError, match=r"my_network\(\) must return a keras.Model, not NoneType"):
        experiments.own(my_network, Recipe(1)).run(data=tiny_dataset())


def test_the_machine_is_named():
    machine = experiments.machine()
    assert machine.keys() == {"processor", "cores", "memory_gib", "system"}
    assert machine["cores"] >= 1 and machine["processor"]


# The README's table


def test_the_readmes_table_stands_between_its_marks():
    begin, end = experiments.TABLE_MARKS
    text = experiments.with_table(f"before\n{begin}\nold\n{end}\nafter\n", "new")
    assert text == f"before\n{begin}\nnew\n{end}\nafter\n"
    with pytest.raises(ValueError, match="README.md lacks the marks"):
        experiments.with_table("no marks", "new")


def test_the_readmes_table_holds_the_version_best_on_validation():
    runs = V1_0.run()
    row = experiments.readme_table().splitlines()[2]
    assert row.startswith("| v1.0 | 17,882 | 2.9M | 60 |")
    assert f"{runs.interval(runs.best()).mean:.1%}".replace("%", " %") in row
    assert "| 59 % at 17K |" in row
    assert "%" not in row.replace(" %", "")


def test_every_version_has_its_experiment():
    assert set(experiments.VERSIONS.values()) <= set(experiments.EXPERIMENTS)
    assert all(isinstance(variant, Variant) for variant in V1_0.variants)
    assert ROOT in V1_0.path(V1_0.variants[0], 0).parents
