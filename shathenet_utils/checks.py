"""What the book's training takes: images, labels, networks. Anything else is refused in a sentence."""

import numpy as np

from shathenet_utils.backend import keras, ops, tf


def check_images(images, shape: tuple = (None, None, None)) -> np.ndarray:
    """The images as they came, if they are uint8 (n, height, width, channels); ValueError otherwise.

    shape: what a model takes, (height, width, channels), None where it takes any.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4:
        hint = ""
        if images.size and np.issubdtype(images.dtype, np.floating):
            hint = f" with values from {images.min():.3g} to {images.max():.3g}"
        raise ValueError(
            f"Images must be uint8, (n, height, width, channels), values 0 to 255, not {images.dtype} "
            f"{images.shape}{hint}: pass them as the dataset holds them; the model scales them itself."
        )
    if any(want not in (None, size) for want, size in zip(shape, images.shape[1:], strict=True)):
        raise ValueError(f"The model takes images of {shape} (height, width, channels), not of {images.shape[1:]}.")
    return images


def check_labels(labels, classes: int) -> np.ndarray:
    """The labels as int32, (n,), if all lie in 0…classes − 1; ValueError otherwise.

    labels: (n,), (n, 1), or one-hot (n, classes): one 1 per row, 0 elsewhere.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.size == 0:
        return labels.astype(np.int32)
    if labels.shape[1:] == (classes,) and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    if labels.ndim != 1:
        raise ValueError(f"Labels must be (n,), (n, 1) or one-hot (n, {classes}), not {labels.shape}.")
    if not np.issubdtype(labels.dtype, np.integer) or not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"Labels must be whole numbers from 0 to {classes - 1}, as many classes as the model has outputs, "
            f"not {labels.dtype} from {labels.min()} to {labels.max()}."
        )
    return labels.astype(np.int32)


_TRAINING = ("train_step", "compute_loss", "fit")
"""Methods of a Keras model that say how it is trained."""


def check_model(model) -> None:
    """Raises ValueError, in a sentence, for a model that the protocol can't train: it takes one input, images, and
    returns logits, (n, classes), without softmax or sigmoid, which the loss applies; it has no training of its own."""
    if own := [name for name in _TRAINING if getattr(type(model), name) is not getattr(keras.Model, name)]:
        raise ValueError(
            f"{model.name} has a {own[0]} of its own, which would be ignored: the book trains every network by its own "
            "steps. Leave it out, or train this network with Keras's fit."
        )
    if model.compiled:
        raise ValueError(
            f"{model.name} is compiled, and its loss and optimizer would be ignored: leave out compile, or load it "
            "with compile=False; the recipe says which loss, optimizer and learning rate."
        )
    inputs, outputs = ([tensor.shape for tensor in tensors] for tensors in (model.inputs, model.outputs))
    if len(inputs) != 1 or len(inputs[0]) != 4:
        raise ValueError(
            f"{model.name} takes {len(inputs)} inputs, {', '.join(map(str, inputs))}: the book trains networks with "
            "one, images (n, height, width, channels)."
        )
    if None in inputs[0][1:]:
        raise ValueError(
            f"{model.name} takes images of any size, {inputs[0]}: give it the height, width and channels of the "
            "dataset's, such as keras.Input((32, 32, 3))."
        )
    if len(outputs) != 1:
        names = [repr(name) for name in model.output_names]
        raise ValueError(
            f"{model.name} has {len(outputs)} outputs, {', '.join(names)}: choose one, "
            f"keras.Model(model.input, model.get_layer({names[0]}).output)."
        )
    if len(outputs[0]) != 2 or outputs[0][1] is None or outputs[0][1] < 2:
        raise ValueError(
            f"{model.name} ends in {outputs[0]}, not in one number per class, (None, classes): put layers.Flatten() or "
            "layers.GlobalAveragePooling2D() before the last dense layer, and give that a unit per class."
        )
    if (last := _last_function(model)) is not None:
        raise ValueError(
            f"{model.name} ends in {last}, which the loss applies too: leave it out, so that the model returns logits "
            "(in a dense layer, activation=None)."
        )


def _last_function(model) -> str | None:
    """The function that makes probabilities of a model's logits, where it ends in one; None of logits."""
    shape = [2 if side is None else side for side in model.inputs[0].shape]
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    numbers = np.float64(ops.convert_to_numpy(model(images, training=False)))
    with np.errstate(over="ignore"):
        if (numbers >= 0).all() and np.allclose(numbers.sum(axis=1), 1, atol=1e-3):
            return "softmax"
        if (numbers <= 0).all() and np.allclose(np.exp(numbers).sum(axis=1), 1, atol=1e-3):
            return "log_softmax"
    return "sigmoid" if _ends_in_sigmoid(model) else None


def _ends_in_sigmoid(model) -> bool:
    """Whether the last function that a model's numbers go through is a sigmoid, whatever it is called."""
    tensor = model.outputs[0]
    while True:
        operation, node, _ = tensor._keras_history
        function = getattr(operation, "activation", None)
        if function in (keras.activations.sigmoid, tf.sigmoid, ops.sigmoid) or type(operation).__name__ == "Sigmoid":
            return True
        unchanged = function in (None, keras.activations.linear) and type(operation).__name__ in _UNCHANGED
        if not unchanged:
            return False
        (tensor,) = operation._inbound_nodes[node].input_tensors


_UNCHANGED = ("Activation", "ActivityRegularization", "Dropout", "Flatten", "Identity", "Reshape")
"""Layers and operations that hand on their numbers in inference."""
