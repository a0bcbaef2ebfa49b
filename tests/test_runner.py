"""A run ends in a record of what was declared; a user's runs go beside the book's and change nothing."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import types

import numpy as np
import pytest
from helpers import a_record, declare, declared_experiment, tiny_dataset

from shathenet_utils import book, datasets, declared, files, machine, records, runner, weights, worker
from shathenet_utils.book import evidence, load_experiment
from shathenet_utils.experiment import Experiment, Variant, custom_experiment
from shathenet_utils.recipes import Augmentation, Recipe

V1_0 = load_experiment("v1_0")
DECLARED = [
    pytest.param(experiment, variant, id=f"{experiment.name}-{variant.name}")
    for experiment in book.EXPERIMENTS.values()
    for variant in experiment.variants
    if any(experiment.path(variant, seed).exists() for seed in experiment.seeds_of(variant))
]
ON_IMAGES = [declared for declared in DECLARED if not declared.values[1].feature_extractor]
BEGUN_AGAIN = [
    declared
    for declared in ON_IMAGES
    for experiment, variant in [declared.values]
    if variant.model != "baseline" or variant is experiment.variants[0]  # of some 350 variants of one function, 40
]
ON_FEATURES = [declared for declared in DECLARED if declared.values[1].feature_extractor]


def files_below(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


# The book's own runs


def test_a_large_network_keeps_its_epochs_in_less_than_four_megabytes(tmp_path, monkeypatch):
    from shathenet_utils import kept_weights, models
    from shathenet_utils.lens import payload

    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    draw, model = np.random.default_rng(0), models.v1_2()
    shapes = {weight.path: weight.shape for weight in model.weights}
    draws = ({path: draw.normal(size=shape) for path, shape in shapes.items()} for _ in range(2))
    first, last = ({path: 0.05 * np.clip(drawn, -2, 2) for path, drawn in drawns.items()} for drawns in draws)
    changes = {path: last[path] - first[path] for path in shapes}
    history = [{path: first[path] + changes[path] * epoch / 70 for path in shapes} for epoch in range(71)]
    kept = weights.save_arrays(tmp_path / "epochs.npz", kept_weights.weight_history_arrays(model, history))
    assert (tmp_path / "epochs.npz").stat().st_size < 4_000_000
    loaded = weights.load_arrays(kept)
    assert loaded["epochs of the rest"].tolist() == [0, 35, 70]
    for path in ("conv1b/kernel", "dense/kernel"):
        epochs = loaded["epochs" if path == "conv1b/kernel" else "epochs of the rest"]
        for array, epoch in zip(loaded[path], epochs, strict=True):
            np.testing.assert_allclose(array, history[epoch][path], atol=2e-3)
    shown = payload.payload(model, np.zeros((1, 32, 32, 3), np.uint8), weight_history=loaded)
    assert shown["epochs"] == loaded["epochs"].tolist() and len(shown["epochs"]) in (19, 20)
    assert shown["arrays"]["dense/kernel"]["epochs"] == [0, 35, 70]


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize(("experiment", "variant"), ON_IMAGES)
def test_kept_weights_reach_the_recorded_accuracy(experiment, variant):
    """Image by image: half precision tips few of the test set's, and moves an accuracy by no more than as many tips
    do by chance, three standard deviations."""
    from shathenet_utils import training

    seed = experiment.seeds_of(variant)[0]
    if variant.name not in experiment.keep_weights:
        with pytest.raises(ValueError, match="kept no weights"):
            runner.load_trained(experiment.name, variant.name, seed)
        return
    data = datasets.cifar10(validation=variant.validation)
    model, record = runner.load_trained(experiment.name, variant.name, seed)
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
@pytest.mark.parametrize(("experiment", "variant"), BEGUN_AGAIN)
def test_a_recorded_run_begins_again_as_it_did(experiment, variant):
    """To the last digit on the recorded kind of machine; another rounds differently, and an epoch makes that larger."""
    from shathenet_utils import training

    seed = max(seed for seed in experiment.seeds_of(variant) if experiment.path(variant, seed).exists())
    recorded = records.load(experiment.path(variant, seed))["history"]
    histories = []

    def stop(history):
        histories.append({name: list(values) for name, values in history.items()})
        raise KeyboardInterrupt  # the schedule is that of the whole run

    model = runner.build_initialised(variant.model, variant.model_arguments, variant.recipe, seed)
    images, data = runner.prepare_inputs(variant, seed)
    if variant.starts_from:
        runner.start_from_head(model, variant, seed, images)
    training.fit(model, data, variant.recipe, seed=seed, on_epoch=stop)
    assert histories[0]["loss"][0] == pytest.approx(recorded["loss"][0], rel=0.01)
    if variant.validation:
        found = histories[0]["validation_accuracy"][0]
        assert found == pytest.approx(recorded["validation_accuracy"][0], abs=0.03)


@pytest.mark.slow
@pytest.mark.needs_cifar10
@pytest.mark.parametrize(("experiment", "variant"), [one for one in ON_FEATURES if one.values[1].name == "all"])
def test_kept_weights_on_features_predict_what_was_recorded(experiment, variant):
    """Of some test images: the features of all of them take half an hour."""
    from shathenet_utils import pretrained, training

    model, record = runner.load_trained(experiment.name, variant.name)
    images = datasets.cifar10(validation=variant.validation).test_images[:500]
    codes = pretrained.extractor(pretrained.frozen(variant.feature_extractor))(images)
    predicted = training.predict(model, codes).argmax(axis=1)
    assert (predicted == records.decode_classes(record["test_predictions"])[:500]).mean() > 0.99


def test_a_recorded_network_is_loaded_with_its_record():
    from shathenet_utils import training

    model, record = runner.load_trained("v1_0", "adam_1e-3")
    assert record == records.load(V1_0.path(V1_0.variant("adam_1e-3"), 0))
    for name, array in weights.load_arrays(record["weights"]["final"]).items():
        np.testing.assert_array_equal(training.weights_of(model)[name], array.astype(np.float32))
    with pytest.raises(ValueError, match=r"^v1_0 adam_1e-3 seed 1 kept no weights: the first seed of a variant may"):
        runner.load_trained("v1_0", "adam_1e-3", seed=1)
    with pytest.raises(ValueError, match="has no variant 'sgd'"):
        runner.load_trained("v1_0", "sgd")
    with pytest.raises(records.RecordError, match="There is no record"):
        runner.load_trained("v1_0", "adam_1e-3", seed=99)


def test_a_model_is_built_as_a_run_begins_with_it_and_nothing_else_changes():
    from shathenet_utils import training
    from shathenet_utils.backend import keras

    arguments = {"filters": (4, 4, 4), "dense_units": 8}
    half = Recipe(1, precision="mixed_bfloat16")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")  # a user's own
    try:
        one, again, other = (runner.build_initialised("v1_0", arguments, half, seed) for seed in (3, 3, 4))
        assert keras.config.dtype_policy().name == "mixed_float16"
        with pytest.raises(ValueError, match="no model named 'v9'"):
            runner.build_initialised("v9", {}, half, 0)
        assert keras.config.dtype_policy().name == "mixed_float16"
    finally:
        keras.config.set_dtype_policy(before)
    assert one.get_layer("conv2").compute_dtype == "bfloat16"
    first, second, third = (training.weights_of(model) for model in (one, again, other))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["conv1/kernel"], third["conv1/kernel"])


# A declared experiment of the test's own, recorded in a folder of its own


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    return declared_experiment(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory):
    """The files of a fully recorded experiment: trained once for all tests that need one."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        experiment = declared_experiment(patch, folder)
        for variant in experiment.variants:
            for seed in experiment.seeds:
                runner.train_run(experiment, variant, seed, record=True)
    return folder


@pytest.fixture
def recorded(experiment, recorded_once, tmp_path):
    shutil.copytree(recorded_once, tmp_path, dirs_exist_ok=True)
    return experiment


def test_what_runs_record_holds_against_declaration_and_itself(recorded):
    assert evidence.check() == []
    assert [len(found) for found in recorded.load().recorded.values()] == [2, 2]


def test_a_recorded_run_has_every_key_and_keeps_its_first_seeds_weights(recorded):
    first, second = (records.load(recorded.path(recorded.variants[0], seed)) for seed in (0, 1))
    data = tiny_dataset()
    assert first.keys() == second.keys() == set(records.KEYS)
    assert {key for key in records.KEYS if first[key] is None} == {"test_accuracy_flip", "test_accuracy_tta"}
    assert (first["dataset"], first["data_fingerprint"], first["budget"]) == ("tiny", data.fingerprint, "full")
    assert first["split"] == data.split | {"digest": data.digest}
    assert (first["parameters"], first["macs"], len(first["test_predictions"])) == (17882, 2896192, 60)
    for part in ("test", "validation"):
        predicted = records.decode_classes(first[f"{part}_predictions"])
        assert first[f"{part}_accuracy"] == np.mean(predicted == getattr(data, f"{part}_labels"))
    assert first["versions"].keys() == {"tensorflow", "keras", "numpy", "python"}
    assert first["threads"] == {"inter_op": 1, "intra_op": recorded.threads}
    assert second["weights"] is None
    assert first["weights"]["final"]["path"] == "data/weights/made_up/plain/seed0.npz"
    final, history = (weights.load_arrays(first["weights"][name]) for name in ("final", "history"))
    assert history["conv1/kernel"].shape == (2, *final["conv1/kernel"].shape)
    np.testing.assert_allclose(history["conv1/kernel"][-1], final["conv1/kernel"], atol=1e-3)


@pytest.mark.parametrize(
    "arguments",
    [{"budget": "quick"}, {"data": tiny_dataset()}, {"seconds": 10}, {"seed": 2}],
    ids=["shorter budget", "other data", "limited seconds", "undeclared seed"],
)
def test_what_is_no_evidence_is_not_recorded(experiment, tmp_path, arguments):
    with pytest.raises(ValueError, match=r"^Only a .* can be recorded"):
        runner.train_run(experiment, experiment.variants[0], **{"seed": 0, "record": True} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_undeclared_experiment_is_not_recorded(experiment):
    twin = dataclasses.replace(experiment, question="Is it declared?")
    with pytest.raises(ValueError, match="Only a declared run can be recorded"):
        runner.train_run(twin, twin.variants[0], 0, record=True)


def test_a_run_of_other_threads_than_declared_is_not_recorded(experiment, monkeypatch, tmp_path):
    other = dataclasses.replace(experiment, threads=experiment.threads + 1)
    monkeypatch.setattr(book, "EXPERIMENTS", {"made_up": other})
    said = (
        f"^made_up is recorded with {other.threads} of TensorFlow's threads, .*: record from a fresh process, `python"
    )
    with pytest.raises(ValueError, match=said):
        runner.train_run(other, other.variants[0], 0, record=True)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_budget_is_one_sentence(experiment):
    for call in (
        runner.train,
        lambda *_, **options: runner.train_run(experiment, experiment.variants[0], 0, **options),
    ):
        with pytest.raises(ValueError, match="^budget must be one of quick, full, not 'long'"):
            call(experiment, budget="long")


def test_a_folder_that_can_not_be_written_is_told_before_training(experiment, tmp_path, monkeypatch):
    from shathenet_utils import training

    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it trained first"))
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(files.FileError, match="can't be written"):
        runner.train_run(experiment, experiment.variants[0], 0)


def test_a_sweep_never_sees_the_test_set(experiment, monkeypatch, tmp_path):
    from shathenet_utils import training

    variant = dataclasses.replace(experiment.variants[0], recipe=Recipe(1, test_views="multi_crop"))
    sweep = Experiment("rates", "?", (variant,), sweep=True, threads=experiment.threads)
    declare([sweep], tmp_path, monkeypatch.setattr)
    shown, make = [], training.predictor

    def watched(model):
        predict = make(model)
        return lambda images: shown.append(len(images)) or predict(images)

    monkeypatch.setattr(training, "predictor", watched)
    record = runner.train_run(sweep, variant, 100, record=True)
    assert 60 not in shown and 50 in shown
    assert {key: record[key] for key in record if key.startswith("test_")} == dict.fromkeys(
        ("test_accuracy", "test_accuracy_flip", "test_accuracy_tta", "test_predictions")
    )
    assert len(record["validation_predictions"]) == 50
    assert evidence.check() == []


def test_a_users_rerun_stands_beside_the_records_and_changes_none(recorded, tmp_path):
    kept = files_below(tmp_path)
    drawn = tiny_dataset(name="drawn")
    runs = runner.train(recorded, ["plain"], [0], retrain=True, data=drawn)
    assert [record["seed"] for record in runs.recorded["plain"]] == [0, 1]
    assert [record["seed"] for record in runs.user_runs["plain"]] == [0]
    assert list(runs.table().index) == ["plain", "plain (yours, drawn)"]
    after = files_below(tmp_path)
    assert {path: after[path] for path in kept} == kept
    new = {path.relative_to(tmp_path).as_posix() for path in after.keys() - kept.keys()}
    assert new == {f"data/runs/drawn/full/made_up/plain/seed0{end}" for end in (".json", ".npz", "_epochs.npz")}
    assert runner.train(recorded, data=drawn).user_runs["plain"] == runs.user_runs["plain"]  # loaded, not trained again
    assert recorded.load().user_runs == {}  # another dataset's


def test_a_run_without_a_record_is_trained_and_never_joins_the_evidence(recorded):
    recorded.path(recorded.variant("plain"), 1).unlink()
    with pytest.raises(records.RecordError, match="There is no record"):
        recorded.load()
    seen = []
    runs = runner.train(recorded, data=tiny_dataset(), on_epoch=seen.append)
    assert [record["seed"] for record in runs.recorded["plain"]] == [0]
    assert [record["seed"] for record in runs.user_runs["plain"]] == [1]
    assert len(seen) == 1
    assert not recorded.path(recorded.variant("plain"), 1).exists()
    runner.train(recorded, data=tiny_dataset(), on_epoch=seen.append)
    assert len(seen) == 1


def test_runs_on_stand_in_data_are_never_ranked_among_the_evidence(recorded, asked):
    """One variant recorded, the other not: what is trained on other images stands beside it, and decides nothing."""
    for seed in recorded.seeds:
        recorded.path(recorded.variant("bilinear"), seed).unlink()

    runs = runner.train(recorded, data=datasets.toy_shapes(20, 10, 10))
    assert list(runs.recorded) == ["plain"]
    assert [record["dataset"] for record in runs.user_runs["bilinear"]] == ["toy_shapes"] * 2
    assert runs.best() == "plain"
    with pytest.raises(ValueError, match="made_up has no recorded variant 'bilinear'; it has plain"):
        runs.difference("bilinear", "plain", over="seeds")


def test_a_rerun_of_the_books_own_experiment_changes_no_committed_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    kept = {folder: files_below(folder) for folder in (records.RECORDS / "v1_0", weights.FOLDER / "v1_0")}
    runs = runner.train(V1_0, ["adam_1e-3"], [0], retrain=True, budget="quick", data=tiny_dataset())
    assert runs.user_runs["adam_1e-3"][0]["epochs"] <= V1_0.quick_epochs
    assert len(runs.recorded["adam_1e-3"]) == 5
    label = V1_0.variant("adam_1e-3").label
    assert list(runs.table().index) == [label, f"{label} (yours, tiny, quick run)"]
    assert {folder: files_below(folder) for folder in kept} == kept


def test_ctrl_c_begins_no_other_run(recorded, monkeypatch):
    begun = []

    def interrupted(experiment, variant, seed, **_):
        begun.append((variant.name, seed))

    monkeypatch.setattr(runner, "train_run", interrupted)
    runs = runner.train(recorded, retrain=True)
    assert begun == [("plain", 0)]
    assert (len(runs.recorded), runs.user_runs) == (2, {})


def test_ctrl_c_before_the_first_step_is_told(recorded, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "train_run", interrupted)
    assert runner.train(recorded, retrain=True).user_runs == {}
    assert capsys.readouterr().out == "Stopped; the same call will go on from the last whole epoch.\n"


def test_a_diverged_run_is_kept_as_one(experiment):
    diverging = dataclasses.replace(experiment.variants[0], recipe=Recipe(2, optimizer="sgd", learning_rate=1e30))
    record = runner.train_run(experiment, diverging, 1)
    assert record["status"] == "diverged"
    empty = ("validation_accuracy", "validation_predictions", "test_accuracy", "test_predictions")
    assert [record[key] for key in empty] == [None] * 4
    assert records.load(experiment.path(diverging, 1, records.runs_folder("tiny", "full"))) == record


def test_a_run_of_another_length_is_not_complete(recorded):
    run = declared.Run(recorded, recorded.variants[0], 0, "full", "tiny", record=True)
    assert run.is_complete()
    content = json.loads(run.path.read_text())
    run.path.write_text(json.dumps(content | {"epochs": 2}))
    assert not run.is_complete()
    run.path.write_text(json.dumps(content | {"config_hash": "another"}))
    assert not run.is_complete()


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(recorded, monkeypatch):
    variant = recorded.variants[0]
    path = recorded.path(variant, 0)
    content = path.read_bytes()
    path.unlink()

    def loads(variant):
        path.write_bytes(content)  # while this process was still loading its data
        return tiny_dataset()

    monkeypatch.setattr(runner, "load_data", loads)
    monkeypatch.setattr(runner, "_train", lambda *_: pytest.fail("it was trained again"))
    assert runner.train_run(recorded, variant, 0, record=True) == json.loads(content)


def test_a_checkpoint_of_other_versions_threads_or_images_is_not_gone_on_from(experiment, monkeypatch):
    from shathenet_utils import backend, training

    asked = []
    stopped = types.SimpleNamespace(status="interrupted")
    monkeypatch.setattr(training, "fit", lambda *_, identity, **__: asked.append(identity) or stopped)

    def ask(seed=0, data=None):
        assert runner.train_run(experiment, experiment.variants[0], seed, data=data) is None

    for version in ("2.21.0", "9.9.9"):
        monkeypatch.setattr(runner.metadata, "version", lambda name, version=version: version)
        ask()
    ask(seed=1)
    ask(data=tiny_dataset(seed=1))
    monkeypatch.setattr(backend, "threads", lambda: {"inter_op": 1, "intra_op": 9})
    ask()
    assert len(set(asked)) == 5 and '"inter_op": 1' in asked[0]


def test_a_variants_dataset_is_the_one_it_is_trained_on(monkeypatch):
    monkeypatch.setattr(datasets, "cifar10", lambda validation, download: ("cifar10", validation, download))
    monkeypatch.setattr(datasets, "toy_shapes", lambda: "drawn")
    variant = V1_0.variant("adam_1e-3")
    assert runner.load_data(variant) == ("cifar10", 5000, False)  # nothing is downloaded under test
    assert runner.load_data(dataclasses.replace(variant, dataset="toy_shapes")) == "drawn"
    with pytest.raises(ValueError, match="There is no dataset 'mnist'; there are cifar10, toy_shapes"):
        runner.load_data(dataclasses.replace(variant, dataset="mnist"))


def test_the_machine_is_named():
    found = machine.machine()
    assert found.keys() == {"processor", "cores", "memory_gib", "system"}
    assert found["cores"] >= 1 and found["memory_gib"] >= 1 and found["processor"] and found["system"]


# A full run in a process of its own, where this one has other threads


class Apart:
    """Stands for a worker's process: reports two epochs and, as the real one does, leaves a record behind."""

    def __init__(self, leave, code=0, sentence=""):
        self.leave, self.code, self.sentence, self.calls, self.signals = leave, code, sentence, [], []
        self.returncode, self.stdin = None, types.SimpleNamespace(close=lambda: None)

    def start(self, *names, **options):
        self.calls.append((*names, options))
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def stdout(self):
        for epoch in (1, 2):
            yield json.dumps({"epoch": epoch, "epochs": 2, "history": {"loss": [2.0] * epoch}}) + "\n"

    @property
    def stderr(self):
        return types.SimpleNamespace(seek=lambda _: None, read=lambda: self.sentence)

    def wait(self):
        self.returncode = self.code
        if self.code == 0:
            self.leave()

    def send_signal(self, signal):
        self.signals.append(signal)


@pytest.fixture
def apart(experiment, monkeypatch):
    """(an experiment of other threads than this process, its worker)."""
    other = dataclasses.replace(experiment, threads=experiment.threads + 1)
    monkeypatch.setattr(book, "EXPERIMENTS", {"made_up": other})
    variant, data = other.variants[0], tiny_dataset()
    split = data.split | {"digest": data.digest}
    same = {"dataset": "tiny", "data_fingerprint": data.fingerprint, "split": split}
    record = a_record(0, config_hash=variant.config_hash(), **same)
    process = Apart(lambda: records.save(record, other.path(variant, 0, records.runs_folder("tiny", "full"))))
    monkeypatch.setattr(worker, "start", process.start)
    return other, process


@pytest.mark.parametrize("data", [None, tiny_dataset()], ids=["declared", "the same images"])
def test_a_full_run_has_the_declared_threads_in_a_process_of_its_own(apart, monkeypatch, data):
    experiment, process = apart
    monkeypatch.setattr(runner, "train_run", lambda *_, **__: pytest.fail("it trained in this process"))
    seen = []
    runs = runner.train(experiment, ["plain"], [0], data=data, on_epoch=lambda history: seen.append(history["loss"]))
    assert process.calls == [("made_up", "plain", 0, experiment.threads, {"again": True})]
    assert seen == [[2.0], [2.0, 2.0]]
    assert [record["seed"] for record in runs.user_runs["plain"]] == [0]
    runner.train(experiment, ["plain"], [0], data=data)
    assert len(process.calls) == 1  # it is there
    runner.train(experiment, ["plain"], [0], data=data, retrain=True)
    assert len(process.calls) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"budget": "quick"}, {"data": tiny_dataset(seed=1)}, {"data": tiny_dataset(validation=40)},
        {"data": tiny_dataset(name="other")}, {"limit": "3"}, {"threads": "as declared"}, {"declared": False},
    ],
    ids=str,
)  # fmt: skip
def test_other_runs_are_trained_here(apart, monkeypatch, options):
    experiment, process = apart
    if options.pop("limit", None):
        monkeypatch.setenv("SHATHENET_LIVE_SECONDS", "3")
    if options.pop("threads", None):
        experiment = dataclasses.replace(experiment, threads=experiment.threads - 1)
        monkeypatch.setattr(book, "EXPERIMENTS", {"made_up": experiment})
    if not options.pop("declared", True):
        monkeypatch.setattr(book, "EXPERIMENTS", {})
    here = []
    monkeypatch.setattr(runner, "train_run", lambda *_, **__: here.append(1) or a_record(0))
    runner.train(experiment, ["plain"], [0], **options)
    assert (here, process.calls) == ([1], [])


def test_what_goes_wrong_in_a_process_of_its_own_is_one_sentence(apart):
    experiment, process = apart
    process.code, process.sentence = 1, "a warning\nerror: CIFAR-10 is not here.\n"
    with pytest.raises(
        worker.WorkerError, match=r"^made_up plain seed 0 failed in a process of its own: CIFAR-10 is not"
    ):
        runner.train(experiment, ["plain"], [0])
    process.code, process.sentence = -9, ""
    with pytest.raises(worker.WorkerError, match=r"its process ended with code -9$"):
        runner.train(experiment, ["plain"], [0])


def test_ctrl_c_stops_a_process_of_its_own_and_begins_no_other_run(apart):
    experiment, process = apart

    def interrupted(history):
        process.code = worker.STOPPED
        raise KeyboardInterrupt

    assert runner.train(experiment, on_epoch=interrupted).user_runs == {}
    assert len(process.signals) == len(process.calls) == 1
    process.code = worker.STOPPED  # and where the process alone was stopped
    assert runner.train(experiment).user_runs == {}
    assert len(process.calls) == 2


# A user's own network


def small(width=4):
    from shathenet_utils.backend import keras, layers

    def my_network():
        images = keras.Input((32, 32, 3))
        x = layers.Dense(width)(layers.Flatten()(layers.AveragePooling2D(8)(images)))
        return keras.Model(images, layers.Dense(10)(x))

    return my_network


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Counts the runs that are trained: a list of seeds."""
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    monkeypatch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
    seeds, train_run = [], runner.train_run

    def counted(experiment, variant, seed, **arguments):
        seeds.append(seed)
        return train_run(experiment, variant, seed, **arguments)

    monkeypatch.setattr(runner, "train_run", counted)
    return seeds


@pytest.fixture
def asked(monkeypatch):
    """Trains nothing: the calls of `train_run`, as (variant, seed); each is answered by a made-up record."""
    calls = []

    def pretend(experiment, variant, seed, *, budget, data, **_):
        calls.append((variant.name, seed))
        images = data or tiny_dataset()
        same = {"dataset": images.name, "data_fingerprint": images.fingerprint, "budget": budget}
        return a_record(seed, variant=variant.name, validation_accuracy=1.0, test_accuracy=1.0, **same)

    monkeypatch.setattr(runner, "train_run", pretend)
    return calls


def test_a_custom_network_goes_through_the_same_protocol(trained, tmp_path):
    kept = files_below(records.RECORDS)
    runs = runner.train(custom_experiment(small(), Recipe(epochs=1)), data=tiny_dataset())
    assert trained == [0, 1, 2]
    assert runs.table().loc["my network", ["parameters", "seeds"]].tolist() == [f"{48 * 4 + 4 + 4 * 10 + 10:,}", 3]
    assert runs.mean_ci("my_network").n == 3
    folder = tmp_path / "data" / "runs" / "tiny" / "full" / "custom_my_network" / "my_network"
    assert records.load(folder / "seed0.json")["config"]["model"] == {"name": "custom:my_network", "arguments": {}}
    assert files_below(records.RECORDS) == kept


def test_a_custom_network_is_trained_once(trained):
    def declared():
        return custom_experiment(small(), Recipe(epochs=1), seeds=(0,), dataset="tiny")

    experiment = declared()
    first = runner.train(experiment, data=tiny_dataset())
    again = runner.train(declared(), data=tiny_dataset())
    assert trained == [0]
    assert again.recorded == first.recorded
    assert experiment.load().recorded == first.recorded
    assert runner.train(experiment, data=tiny_dataset(), retrain=True).recorded.keys() == first.recorded.keys()
    assert trained == [0, 0]


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    """The folder of a custom network's run on `tiny_dataset`."""
    folder = tmp_path_factory.mktemp("custom")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHATHENET_OUTPUT", str(folder))
        patch.delenv("SHATHENET_LIVE_SECONDS", raising=False)
        runner.train(custom_experiment(small(), Recipe(1), seeds=(0,)), data=tiny_dataset())
    return folder


TINY = tiny_dataset()
FEWER = {"train_images": TINY.train_images[:20], "train_labels": TINY.train_labels[:20]}


@pytest.mark.parametrize(
    ("width", "recipe", "data"),
    [
        (5, Recipe(1), TINY), (4, Recipe(2), TINY), (4, Recipe(1), tiny_dataset(seed=1)),
        (4, Recipe(1), tiny_dataset(validation=20)), (4, Recipe(1), tiny_dataset(train=210)),
        (4, Recipe(1), dataclasses.replace(TINY, **FEWER)),
        (4, Recipe(1), dataclasses.replace(TINY, test_labels=TINY.test_labels[::-1].copy())),
    ],
    ids=[
        "its architecture", "its recipe", "its images", "its split", "more images", "fewer images under the same name",
        "its test labels",
    ],
)  # fmt: skip
def test_a_custom_network_is_trained_again_when_something_changes(
    trained_once, asked, monkeypatch, width, recipe, data
):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(trained_once))
    runner.train(custom_experiment(small(), Recipe(1), seeds=(0,)), data=tiny_dataset())
    assert asked == []
    runner.train(custom_experiment(small(width), recipe, seeds=(0,)), data=data)
    assert asked == [("my_network", 0)]


def test_runs_on_the_declared_images_are_not_those_on_others_of_their_name(trained, monkeypatch):
    """Seed 0 on a few images, then both seeds on the declared ones: no run of the few is taken for one of these."""
    monkeypatch.setattr(runner, "load_data", lambda variant: tiny_dataset())
    experiment = custom_experiment(small(), Recipe(1), seeds=(0, 1), dataset="tiny")
    few = datasets.subset_per_class(tiny_dataset(), 5, seed=0)
    assert len(runner.train(experiment, seeds=[0], data=few).recorded["my_network"]) == 1
    runs = runner.train(experiment)
    assert trained == [0, 0, 1]
    assert {record["split"]["train"] for record in runs.recorded["my_network"]} == {200}
    assert experiment.load().recorded == runs.recorded


def test_a_custom_experiment_finds_its_runs_on_whatever_images_they_were(trained):
    experiment = custom_experiment(small(), Recipe(1), seeds=(0, 1))  # declares CIFAR-10
    runs = runner.train(experiment, data=tiny_dataset())
    assert experiment.load().recorded == runs.recorded != {}


def test_a_variant_with_seeds_of_its_own_or_a_pilot_is_trained_with_those(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OUTPUT", str(tmp_path))
    variants = (
        Variant("all", small(), Recipe(1)),
        Variant("few", small(), Recipe(1), seeds=(0, 1)),
        Variant("trial", small(), Recipe(1), pilot=True),
    )
    runs = runner.train(Experiment("mine", "?", variants, custom=True), data=tiny_dataset())
    assert [seed for _, seed in asked] == [0, 1, 2, 0, 1, 0]
    assert [len(found) for found in runs.recorded.values()] == [3, 2, 1]


def test_a_few_images_per_class_are_drawn_by_the_runs_seed(trained):
    experiment = custom_experiment(small(), Recipe(1), seeds=(0, 1), images_per_class=3)
    data = tiny_dataset()
    first, second = runner.train(experiment, data=data).recorded["my_network"]
    digest = datasets.subset_per_class(data, 3, seed=0).digest
    assert first["split"] == data.split | {"train": 30, "drawn by": 0, "digest": digest}
    assert second["split"]["drawn by"] == 1 and second["split"]["digest"] != digest
    assert first["config"]["data"]["images_per_class"] == 3
    assert first["data_fingerprint"] == data.fingerprint
    runner.train(experiment, data=data)
    assert trained == [0, 1]  # found again


def test_a_frozen_networks_features_take_the_place_of_the_images(trained, monkeypatch):
    from shathenet_utils import architecture, pretrained

    body = pretrained.efficientnet_lite0(64, imagenet=False)
    monkeypatch.setattr(pretrained, "frozen", lambda name, imagenet=True: body)
    recipe = Recipe(1, augmentation=Augmentation(flip="random"), test_views="flip")
    variant = Variant("frozen", "linear_head", recipe, feature_extractor="efficientnet_lite0@64")
    data = tiny_dataset(train=20, validation=10, test=10)
    [record] = runner.train(Experiment("mine", "?", (variant,), (0,), custom=True), data=data).recorded["frozen"]
    assert record["parameters"] == 3_413_024 + 12_810
    assert record["macs"] == architecture.macs(body) + 12_800
    assert (record["data_fingerprint"], record["split"]) == (data.fingerprint, data.split | {"digest": data.digest})
    assert record["test_accuracy_flip"] is not None


def test_a_quick_run_or_one_on_other_data_never_stands_among_the_evidence(recorded, asked):
    runs = runner.train(recorded, ["plain"], [0, 7], data=tiny_dataset(seed=1))
    assert [record["seed"] for record in runs.recorded["plain"]] == [0, 1]
    assert [record["seed"] for record in runs.user_runs["plain"]] == [7]
    quick = runner.train(recorded, ["plain"], [8], budget="quick")
    assert [record["seed"] for record in quick.recorded["plain"]] == [0, 1]
    assert [(record["seed"], record["budget"]) for record in quick.user_runs["plain"]] == [(8, "quick")]
    assert asked == [("plain", 7), ("plain", 8)]


def test_a_damaged_run_of_the_users_is_trained_again(trained, tmp_path):
    experiment = custom_experiment(small(), Recipe(1), seeds=(0,))
    runner.train(experiment, data=tiny_dataset())
    [path] = tmp_path.rglob("seed0.json")
    path.write_text("{")
    assert len(runner.train(experiment, data=tiny_dataset()).recorded["my_network"]) == 1
    assert trained == [0, 0]


def test_a_function_that_returns_no_model_is_told_so(trained):
    def my_network():
        pass

    with pytest.raises(TypeError, match=r"my_network\(\) must return a keras.Model, not NoneType"):
        runner.train(custom_experiment(my_network, Recipe(1)), data=tiny_dataset())


def test_a_custom_network_that_ends_in_softmax_is_refused_and_leaves_no_record(trained, tmp_path):
    from shathenet_utils.backend import keras, layers

    def my_network():
        images = keras.Input((32, 32, 3))
        return keras.Model(images, layers.Dense(10, activation="softmax")(layers.Flatten()(images)), name="mine")

    with pytest.raises(ValueError, match="mine ends in softmax, which the loss applies too: leave it out"):
        runner.train(custom_experiment(my_network, Recipe(1), seeds=(0,)), data=tiny_dataset())
    assert not list(tmp_path.rglob("seed0.json"))


def test_a_custom_network_whose_macs_can_not_be_counted_is_trained(trained):
    from shathenet_utils.backend import keras, layers

    def my_network():
        images = keras.Input((32, 32, 3))
        rows = layers.Reshape((32, 96))(images)
        return keras.Model(images, layers.Dense(10)(layers.GRU(2)(rows)))

    runs = runner.train(custom_experiment(my_network, Recipe(epochs=1), seeds=(0,)), data=tiny_dataset())
    assert runs.table().loc["my network", "MACs"] == "not counted"


def test_a_dataset_without_test_images_leaves_no_test_accuracy(trained):
    def my_network():
        from shathenet_utils import models

        return models.v1_0()

    experiment = custom_experiment(my_network, Recipe(epochs=1), seeds=(0,))
    (record,) = runner.train(experiment, data=tiny_dataset(test=0)).recorded["my_network"]
    assert record["validation_accuracy"] is not None
    assert record["test_accuracy"] is record["test_predictions"] is None


NETWORK_WITH_LAMBDA = """
from shathenet_utils.backend import keras, layers

def my_network():
    images = keras.Input((32, 32, 3))
    x = layers.Lambda(lambda images: images / {})(layers.AveragePooling2D(8)(images))
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(x)))
"""


def test_a_network_with_a_lambda_is_found_again_after_a_kernels_restart(trained):
    """The same source, compiled under another file name, as a notebook's cells are in each kernel."""
    for divisor, file_name in ((255, "/tmp/ipykernel_1/1.py"), (255, "/tmp/ipykernel_2/2.py"), (127, "/tmp/3.py")):
        names = {}
        exec(compile(NETWORK_WITH_LAMBDA.format(divisor), file_name, "exec"), names)
        runner.train(custom_experiment(names["my_network"], Recipe(1), seeds=(0,)), data=tiny_dataset())
    assert trained == [0, 0], "the second is found, the third is another network"


def test_relative_folders_are_the_callers_own_in_a_process_of_its_own(monkeypatch, tmp_path):
    asked = {}

    def popen(command, *, env, **_):
        asked.update(env, command=command)
        return types.SimpleNamespace()

    monkeypatch.setattr(worker.subprocess, "Popen", popen)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("SHATHENET_DATA", "~/images")
    monkeypatch.setenv("SHATHENET_OUTPUT", "mine")
    worker.start("v1_0", "adam_1e-3", 3, 2, record=True)
    assert asked["SHATHENET_DATA"] == "/home/reader/images"
    assert asked["SHATHENET_OUTPUT"] == os.fspath(tmp_path / "mine")
    assert asked["SHATHENET_THREADS"] == "2"
    told = ["train", "v1_0", "--variant", "adam_1e-3", "--seeds", "3", "--watched", "--record"]
    assert asked["command"][3:] == told
