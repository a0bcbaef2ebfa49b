"""Train one network: seed, step, epoch, evaluation, progress. Nothing here knows of experiments or records.

The steps of an epoch run inside one TensorFlow function, a hundred at a call, on pictures that lie in
memory: no tf.data iterator, whose teardown can cost more than an epoch. Every random stream is keyed by
(seed, epoch), so that an epoch's order does not depend on what ran before it. A second thread makes the next epoch's
pictures while this one trains.
"""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shathenet_utils import augment, progress, records
from shathenet_utils.blocks import Whitening, fast_form, keras, ops, tf
from shathenet_utils.datasets import Dataset
from shathenet_utils.recipes import Recipe

PICTURES_PER_CALL = 6400
STEPS_PER_CALL = 100
"""A call of the compiled steps takes about a second at most: as many as make 6,400 pictures, no more than a hundred."""
EVALUATION_BATCH = 500


@dataclasses.dataclass
class Training:
    """What a call of `fit` leaves.

    status: "finished"; "diverged" (the loss was no longer a finite number); "interrupted" (Ctrl-C); "out of time".
    history: a list a quantity with one number an epoch: loss and accuracy on the training images as they
    were trained on, validation_loss and validation_accuracy after the epoch (empty without validation images),
    learning_rate, seconds. snapshots: weights after epoch 0 (untrained), 1, 2 …, where asked for.
    """

    status: str
    history: dict[str, list[float]]
    snapshots: list[dict[str, np.ndarray]]

    @property
    def epochs(self) -> int:
        """How many epochs were begun and evaluated."""
        return len(self.history["loss"])


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow from one number; call it before the model is built."""
    keras.utils.set_random_seed(seed)


def check_images(images, shape: tuple = (None, None, None)) -> np.ndarray:
    """The pictures as they came, if they are uint8 (n, height, width, channels); ValueError otherwise.

    shape: what a model takes, (height, width, channels), None where it takes any.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        hint = ""
        if images.size and np.issubdtype(images.dtype, np.floating):
            hint = f" with values from {images.min():.3g} to {images.max():.3g}"
        raise ValueError(
            f"Pictures must be uint8, (n, height, width, channels), values 0 to 255, not {images.dtype} "
            f"{images.shape}{hint}: pass them as the dataset holds them; the model scales them itself."
        )
    if any(want not in (None, size) for want, size in zip(shape, images.shape[1:], strict=True)):
        raise ValueError(f"The model takes pictures of {shape} (height, width, channels), not of {images.shape[1:]}.")
    return images


def check_labels(labels, classes: int) -> np.ndarray:
    """The labels as int32, (n,), if all lie in 0…classes − 1; ValueError otherwise."""
    labels = np.asarray(labels)
    if labels.size == 0:
        return labels.astype(np.int32)
    if not np.issubdtype(labels.dtype, np.integer) or not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"Labels must be whole numbers from 0 to {classes - 1}, as many classes as the model has outputs, "
            f"not {labels.dtype} from {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int32)


def predictor(model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 pictures (n, h, w, c) to float32 logits (n, classes), in inference mode."""
    fast = fast_form(model)

    @tf.function(reduce_retracing=True, jit_compile=False)
    def forward(images):
        return fast(tf.cast(images, tf.float32), training=False)

    def predict(images):
        images = check_images(images, model.input_shape[1:])
        batches = [forward(images[i : i + EVALUATION_BATCH]) for i in range(0, len(images), EVALUATION_BATCH)]
        return (
            np.concatenate([batch.numpy() for batch in batches]) if batches else np.empty((0, *model.output_shape[1:]))
        )

    return predict


def predict(model, images) -> np.ndarray:
    """Logits of uint8 pictures (n, h, w, c): float32 (n, classes). Raises ValueError for pictures in another range."""
    return predictor(model)(images)


def accuracy(logits, labels) -> float:
    """The fraction of rows whose largest logit is the label's; logits (n, classes), labels (n,)."""
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def cross_entropy(logits, labels) -> float:
    """The mean negative log-probability, in nats, of the labels under softmax(logits)."""
    shifted = np.float64(logits) - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]))


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


def learning_rate(recipe: Recipe, steps: int):
    """The recipe's schedule over a run of `steps` steps: a number, or one of Keras's schedules (step → rate)."""
    peak, warm = recipe.learning_rate, round(recipe.warmup * steps)
    schedules = keras.optimizers.schedules
    if recipe.schedule == "step":
        rates = [peak * recipe.drop**count for count in range(len(recipe.drops) + 1)]
        return schedules.PiecewiseConstantDecay([round(drop * steps) for drop in recipe.drops], rates)
    if recipe.schedule in ("cosine", "one_cycle"):
        if warm:
            return schedules.CosineDecay(recipe.start * peak, max(1, steps - warm), recipe.end, "cosine", peak, warm)
        return schedules.CosineDecay(peak, steps, recipe.end)
    falling = None
    if recipe.schedule == "exponential":
        falling = schedules.ExponentialDecay(peak, max(1, steps - warm), recipe.end)
    if recipe.schedule == "linear":
        falling = schedules.PolynomialDecay(peak, max(1, steps - warm), recipe.end * peak)
    if falling is None and not warm:
        return peak
    return WarmUp(peak, recipe.start, warm, falling) if warm else falling


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A straight rise from `start` · peak to the peak in `steps` steps, then another schedule from its beginning, or
    none."""

    def __init__(self, peak: float, start: float, steps: int, after=None):
        self.peak, self.start, self.steps, self.after = peak, start, steps, after

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = self.peak * (self.start + (1 - self.start) * step / self.steps)
        falling = self.after(ops.maximum(step - self.steps, 0)) if self.after else self.peak
        return ops.where(step < self.steps, rising, falling)

    def get_config(self):
        return {"peak": self.peak, "start": self.start, "steps": self.steps, "after": self.after}


class Muon(keras.optimizers.Muon):
    """Muon for the kernels of convolutions, taken as matrices (height · width · inputs, filters); Nesterov SGD for the
    rest.

    A kernel's step is the momentum of its gradient with all its singular values made about 1 (three Newton–Schulz
    steps), times the learning rate; before it the kernel is scaled to norm √filters. Keras's own class gives Muon to
    matrices alone. Source: K. Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; the details
    are those of airbench94_muon.py in github.com/KellerJordan/cifar10-airbench.
    """

    def __init__(self, learning_rate, momentum: float, nesterov: bool, rest_rate: float, weight_decay=None, steps=3):
        super().__init__(
            learning_rate, momentum=momentum, nesterov=nesterov, ns_steps=steps, rms_rate=None,
            weight_decay=weight_decay,
        )  # fmt: skip
        self.rest_rate = rest_rate

    def _should_use_adamw(self, variable):
        return False  # no second moments: what is no kernel takes SGD

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.momentum * momentum + gradient)
        step = gradient + self.momentum * momentum if self.nesterov else ops.convert_to_tensor(momentum)
        if len(variable.shape) != 4:
            self.assign_sub(variable, self.rest_rate * learning_rate * step)
            return
        filters = variable.shape[-1]
        matrix = self.zeropower_via_newtonschulz5(ops.reshape(step, (-1, filters)), self.ns_steps)
        scaled = variable * (filters**0.5 / ops.norm(ops.reshape(variable, (-1,))))
        self.assign(variable, scaled - learning_rate * ops.reshape(matrix, variable.shape))


def optimizer_of(recipe: Recipe, steps: int):
    """The Keras optimizer that a recipe names, for a run of `steps` steps; not yet built."""
    rate = learning_rate(recipe, steps)
    decay = recipe.weight_decay if recipe.weight_decay and recipe.decay == "decoupled" else None
    kinds, momentum = keras.optimizers, recipe.momentum
    if recipe.optimizer == "muon":
        return Muon(rate, momentum, recipe.nesterov, recipe.rest_rate, decay)
    if recipe.optimizer == "sgd":
        return kinds.SGD(rate, momentum=momentum, nesterov=recipe.nesterov, weight_decay=decay)
    if recipe.optimizer == "rmsprop":
        return kinds.RMSprop(rate, momentum=momentum, weight_decay=decay)
    if recipe.optimizer == "adamw":
        return kinds.AdamW(rate, weight_decay=decay or 0.0)
    return {"adam": kinds.Adam, "lion": kinds.Lion}[recipe.optimizer](rate, weight_decay=decay)


def _losses(recipe: Recipe, classes: int) -> Callable:
    """A function from (logits, labels, other labels, shares) to one loss a picture; the last two None where nothing is
    mixed."""
    if recipe.loss == "cross_entropy" and not recipe.label_smoothing and not recipe.mixup:
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


LOOKAHEAD_EVERY = 5


class Averages:
    """A moving average of every float variable of a model, batch norm's statistics too; `kind` as in
    `Recipe.averaging`.

    "ema": after each step, 0.999 of the average stays, less in the first steps. "lookahead": every five steps,
    0.95⁵ · (step / steps)³ of it stays, and the model goes on from the average.
    """

    def __init__(self, model, kind: str, steps: int):
        self.kind, self.steps = kind, steps
        self.originals = [v for v in model.variables if "float" in v.dtype] if kind != "none" else []
        self.variables = [keras.Variable(v, dtype=v.dtype, trainable=False, name="average") for v in self.originals]

    def update(self, step) -> None:
        """Move the averages after step number `step`, from 1; part of the graph."""
        step = tf.cast(step, tf.float32)
        if self.kind == "ema":
            keep = tf.minimum(0.999, (1 + step) / (10 + step))
            for average, variable in zip(self.variables, self.originals, strict=True):
                average.assign(keep * average + (1 - keep) * variable)
        if self.kind == "lookahead" and tf.equal(tf.math.floormod(step, LOOKAHEAD_EVERY), 0):
            keep = 0.95**LOOKAHEAD_EVERY * (step / self.steps) ** 3
            for average, variable in zip(self.variables, self.originals, strict=True):
                average.assign(keep * average + (1 - keep) * variable)
                variable.assign(average)

    def swap(self) -> None:
        """Averages and weights change places: before what is evaluated, and after it."""
        for average, variable in zip(self.variables, self.originals, strict=True):
            kept = variable.numpy()
            variable.assign(average)
            average.assign(kept)


def epoch_function(model, optimizer, recipe: Recipe, averages: Averages):
    """A function that takes steps: (images, labels, other labels, shares, indices (steps, batch)) → (sum of losses,
    number right). Of mixed pictures the first label counts as right."""
    fast = fast_form(model)
    variables = model.trainable_variables
    optimizer.exclude_from_weight_decay(var_list=[variable for variable in variables if len(variable.shape) < 2])
    optimizer.build(variables)
    losses_of = _losses(recipe, model.output_shape[-1])
    faster = {
        variable.path: recipe.bias_rate
        for variable in variables
        if variable.path.endswith("/beta") and recipe.bias_rate != 1
    }
    coupled = recipe.weight_decay if recipe.decay == "coupled" else 0

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
                logits = fast(tf.cast(batch, tf.float32), training=True)
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
    return max(1, min(STEPS_PER_CALL, PICTURES_PER_CALL // recipe.batch_size))


def whiten(model, images) -> None:
    """Give every `Whitening` layer of the model its kernel, from the first 5,000 training pictures, uint8 (n, h, w,
    c)."""
    for layer in model.layers:
        if isinstance(layer, Whitening):
            before = keras.Model(model.input, layer.input)
            layer.set_from(before(tf.cast(images[:5000], tf.float32), training=False).numpy())


def average_of_views(predict: Callable, images, views: str) -> np.ndarray:
    """Logits averaged over several views of each picture, float32 (n, classes); images: uint8 (n, h, w, c).

    views: "single"; "flip", the picture and its mirror image; "multi_crop", half of that, and half the same of the
    picture moved by a pixel up and left, and down and right (K. Jordan, airbench, 2024).
    """

    def mirrored(pictures):
        return (predict(pictures) + predict(pictures[:, :, ::-1])) / 2

    if views == "single":
        return predict(images)
    if views == "flip":
        return mirrored(images)
    moved = [mirrored(augment.shifted(images, pixels, pixels)) for pixels in (-1, 1)]
    return mirrored(images) / 2 + sum(moved) / 4


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order in which epoch `epoch` (from 0) of a run with this seed sees `count` images: int32 (count,)."""
    return np.random.default_rng((seed, epoch)).permutation(count).astype(np.int32)


def save_checkpoint(path: Path, identity: str, variables: list, history: dict, kept: list) -> None:
    """Write all that a run needs to go on after this epoch, whole or not at all. Raises RecordError where it can't.

    variables: every one that an epoch may change: weights, the states of random layers, the optimizer's, averages.
    """
    arrays = {"identity": np.array(identity), "history": np.array(json.dumps(history))}
    arrays |= {f"variable{i}": variable.numpy() for i, variable in enumerate(variables)}
    # By number, not by name: Keras counts the names of layers on when the same network is built a second time.
    arrays |= {f"epoch{e}_{i}": array for e, weights in enumerate(kept) for i, array in enumerate(weights.values())}
    with records.writing_to(path), records.written_whole(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def load_checkpoint(path: Path, identity: str, variables: list, model) -> tuple[dict, list] | None:
    """Put back what `save_checkpoint` kept of this run: (history, snapshots); None, and nothing changed, where the file
    is missing, damaged or another run's."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if archive["identity"].item() != identity:
                return None
            history = json.loads(archive["history"].item())
            arrays = [archive[f"variable{i}"] for i in range(len(variables))]
            epochs = range(sum(name.startswith("epoch") for name in archive.files) // len(model.weights))
            kept = [{weight.path: archive[f"epoch{e}_{i}"] for i, weight in enumerate(model.weights)} for e in epochs]
    except records.DAMAGED:
        return None
    if any(array.shape != tuple(variable.shape) for array, variable in zip(arrays, variables, strict=True)):
        return None
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
    return history, kept


def fit(
    model,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int = 0,
    seconds: float | None = None,
    on_epoch: Callable[[dict], None] | None = None,
    snapshots: bool = False,
    description: str | None = None,
    checkpoint: Path | None = None,
    identity: str = "",
) -> Training:
    """Train `model` in place on `data`'s training images, as `recipe` says.

    seed: of the order of images; the weights' own start was drawn when the model was built (see `set_seed`).
    seconds: stop after about so long; the epoch begun then counts as one. on_epoch: is called with the
    history after each epoch. snapshots: keep all weights of every epoch. checkpoint: a file that each epoch rewrites,
    and from which a run of the same `identity` goes on, bit for bit as if it had never stopped; the caller deletes it.

    Ctrl-C stops it safely: the model keeps the weights it has, and `status` says "interrupted".
    Raises ValueError for images or labels that the model can't take, RecordError where a checkpoint can't be written.
    """
    classes = model.output_shape[-1]
    if len(data.train_labels) == 0:
        raise ValueError(f"There is nothing to train on: {data.name} has no training pictures.")
    images = check_images(data.train_images, model.input_shape[1:])
    labels = check_labels(data.train_labels, classes)
    check_images(data.validation_images, model.input_shape[1:])
    check_labels(data.validation_labels, classes)
    count = len(images)
    steps_an_epoch = math.ceil(count / recipe.batch_size)
    steps = recipe.epochs * steps_an_epoch
    constant = isinstance(learning_rate(recipe, steps), float | int)
    per_call = steps_per_call(recipe)
    optimizer = optimizer_of(recipe, steps)
    whiten(model, images)
    averages = Averages(model, recipe.averaging, steps)
    take_steps = epoch_function(model, optimizer, recipe, averages)
    predict_fast = predictor(model)
    variables = [*model.variables, *optimizer.variables, *averages.variables]

    names = ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds")
    history = {name: [] for name in names}
    kept = [weights_of(model)] if snapshots else []
    if checkpoint and (found := load_checkpoint(checkpoint, identity, variables, model)):
        history, kept = found
    first = len(history["loss"])
    status = "finished"
    begun = time.perf_counter()

    def pictures(epoch):
        """What an epoch trains on, as tensors."""
        return [
            part if part is None else tf.constant(part)
            for part in augment.of_epoch(images, labels, recipe, seed, epoch)
        ]

    with (
        progress.bar(steps, description or model.name, unit="step", initial=first * steps_an_epoch) as bar,
        ThreadPoolExecutor(1, "augment") as preparing,
    ):
        try:
            coming = preparing.submit(pictures, first)
            for epoch in range(first, recipe.epochs):
                epoch_begun = time.perf_counter()
                shown = coming.result()
                if recipe.augments and epoch + 1 < recipe.epochs:
                    coming = preparing.submit(pictures, epoch + 1)
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
                if snapshots:
                    kept.append(weights_of(model))
                if averaged and not ends:
                    averages.swap()
                if checkpoint:
                    save_checkpoint(checkpoint, identity, variables, history, kept)
                if on_epoch:
                    on_epoch(history)
                if status == "out of time":
                    break
        except KeyboardInterrupt:
            status = "interrupted"
    if status == "interrupted":
        onward = "go on from there" if checkpoint and history["loss"] else "begin anew"
        print(f"Stopped after {len(history['loss'])} of {recipe.epochs} epochs; the same call will {onward}.")
    return Training(status, history, kept)
