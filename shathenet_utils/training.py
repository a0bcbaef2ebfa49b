"""Train one network: seed, step, epoch, evaluation, progress. Nothing here knows of experiments or records.

The steps of an epoch run inside one TensorFlow function, a hundred at a call, on images that lie in
memory: no tf.data iterator, whose teardown can cost more than an epoch. Every random stream is keyed by
(seed, epoch), so that an epoch's order does not depend on what ran before it. A second thread makes the next epoch's
images while this one trains.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shathenet_utils import augment, checkpoints, interrupts, progress
from shathenet_utils.backend import keras, ops, tf
from shathenet_utils.blocks import set_from_images
from shathenet_utils.checks import check_images, check_labels, check_model
from shathenet_utils.datasets import Dataset
from shathenet_utils.fuse import fuse_layers
from shathenet_utils.optimizers import Averages, BestWeights, learning_rate, optimizer_of
from shathenet_utils.recipes import Recipe

IMAGES_PER_CALL = 6400
STEPS_PER_CALL = 100
"""A call of the compiled steps takes about a second at most: as many as make 6,400 images, no more than a hundred."""
EVALUATION_BATCH = 500


@dataclasses.dataclass
class Training:
    """What a call of `fit` leaves.

    status: "finished"; "diverged" (the loss was no longer a finite number); "interrupted" (Ctrl-C); "out of time".
    history: a list a quantity with one number an epoch: loss and accuracy on the training images as they
    were trained on, validation_loss and validation_accuracy after the epoch (empty without validation images),
    learning_rate, seconds. weight_history: weights after epoch 0 (untrained), 1, 2 …, where asked for.
    """

    status: str
    history: dict[str, list[float]]
    weight_history: list[dict[str, np.ndarray]]

    @property
    def epochs(self) -> int:
        """How many epochs were begun and evaluated."""
        return len(self.history["loss"])


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow from one number; call it before the model is built."""
    keras.utils.set_random_seed(seed)


def predictor(model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 images (n, h, w, c) to float32 logits (n, classes), in inference mode."""
    fast = fuse_layers(model)

    @tf.function(reduce_retracing=True, jit_compile=False)
    def forward(images):
        return tf.cast(fast(tf.cast(images, tf.float32), training=False), tf.float32)

    def predict(images):
        images = check_images(images, model.input_shape[1:])
        batches = [forward(images[i : i + EVALUATION_BATCH]) for i in range(0, len(images), EVALUATION_BATCH)]
        return (
            np.concatenate([batch.numpy() for batch in batches]) if batches else np.empty((0, *model.output_shape[1:]))
        )

    return predict


def predict(model, images) -> np.ndarray:
    """Logits of uint8 images (n, h, w, c): float32 (n, classes). Raises ValueError for images in another range."""
    return predictor(model)(images)


def accuracy(logits, labels) -> float:
    """The fraction of rows whose largest logit is the label's; logits (n, classes), labels as for `check_labels`."""
    logits, labels = _pairs(logits, labels)
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def cross_entropy(logits, labels) -> float:
    """The mean negative log-probability, in nats, of the labels under softmax(logits); both as for `accuracy`."""
    logits, labels = _pairs(logits, labels)
    shifted = np.float64(logits) - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


def _pairs(logits, labels) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels that belong together. Raises ValueError for others."""
    logits = np.asarray(logits)
    labels = check_labels(labels, logits.shape[1])
    if len(labels) != len(logits):
        raise ValueError(f"There are {len(labels)} labels for the logits of {len(logits)} images.")
    return logits, labels


def weights_of(model) -> dict[str, np.ndarray]:
    """The model's weights by path ("conv1/kernel"), float32."""
    return {weight.path: weight.numpy() for weight in model.weights}


def set_weights(model, arrays: dict[str, np.ndarray]) -> None:
    """Put weights that `weights_of` took back. Raises ValueError where names or shapes are another model's."""
    expected = {weight.path: tuple(weight.shape) for weight in model.weights}
    given = {path: array.shape for path, array in arrays.items()}
    if expected != given:
        differing = sorted(path for path in expected.keys() | given.keys() if expected.get(path) != given.get(path))
        raise ValueError(f"These weights belong to another model: {', '.join(differing)} differ.")
    for weight in model.weights:
        weight.assign(arrays[weight.path])


def _losses(recipe: Recipe, classes: int) -> Callable:
    """A function from (logits, labels, other labels, shares) to one loss a image; the last two None where nothing is
    mixed."""
    if recipe.loss == "cross_entropy" and not recipe.label_smoothing and not recipe.augmentation.mixup:
        return lambda logits, labels, others, shares: keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )

    def losses(logits, labels, others, shares):
        truth = tf.one_hot(labels, classes)
        if shares is not None:
            truth = shares[:, None] * truth + (1 - shares[:, None]) * tf.one_hot(others, classes)
        truth = truth * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
        if recipe.loss == "mse":
            return keras.losses.mean_squared_error(truth, ops.softmax(logits))
        if recipe.loss == "focal":
            return keras.losses.categorical_focal_crossentropy(truth, logits, alpha=1.0, gamma=2.0, from_logits=True)
        return keras.losses.categorical_crossentropy(truth, logits, from_logits=True)

    return losses


def epoch_function(model, optimizer, recipe: Recipe, averages: Averages):
    """A function that takes steps: (images, labels, other labels, shares, indices (steps, batch)) → (sum of losses,
    number right). Of mixed images the first label counts as right."""
    fast = fuse_layers(model)
    variables = model.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if len(variable.shape) < 2])
    optimizer.build(variables)
    losses_of = _losses(recipe, model.output_shape[-1])
    faster = {
        variable.path: recipe.optimizer.beta_lr_multiplier
        for variable in variables
        if variable.path.endswith("/beta") and recipe.optimizer.beta_lr_multiplier != 1
    }
    coupled = recipe.optimizer.weight_decay if recipe.optimizer.decay == "coupled" else 0

    def changed(gradient, variable):
        """A gradient as the recipe changes it: faster shifts, coupled decay."""
        if variable.path in faster:
            return gradient * faster[variable.path]
        return gradient + coupled * variable if coupled and len(variable.shape) > 1 else gradient

    @tf.function(reduce_retracing=False, jit_compile=False)
    def take_steps(images, labels, others, shares, indices):
        total, right = tf.constant(0.0), tf.constant(0)
        for step in tf.range(tf.shape(indices)[0]):
            batch, answers = tf.gather(images, indices[step]), tf.gather(labels, indices[step])
            mixed = None if others is None else (tf.gather(others, indices[step]), tf.gather(shares, indices[step]))
            with tf.GradientTape() as tape:
                logits = tf.cast(fast(tf.cast(batch, tf.float32), training=True), tf.float32)
                losses = losses_of(logits, answers, *(mixed or (None, None)))
                loss = tf.reduce_mean(losses) + sum(model.losses)
            gradients = tape.gradient(loss, variables)
            gradients = [changed(gradient, variable) for gradient, variable in zip(gradients, variables, strict=True)]
            optimizer.apply(gradients, variables)
            averages.update(optimizer.iterations)
            total += tf.reduce_sum(losses)
            right += tf.reduce_sum(tf.cast(tf.equal(ops.argmax(logits, axis=-1), answers), tf.int32))
        return total, right

    return take_steps


def steps_per_call(recipe: Recipe) -> int:
    """How many steps a call of the compiled function takes."""
    return max(1, min(STEPS_PER_CALL, IMAGES_PER_CALL // recipe.batch_size))


def average_of_views(predict: Callable, images, views: str) -> np.ndarray:
    """Logits averaged over several views of each image, float32 (n, classes); images: uint8 (n, h, w, c).

    views: "single"; "flip", the image and its mirror image; "multi_crop", half of that, and half the same of the
    image moved by a pixel up and left, and down and right (K. Jordan, airbench, 2024).
    """

    def mirrored(images):
        return (predict(images) + predict(images[:, :, ::-1])) / 2

    if views == "single":
        return predict(images)
    if views == "flip":
        return mirrored(images)
    moved = [mirrored(augment.shifted(images, pixels, pixels)) for pixels in (-1, 1)]
    return mirrored(images) / 2 + sum(moved) / 4


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which epoch `epoch` (from 0) of a run with this seed sees `count` images: int32 (count,)."""
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)


def fit(
    model,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    seconds: float | None = None,
    on_epoch: Callable[[dict], None] | None = None,
    weight_history: bool = False,
    description: str | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
) -> Training:
    """Train `model` in place on `data`'s training images, as `recipe` says.

    seed: of the order of images; the initial weights were drawn when the model was built (see `set_seed`). seconds:
    stop after about so long; the epoch begun then counts as one. on_epoch: is called with the history after each epoch.
    weight_history: keep all weights of every epoch. checkpoint: a file that each epoch rewrites (see `checkpoints`),
    and from which a run of the same `identity` goes on, bit for bit as if it had never stopped; the caller removes it.

    Ctrl-C stops it safely: the model keeps the weights it has, and `status` says "interrupted".
    Raises ValueError for a model that can't be trained so (see `check_model`), for images or labels that it can't take,
    FileError where a checkpoint can't be written.
    """
    check_model(model)
    classes = model.output_shape[-1]
    if len(data.train_labels) == 0:
        raise ValueError(f"There is nothing to train on: {data.name} has no training images.")
    images = check_images(data.train_images, model.input_shape[1:])
    labels = check_labels(data.train_labels, classes)
    for part in ("validation", "test"):  # the test set too: not only after the last epoch
        check_images(getattr(data, f"{part}_images"), model.input_shape[1:])
        check_labels(getattr(data, f"{part}_labels"), classes)
    if recipe.early_stopping and len(data.validation_labels) == 0:
        raise ValueError(f"Early stopping is decided on validation images, and {data.name} has none.")
    count = len(images)
    steps_an_epoch = math.ceil(count / recipe.batch_size)
    steps = recipe.epochs * steps_an_epoch
    constant = isinstance(learning_rate(recipe, steps), float | int)
    per_call = steps_per_call(recipe)
    optimizer = optimizer_of(recipe, steps)
    set_from_images(model, images)
    averages = Averages(model, recipe.averaging, steps)
    best = BestWeights(model, recipe)
    take_steps = epoch_function(model, optimizer, recipe, averages)
    predict_fast = predictor(model)
    variables = [*model.variables, *optimizer.variables, *averages.variables, *best.variables]

    names = ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
    history = {name: [] for name in names}
    kept = [weights_of(model)] if weight_history else []
    if checkpoint and (found := checkpoints.load(checkpoint, identity, variables, model, weight_history)):
        history, kept = found
    first = len(history["loss"])
    status = "finished"
    begun = time.perf_counter()

    def images_of(epoch):
        """What an epoch trains on, as tensors."""
        return [
            part if part is None else tf.constant(part)
            for part in augment.of_epoch(images, labels, recipe.augmentation, seed, epoch)
        ]

    with (
        progress.bar(steps, description or model.name, unit="step", initial=first * steps_an_epoch) as bar,
        ThreadPoolExecutor(1, "augment") as preparing,
        interrupts.held() as take_interrupt,
    ):
        try:
            coming = preparing.submit(images_of, first)
            for epoch in range(first, recipe.epochs):
                if recipe.stops_after(history):
                    break
                epoch_begun = time.perf_counter()
                shown = coming.result()
                if recipe.augmentation.changes_images and epoch + 1 < recipe.epochs:
                    coming = preparing.submit(images_of, epoch + 1)
                rate = recipe.learning_rate if constant else float(optimizer.learning_rate)
                order = epoch_order(seed, epoch, count)
                whole = count // recipe.batch_size * recipe.batch_size
                batches = order[:whole].reshape(-1, recipe.batch_size)
                calls = [batches[i : i + per_call] for i in range(0, len(batches), per_call)]
                if whole < count:
                    calls.append(order[None, whole:])
                total, right, seen = 0.0, 0, 0
                for indices in calls:
                    loss, correct = take_steps(*shown, tf.constant(indices))
                    take_interrupt()
                    total, right, seen = total + float(loss), right + int(correct), seen + indices.size
                    bar.update(len(indices))
                    if not math.isfinite(total):
                        status = "diverged"
                        break
                    if seconds is not None and time.perf_counter() - begun > seconds:
                        status = "out of time"
                        break
                if status == "diverged":
                    break
                ends = epoch + 1 == recipe.epochs or status == "out of time"
                averaged = recipe.averaging == "ema" or (recipe.averaging == "lookahead" and ends)
                if averaged:
                    averages.swap()
                logits = predict_fast(data.validation_images)
                if not np.isfinite(logits).all():  # the last step's weights: no loss has seen them yet
                    status = "diverged"
                    break
                history["loss"].append(total / seen)
                history["accuracy"].append(right / seen)
                if len(data.validation_labels):
                    history["validation_loss"].append(cross_entropy(logits, data.validation_labels))
                    history["validation_accuracy"].append(accuracy(logits, data.validation_labels))
                    bar.set_postfix_str(f"validation accuracy {history['validation_accuracy'][-1]:.1%}")
                else:
                    bar.set_postfix_str(f"accuracy {history['accuracy'][-1]:.1%}")
                history["learning_rate"].append(rate)
                history["seconds"].append(round(time.perf_counter() - epoch_begun, 3))
                if weight_history:
                    kept.append(weights_of(model))
                if averaged and not ends:
                    averages.swap()
                best.update(history)
                if checkpoint:
                    checkpoints.save(checkpoint, identity, variables, history, kept)
                if on_epoch:
                    on_epoch(history)
                if status == "out of time":
                    break
            take_interrupt()
        except KeyboardInterrupt:
            status = "interrupted"
    if status == "finished":
        best.restore()
    if status == "interrupted":
        onward = "go on from there" if checkpoint and history["loss"] else "begin anew"
        print(f"Stopped after {len(history['loss'])} of {recipe.epochs} epochs; the same call will {onward}.")
    return Training(status, history, kept)
