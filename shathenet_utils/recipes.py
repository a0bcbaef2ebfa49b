"""A recipe says how to train, in words and numbers only.

It is part of a run's identity: its fields that differ from their defaults enter the run's hash. So a default never
changes, and a new field's default is the old behaviour; old records then stay valid.
"""

import dataclasses
import math

WORDS = {
    "loss": ("cross_entropy", "focal", "mse"),
    "averaging": ("none", "ema", "lookahead"),
    "precision": ("float32", "mixed_bfloat16"),
    "test_views": ("single", "flip", "multi_crop"),
}
"""Recipe's fields that hold a word, and the words they take; the first is the default."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """What the parts of a recipe, and the recipe itself, share: checks of words and numbers, and what differs."""

    def _check_word(self, field: str, allowed: tuple[str, ...]) -> None:
        if getattr(self, field) not in allowed:
            raise ValueError(
                f"{self._called(field)} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}."
            )

    def _check_flag(self, field: str) -> None:
        if not isinstance(getattr(self, field), bool):
            raise ValueError(f"{self._called(field)} must be True or False, not {getattr(self, field)!r}.")

    def _check_count(self, field: str, low: int) -> None:
        value = getattr(self, field)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{self._called(field)} must be a whole number of at least {low}, not {value!r}.")

    def _check_number(
        self, field: str, low: float, high: float = math.inf, *, above: bool = False, below: bool = False
    ):
        """A number from low to high; above, below: the bound itself is refused. It is kept as a float: 1 is 1.0."""
        value = getattr(self, field)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        fits = fits and (low < value if above else low <= value) and (value < high if below else value <= high)
        if not fits:
            lower = f"greater than {low}" if above else f"of at least {low}"
            upper = "" if high == math.inf else f" and {'below' if below else 'at most'} {high}"
            raise ValueError(f"{self._called(field)} must be a number {lower}{upper}, not {value!r}.")
        object.__setattr__(self, field, float(value))

    def _called(self, field: str) -> str:
        return f"{type(self).__name__}: {field}"

    def identity(self) -> dict:
        """The fields that differ from their defaults, parts as dicts of their own: what a run's hash covers."""
        different = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, _Part):
                value, usual = value.identity(), {}
            else:
                usual = field.default
            if value != usual:
                different[field.name] = list(value) if isinstance(value, tuple) else value
        return different

    def config(self) -> dict:
        """All fields, parts as dicts of their own, as they are written into a record: JSON has lists for tuples."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: value.config() if isinstance(value, _Part) else list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    def __repr__(self):
        """What differs from the defaults; the rest goes without saying."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.identity())
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclasses.dataclass(frozen=True, repr=False)
class Optimizer(_Part):
    """How a gradient becomes a step; arguments that are not named here are Keras's defaults.

    name: "adam" (Kingma & Ba, 2015), "sgd", "rmsprop", "adamw" (Loshchilov & Hutter, 2019), "lion" (Chen et al., 2023)
        or "muon" (Jordan et al., 2024: for convolutions' kernels; other weights take SGD).
    momentum, nesterov: of sgd and muon; rmsprop has momentum alone. From 0, below 1.
    weight_decay: of weights with two dimensions or more, from 0.
    decay: "decoupled" subtracts learning rate × weight_decay × the weight in each step, "coupled" adds weight_decay ×
        the weight to its gradient (L2).
    beta_lr_multiplier: how many times larger the learning rate of a normalisation's β is; of sgd and muon.
    non_kernel_lr_multiplier: of muon: the learning rate of what is no kernel, in times that of kernels.
    scale_kernels: of muon: each kernel is scaled to norm √filters before its step, which suits kernels that a
        normalisation follows, and changes what a network without one computes.

    Raises ValueError on a value outside these ranges, or on two that contradict each other.
    """

    name: str = "adam"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay: str = "decoupled"
    beta_lr_multiplier: float = 1.0
    non_kernel_lr_multiplier: float = 1.0
    scale_kernels: bool = True

    def __post_init__(self):
        self._check_word("name", ("adam", "sgd", "rmsprop", "adamw", "lion", "muon"))
        self._check_word("decay", ("decoupled", "coupled"))
        self._check_flag("nesterov")
        self._check_flag("scale_kernels")
        self._check_number("momentum", 0, 1, below=True)
        self._check_number("weight_decay", 0)
        self._check_number("beta_lr_multiplier", 0, above=True)
        self._check_number("non_kernel_lr_multiplier", 0, above=True)
        if self.momentum and self.name not in ("sgd", "rmsprop", "muon"):
            raise ValueError(f"Optimizer: {self.name} takes no momentum; sgd, rmsprop and muon do.")
        if self.name == "adamw" and self.decay == "coupled":
            raise ValueError("Optimizer: adamw is Adam with decoupled decay; take adam for the coupled one.")
        if self.nesterov and (self.name not in ("sgd", "muon") or not self.momentum):
            raise ValueError("Optimizer: nesterov is a form of the momentum of sgd or muon: give a momentum above 0.")
        if self.beta_lr_multiplier != 1 and self.name not in ("sgd", "muon"):
            raise ValueError(
                f"Optimizer: beta_lr_multiplier is of sgd and muon; {self.name} divides such a factor out again."
            )
        if self.non_kernel_lr_multiplier != 1 and self.name != "muon":
            raise ValueError("Optimizer: non_kernel_lr_multiplier is of muon alone.")
        if not self.scale_kernels and self.name != "muon":
            raise ValueError("Optimizer: scale_kernels is of muon alone.")


@dataclasses.dataclass(frozen=True, repr=False)
class Schedule(_Part):
    """The learning rate over a run, step by step, as a multiple of the recipe's `learning_rate`, which is the highest.

    name: "constant"; "step" multiplies it by `step_factor` at each of `milestones`; "exponential", "cosine" and
        "linear" fall to `final_fraction`; "one_cycle" is a cosine after a rise.
    warmup: the share of the run in which the learning rate first rises in a straight line, from `warmup_from` on.
    milestones: rising shares of the run, between 0 and 1.

    Raises ValueError on a value outside these ranges, or on two that contradict each other.
    """

    name: str = "constant"
    warmup: float = 0.0
    warmup_from: float = 0.0
    final_fraction: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = 0.1

    def __post_init__(self):
        self._check_word("name", ("constant", "step", "exponential", "cosine", "linear", "one_cycle"))
        self._check_number("warmup", 0, 1, below=True)
        self._check_number("warmup_from", 0, 1)
        self._check_number("final_fraction", 0, 1)
        self._check_number("step_factor", 0, 1, above=True)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if not all(0 < share < 1 for share in self.milestones) or sorted(self.milestones) != list(self.milestones):
            raise ValueError(
                f"Schedule: milestones must be rising shares of the run between 0 and 1, not {self.milestones!r}."
            )
        if self.name == "exponential" and not self.final_fraction:
            raise ValueError("Schedule: an exponential schedule never ends at 0: give a final_fraction above it.")
        if (self.warmup or self.warmup_from) and self.name == "step":
            raise ValueError("Schedule: a step schedule has no warm-up here.")
        if self.warmup_from and not self.warmup:
            raise ValueError("Schedule: warmup_from is where a warm-up begins: give a warmup above 0.")
        if self.final_fraction and self.name in ("constant", "step"):
            raise ValueError(f"Schedule: a {self.name} schedule has no final_fraction.")
        if self.name == "one_cycle" and not self.warmup:
            raise ValueError("Schedule: a one_cycle schedule rises first: give a warmup above 0.")


@dataclasses.dataclass(frozen=True, repr=False)
class Augmentation(_Part):
    """What is done to the training images, anew in each epoch.

    flip: left to right: "random", half of the images, or "alternating", half in the first epoch, and all change sides
        from epoch to epoch.
    vertical_flip: upside down, half of the images.
    translate: by up to so many pixels each way, over mirrored edges.
    rotate (degrees), shift (fraction of the side), shear (degrees), zoom (each side by 1 − zoom to 1 + zoom),
        channel_shift (0 to 255): the bound of a draw for each image; edges are repeated.
    cutout: the side of a grey square, in pixels (DeVries & Taylor, 2017); 0 for none.
    mixup: alpha of the Beta distribution (Zhang et al., 2018); 0 for none.

    Raises ValueError on a value outside these ranges.
    """

    flip: str = "none"
    vertical_flip: bool = False
    translate: int = 0
    rotate: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    channel_shift: float = 0.0
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self):
        self._check_word("flip", ("none", "random", "alternating"))
        self._check_flag("vertical_flip")
        self._check_count("translate", 0)
        self._check_number("rotate", 0, 180)
        self._check_number("shift", 0, 1)
        self._check_number("shear", 0, 89)
        self._check_number("zoom", 0, 0.99)
        self._check_number("channel_shift", 0, 255)
        self._check_count("cutout", 0)
        self._check_number("mixup", 0)

    @property
    def changes_images(self) -> bool:
        """Whether the images of an epoch differ from the dataset's."""
        return bool(self.identity())


ORIGINAL_AUGMENTATION = Augmentation(
    rotate=35.0, shift=0.15, shear=1.5, zoom=0.35, channel_shift=0.1, flip="random", vertical_flip=True
)
"""What the original project did to its training images (github.com/Shathe/DeepLearning, ShatheNet/train.py)."""


@dataclasses.dataclass(frozen=True, repr=False)
class Recipe(_Part):
    """How to train a network.

    epochs: passes over the training images, at least 1.
    batch_size: images per training step, at least 1; the last step of an epoch takes what is left.
    learning_rate: the highest of the run, greater than 0.
    optimizer, schedule: an `Optimizer`, a `Schedule`; or the name of one with its defaults, "sgd" or "cosine".
    augmentation: an `Augmentation`.
    loss: of the logits: "cross_entropy", "focal" with gamma 2 (Lin et al., 2017), "mse" of the softmax's probabilities.
    label_smoothing: the share of a label that is spread over all classes, from 0, below 1.
    early_stopping: how many epochs in a row may pass without a lower loss on the validation images; then training ends,
        and the weights go back to those of the lowest. 0: it never ends early.
    averaging: of weights. "ema": a moving average is what is evaluated and kept. "lookahead": every five steps the
        weights go back to their slowly moving average, which is kept at the end (Jordan, 2024, airbench).
    precision: Keras's dtype policy, "float32" or "mixed_bfloat16".
    test_views: how the test set is seen besides: "flip", image and mirror image, or "multi_crop", both, and the same
        of the image shifted by a pixel (Jordan, 2024, airbench).

    Raises ValueError on a value outside these ranges.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    averaging: str = "none"
    precision: str = "float32"
    test_views: str = "single"
    early_stopping: int = 0

    def __post_init__(self):
        for field, part in (("optimizer", Optimizer), ("schedule", Schedule), ("augmentation", Augmentation)):
            value = getattr(self, field)
            if isinstance(value, str) and part is not Augmentation:
                object.__setattr__(self, field, part(value))
            elif not isinstance(value, part):
                raise ValueError(f"Recipe: {field} must be an {part.__name__}, not {value!r}.".replace("an S", "a S"))
        self._check_count("epochs", 1)
        self._check_count("batch_size", 1)
        self._check_number("learning_rate", 0, above=True)
        self._check_number("label_smoothing", 0, 1, below=True)
        self._check_count("early_stopping", 0)
        for field, allowed in WORDS.items():
            self._check_word(field, allowed)
        if self.early_stopping and self.averaging != "none":
            raise ValueError("Recipe: early_stopping keeps the weights of one epoch, so it takes no averaging.")

    def is_whole(self, history: dict[str, list[float]]) -> bool:
        """Whether a run with this history was trained to its end: all epochs, or until it was stopped early."""
        epochs = len(history["loss"])
        return epochs == self.epochs or (epochs < self.epochs and self.stops_after(history))

    def stops_after(self, history: dict[str, list[float]]) -> bool:
        """Whether early stopping ends a run after its last epoch so far; history: as `training.fit` gives it."""
        epochs = len(history["loss"])
        return bool(self.early_stopping and epochs) and epochs - 1 - self.kept_epoch(history) >= self.early_stopping

    def kept_epoch(self, history: dict[str, list[float]]) -> int:
        """The epoch, from 0, whose weights a finished run ends with: the last, with early stopping the best."""
        if not self.early_stopping:
            return len(history["loss"]) - 1
        return history["validation_loss"].index(min(history["validation_loss"]))
