"""Keras optimizers and schedules from a recipe; Muon; averages of weights."""

from shathenet_utils.backend import keras, ops, tf
from shathenet_utils.recipes import Recipe


def learning_rate(recipe: Recipe, steps: int):
    """The recipe's schedule over a run of `steps` steps: a number, or one of Keras's schedules (step → rate)."""
    peak, schedule = recipe.learning_rate, recipe.schedule
    warm, final = round(schedule.warmup * steps), schedule.final_fraction
    kinds = keras.optimizers.schedules
    if schedule.name == "step":
        rates = [peak * schedule.step_factor**count for count in range(len(schedule.milestones) + 1)]
        return kinds.PiecewiseConstantDecay([round(share * steps) for share in schedule.milestones], rates)
    if schedule.name in ("cosine", "one_cycle"):
        if warm:
            return kinds.CosineDecay(schedule.warmup_from * peak, max(1, steps - warm), final, "cosine", peak, warm)
        return kinds.CosineDecay(peak, steps, final)
    falling = None
    if schedule.name == "exponential":
        falling = kinds.ExponentialDecay(peak, max(1, steps - warm), final)
    if schedule.name == "linear":
        falling = kinds.PolynomialDecay(peak, max(1, steps - warm), final * peak)
    if falling is None and not warm:
        return peak
    return WarmUp(peak, schedule.warmup_from, warm, falling) if warm else falling


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A straight rise from `warmup_from` · peak to the peak in `steps` steps, then another schedule from its beginning,
    or none."""

    def __init__(self, peak: float, warmup_from: float, steps: int, after=None):
        self.peak, self.warmup_from, self.steps, self.after = peak, warmup_from, steps, after

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = self.peak * (self.warmup_from + (1 - self.warmup_from) * step / self.steps)
        falling = self.after(ops.maximum(step - self.steps, 0)) if self.after else self.peak
        return ops.where(step < self.steps, rising, falling)

    def get_config(self):
        return {"peak": self.peak, "warmup_from": self.warmup_from, "steps": self.steps, "after": self.after}


class Muon(keras.optimizers.Muon):
    """Muon for the kernels of convolutions, taken as matrices (height · width · inputs, filters); Nesterov SGD for the
    rest.

    A kernel's step is the momentum of its gradient with all its singular values made about 1 (three Newton–Schulz
    steps), times the learning rate; before it the kernel is scaled to norm √filters, unless scale_kernels is False.
    Keras's own class gives Muon to matrices alone. Source: K. Jordan et al., Muon: An optimizer for hidden layers in
    neural networks, 2024; the details are those of airbench94_muon.py in github.com/KellerJordan/cifar10-airbench.
    """

    def __init__(
        self,
        learning_rate,
        momentum: float,
        nesterov: bool,
        non_kernel_lr_multiplier: float,
        weight_decay=None,
        scale_kernels: bool = True,
        steps=3,
    ):
        super().__init__(
            learning_rate, momentum=momentum, nesterov=nesterov, ns_steps=steps, rms_rate=None,
            weight_decay=weight_decay,
        )  # fmt: skip
        self.non_kernel_lr_multiplier = non_kernel_lr_multiplier
        self.scale_kernels = scale_kernels

    def _should_use_adamw(self, variable):
        return False  # no second moments: what is no kernel takes SGD

    def update_step(self, gradient, variable, learning_rate):
        momentum = self.momentums[self._get_variable_index(variable)]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.momentum * momentum + gradient)
        step = gradient + self.momentum * momentum if self.nesterov else ops.convert_to_tensor(momentum)
        if len(variable.shape) != 4:
            self.assign_sub(variable, self.non_kernel_lr_multiplier * learning_rate * step)
            return
        filters = variable.shape[-1]
        matrix = self.zeropower_via_newtonschulz5(ops.reshape(step, (-1, filters)), self.ns_steps)
        scale = filters**0.5 / ops.norm(ops.reshape(variable, (-1,))) if self.scale_kernels else 1.0
        self.assign(variable, variable * scale - learning_rate * ops.reshape(matrix, variable.shape))


def optimizer_of(recipe: Recipe, steps: int):
    """The Keras optimizer that a recipe names, for a run of `steps` steps; not yet built."""
    rate, chosen, kinds = learning_rate(recipe, steps), recipe.optimizer, keras.optimizers
    momentum = chosen.momentum
    decay = chosen.weight_decay if chosen.weight_decay and chosen.decay == "decoupled" else None
    if chosen.name == "muon":
        return Muon(rate, momentum, chosen.nesterov, chosen.non_kernel_lr_multiplier, decay, chosen.scale_kernels)
    if chosen.name == "sgd":
        return kinds.SGD(rate, momentum=momentum, nesterov=chosen.nesterov, weight_decay=decay)
    if chosen.name == "rmsprop":
        return kinds.RMSprop(rate, momentum=momentum, weight_decay=decay)
    if chosen.name == "adamw":
        return kinds.AdamW(rate, weight_decay=decay or 0.0)
    return {"adam": kinds.Adam, "lion": kinds.Lion}[chosen.name](rate, weight_decay=decay)


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


class BestWeights:
    """The weights of the epoch with the lowest validation loss, for early stopping; nothing where a recipe has none."""

    def __init__(self, model, recipe: Recipe):
        self.recipe = recipe
        self.originals = list(model.variables) if recipe.early_stopping else []
        self.variables = [keras.Variable(v, dtype=v.dtype, trainable=False, name="best") for v in self.originals]

    def update(self, history: dict[str, list[float]]) -> None:
        """Keep the model's weights after an epoch, if it is the best so far."""
        if self.recipe.early_stopping and self.recipe.kept_epoch(history) == len(history["loss"]) - 1:
            for best, variable in zip(self.variables, self.originals, strict=True):
                best.assign(variable)

    def restore(self) -> None:
        """Give the model the weights that were kept."""
        for best, variable in zip(self.variables, self.originals, strict=True):
            variable.assign(best)
