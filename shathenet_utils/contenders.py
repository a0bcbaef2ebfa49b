"""The contenders of a measurement: functions from (network, data, rounds) that train an epoch each time they are asked.

Each runs in a process of its own and imports there what it needs; each yields (seconds, pictures trained on, what else
it tells). network: a `bench.Network`. Seconds are those of training alone: nobody evaluates between epochs.
"""

import dataclasses
import queue
import tempfile
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


def ours(network, data, rounds: int):
    """The book's `training.fit`, in the configuration that repeats bit for bit."""
    from threading import Thread

    from shathenet_utils import training

    model = experiments.built(experiments.Variant("bench", network.model, network.recipe, network.arguments), 0)
    recipe = dataclasses.replace(network.recipe, epochs=rounds)
    go, done = queue.SimpleQueue(), queue.SimpleQueue()

    def wait(history):
        done.put(history["seconds"][-1])
        go.get()

    def fit():
        go.get()
        training.fit(model, data, recipe, on_epoch=wait)

    Thread(target=fit, daemon=True).start()
    for number in range(rounds):
        go.put(None)
        seconds, last = done.get(), number == rounds - 1
        yield seconds, len(data.train_labels), _more(training.predictor(model), data) if last else {}


def one_step(network, data, rounds: int):
    """Our single steps, each on its own: the median of 30, told for a whole epoch."""
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
    take_steps(images, labels, None, None, tf.constant(np.arange(size, dtype=np.int32)[None]))
    for _ in range(rounds):
        taken = []
        for step in range(30):
            indices = tf.constant(training.epoch_order(0, step, count)[None, :size])
            begun = time.perf_counter()
            float(take_steps(images, labels, None, None, indices)[0])
            taken.append(time.perf_counter() - begun)
        yield float(np.median(taken)) * count / size, count, {}


def _compiled(network):
    """The network in float32 as Keras's tutorials compile it, in a TensorFlow with its own choice of threads."""
    import tensorflow as tf

    tf.constant(0.0)  # before `blocks` can set its threads
    import keras

    from shathenet_utils import models, training

    model = models.build(network.model, network.arguments)
    plain = dataclasses.replace(network.recipe, schedule="constant", warmup=0, start=0, end=0)
    return keras, model, training.optimizer_of(plain, 1)


def kerass_way(network, data, rounds: int):
    """Keras as its tutorials write it: `fit` on arrays, augmentation as layers, float32, everything else default."""
    keras, model, optimizer = _compiled(network)
    augmented = keras.Sequential([
        keras.Input(data.train_images.shape[1:]),
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomTranslation(2 / 32, 2 / 32),
        model,
    ])  # fmt: skip
    augmented.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    images, labels = data.train_images.astype(np.float32), data.train_labels
    for _ in range(rounds):
        begun = time.perf_counter()
        augmented.fit(images, labels, batch_size=network.recipe.batch_size, verbose=0)
        yield time.perf_counter() - begun, len(labels), {}


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
    import torch

    from shathenet_utils import torch_twin, training
    from shathenet_utils.blocks import threads

    torch.set_num_threads(threads()["intra_op"])
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
            pictures, coming = coming.result(), preparing.submit(prepared, epoch + 1)
            trainer.epoch(pictures, epoch)
            seconds, last = time.perf_counter() - begun, epoch == rounds - 1
            yield seconds, len(data.train_labels), _more(trainer.predict, data) if last else {}


CONTENDERS = {
    "ours": ours,
    "our steps alone": one_step,
    "Keras's way": kerass_way,
    "directory flow": directory_flow,
    "PyTorch": pytorch,
}
