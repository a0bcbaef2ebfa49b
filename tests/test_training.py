"""Training does what a plain Keras loop does, repeats bit for bit, and says in one sentence what it can't do."""

import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from helpers import flat_recipe, python, tiny_dataset, tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils import ROOT, augment, models, optimizers, training
from shathenet_utils.backend import keras, layers, tf

ONE_EPOCH = flat_recipe(epochs=1, optimizer="sgd", learning_rate=0.01)


@pytest.fixture(scope="module")
def data():
    return tiny_dataset()


@pytest.fixture(scope="module")
def whole_batches():
    """Images for six batches of 32, no smaller one at the end: a graph less to trace."""
    return tiny_dataset(train=192)


def small_network(regularizer=None):
    """Fast, with the layers that behave differently in training: batch norm and a loss of the weights."""
    images = keras.Input((32, 32, 3))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(images))
    x = layers.Conv2D(8, 3, kernel_regularizer=regularizer)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(x)), name="small")


def built(function=small_network, seed=0, **arguments):
    training.set_seed(seed)
    return function(**arguments)


@pytest.fixture(scope="module")
def trained(data):
    """A small network, trained for two epochs: (model, what fit returned, its weights before)."""
    model = built()
    before = training.weights_of(model)
    return model, training.fit(model, data, flat_recipe(epochs=2), weight_history=True), before


REPEAT = """
import functools, hashlib, json, sys
sys.path.insert(0, "tests")
from helpers import flat_recipe, tiny_dataset
from shathenet_utils import models, training
from shathenet_utils.backend import keras
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, Recipe

AIRBENCH = dict(
    optimizer="sgd", learning_rate=0.5, momentum=0.85, nesterov=True, weight_decay=0.001, decay="coupled",
    schedule="linear", warmup=0.23, label_smoothing=0.2, averaging="lookahead", beta_lr_multiplier=64.0,
    flip="alternating", translate=2,
)
SGD = dict(optimizer="sgd", learning_rate=0.1, momentum=0.9, schedule="cosine", flip="random", translate=2)
ORIGINAL = dict(ORIGINAL_AUGMENTATION.identity(), mixup=0.2, cutout=8)
data = tiny_dataset(train=96, validation=30)
narrow_airbench = functools.partial(models.airbench, widths=(16, 32, 32))
for build, seed, fields in (
    (models.v1_0, 0, {}),
    (models.v1_0, 0, {"batch_size": 40}),
    (models.v1_0, 1, {}),
    (models.v1_1, 0, ORIGINAL | {"precision": "mixed_bfloat16"}),
    (lambda: models.baseline(normalisation="batch"), 0, SGD | {"precision": "mixed_bfloat16"}),
    (narrow_airbench, 0, AIRBENCH | {"precision": "mixed_bfloat16"}),
    (narrow_airbench, 0, dict(optimizer="muon", momentum=0.6, nesterov=True, learning_rate=0.1)),
):
    recipe = flat_recipe(epochs=2, **fields)
    keras.config.set_dtype_policy(recipe.precision)
    training.set_seed(seed)
    model = build()
    history = training.fit(model, data, recipe, seed=seed).history
    del history["seconds"]
    weights = b"".join(variable.numpy().tobytes() for variable in model.variables)
    print(hashlib.sha256(weights + json.dumps(history).encode()).hexdigest())
"""


def test_a_run_repeats_bit_for_bit_in_a_fresh_process(capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "ipykernel", raising=False)  # the progress bar then leaves stdout alone
        exec(REPEAT, {})
    here = capsys.readouterr().out.split()
    assert here == python(REPEAT).stdout.split()
    assert len(set(here)) == len(here) == 7  # another batch size, seed, network, precision: other weights


@tries(30)
@given(seed=some.integers(0, 2**32), epoch=some.integers(0, 1000), count=some.integers(1, 500))
def test_an_epochs_order_is_a_permutation_known_from_seed_and_epoch(seed, epoch, count):
    order = training.epoch_order(seed, epoch, count)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(count))
    np.testing.assert_array_equal(order, training.epoch_order(seed, epoch, count))


def test_the_order_of_the_recorded_runs_never_changes():
    assert training.epoch_order(0, 0, 10).tolist() == [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]
    assert training.epoch_order(3, 59, 10).tolist() == [3, 4, 7, 6, 0, 1, 9, 8, 2, 5]


@pytest.mark.parametrize(
    ("function", "arguments", "tolerance"),
    [
        (models.v1_0, {}, 1e-5),
        (models.v1_0, {"interpolation": "bilinear"}, 1e-5),
        (small_network, {"regularizer": "l2"}, 1e-5),
    ],
    ids=["v1_0", "v1_0 bilinear", "batch norm and weight decay"],
)
def test_an_epoch_is_what_a_plain_keras_loop_computes(data, function, arguments, tolerance):
    ours, theirs = built(function, **arguments), built(function, **arguments)
    fitted = training.fit(ours, data, ONE_EPOCH, seed=5)
    theirs.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    order = training.epoch_order(5, 0, len(data.train_labels))
    for start in range(0, len(order), 32):
        batch = order[start : start + 32]
        theirs.train_on_batch(data.train_images[batch].astype(np.float32), data.train_labels[batch])
    for our, their in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(our, their, atol=tolerance, err_msg=our.path)
    loss = keras.losses.sparse_categorical_crossentropy(
        data.validation_labels, theirs(data.validation_images.astype(np.float32), training=False), from_logits=True
    )
    assert fitted.history["validation_loss"][0] == pytest.approx(float(np.mean(loss)), abs=1e-4)


def test_adam_takes_kerass_steps(data):
    ours, theirs = built(models.v1_0), built(models.v1_0)  # batch norm's rounding is another, which Adam would enlarge
    training.fit(ours, data, flat_recipe(epochs=1, batch_size=100, learning_rate=1e-2), seed=5)
    theirs.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for batch in training.epoch_order(5, 0, 200).reshape(2, 100):
        theirs.train_on_batch(data.train_images[batch].astype(np.float32), data.train_labels[batch])
    np.testing.assert_allclose(training.predict(ours, data.test_images), theirs(data.test_images), atol=1e-3)


def rates(recipe, steps=100):
    """The learning rate of each step of a run."""
    rate = training.learning_rate(recipe, steps)
    return np.array([rate if isinstance(rate, float) else float(rate(step)) for step in range(steps + 1)])


SCHEDULES = {
    "constant": ({}, [(0, 1), (100, 1)]),
    "constant after a rise": ({"warmup": 0.1, "warmup_from": 0.5}, [(0, 0.5), (5, 0.75), (10, 1), (100, 1)]),
    "step": ({"schedule": "step"}, [(0, 1), (50, 1), (51, 0.1), (75, 0.1), (76, 0.01), (100, 0.01)]),
    "step, other": ({"schedule": "step", "milestones": (0.3,), "step_factor": 0.5}, [(30, 1), (31, 0.5), (100, 0.5)]),
    "exponential": ({"schedule": "exponential", "final_fraction": 0.01}, [(0, 1), (50, 0.1), (100, 0.01)]),
    "cosine": ({"schedule": "cosine"}, [(0, 1), (50, 0.5), (100, 0)]),
    "cosine to an end": ({"schedule": "cosine", "final_fraction": 0.1}, [(0, 1), (50, 0.55), (100, 0.1)]),
    "cosine after a rise": ({"schedule": "cosine", "warmup": 0.2}, [(0, 0), (10, 0.5), (20, 1), (60, 0.5), (100, 0)]),
    "linear": ({"schedule": "linear", "final_fraction": 0.5}, [(0, 1), (50, 0.75), (100, 0.5)]),
    "triangle": (
        {"schedule": "linear", "warmup": 0.2, "warmup_from": 0.2, "final_fraction": 0.1},
        [(0, 0.2), (10, 0.6), (20, 1), (60, 0.55), (100, 0.1)],
    ),
    "one cycle": (
        {"schedule": "one_cycle", "warmup": 0.3, "warmup_from": 0.04},
        [(0, 0.04), (15, 0.52), (30, 1), (65, 0.5), (100, 0)],
    ),
}


@pytest.mark.parametrize(("fields", "points"), SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_goes_through_its_points(fields, points):
    found = rates(flat_recipe(epochs=1, learning_rate=0.2, **fields))
    for step, share in points:
        assert found[step] == pytest.approx(0.2 * share, abs=1e-6), step


def test_the_history_tells_each_epochs_first_learning_rate(data):
    recipe = flat_recipe(epochs=4, batch_size=100, learning_rate=0.01, schedule="linear", warmup=0.25)
    history = training.fit(built(), data, recipe).history
    np.testing.assert_allclose(history["learning_rate"], [0, 0.01, 0.01 * 2 / 3, 0.01 / 3], atol=1e-8)


KERAS = {
    "sgd": (lambda: keras.optimizers.SGD(0.01), {}),
    "momentum": (lambda: keras.optimizers.SGD(0.01, momentum=0.9), {"momentum": 0.9}),
    "nesterov": (lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (lambda: keras.optimizers.RMSprop(0.001, momentum=0.5), {"momentum": 0.5, "learning_rate": 0.001}),
    "adam": (lambda: keras.optimizers.Adam(0.01), {}),
    "adamw": (lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1), {"weight_decay": 0.1}),
    "lion": (lambda: keras.optimizers.Lion(0.001, weight_decay=0.1), {"weight_decay": 0.1, "learning_rate": 0.001}),
}


@pytest.mark.parametrize("name", KERAS)
def test_every_optimizer_takes_kerass_steps(data, name):
    optimizer, fields = KERAS[name]
    kind = name if name in ("sgd", "rmsprop", "adam", "adamw", "lion") else "sgd"
    ours, theirs = built(models.v1_0), built(models.v1_0)
    recipe = flat_recipe(epochs=1, batch_size=100, optimizer=kind, **{"learning_rate": 0.01} | fields)
    training.fit(ours, data, recipe, seed=5)
    keras_one = optimizer()
    if "weight_decay" in fields:
        keras_one.exclude_from_weight_decay(var_list=[weight for weight in theirs.weights if len(weight.shape) < 2])
    theirs.compile(keras_one, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for batch in training.epoch_order(5, 0, 200).reshape(2, 100):
        theirs.train_on_batch(data.train_images[batch].astype(np.float32), data.train_labels[batch])
    for our, their in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(our, their, atol=2e-4, err_msg=our.path)


def one_step(data, **fields):
    """The weights before and after one step of SGD on all images, and the gradient of the plain loss."""
    model = built(models.v1_0)
    before = training.weights_of(model)
    images, labels = data.train_images.astype(np.float32), data.train_labels
    with training.tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(images), from_logits=True)
        loss = training.ops.mean(losses)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    gradients = {weight.path: np.asarray(g) for weight, g in zip(model.trainable_weights, gradients, strict=True)}
    recipe = flat_recipe(**{"epochs": 1, "batch_size": 200, "optimizer": "sgd", "learning_rate": 0.1} | fields)
    training.fit(model, data, recipe)
    return before, training.weights_of(model), gradients


def test_weight_decay_coupled_or_decoupled_shrinks_kernels_and_no_bias(data):
    for decay in ("coupled", "decoupled"):
        before, after, gradients = one_step(data, weight_decay=0.5, decay=decay)
        for path, weight in before.items():
            shrunk = 0.1 * 0.5 * weight if "kernel" in path else 0
            np.testing.assert_allclose(after[path], weight - shrunk - 0.1 * gradients[path], atol=1e-5, err_msg=path)
    # With momentum the two part: the decoupled step is the weight's alone.
    coupled = one_step(data, weight_decay=0.5, decay="coupled", epochs=3, momentum=0.9)[1]
    decoupled = one_step(data, weight_decay=0.5, epochs=3, momentum=0.9)[1]
    assert np.abs(coupled["conv1/kernel"] - decoupled["conv1/kernel"]).max() > 1e-3


def test_the_shifts_of_batch_norm_learn_faster_by_their_rate(data):
    def shift(rate):
        model = built()
        before = training.weights_of(model)
        recipe = flat_recipe(epochs=1, batch_size=200, optimizer="sgd", learning_rate=1e-3, beta_lr_multiplier=rate)
        training.fit(model, data, recipe)
        return [(path, array - before[path]) for path, array in training.weights_of(model).items()]

    for (path, plain), (_, fast) in zip(shift(1.0), shift(64.0), strict=True):
        factor = 64 if "beta" in path else 1
        np.testing.assert_allclose(fast, factor * plain, rtol=1e-3, atol=1e-6, err_msg=path)


def orthogonal(matrix):
    """U·Vᵀ of a matrix's singular value decomposition."""
    left, _, right = np.linalg.svd(np.float64(matrix), full_matrices=False)
    return left @ right


def test_muons_step_makes_the_singular_values_of_a_kernels_step_about_one():
    stream = np.random.default_rng(0)
    for shape in ((3, 3, 8, 16), (3, 3, 2, 40), (1, 1, 6, 6)):
        kernel = keras.Variable(stream.normal(size=shape).astype(np.float32))
        gradient = stream.normal(size=shape).astype(np.float32)
        optimizer = optimizers.Muon(0.1, momentum=0.6, nesterov=True, non_kernel_lr_multiplier=2.0, steps=5)
        optimizer.build([kernel])
        start = kernel.numpy() * shape[-1] ** 0.5 / np.linalg.norm(kernel)
        optimizer.apply([training.tf.constant(gradient)], [kernel])
        step = ((start - kernel.numpy()) / 0.1).reshape(-1, shape[-1])
        values = np.linalg.svd(step, compute_uv=False)
        assert 0.5 < values.min() <= values.max() < 1.3
        cosine = (step * orthogonal(gradient.reshape(-1, shape[-1]))).sum()
        assert cosine / np.linalg.norm(step) / np.sqrt(min(step.shape)) > 0.95


def test_muon_follows_its_definition_over_steps_and_leaves_other_weights_to_nesterov_sgd():
    stream = np.random.default_rng(0)
    kernel, bias = (keras.Variable(stream.normal(size=shape).astype(np.float32)) for shape in ((3, 3, 4, 5), (5,)))
    optimizer = optimizers.Muon(0.1, momentum=0.6, nesterov=True, non_kernel_lr_multiplier=2.0)
    optimizer.build([kernel, bias])
    expected, moments = [kernel.numpy().reshape(-1, 5), bias.numpy()], [0, 0]
    for _ in range(4):
        gradients = [stream.normal(size=kernel.shape), stream.normal(size=5)]
        optimizer.apply([training.tf.constant(g, training.tf.float32) for g in gradients], [kernel, bias])
        steps = []
        for i, gradient in enumerate((gradients[0].reshape(-1, 5), gradients[1])):
            moments[i] = 0.6 * moments[i] + gradient
            steps.append(gradient + 0.6 * moments[i])
        x = steps[0].T / np.linalg.norm(steps[0])
        for _ in range(3):
            square = x @ x.T
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        expected[0] = expected[0] * np.sqrt(5) / np.linalg.norm(expected[0]) - 0.1 * x.T
        expected[1] = expected[1] - 0.2 * steps[1]
    np.testing.assert_allclose(kernel.numpy().reshape(-1, 5), expected[0], atol=1e-4)
    np.testing.assert_allclose(bias.numpy(), expected[1], atol=1e-4)


def test_muons_decay_is_decoupled_where_the_recipe_says_so(data):
    weight = keras.Variable(np.ones((3, 2), np.float32))
    recipe = flat_recipe(
        1, optimizer="muon", momentum=0.6, learning_rate=0.1, weight_decay=0.5, non_kernel_lr_multiplier=2.0
    )
    optimizer = training.optimizer_of(recipe, 10)
    optimizer.build([weight])
    optimizer.apply([training.tf.fill((3, 2), 0.25)], [weight])
    np.testing.assert_allclose(weight.numpy(), 1 - 0.1 * 0.5 - 2 * 0.1 * 0.25, rtol=1e-6)


def loss_of(recipe, logits, labels, others=None, shares=None):
    return np.asarray(training._losses(recipe, 4)(logits, labels, others, shares))


def test_the_losses_are_their_formulas():
    stream = np.random.default_rng(0)
    logits, labels, others = stream.normal(size=(6, 4)).astype(np.float32), np.arange(6) % 4, (np.arange(6) + 1) % 4
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth, other = np.eye(4)[labels], np.eye(4)[others]
    expect = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    expect(loss_of(flat_recipe(1), logits, labels), -(truth * np.log(p)).sum(1))
    smooth = 0.8 * truth + 0.2 / 4
    expect(loss_of(flat_recipe(1, label_smoothing=0.2), logits, labels), -(smooth * np.log(p)).sum(1))
    expect(loss_of(flat_recipe(1, loss="mse"), logits, labels), ((truth - p) ** 2).mean(1))
    expect(loss_of(flat_recipe(1, loss="focal"), logits, labels), -(truth * (1 - p) ** 2 * np.log(p)).sum(1))
    shares = stream.uniform(size=6).astype(np.float32)
    mixed = shares[:, None] * truth + (1 - shares[:, None]) * other
    expect(loss_of(flat_recipe(1, mixup=0.2), logits, labels, others, shares), -(mixed * np.log(p)).sum(1))


@pytest.mark.parametrize("kind", ["ema", "lookahead"])
def test_averaged_weights_follow_their_rule(kind):
    weight = keras.Variable(np.float32([0.0]))
    model = types.SimpleNamespace(variables=[weight, keras.Variable(np.int32([7]), dtype="int32")])
    averages = training.Averages(model, kind, 20)
    assert len(averages.variables) == 1  # the state of a random layer is no number to average
    value, average = 0.0, 0.0
    for step in range(1, 21):
        value += 1.0
        weight.assign([value])
        averages.update(training.tf.constant(step))
        if kind == "ema":
            keep = min(0.999, (1 + step) / (10 + step))
            average = keep * average + (1 - keep) * value
        elif step % 5 == 0:
            keep = 0.95**5 * (step / 20) ** 3
            value = average = keep * average + (1 - keep) * value
        np.testing.assert_allclose([weight.numpy()[0], averages.variables[0].numpy()[0]], [value, average], rtol=1e-5)
    averages.swap()
    np.testing.assert_allclose([averages.variables[0].numpy()[0], weight.numpy()[0]], [value, average], rtol=1e-5)


def test_what_is_evaluated_and_kept_is_the_moving_average(data):
    model = built()
    fitted = training.fit(model, data, flat_recipe(epochs=3, learning_rate=0.01, averaging="ema"))
    logits = training.predict(model, data.validation_images)
    assert fitted.history["validation_accuracy"][-1] == training.accuracy(logits, data.validation_labels)
    assert fitted.history["validation_loss"][-1] == training.cross_entropy(logits, data.validation_labels)
    plain = built()
    training.fit(plain, data, flat_recipe(epochs=3, learning_rate=0.01))
    assert any((ours != theirs).any() for ours, theirs in zip(
        training.weights_of(model).values(), training.weights_of(plain).values(), strict=True))  # fmt: skip


def test_views_are_averaged_as_said(trained, data):
    predict = training.predictor(trained[0])
    images = data.test_images
    np.testing.assert_array_equal(training.average_of_views(predict, images, "single"), predict(images))
    mirrored = (predict(images) + predict(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(training.average_of_views(predict, images, "flip"), mirrored, atol=1e-6)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [padded[:, y : y + 32, y : y + 32] for y in (0, 2)]
    views = [view for image in moved for view in (image, image[:, :, ::-1])]
    expected = mirrored / 2 + sum(predict(view) for view in views) / 8
    np.testing.assert_allclose(training.average_of_views(predict, images, "multi_crop"), expected, atol=1e-6)


def test_a_whitening_layer_is_set_from_the_training_images_and_stays(data):
    model = built(models.airbench, widths=(4, 4, 4))
    layer = model.get_layer("whiten")
    training.set_from_images(model, data.train_images)
    kernel, bias = layer.kernel.numpy(), layer.bias.numpy()
    assert np.linalg.matrix_rank(kernel.reshape(12, 24)) == 12
    training.fit(model, data, flat_recipe(epochs=1, optimizer="sgd", learning_rate=0.1))
    np.testing.assert_array_equal(layer.kernel.numpy(), kernel)
    assert (layer.bias.numpy() != bias).any()


@tries(6)
@given(some.sampled_from(["flip", "translate", "mixup", "rotate", "cutout"]), some.integers(0, 3))
def test_augmented_images_are_what_an_epoch_trains_on(name, seed):
    data = tiny_dataset(train=40, validation=0, test=1)
    fields = {"flip": "alternating", "translate": 2, "mixup": 0.5, "rotate": 30.0, "cutout": 8}
    recipe = flat_recipe(epochs=2, batch_size=40, optimizer="sgd", learning_rate=1e-12, **{name: fields[name]})
    model = built()
    history = training.fit(model, data, recipe, seed=seed).history
    shown = augment.of_epoch(data.train_images, data.train_labels, recipe.augmentation, seed, 1)
    logits = model(shown.images.astype(np.float32), training=True)
    labels, shares = shown.labels.astype(np.int32), shown.shares
    losses = training._losses(recipe, 10)(logits, labels, shown.other_labels, shares)
    assert history["loss"][1] == pytest.approx(float(np.mean(losses)), rel=1e-3)


def test_the_history_tells_the_loss_and_accuracy_of_the_images_trained_on(data):
    model = built(models.v1_0)
    logits = training.predict(model, data.train_images)
    history = training.fit(model, data, flat_recipe(1, optimizer="sgd", learning_rate=1e-12)).history  # weights stay
    assert history["loss"] == [pytest.approx(training.cross_entropy(logits, data.train_labels), rel=1e-5)]
    assert history["accuracy"] == [pytest.approx(training.accuracy(logits, data.train_labels))]
    assert history["learning_rate"] == [1e-12]


def test_training_learns_what_can_be_learned(data):
    model = built()
    training.fit(model, data, flat_recipe(epochs=30, learning_rate=1e-2))
    assert training.accuracy(training.predict(model, data.test_images), data.test_labels) > 0.3  # a guess has 0.1


def test_the_history_has_a_number_an_epoch(trained):
    _, fitted, _ = trained
    assert fitted.status == "finished"
    assert fitted.epochs == 2
    assert {name: len(values) for name, values in fitted.history.items()} == dict.fromkeys(
        ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"), 2
    )
    assert fitted.history["learning_rate"] == [1e-3, 1e-3]


def test_without_validation_images_its_history_is_empty():
    fitted = training.fit(built(), tiny_dataset(validation=0), ONE_EPOCH)
    assert (fitted.status, fitted.history["validation_loss"], fitted.history["validation_accuracy"]) == (
        "finished",
        [],
        [],
    )
    assert len(fitted.history["accuracy"]) == 1


def test_predictions_accuracy_and_loss_are_kerass(trained, data):
    model = trained[0]
    logits = training.predict(model, data.test_images)
    assert (logits.dtype, logits.shape) == (np.float32, (60, 10))
    np.testing.assert_allclose(logits, model.predict(data.test_images.astype(np.float32), verbose=0), atol=1e-5)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    accuracy.update_state(data.test_labels, logits)
    assert training.accuracy(logits, data.test_labels) == pytest.approx(float(accuracy.result()))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(data.test_labels, logits)
    assert training.cross_entropy(logits, data.test_labels) == pytest.approx(float(loss), rel=1e-5)


def test_more_images_than_a_batch_are_predicted_in_their_order(trained, monkeypatch, data):
    whole = training.predict(trained[0], data.test_images)
    monkeypatch.setattr(training, "EVALUATION_BATCH", 7)
    np.testing.assert_allclose(training.predict(trained[0], data.test_images), whole, atol=1e-5)
    assert training.predict(trained[0], data.test_images[:0]).shape == (0, 10)


def test_a_sure_logit_has_a_finite_loss():
    assert training.cross_entropy(np.float32([[1e4, 0], [0, 1e4]]), np.array([0, 0])) == pytest.approx(5e3)


def test_weight_history_hold_the_weights_before_the_first_epoch_and_after_each(trained):
    model, fitted, before = trained
    assert len(fitted.weight_history) == 3
    for path, array in before.items():
        np.testing.assert_array_equal(fitted.weight_history[0][path], array)
    for path, array in training.weights_of(model).items():
        np.testing.assert_array_equal(fitted.weight_history[2][path], array)
    assert any((fitted.weight_history[1][path] != array).any() for path, array in before.items())


def test_weights_go_back_into_a_model_of_the_same_shape(data):
    model, other = built(models.v1_0), built(models.v1_0, seed=1)
    kept = {path: array.astype(np.float16) for path, array in training.weights_of(model).items()}
    assert set(kept) >= {"conv1/kernel", "logits/bias"}
    training.set_weights(other, kept)
    for path, array in training.weights_of(other).items():
        np.testing.assert_array_equal(array, kept[path].astype(np.float32))


@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_weights_of_another_model_are_refused_and_nothing_changes(change):
    model = built(models.v1_0)
    before = training.weights_of(model)
    arrays = {path: array + 1 for path, array in before.items()}
    if change == "shape":
        arrays["logits/bias"] = arrays["logits/bias"][:9]
    elif change == "missing":
        del arrays["logits/bias"]
    else:
        arrays["logits/scale"] = np.ones(10)
    with pytest.raises(ValueError, match=r"^These weights belong to another model: logits/\w+ differ\.$"):
        training.set_weights(model, arrays)
    for path, array in training.weights_of(model).items():
        np.testing.assert_array_equal(array, before[path])


def stand_in(data, **changes):
    """What has a dataset's attributes, but was never checked as one."""
    return types.SimpleNamespace(
        **{field.name: getattr(data, field.name) for field in dataclasses.fields(data)} | changes
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train_images": np.zeros((200, 32, 32, 3), np.float32)}, "Images must be uint8.*float32.*from 0 to 0"),
        ({"train_images": np.zeros((200, 32, 32), np.uint8)}, "Images must be uint8"),
        ({"train_images": np.zeros((200, 28, 28, 3), np.uint8)}, r"images of \(32, 32, 3\).*not of \(28, 28, 3\)"),
        ({"validation_images": np.zeros((50, 28, 28, 3), np.uint8)}, r"takes images of \(32, 32, 3\)"),
        ({"train_labels": np.full(200, 10)}, "Labels must be whole numbers from 0 to 9.*from 10 to 10"),
        ({"train_labels": np.full(200, -1)}, "Labels must be whole numbers from 0 to 9.*from -1 to -1"),
        ({"train_labels": np.full(200, 1.0)}, "Labels must be whole numbers.*float64"),
        ({"validation_labels": np.full(50, 10)}, "Labels must be whole numbers from 0 to 9"),
        ({"test_images": np.zeros((60, 28, 28, 3), np.uint8)}, r"takes images of \(32, 32, 3\)"),
        ({"test_labels": np.full(60, 10)}, "Labels must be whole numbers from 0 to 9"),
        ({"train_labels": np.zeros(0, int), "train_images": np.zeros((0, 32, 32, 3), np.uint8)}, "nothing to train on"),
    ],
    ids=[
        "float images", "grey images", "small images", "small validation images", "label 10", "label -1",
        "float labels", "validation label 10", "small test images", "test label 10", "no images",
    ],
)  # fmt: skip
def test_what_a_model_can_not_take_is_one_sentence(data, changes, said):
    model = built()
    before = training.weights_of(model)
    with pytest.raises(ValueError, match=said) as refused:
        training.fit(model, stand_in(data, **changes), ONE_EPOCH)
    assert "\n" not in str(refused.value)
    for path, array in training.weights_of(model).items():
        np.testing.assert_array_equal(array, before[path])


LOGITS = 10 * np.eye(4)[[3, 1, 2, 0]]


@pytest.mark.parametrize(
    "labels", [[3, 1, 2, 0], [[3], [1], [2], [0]], np.eye(4)[[3, 1, 2, 0]], np.eye(4, dtype=int)[[3, 1, 2, 0]]],
    ids=["(n,)", "(n, 1)", "one-hot", "one-hot integers"],
)  # fmt: skip
def test_labels_of_every_usual_form_are_the_same_labels(labels):
    assert training.accuracy(LOGITS, labels) == 1
    assert training.cross_entropy(LOGITS, labels) == pytest.approx(0.00014, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.ones((4, 4)), r"one-hot \(n, 4\), not \(4, 4\)"),
        ([3, 1, 2], "3 labels for the logits of 4 images"),
        ([3, 1, 2, 4], "whole numbers from 0 to 3"),
        ([0.5, 1, 2, 3], "whole numbers"),
    ],
)
def test_labels_of_other_forms_are_refused(labels, said):
    for measure in (training.accuracy, training.cross_entropy):
        with pytest.raises(ValueError, match=said):
            measure(LOGITS, labels)


def network(end, images=(32, 32, 3), **more):
    given = keras.Input(images, name="images")
    small = layers.GlobalAveragePooling2D()(given)
    return keras.Model(given, end(small), name="mine", **more)


def without_flatten():
    images = keras.Input((32, 32, 3))
    return keras.Model(images, layers.Dense(10)(images), name="mine")


def two_inputs():
    one, other = keras.Input((32, 32, 3)), keras.Input((3,))
    return keras.Model([one, other], layers.Dense(10)(layers.GlobalAveragePooling2D()(one) + other), name="mine")


class WithOwnStep(keras.Model):
    def train_step(self, data):
        return {}


def with_own_step():
    plain = network(layers.Dense(10))
    return WithOwnStep(plain.inputs, plain.outputs, name="mine")


def compiled():
    model = network(layers.Dense(10))
    model.compile("sgd", "mse")
    return model


WRONG_MODELS = {
    "own training": (with_own_step, "mine has a train_step of its own, which would be ignored"),
    "compiled": (compiled, "mine is compiled, and its loss and optimizer would be ignored: leave out compile"),
    "softmax": (
        lambda: network(layers.Dense(10, activation="softmax")),
        "mine ends in softmax, which the loss applies too",
    ),
    "a layer of softmax": (lambda: network(lambda x: layers.Softmax()(layers.Dense(10)(x))), "ends in softmax"),
    "an operation": (lambda: network(lambda x: keras.ops.softmax(layers.Dense(10)(x))), "ends in softmax"),
    "a function": (lambda: network(layers.Dense(10, activation=tf.nn.softmax)), "ends in softmax"),
    "log softmax": (lambda: network(layers.Dense(10, activation="log_softmax")), "ends in log_softmax"),
    "sigmoid": (lambda: network(layers.Dense(10, activation="sigmoid")), "ends in sigmoid"),
    "an operation that is a sigmoid": (lambda: network(lambda x: keras.ops.sigmoid(layers.Dense(10)(x))), "in sigmoid"),
    "TensorFlow's sigmoid, and dropout": (
        lambda: network(lambda x: layers.Dropout(0.1)(layers.Dense(10, activation=tf.nn.sigmoid)(x))),
        "ends in sigmoid",
    ),
    "images of any size": (
        lambda: network(layers.Dense(3), (None, None, 3)),
        r"mine takes images of any size.*keras\.Input\(\(32, 32, 3",
    ),
    "no Flatten": (without_flatten, r"mine ends in \(None, 32, 32, 10\), not in one number per class.*layers\.Flatten"),
    "one unit": (lambda: network(layers.Dense(1)), "not in one number per class"),
    "two heads": (
        lambda: network(lambda x: [layers.Dense(10, name="kind")(x), layers.Dense(4, name="colour")(x)]),
        "mine has 2 outputs, 'kind', 'colour': choose one",
    ),
    "two inputs": (two_inputs, "mine takes 2 inputs, .*the book trains networks with one"),
    "vectors": (lambda: keras.Sequential([keras.Input((8,)), layers.Dense(10)], name="mine"), "images .n, height"),
}


@pytest.mark.parametrize(("make", "said"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_a_model_that_the_protocol_can_not_train_is_one_sentence(data, make, said):
    with pytest.raises(ValueError, match=said) as refused:
        training.fit(make(), data, ONE_EPOCH)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_a_network_whose_last_layer_has_another_precision_is_trained(data, precision):
    model = network(layers.Dense(10, dtype=precision))
    trained = training.fit(model, data, ONE_EPOCH)
    assert trained.status == "finished" and np.isfinite(trained.history["validation_loss"]).all()
    assert training.predict(model, data.test_images).dtype == np.float32


def test_float_images_are_not_predicted(trained, data):
    with pytest.raises(
        ValueError, match="Images must be uint8.*values from 0 to .*pass them as the dataset holds them"
    ):
        training.predict(trained[0], data.test_images / 255)


@pytest.mark.parametrize(
    "recipe",
    [
        flat_recipe(epochs=5, optimizer="sgd", learning_rate=1e30),
        flat_recipe(5, 1000, optimizer="sgd", learning_rate=1e38),
    ],
    ids=["in the loss", "in the weights of the last step"],
)
def test_a_loss_that_is_no_number_ends_the_run_as_diverged(data, recipe):
    fitted = training.fit(built(models.v1_0), data, recipe)
    assert fitted.status == "diverged"
    assert fitted.epochs < 5
    assert len({len(values) for values in fitted.history.values()}) == 1
    assert all(np.isfinite(values).all() for values in fitted.history.values())


def test_a_limit_of_seconds_ends_the_run_with_the_epoch_it_began(data):
    fitted = training.fit(built(), data, flat_recipe(epochs=50), seconds=0)
    assert (fitted.status, fitted.epochs) == ("out of time", 1)
    assert len(fitted.history["validation_accuracy"]) == 1


def test_ctrl_c_keeps_the_weights_and_says_so(data, capsys):
    model, seen = built(), []

    def stop(history):
        seen.append(len(history["loss"]))
        if len(seen) == 2:
            raise KeyboardInterrupt

    fitted = training.fit(model, data, flat_recipe(epochs=5), on_epoch=stop, weight_history=True)
    assert (fitted.status, fitted.epochs, seen) == ("interrupted", 2, [1, 2])
    assert "Stopped after 2 of 5 epochs; the same call will begin anew." in capsys.readouterr().out
    for path, array in training.weights_of(model).items():
        np.testing.assert_array_equal(array, fitted.weight_history[-1][path])


def with_random_layers():
    """A network whose dropout draws from a state of its own, and whose batch norm has statistics to keep."""
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, 4)(layers.Rescaling(1 / 255)(images))
    x = layers.Dropout(0.5)(layers.ReLU()(layers.BatchNormalization()(x)))
    return keras.Model(images, layers.Dense(10)(layers.Flatten()(x)))


def stop_after(epochs):
    def stop(history):
        if len(history["loss"]) == epochs:
            raise KeyboardInterrupt

    return stop


RESUMED = {
    "plain": {},
    "augmented, averaged, scheduled": {
        "flip": "alternating", "translate": 2, "averaging": "ema", "schedule": "cosine", "warmup": 0.25,
    },
    "lookahead": {
        "optimizer": "sgd", "momentum": 0.85, "nesterov": True, "averaging": "lookahead", "weight_decay": 0.001,
        "decay": "coupled", "label_smoothing": 0.2, "beta_lr_multiplier": 8.0,
    },
    "muon": {"optimizer": "muon", "momentum": 0.6, "nesterov": True, "mixup": 0.2, "precision": "mixed_bfloat16"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "rotate": 20.0, "averaging": "ema"},
    "rmsprop": {"optimizer": "rmsprop", "loss": "mse", "schedule": "one_cycle", "warmup": 0.3},
    "lion": {"optimizer": "lion", "learning_rate": 1e-4, "loss": "focal", "schedule": "exponential",
             "final_fraction": 0.01, "vertical_flip": True},
    "muon without scaling": {"optimizer": "muon", "momentum": 0.9, "learning_rate": 0.01, "scale_kernels": False},
    "early stopping that never stops": {"early_stopping": 3, "schedule": "step", "cutout": 8},
}  # fmt: skip


def fit_with_checkpoint(data, path, identity="a run", fields=None, **arguments):
    training.set_seed(7)
    model = with_random_layers()
    recipe = flat_recipe(epochs=4, **fields or {})
    fitted = training.fit(
        model, data, recipe, seed=7, weight_history=True, checkpoint=path, identity=identity, **arguments
    )
    return training.weights_of(model), fitted


def assert_same_run(one, other):
    (weights, fitted), (other_weights, other_fitted) = one, other
    assert fitted.status == other_fitted.status == "finished"
    for name in fitted.history.keys() - {"seconds"}:
        assert fitted.history[name] == other_fitted.history[name], name
    assert len(fitted.weight_history) == len(other_fitted.weight_history) == 5
    for kept, others in zip(
        [weights, *fitted.weight_history], [other_weights, *other_fitted.weight_history], strict=True
    ):
        # Keras counts names on within a process: the order of weights is what two models share.
        for array, expected in zip(kept.values(), others.values(), strict=True):
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("fields", "stops"),
    [(RESUMED["plain"], (1,)), (RESUMED["plain"], (1, 2, 3)), *((fields, (2, 3)) for fields in RESUMED.values())],
    ids=["one stop", "three stops", *RESUMED],
)
def test_a_stopped_run_goes_on_bit_for_bit_as_if_it_had_not(whole_batches, tmp_path, capsys, fields, stops):
    data = whole_batches
    whole = fit_with_checkpoint(data, tmp_path / "whole.npz", fields=fields)
    for epochs in stops:
        _, stopped = fit_with_checkpoint(data, tmp_path / "stopped.npz", fields=fields, on_epoch=stop_after(epochs))
        assert (stopped.status, stopped.epochs) == ("interrupted", epochs)
        assert f"Stopped after {epochs} of 4 epochs; the same call will go on from there." in capsys.readouterr().out
    seen = []

    def see(history):
        seen.append(len(history["loss"]))

    resumed = fit_with_checkpoint(data, tmp_path / "stopped.npz", fields=fields, on_epoch=see)
    assert seen == list(range(stops[-1] + 1, 5))
    assert_same_run(whole, resumed)


def worse_validation(data):
    """Data whose validation images have other images' labels: the better a network learns, the higher their loss."""
    return dataclasses.replace(data, validation_labels=(data.validation_labels + 5) % 10)


EARLY = flat_recipe(epochs=12, optimizer="sgd", learning_rate=0.05, momentum=0.9, early_stopping=2)


def test_early_stopping_ends_a_run_and_gives_back_the_weights_of_its_best_epoch(data):
    data, model = worse_validation(data), built()
    fitted = training.fit(model, data, EARLY, weight_history=True)
    losses = fitted.history["validation_loss"]
    best = int(np.argmin(losses))
    assert fitted.status == "finished"
    assert fitted.epochs == best + 1 + 2 < 12
    assert EARLY.kept_epoch(fitted.history) == best
    assert EARLY.is_whole(fitted.history)
    for path, array in training.weights_of(model).items():
        np.testing.assert_array_equal(array, fitted.weight_history[best + 1][path])
    loss = training.cross_entropy(training.predict(model, data.validation_images), data.validation_labels)
    assert loss == pytest.approx(losses[best], abs=1e-6)


@pytest.mark.parametrize("back", [1, 2, 3])
def test_a_run_that_was_stopped_early_is_the_same_after_an_interruption(data, tmp_path, back):
    data = worse_validation(data)

    def fitted(path, on_epoch=None):
        model = built()
        ended = training.fit(model, data, EARLY, checkpoint=path, identity="a run", on_epoch=on_epoch)
        return ended, training.weights_of(model)

    whole, expected = fitted(tmp_path / "whole.npz")
    stopped, _ = fitted(tmp_path / "stopped.npz", stop_after(whole.epochs + 1 - back))
    assert stopped.status == "interrupted"
    resumed, weights = fitted(tmp_path / "stopped.npz")
    assert (resumed.status, resumed.epochs) == ("finished", whole.epochs)
    for array, other in zip(weights.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(array, other)


def test_without_validation_images_early_stopping_is_refused():
    with pytest.raises(ValueError, match="^Early stopping is decided on validation images, and tiny has none"):
        training.fit(built(), tiny_dataset(validation=0), EARLY)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    return fit_with_checkpoint(data, tmp_path_factory.mktemp("undisturbed") / "whole.npz")


@pytest.mark.parametrize("damage", ["another run", "cut in half", "empty", "text", "pickled", "lacking"])
def test_from_a_checkpoint_that_is_not_its_own_a_run_begins_anew(data, undisturbed, tmp_path, damage):
    path = tmp_path / "stopped.npz"
    fit_with_checkpoint(data, path, on_epoch=stop_after(2), identity="another" if damage == "another run" else "a run")
    content = path.read_bytes()
    if damage == "pickled":
        np.savez(path, identity=np.array(["a run", None], object))
    elif damage == "lacking":
        np.savez(path, identity=np.array("a run"), history=np.array("{}"), variable0=np.zeros(3))
    else:
        cut = {"cut in half": content[: len(content) // 2], "empty": b"", "text": b"hello"}.get(damage, content)
        path.write_bytes(cut)
    seen = []
    again = fit_with_checkpoint(data, path, on_epoch=lambda history: seen.append(len(history["loss"])))
    assert seen == [1, 2, 3, 4]
    assert_same_run(undisturbed, again)


KILLED = """
import sys
sys.path.insert(0, "tests")
from helpers import flat_recipe, tiny_dataset
from shathenet_utils import models, runner
from shathenet_utils.experiment import custom_experiment
from shathenet_utils.recipes import Recipe

def my_network():
    return models.v1_0()

say = lambda history: print("epoch", len(history["loss"]), flush=True)
runs = runner.train(custom_experiment(my_network, flat_recipe(epochs=12), seeds=[0]), data=tiny_dataset(), on_epoch=say)
record = runs.recorded["my_network"][0]
del record["history"]["seconds"]
print(record["history"], record["test_predictions"])
"""


def test_a_killed_process_goes_on_from_its_last_epoch_to_the_same_record(tmp_path):
    def start(folder):
        environment = {name: value for name, value in os.environ.items() if name != "SHATHENET_LIVE_SECONDS"}
        environment["SHATHENET_OUTPUT"] = str(tmp_path / folder)
        return subprocess.Popen(
            [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
            env=environment,
        )  # fmt: skip

    with start("whole") as run:
        whole = run.communicate(timeout=120)[0].splitlines()
    with start("killed") as run:
        while run.stdout.readline() != "epoch 5\n":
            assert run.poll() is None
        run.kill()
    with start("killed") as run:
        resumed = run.communicate(timeout=120)[0].splitlines()
    assert resumed[0] in ("epoch 6", "epoch 7", "epoch 8")  # the kill came after one of these began
    assert resumed[-1] == whole[-1]
    left = [path.name for path in (tmp_path / "killed").rglob("*") if path.is_file()]
    assert left == ["seed0.json"]


INTERRUPTED = """
import sys
sys.path.insert(0, "tests")
from helpers import flat_recipe, tiny_dataset
from shathenet_utils import models, runner
from shathenet_utils.experiment import custom_experiment
from shathenet_utils.recipes import Recipe

def my_network():
    return models.v1_0()

say = lambda history: print("epoch", len(history["loss"]), flush=True)
runs = runner.train(custom_experiment(my_network, flat_recipe(epochs=100_000)), data=tiny_dataset(), on_epoch=say)
print(runs.recorded)
"""


def test_a_real_ctrl_c_ends_politely_and_writes_no_record(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "SHATHENET_LIVE_SECONDS"}
    environment["SHATHENET_OUTPUT"] = str(tmp_path)
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as run:
        assert run.stdout.readline() == "epoch 1\n"
        run.send_signal(signal.SIGINT)
        printed, complained = run.communicate(timeout=60)
    assert run.returncode == 0, complained
    assert "Traceback" not in complained
    assert re.search(r"Stopped after \d+ of 100000 epochs; the same call will go on from there\.", printed)
    assert printed.endswith("{}\n")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["seed0.npz"]  # to go on from


def test_progress_shows_accuracy_and_time_left(data, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    training.fit(built(), data, flat_recipe(epochs=3), description="v1_0 seed 0")
    printed, shown = capsys.readouterr()
    assert "v1_0 seed 0" in shown
    assert re.search(r"\d\d:\d\d<\d\d:\d\d.*validation accuracy \d+\.\d%", shown)
    assert printed == ""


def test_in_a_notebook_progress_is_a_widget_that_goes_when_it_is_done(data, monkeypatch):
    import ipykernel

    shown = []
    monkeypatch.setitem(sys.modules, "ipykernel", ipykernel)
    monkeypatch.setattr("tqdm.notebook.display", shown.append)
    training.fit(built(), data, flat_recipe(epochs=3), description="v1_0 seed 0")
    bar = shown[0]
    words = f"{bar.children[0].value} {bar.children[2].value}".replace("\u2007", " ")
    assert re.search(r"v1_0 seed 0.*\d\d:\d\d&lt;\d\d:\d\d.*validation accuracy \d+\.\d%", words)
    assert bar.comm is None  # closed
