"""The contenders of a measurement: generators from (network, data, rounds) that train one epoch per `next`.

Each runs in a process of its own and imports there what it needs; each yields (seconds, images trained on, what else it
measured). network: a `bench.Network`. Seconds are those of training alone: there is no evaluation between epochs. While
an epoch trains, the images of the next one are prepared where a contender prepares any, in the last round too, so that
all rounds cost the same.
"""

import contextlib
import dataclasses
import functools
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from shathenet_utils import augment, runner
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION

DIRECTORY_PART = 10
"""The directory flow trains a tenth of an epoch per round; its seconds are given for a whole one."""


def _images(data, count: int):
    return data.train_images[:count], data.train_labels[:count].astype(np.int32)


def _test_accuracy(predict: Callable, data) -> dict:
    """What is measured after the last epoch besides its seconds, {"accuracy": fraction}; empty without test images."""
    correct = predict(data.test_images).argmax(axis=1) == data.test_labels
    return {"accuracy": float(correct.mean())} if len(correct) else {}


def _initialised(network, recipe=None):
    return runner.build_initialised(network.model, network.arguments, recipe or network.recipe, seed=0)


def our_fit(network, data, rounds: int, *, images: int | None = None, cores: int | None = None):
    """The book's `training.fit`, in the configuration that repeats bit for bit.

    images: train on the first so many. cores: TensorFlow's threads within an operation (default: all).
    """
    if cores:
        os.environ["SHATHENET_THREADS"] = str(cores)
    if images:
        part = {"train_images": data.train_images[:images], "train_labels": data.train_labels[:images]}
        data = dataclasses.replace(data, **part)
    yield from _epochs(_initialised(network), data, network.recipe, rounds)


def _epochs(model, data, recipe, rounds: int):
    """`training.fit`, without validation images, in a thread that waits after each epoch for the next `next`."""
    from shathenet_utils import training
    from shathenet_utils.backend import tf

    none = {"validation_images": data.validation_images[:0], "validation_labels": data.validation_labels[:0]}
    data = dataclasses.replace(data, **none)
    go, done = queue.SimpleQueue(), queue.SimpleQueue()

    def wait(history):
        done.put(history["seconds"][-1])
        go.get()

    def fit():
        go.get()
        try:
            training.fit(model, data, dataclasses.replace(recipe, epochs=rounds), on_epoch=wait)
        except BaseException as error:
            done.put(error)

    def prepare_one_more():
        epoch = augment.of_epoch(data.train_images, data.train_labels, recipe.augmentation, 0, rounds)
        return [tf.constant(part) for part in epoch if part is not None]

    threading.Thread(target=fit, daemon=True).start()
    with ThreadPoolExecutor(1) as preparing:
        for number in range(rounds):
            last = number == rounds - 1
            if last and recipe.augmentation.changes_images:  # as `fit` does in every epoch but its last
                preparing.submit(prepare_one_more)
            go.put(None)
            seconds = done.get()
            if isinstance(seconds, BaseException):
                raise seconds
            yield seconds, len(data.train_labels), _test_accuracy(training.predictor(model), data) if last else {}


def staged(network, data, rounds: int, *, layers: bool, fused: bool, half: bool, many: bool, repeats: bool):
    """The book's training loop with some of its engineering left out.

    layers: augmentation as layers of the network, else prepared in NumPy. fused: one operation for a batch norm. half:
    the recipe's bfloat16, else float32. many: about a second of steps per call of TensorFlow, else one step. repeats:
    the threads that repeat bit for bit, else TensorFlow's own choice.
    """
    if not repeats:
        import tensorflow as tf

        tf.constant(0.0)  # before `backend` can set its threads
    from shathenet_utils import training
    from shathenet_utils.backend import keras

    recipe = network.recipe if half else dataclasses.replace(network.recipe, precision="float32")
    model = _initialised(network, recipe)
    if not fused:
        training.fuse_layers = lambda model: model
    if not many:
        training.STEPS_PER_CALL = 1
    if layers:
        training.set_from_images(model, data.train_images)
        shape = data.train_images.shape[1:]
        model = keras.Sequential([keras.Input(shape), *_augmentation_layers(keras), model])
        none = dataclasses.replace(recipe.augmentation, flip="none", translate=0)
        recipe = dataclasses.replace(recipe, augmentation=none)
    yield from _epochs(model, data, recipe, rounds)


def _augmentation_layers(keras) -> list:
    """Flip and translation by two pixels of 32, as Keras's tutorials do it."""
    return [keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(2 / 32, 2 / 32)]


def steps_alone(network, data, rounds: int):
    """The calls of the book's compiled steps and nothing besides: the median of at least three, given for a whole
    epoch."""
    from shathenet_utils import optimizers, training
    from shathenet_utils.backend import tf

    model = _initialised(network)
    training.set_from_images(model, data.train_images)
    size, count = network.recipe.batch_size, len(data.train_labels)
    optimizer = optimizers.optimizer_of(network.recipe, 1000)
    averages = optimizers.Averages(model, network.recipe.averaging, 1000)
    take_steps = training.epoch_function(model, optimizer, network.recipe, averages)
    images, labels = (tf.constant(array) for array in _images(data, count))
    steps = min(training.steps_per_call(network.recipe), count // size)
    for number in range(rounds):
        taken = []
        for call in range(max(3, 30 // steps)):
            order = training.epoch_order(number, call, count)[: steps * size]
            indices = tf.constant(order.reshape(steps, size))
            begun = time.perf_counter()
            float(take_steps(images, labels, None, None, indices)[0])
            taken.append(time.perf_counter() - begun)
        yield float(np.median(taken)) * count / (steps * size), count, {}


def _tutorial_network(network, precision: str = "float32"):
    """Keras, the network and its optimizer at a constant learning rate, in a TensorFlow with its own choice of threads.

    precision: Keras's dtype policy, for everything built from here on in this process.
    """
    import tensorflow as tf

    tf.constant(0.0)  # before `backend` can set its threads
    import keras

    from shathenet_utils import models, optimizers

    keras.config.set_dtype_policy(precision)
    model = models.build(network.model, network.arguments)
    plain = dataclasses.replace(network.recipe, schedule="constant")
    return keras, model, optimizers.optimizer_of(plain, 1)


def keras_fit(network, data, rounds: int, *, precision: str = "float32", last_step: bool = False):
    """Keras as its tutorials write it: `fit` on arrays, augmentation as layers, everything else default.

    precision: Keras's dtype policy, "float32", its default, or "mixed_bfloat16". last_step: measure too when an
    epoch's last step was done, in seconds from the epoch's begin (`until_last_step`).
    """
    keras, model, optimizer = _tutorial_network(network, precision)
    augmented = keras.Sequential([
        keras.Input(data.train_images.shape[1:]),
        *_augmentation_layers(keras),
        model,
    ])  # fmt: skip
    augmented.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images, labels = data.train_images.astype(np.float32), data.train_labels
    ends = []
    note_end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    for _ in range(rounds):
        begun = time.perf_counter()
        augmented.fit(
            images, labels, batch_size=network.recipe.batch_size, verbose=0, callbacks=[note_end] if last_step else []
        )
        seconds = time.perf_counter() - begun
        yield seconds, len(labels), {"until_last_step": round(ends[-1] - begun, 3)} if last_step else {}


@contextlib.contextmanager
def _folder_of_images(images, labels):
    """A temporary folder with a PNG per image, in a folder per class."""
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="shathenet-bench-") as folder:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = Path(folder, str(label), f"{number}.png")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
        yield folder


def directory_flow(network, data, rounds: int):
    """As the original project did it: images as files in one folder per class, read and augmented one by one by
    Keras's generator."""
    keras, model, optimizer = _tutorial_network(network)
    import tensorflow as tf

    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    count = max(1, len(data.train_labels) // DIRECTORY_PART)
    original = ORIGINAL_AUGMENTATION
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=original.rotate, width_shift_range=original.shift, height_shift_range=original.shift,
        shear_range=original.shear, zoom_range=original.zoom, channel_shift_range=original.channel_shift,
        horizontal_flip=True, vertical_flip=True,
    )  # fmt: skip
    with _folder_of_images(*_images(data, count)) as folder:
        flow = generator.flow_from_directory(
            folder, target_size=data.train_images.shape[1:3], batch_size=network.recipe.batch_size, class_mode="sparse"
        )
        for _ in range(rounds):
            begun = time.perf_counter()
            model.fit(flow, verbose=0)
            yield time.perf_counter() - begun, count, {}


def fit_from(network, data, rounds: int, *, source: str):
    """Keras's `fit` without augmentation, on all images of a round; up to its last step, as `until_last_step`.

    source: "arrays"; "dataset", files by `image_dataset_from_directory`; "generator", files by
    `ImageDataGenerator.flow_from_directory`, as the original project read them.
    """
    keras, model, optimizer = _tutorial_network(network)
    import tensorflow as tf

    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    size, images = data.train_images.shape[1:3], data.train_images
    ends = []
    note_end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    with _folder_of_images(images, data.train_labels) as folder:
        sizes = {"batch_size": network.recipe.batch_size}
        if source == "dataset":
            batches = (keras.utils.image_dataset_from_directory(folder, image_size=size, verbose=False, **sizes),)
        elif source == "generator":
            generator = tf.keras.preprocessing.image.ImageDataGenerator()
            batches = (generator.flow_from_directory(folder, target_size=size, class_mode="sparse", **sizes),)
        else:
            batches = images.astype(np.float32), data.train_labels
        for _ in range(rounds):
            begun = time.perf_counter()
            model.fit(*batches, **(sizes if source == "arrays" else {}), verbose=0, callbacks=[note_end])
            seconds = time.perf_counter() - begun
            yield seconds, len(images), {"until_last_step": round(ends[-1] - begun, 3)}


def pytorch(network, data, rounds: int):
    """The same network, precision and recipe in PyTorch, on images prepared as the book's loop prepares them."""
    from shathenet_utils import training
    from shathenet_utils.backend import threads
    from shathenet_utils.benchmarks import torch_twin

    torch_twin.torch.set_num_threads(threads()["intra_op"])
    model = _initialised(network)
    training.set_from_images(model, data.train_images)
    recipe = dataclasses.replace(network.recipe, epochs=rounds)
    trainer = torch_twin.Trainer(model, data, recipe, 0)

    def prepare(epoch):
        return augment.of_epoch(data.train_images, data.train_labels, recipe.augmentation, 0, epoch)

    with ThreadPoolExecutor(1) as preparing:
        coming = preparing.submit(prepare, 0)
        for epoch in range(rounds):
            begun = time.perf_counter()
            images = coming.result()
            coming = preparing.submit(prepare, epoch + 1)
            trainer.epoch(images, epoch)
            seconds, last = time.perf_counter() - begun, epoch == rounds - 1
            yield seconds, len(data.train_labels), _test_accuracy(trainer.predict, data) if last else {}


def peaks(network, data, rounds: int):
    """What this machine reaches at best: products of 2048×2048 matrices, and adding 1 to 64 million numbers."""
    from shathenet_utils.backend import tf

    side, numbers = 2048, tf.zeros(64_000_000)
    best = {"float32_gflop_s": 0.0, "bfloat16_gflop_s": 0.0, "memory_gb_s": 0.0}
    matrices = {name: tf.ones((side, side), name) for name in ("float32", "bfloat16")}

    @tf.function(jit_compile=False)
    def multiply(matrix):
        return tf.linalg.matmul(matrix, matrix)

    @tf.function(jit_compile=False)
    def add(numbers):
        return numbers + 1

    def per_second(function, argument, amount):
        begun = time.perf_counter()
        function(argument)[0].numpy()
        return amount / (time.perf_counter() - begun) / 1e9

    for _ in range(rounds):
        begun = time.perf_counter()
        for _ in range(5):
            for name, matrix in matrices.items():
                found = per_second(multiply, matrix, 2 * side**3)
                best[f"{name}_gflop_s"] = max(best[f"{name}_gflop_s"], round(found, 1))
            moved = per_second(add, numbers, 8 * 64_000_000)  # four bytes read, four written
            best["memory_gb_s"] = max(best["memory_gb_s"], round(moved, 1))
        yield time.perf_counter() - begun, len(data.train_labels), dict(best)


OPERATIONS = {
    ("convolution", "forward_training"): "convolution, forward",
    ("convolution", "backward_data"): "convolution, gradient of inputs",
    ("convolution", "backward_weights"): "convolution, gradient of kernels",
}
"""oneDNN's (primitive, direction) → how a profile names it; its other primitives are "other layers in oneDNN"."""


def profiled(network, data, rounds: int, contender: Callable):
    """Another contender, with the seconds that oneDNN reports for its operations: `operations`, summed by kind.

    oneDNN is the library in which TensorFlow and PyTorch do a CPU's convolutions; where it isn't used, `operations` is
    empty. Mean over the rounds after the first; no test images are predicted, so all of it is training. Source:
    https://uxlfoundation.github.io/oneDNN/dev_guide_verbose.html
    """
    os.environ["ONEDNN_VERBOSE"] = "1"
    data = dataclasses.replace(data, test_images=data.test_images[:0], test_labels=data.test_labels[:0])
    per_round: list[dict[str, float]] = []
    with tempfile.TemporaryFile("w+") as output:
        os.dup2(output.fileno(), 1)  # where oneDNN prints a line per operation
        for seconds, images, more in contender(network, data, rounds):
            output.seek(0)
            per_round.append(operation_seconds(output))
            output.seek(0), output.truncate()
            counted = per_round[1:] or per_round
            names = sorted({name for one in counted for name in one})
            mean = {name: round(sum(one.get(name, 0) for one in counted) / len(counted), 3) for name in names}
            yield seconds, images, {**more, "operations": mean}


def operation_seconds(lines) -> dict[str, float]:
    """Seconds by kind of operation, summed over the lines of oneDNN's verbose output (times in ms)."""
    total: dict[str, float] = {}
    for line in lines:
        fields = line.strip().split(",")
        if "exec" in fields:
            kind, direction = (fields[fields.index("exec") + place] for place in (2, 4))
            name = OPERATIONS.get((kind, direction), "other layers in oneDNN")
            total[name] = total.get(name, 0) + float(fields[-1]) / 1000
    return total


def features(network, data, rounds: int, *, name: str, images: int = 500):
    """The seconds that a frozen network takes for the features of images and of their mirror images.

    name: of the frozen network, "efficientnet_lite0@160". images: how many are computed per round.
    """
    from shathenet_utils import pretrained

    compute = pretrained.extractor(pretrained.frozen(name))
    for _ in range(rounds):
        begun = time.perf_counter()
        compute(data.train_images[:images])
        yield time.perf_counter() - begun, images, {}


def head(network, data, rounds: int):
    """An epoch of a linear head on features; random ones, as the seconds don't depend on their values."""
    stream, parts = np.random.default_rng(0), ("train", "validation", "test")
    counts = {part: len(getattr(data, f"{part}_labels")) for part in parts}
    codes = {f"{part}_images": stream.integers(0, 256, (counts[part], 1, 2, 1280), np.uint8) for part in parts}
    yield from our_fit(network, dataclasses.replace(data, **codes), rounds)


CONTENDERS = {
    "ours": our_fit,
    "our steps alone": steps_alone,
    "Keras's way": keras_fit,
    "Keras's fit, mixed_bfloat16": functools.partial(keras_fit, precision="mixed_bfloat16"),
    "directory flow": directory_flow,
    "PyTorch": pytorch,
}
"""Of every network of `bench.NETWORKS`, by their names in the records."""

_STAGE = {"layers": True, "fused": False, "half": False, "many": False, "repeats": False}
WATERFALL = {
    "Keras's way": functools.partial(keras_fit, last_step=True),
    "Keras's fit, mixed_bfloat16": functools.partial(keras_fit, precision="mixed_bfloat16", last_step=True),
    "steps of our own": functools.partial(staged, **_STAGE),
    "images made in NumPy": functools.partial(staged, **_STAGE | {"layers": False}),
    "batch norm in one operation": functools.partial(staged, **_STAGE | {"layers": False, "fused": True}),
    "bfloat16": functools.partial(staged, **_STAGE | {"layers": False, "fused": True, "half": True}),
    "many steps a call": functools.partial(
        staged, **_STAGE | {"layers": False, "fused": True, "half": True, "many": True}
    ),
    "threads that repeat": our_fit,
}
"""From Keras's `fit` to the book's training loop, one step of engineering at a time; beside it `fit` in bfloat16."""

_LOOP = {"layers": False, "many": True, "repeats": True}
WIDENED = {
    "float32": functools.partial(staged, **_LOOP, fused=True, half=False),
    "bfloat16, TensorFlow's": functools.partial(staged, **_LOOP, fused=False, half=True),
    "bfloat16, the book's": functools.partial(staged, **_LOOP, fused=True, half=True),
}
"""bfloat16 on a processor without instructions for it: as TensorFlow computes it, and multiplied in float32."""

PROFILED = {
    "Keras's way": keras_fit,  # its operations overlap, two at a time, so their seconds don't add up to an epoch's
    "ours": functools.partial(profiled, contender=our_fit),
    "PyTorch": functools.partial(profiled, contender=pytorch),
}
"""Where the time of an epoch goes, operation by operation."""

GROWTH = {
    **{f"{count:,} images": functools.partial(our_fit, images=count) for count in (2_500, 5_000, 10_000, 20_000)},
    "5,000 images, 1 core": functools.partial(our_fit, images=5_000, cores=1),
}
"""What an epoch costs with more images and fewer cores; with wider networks it is `bench.WIDTHS`."""

SOURCES = {
    "arrays in memory": functools.partial(fit_from, source="arrays"),
    "files, image_dataset_from_directory": functools.partial(fit_from, source="dataset"),
    "files, flow_from_directory": functools.partial(fit_from, source="generator"),
}
"""Where Keras's `fit` takes its images from."""
