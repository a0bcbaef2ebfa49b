"""The same network in PyTorch, to measure against: built from a Keras model, with its weights. Needs
requirements-bench.txt.

Nothing else in the book needs PyTorch; only a contender of `bench` opens this module.
"""

import sys

import numpy as np

from shathenet_utils import architecture, augment, optimizers, training
from shathenet_utils.backend import keras
from shathenet_utils.recipes import Recipe

sys.modules.setdefault("triton", None)  # for GPUs alone; PyTorch's optimizers load it, which crashes beside TensorFlow
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402


class Twin(torch.nn.Module):
    """A Keras model's network, channels last in memory, its weights copied. Images: uint8 (n, height, width,
    channels), values 0 to 255.

    Raises NotImplementedError for a layer that it does not know.
    """

    def __init__(self, model):
        super().__init__()
        self.calls = [call for call in architecture.calls_of(model) if isinstance(call.operation, keras.layers.Layer)]
        self.output = id(model.outputs[0])
        self.parts = torch.nn.ParameterDict()
        for layer in {call.operation.name: call.operation for call in self.calls}.values():
            for weight in layer.weights:
                self._copy(layer, weight)

    def _copy(self, layer, weight) -> None:
        array = weight.numpy()
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)  # (height, width, inputs, filters) to (filters, inputs, height, width)
        tensor = torch.from_numpy(np.ascontiguousarray(array if array.ndim != 2 else array.T))
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.parts[weight.path.replace(".", "_")] = torch.nn.Parameter(tensor, requires_grad=weight.trainable)

    def _weight(self, layer, name: str):
        path = next((weight.path for weight in layer.weights if weight.path.endswith(f"/{name}")), None)
        return self.parts[path.replace(".", "_")] if path else None

    def forward(self, images):
        """Logits, float32 (n, classes)."""
        values = {}
        for call in self.calls:
            layer = call.operation
            inputs = [values[id(tensor)] for tensor in call.input_tensors]
            if isinstance(layer, keras.layers.InputLayer):
                x = images.permute(0, 3, 1, 2).float()  # channels last in memory: a view
            else:
                x = self._call(layer, *inputs)
            values[id(call.output_tensors[0])] = x
        return values[self.output].float()

    def _call(self, layer, x, *others):
        kind = type(layer).__name__
        if kind == "Rescaling":
            return x * layer.scale + layer.offset
        if kind == "Normalization":
            shape = (1, -1, 1, 1)
            mean, spread = (np.ravel(value).astype(np.float32) for value in (layer.mean, np.sqrt(layer.variance)))
            return (x - torch.from_numpy(mean).view(shape)) / torch.from_numpy(spread).view(shape)
        if kind in ("Conv2D", "Whitening"):
            return _activated(layer, self._convolution(layer, x))
        if kind == "Dense":
            return _activated(layer, functional.linear(x, self._weight(layer, "kernel"), self._weight(layer, "bias")))
        if kind == "BatchNormalization":
            statistics = self._weight(layer, "moving_mean"), self._weight(layer, "moving_variance")
            scale, shift = self._weight(layer, "gamma"), self._weight(layer, "beta")
            return functional.batch_norm(x, *statistics, scale, shift, self.training, 1 - layer.momentum, layer.epsilon)
        if kind in ("Activation", "ReLU"):
            return _activated(layer, x)
        if kind == "MaxPooling2D" and layer.padding == "valid":
            return functional.max_pool2d(x, layer.pool_size, layer.strides)
        if kind == "GlobalMaxPooling2D":
            return x.amax((2, 3))
        if kind == "GlobalAveragePooling2D":
            return x.mean((2, 3))
        if kind == "Flatten":
            return x.permute(0, 2, 3, 1).flatten(1)
        if kind == "UpSampling2D":
            return functional.interpolate(x, scale_factor=layer.size, mode=layer.interpolation)
        if kind == "Resizing":
            size = (layer.height, layer.width)
            return functional.interpolate(x, size=size, mode=layer.interpolation, align_corners=False)
        if kind == "Add":
            return sum(others, x)
        raise NotImplementedError(f"The PyTorch twin does not know {layer.name}, a {kind}.")

    def _convolution(self, layer, x):
        padding = []
        for size, kernel, stride in zip(x.shape[2:], layer.kernel_size, layer.strides, strict=True):
            whole = max((-(-size // stride) - 1) * stride + kernel - size, 0) if layer.padding == "same" else 0
            padding.append((whole // 2, whole - whole // 2))
        (top, bottom), (left, right) = padding
        if (top, left) == (bottom, right):
            around = (top, left)
        else:  # an odd number of rows: TensorFlow's "same" puts the larger part below and to the right
            x, around = functional.pad(x, (left, right, top, bottom)), 0
        return functional.conv2d(x, self._weight(layer, "kernel"), self._weight(layer, "bias"), layer.strides, around)


def _activated(layer, x):
    activation = "relu" if type(layer).__name__ == "ReLU" else layer.activation.__name__
    if activation == "linear":
        return x
    if activation == "relu":
        return torch.relu(x)
    raise NotImplementedError(f"The PyTorch twin does not know the activation {activation}.")


def _kind(name: str, parameter) -> str:
    if name.endswith("/beta"):
        return "beta"
    return "kernel" if parameter.ndim > 1 else "other"


def _lacking(recipe: Recipe) -> str:
    """What of a recipe the trainer lacks, in words; "" where it has it all."""
    optimizer = recipe.optimizer
    if optimizer.name not in ("sgd", "adam"):
        return optimizer.name
    if optimizer.name == "sgd" and optimizer.momentum and not optimizer.nesterov:
        return "sgd's plain momentum"
    if optimizer.weight_decay and optimizer.decay != "coupled":
        return "decoupled weight decay"
    if recipe.loss != "cross_entropy":
        return f"the loss {recipe.loss}"
    if recipe.averaging == "ema":
        return "a moving average of weights"
    return "mixup" if recipe.augmentation.mixup else ""


class Trainer:
    """Trains a twin by a recipe: Adam or Nesterov SGD, label smoothing, lookahead, on the images that the book's loop
    trains on, in the same order, at the same learning rates; one epoch per call.

    Raises NotImplementedError for a recipe that asks for more.
    """

    def __init__(self, model, data, recipe: Recipe, seed: int):
        if lacking := _lacking(recipe):
            raise NotImplementedError(f"The PyTorch twin does not train with {lacking}.")
        self.network, self.recipe, self.seed = Twin(model).train(), recipe, seed
        self.images, self.labels = data.train_images, data.train_labels.astype(np.int64)
        self.steps = recipe.epochs * -(-len(self.labels) // recipe.batch_size)
        self.learning_rate = optimizers.learning_rate(recipe, self.steps)
        self.step = 0
        named = [(name, p) for name, p in self.network.parts.items() if p.requires_grad]
        chosen = recipe.optimizer
        kinds = (("beta", chosen.beta_lr_multiplier, 0), ("kernel", 1, chosen.weight_decay), ("other", 1, 0))
        groups = [
            {"params": [p for name, p in named if kind == _kind(name, p)], "multiplier": times, "weight_decay": decay}
            for kind, times, decay in kinds
        ]
        groups = [group for group in groups if group["params"]]
        if chosen.name == "sgd":
            self.optimizer = torch.optim.SGD(
                groups, 0.1, momentum=chosen.momentum, nesterov=chosen.nesterov, fused=True
            )
        else:
            self.optimizer = torch.optim.Adam(groups, 0.1, eps=1e-7, fused=True)
        self.averages = [p.detach().clone() for p in self.network.parameters()]

    def epoch(self, prepared: augment.Epoch, number: int) -> float:
        """Train epoch `number`, from 0, on its prepared images; returns the mean loss."""
        recipe, total = self.recipe, 0.0
        images = prepared.images if prepared.images.flags.writeable else prepared.images.copy()
        images, labels = torch.from_numpy(images), torch.from_numpy(self.labels)
        order = torch.from_numpy(training.epoch_order(self.seed, number, len(labels)).astype(np.int64))
        half = recipe.precision == "mixed_bfloat16"
        for batch in order.split(recipe.batch_size):
            constant = isinstance(self.learning_rate, float)
            learning_rate = self.learning_rate if constant else float(self.learning_rate(self.step))
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate * group["multiplier"]
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                logits = self.network(images[batch])
            loss = functional.cross_entropy(logits.float(), labels[batch], label_smoothing=recipe.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.step += 1
            total += loss.item() * len(batch)
            if recipe.averaging == "lookahead" and self.step % optimizers.LOOKAHEAD_EVERY == 0:
                self._look_ahead()
        return total / len(labels)

    @torch.no_grad()
    def _look_ahead(self) -> None:
        keep = 0.95**optimizers.LOOKAHEAD_EVERY * (self.step / self.steps) ** 3
        for average, parameter in zip(self.averages, self.network.parameters(), strict=True):
            average.lerp_(parameter, 1 - keep)
            parameter.copy_(average)

    @torch.no_grad()
    def predict(self, images) -> np.ndarray:
        """Logits of uint8 images (n, h, w, c), float32 (n, classes), with the averaged weights where there are
        some."""
        if self.recipe.averaging == "lookahead":
            for average, parameter in zip(self.averages, self.network.parameters(), strict=True):
                parameter.copy_(average)
        self.network.eval()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.recipe.precision == "mixed_bfloat16"):
            logits = [self.network(batch) for batch in torch.from_numpy(np.array(images)).split(500)]
        self.network.train()
        return torch.cat(logits).numpy()
