"""The contenders of a measurement: functions from (network, data, rounds) that train an epoch each time they are asked.

Each runs in a process of its own and imports there what it needs; each yields (seconds, pictures trained on, what else
it tells). network: a `bench.Network`. Seconds are those of training alone: nobody evaluates between epochs.
"""

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

from shathenet_utils import augment, experiments
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION

DIRECTORY_PART = 10
"""The directory flow trains a tenth of an epoch in a round; its seconds are told for a whole one."""


def _images(data, count: int):
    return data.train_images[:count], data.train_labels[:count].astype(np.int32)


def _more(predict: Callable, data) -> dict:
    """What a contender tells besides its seconds: the test accuracy it ends with."""
    right = predict(data.test_images).argmax(axis=1) == data.test_labels
    return {"accuracy": float(right.mean())} if len(right) else {}


def ours(network, data, rounds: int, *, pictures: int | None = None, cores: int | None = None):
    """The book's `training.fit`, in the configuration that repeats bit for bit.

    pictures: train on the first so many. cores: TensorFlow's threads within an operation (default: all).
    """
    if cores:
        os.environ["SHATHENET_THREADS"] = str(cores)
    if pictures:
        part = {"train_images": data.train_images[:pictures], "train_labels": data.train_labels[:pictures]}
        data = dataclasses.replace(data, **part)
    model = experiments.built(experiments.Variant("bench", network.model, network.recipe, network.arguments), 0)
    yield from _epochs(model, data, network.recipe, rounds)


def _epochs(model, data, recipe, rounds: int):
    """`training.fit`, without validation pictures, in a thread that waits after each epoch until asked for the next."""
    from shathenet_utils import training

    nobody = {"validation_images": data.validation_images[:0], "validation_labels": data.validation_labels[:0]}
    data = dataclasses.replace(data, **nobody)
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

    threading.Thread(target=fit, daemon=True).start()
    for number in range(rounds):
        go.put(None)
        seconds, last = done.get(), number == rounds - 1
        if isinstance(seconds, BaseException):
            raise seconds
        yield seconds, len(data.train_labels), _more(training.predictor(model), data) if last else {}


def staged(network, data, rounds: int, *, layers: bool, fused: bool, half: bool, many: bool, repeats: bool):
    """Our loop with some of its engineering left out.

    layers: augmentation as layers of the network, else prepared in NumPy. fused: one operation for a batch norm. half:
    the recipe's bfloat16, else float32. many: about a second of steps in a call of TensorFlow, else one. repeats: the
    threads that repeat bit for bit, else TensorFlow's own choice.
    """
    if not repeats:
        import tensorflow as tf

        tf.constant(0.0)  # before `blocks` can set its threads
    from shathenet_utils import training
    from shathenet_utils.blocks import keras

    recipe = network.recipe if half else dataclasses.replace(network.recipe, precision="float32")
    model = experiments.built(experiments.Variant("bench", network.model, recipe, network.arguments), 0)
    if not fused:
        training.fast_form = lambda model: model
    if not many:
        training.STEPS_PER_CALL = 1
    if layers:
        training.whiten(model, data.train_images)
        shape = data.train_images.shape[1:]
        model = keras.Sequential([keras.Input(shape), *_augmentation_layers(keras), model])
        recipe = dataclasses.replace(recipe, flip="none", translate=0)
    yield from _epochs(model, data, recipe, rounds)


def _augmentation_layers(keras) -> list:
    """Flip and translation by two pixels of 32, as Keras's tutorials do it."""
    return [keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(2 / 32, 2 / 32)]


def steps_alone(network, data, rounds: int):
    """Our calls of the compiled steps and nothing besides: the median of at least three, told for a whole epoch."""
    from shathenet_utils import training
    from shathenet_utils.blocks import tf

    variant = experiments.Variant("bench", network.model, network.recipe, network.arguments)
    model = experiments.built(variant, 0)
    training.whiten(model, data.train_images)
    size, count = network.recipe.batch_size, len(data.train_labels)
    optimizer = training.optimizer_of(network.recipe, 1000)
    averages = training.Averages(model, network.recipe.averaging, 1000)
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


def _compiled(network):
    """The network in float32 as Keras's tutorials compile it, in a TensorFlow with its own choice of threads."""
    import tensorflow as tf

    tf.constant(0.0)  # before `blocks` can set its threads
    import keras

    from shathenet_utils import models, training

    model = models.build(network.model, network.arguments)
    plain = dataclasses.replace(network.recipe, schedule="constant", warmup=0, start=0, end=0)
    return keras, model, training.optimizer_of(plain, 1)


def kerass_way(network, data, rounds: int, *, last_step: bool = False):
    """Keras as its tutorials write it: `fit` on arrays, augmentation as layers, float32, everything else default.

    last_step: tell too after how many seconds an epoch's last step was done (`until_last_step`).
    """
    keras, model, optimizer = _compiled(network)
    augmented = keras.Sequential([
        keras.Input(data.train_images.shape[1:]),
        *_augmentation_layers(keras),
        model,
    ])  # fmt: skip
    augmented.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images, labels = data.train_images.astype(np.float32), data.train_labels
    done = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: done.append(time.perf_counter()))
    for _ in range(rounds):
        begun = time.perf_counter()
        augmented.fit(
            images, labels, batch_size=network.recipe.batch_size, verbose=0, callbacks=[watch] if last_step else []
        )
        seconds = time.perf_counter() - begun
        yield seconds, len(labels), {"until_last_step": round(done[-1] - begun, 3)} if last_step else {}


def directory_flow(network, data, rounds: int):
    """The original's way: pictures as files in a folder a class, read and augmented one by one by Keras's generator."""
    from PIL import Image

    keras, model, optimizer = _compiled(network)
    import tensorflow as tf

    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    count = max(1, len(data.train_labels) // DIRECTORY_PART)
    was = ORIGINAL_AUGMENTATION
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=was["rotate"], width_shift_range=was["shift"], height_shift_range=was["shift"],
        shear_range=was["shear"], zoom_range=was["zoom"], channel_shift_range=was["channel_shift"],
        horizontal_flip=True, vertical_flip=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="shathenet-bench-") as folder:
        for number, (picture, label) in enumerate(zip(*_images(data, count), strict=True)):
            path = Path(folder, str(label), f"{number}.png")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(path)
        flow = generator.flow_from_directory(
            folder, target_size=data.train_images.shape[1:3], batch_size=network.recipe.batch_size, class_mode="sparse"
        )
        for _ in range(rounds):
            begun = time.perf_counter()
            model.fit(flow, verbose=0)
            yield time.perf_counter() - begun, count, {}


def pytorch(network, data, rounds: int):
    """The same network, precision and recipe in PyTorch, on pictures prepared as ours are."""
    from shathenet_utils import torch_twin, training
    from shathenet_utils.blocks import threads

    torch_twin.torch.set_num_threads(threads()["intra_op"])
    model = experiments.built(experiments.Variant("bench", network.model, network.recipe, network.arguments), 0)
    training.whiten(model, data.train_images)
    recipe = dataclasses.replace(network.recipe, epochs=rounds)
    trainer = torch_twin.Trainer(model, data, recipe, 0)

    def prepared(epoch):
        return augment.of_epoch(data.train_images, data.train_labels, recipe, 0, epoch)

    with ThreadPoolExecutor(1) as preparing:
        coming = preparing.submit(prepared, 0)
        for epoch in range(rounds):
            begun = time.perf_counter()
            pictures = coming.result()
            if epoch + 1 < rounds:
                coming = preparing.submit(prepared, epoch + 1)
            trainer.epoch(pictures, epoch)
            seconds, last = time.perf_counter() - begun, epoch == rounds - 1
            yield seconds, len(data.train_labels), _more(trainer.predict, data) if last else {}


def peaks(network, data, rounds: int):
    """What this machine reaches at best: products of 2048×2048 matrices, and adding 1 to 64 million numbers."""
    from shathenet_utils.blocks import tf

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
            found = per_second(add, numbers, 8 * 64_000_000)  # four bytes read, four written
            best["memory_gb_s"] = max(best["memory_gb_s"], round(found, 1))
        yield time.perf_counter() - begun, len(data.train_labels), dict(best)


OPERATIONS = {
    ("convolution", "forward_training"): "convolution, forward",
    ("convolution", "backward_data"): "convolution, gradient of inputs",
    ("convolution", "backward_weights"): "convolution, gradient of kernels",
}
"""oneDNN's (primitive, direction) → how a profile names it; its other primitives are "other layers in oneDNN"."""


def profiled(network, data, rounds: int, contender: Callable):
    """Another contender, with the seconds that oneDNN says its own operations took: `operations`, summed by kind.

    oneDNN is the library in which TensorFlow and PyTorch do a CPU's convolutions; where it isn't used, `operations` is
    empty. Mean over the rounds after the first; nobody predicts at the end, so all of it is training. Source:
    https://uxlfoundation.github.io/oneDNN/dev_guide_verbose.html
    """
    os.environ["ONEDNN_VERBOSE"] = "1"
    data = dataclasses.replace(data, test_images=data.test_images[:0], test_labels=data.test_labels[:0])
    found: list[dict[str, float]] = []
    with tempfile.TemporaryFile("w+") as told:
        os.dup2(told.fileno(), 1)  # where oneDNN prints a line an operation
        for seconds, pictures, more in contender(network, data, rounds):
            told.seek(0)
            found.append(operation_seconds(told))
            told.seek(0), told.truncate()
            counted = found[1:] or found
            names = sorted({name for one in counted for name in one})
            mean = {name: round(sum(one.get(name, 0) for one in counted) / len(counted), 3) for name in names}
            yield seconds, pictures, {**more, "operations": mean}


def operation_seconds(lines) -> dict[str, float]:
    """Seconds by kind of operation, summed over the lines that oneDNN prints when it is asked to (times in ms)."""
    total: dict[str, float] = {}
    for line in lines:
        fields = line.strip().split(",")
        if "exec" in fields:
            kind, direction = (fields[fields.index("exec") + place] for place in (2, 4))
            name = OPERATIONS.get((kind, direction), "other layers in oneDNN")
            total[name] = total.get(name, 0) + float(fields[-1]) / 1000
    return total


def features(network, data, rounds: int, *, name: str, pictures: int = 500):
    """What a frozen network takes for the features of pictures and of their mirror images; told for all of them."""
    from shathenet_utils import pretrained

    compute = pretrained.extractor(pretrained.frozen(name))
    for _ in range(rounds):
        begun = time.perf_counter()
        compute(data.train_images[:pictures])
        yield time.perf_counter() - begun, pictures, {}


def head(network, data, rounds: int):
    """An epoch of a linear head on features; seconds don't depend on what they are."""
    stream, parts = np.random.default_rng(0), ("train", "validation", "test")
    counts = {part: len(getattr(data, f"{part}_labels")) for part in parts}
    codes = {f"{part}_images": stream.integers(0, 256, (counts[part], 1, 2, 1280), np.uint8) for part in parts}
    yield from ours(network, dataclasses.replace(data, **codes), rounds)


CONTENDERS = {
    "ours": ours,
    "our steps alone": steps_alone,
    "Keras's way": kerass_way,
    "directory flow": directory_flow,
    "PyTorch": pytorch,
}

_STAGE = {"layers": True, "fused": False, "half": False, "many": False, "repeats": False}
WATERFALL = {
    "Keras's way": kerass_way,
    "steps of our own": functools.partial(staged, **_STAGE),
    "pictures made in NumPy": functools.partial(staged, **_STAGE | {"layers": False}),
    "batch norm in one operation": functools.partial(staged, **_STAGE | {"layers": False, "fused": True}),
    "bfloat16": functools.partial(staged, **_STAGE | {"layers": False, "fused": True, "half": True}),
    "many steps a call": functools.partial(
        staged, **_STAGE | {"layers": False, "fused": True, "half": True, "many": True}
    ),
    "threads that repeat": ours,
}
"""From Keras's way to ours, one step of engineering at a time."""

PROFILED = {
    "Keras's way": kerass_way,  # its operations overlap, two at a time, so their seconds don't add up to an epoch's
    "ours": functools.partial(profiled, contender=ours),
    "PyTorch": functools.partial(profiled, contender=pytorch),
}
"""Where the time of an epoch goes, operation by operation."""

GROWTH = {
    **{f"{count:,} pictures": functools.partial(ours, pictures=count) for count in (2_500, 5_000, 10_000, 20_000)},
    "5,000 pictures, 1 core": functools.partial(ours, pictures=5_000, cores=1),
}
"""What an epoch costs with more pictures and fewer cores; with wider networks it is `bench.WIDTHS`."""
