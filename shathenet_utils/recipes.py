"""A recipe says how to train, in words and numbers only.

It is part of a run's identity: its fields that differ from their defaults enter the run's hash. So a
default never changes, and a new field's default is the old behaviour; old records then stay valid.
"""

import dataclasses
import math

ORIGINAL_AUGMENTATION = {
    "rotate": 35.0, "shift": 0.15, "shear": 1.5, "zoom": 0.35, "channel_shift": 0.1, "flip": "random",
    "vertical_flip": True,
}  # fmt: skip
"""What the original project did to its training pictures (github.com/Shathe/DeepLearning, ShatheNet/train.py)."""

WORDS = {
    "optimizer": ("adam", "sgd", "rmsprop", "adamw", "lion", "muon"),
    "precision": ("float32", "mixed_bfloat16"),
    "decay": ("decoupled", "coupled"),
    "schedule": ("constant", "step", "exponential", "cosine", "linear", "one_cycle"),
    "loss": ("cross_entropy", "focal", "mse"),
    "averaging": ("none", "ema", "lookahead"),
    "flip": ("none", "random", "alternating"),
    "test_views": ("single", "flip", "multi_crop"),
}
"""The fields that hold a word, and the words they take; the first is the default."""

_NUMBERS = {  # field: (lowest, highest, whether the lowest itself is refused)
    "learning_rate": (0, math.inf, True),
    "momentum": (0, 1, False),
    "weight_decay": (0, math.inf, False),
    "warmup": (0, 1, False),
    "start": (0, 1, False),
    "end": (0, 1, False),
    "drop": (0, 1, True),
    "label_smoothing": (0, 1, False),
    "bias_rate": (0, math.inf, True),
    "rest_rate": (0, math.inf, True),
    "rotate": (0, 180, False),
    "shift": (0, 1, False),
    "shear": (0, 89, False),
    "zoom": (0, 0.99, False),
    "channel_shift": (0, 255, False),
    "mixup": (0, math.inf, False),
}
_COUNTS = {"epochs": 1, "batch_size": 1, "translate": 0, "cutout": 0}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train a network; arguments of an optimizer that are not named here are Keras's defaults.

    epochs: passes over the training images, at least 1.
    batch_size: images a step, at least 1; the last step of an epoch takes what is left.
    optimizer: "adam" (Kingma & Ba, 2015), "sgd", "rmsprop", "adamw" (Loshchilov & Hutter, 2019), "lion" (Chen et al.,
        2023) or "muon" (Jordan et al., 2024: for convolutions' kernels; other weights take SGD).
    learning_rate: the highest of the run, greater than 0.
    precision: Keras's dtype policy, "float32" or "mixed_bfloat16".
    momentum, nesterov: of sgd and muon; rmsprop has momentum alone. From 0, below 1.
    weight_decay: of weights with two dimensions or more, from 0.
    decay: "decoupled" takes learning rate × weight_decay of a weight away in each step, "coupled" adds weight_decay ×
        the weight to its gradient (L2).
    schedule: of the learning rate, step by step. "step" multiplies it by `drop` at each share of the run in `drops`;
        "exponential", "cosine" and "linear" fall to `end` times the highest; "one_cycle" is a cosine after a rise.
    warmup: the share of the run in which the rate first rises in a straight line, from `start` times the highest.
    loss: of the logits: "cross_entropy", "focal" with gamma 2 (Lin et al., 2017), "mse" of the softmax's probabilities.
    label_smoothing: the share of a label that is spread over all classes, from 0, below 1.
    averaging: of weights. "ema": a moving average is what is evaluated and kept. "lookahead": every five steps the
        weights go back to their slowly moving average, which is kept at the end (Jordan, 2024, airbench).
    bias_rate: how many times faster a normalisation's shifts learn; of sgd and muon.
    rest_rate: of muon: the learning rate of what is no kernel, in times that of kernels.
    flip: left to right: "random", half of the pictures, or "alternating", half in the first epoch, and all change sides
        from epoch to epoch.
    vertical_flip: upside down, half of the pictures.
    translate: by up to so many pixels each way, over mirrored edges.
    rotate (degrees), shift (of the side), shear (degrees), zoom (each side by 1 − zoom to 1 + zoom), channel_shift (0
        to 255): the bound of a draw for each picture; edges are repeated.
    cutout: the side of a grey square, in pixels (DeVries & Taylor, 2017); 0 for none.
    mixup: alpha of the Beta distribution (Zhang et al., 2018); 0 for none.
    test_views: how the test set is seen besides: "flip", picture and mirror image, or "multi_crop", both, and the same
        of the picture moved by a pixel (Jordan, 2024, airbench).

    Raises ValueError on a value outside these ranges, or on two that contradict each other.
    """

    epochs: int
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    precision: str = "float32"
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    decay: str = "decoupled"
    schedule: str = "constant"
    warmup: float = 0.0
    start: float = 0.0
    end: float = 0.0
    drops: tuple[float, ...] = (0.5, 0.75)
    drop: float = 0.1
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    averaging: str = "none"
    bias_rate: float = 1.0
    rest_rate: float = 1.0
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
    test_views: str = "single"

    def __post_init__(self):
        for field, lowest in _COUNTS.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"Recipe: {field} must be a whole number of at least {lowest}, not {value!r}.")
        for field, (low, high, open_) in _NUMBERS.items():
            value = getattr(self, field)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not low <= value <= high or (open_ and value == low):
                raise ValueError(_out_of_range(field, low, high, open_, value))
        for field, allowed in WORDS.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"Recipe: {field} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}.")
        for field in ("nesterov", "vertical_flip"):
            if not isinstance(getattr(self, field), bool):
                raise ValueError(f"Recipe: {field} must be True or False, not {getattr(self, field)!r}.")
        object.__setattr__(self, "drops", tuple(self.drops))
        if not all(0 < drop < 1 for drop in self.drops) or sorted(self.drops) != list(self.drops):
            raise ValueError(f"Recipe: drops must be rising shares of the run between 0 and 1, not {self.drops!r}.")
        if self.momentum and self.optimizer not in ("sgd", "rmsprop", "muon"):
            raise ValueError(f"Recipe: {self.optimizer} takes no momentum; sgd, rmsprop and muon do.")
        if self.optimizer == "adamw" and self.decay == "coupled":
            raise ValueError("Recipe: adamw is Adam with decoupled decay; take adam for the coupled one.")
        if self.nesterov and (self.optimizer not in ("sgd", "muon") or not self.momentum):
            raise ValueError("Recipe: nesterov is a form of the momentum of sgd or muon: give a momentum above 0.")
        if self.bias_rate != 1 and self.optimizer not in ("sgd", "muon"):
            raise ValueError(f"Recipe: bias_rate is of sgd and muon; {self.optimizer} divides such a factor out again.")
        if self.rest_rate != 1 and self.optimizer != "muon":
            raise ValueError("Recipe: rest_rate is of muon alone.")
        if self.schedule == "exponential" and not self.end:
            raise ValueError("Recipe: an exponential schedule never ends at 0: give an end above it.")
        if (self.warmup or self.start) and self.schedule == "step":
            raise ValueError("Recipe: a step schedule has no warm-up here.")
        if self.start and not self.warmup:
            raise ValueError("Recipe: start is where a warm-up begins: give a warmup above 0.")
        if self.end and self.schedule in ("constant", "step"):
            raise ValueError(f"Recipe: a {self.schedule} schedule falls to no end.")
        if self.schedule == "one_cycle" and not self.warmup:
            raise ValueError("Recipe: a one_cycle schedule rises first: give a warmup above 0.")
        if self.momentum == 1 or self.label_smoothing == 1 or self.warmup == 1:
            raise ValueError("Recipe: momentum, label_smoothing and warmup must be below 1.")

    def __repr__(self):
        """What differs from the defaults; the rest goes without saying."""
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.identity().items())})"

    @property
    def augments(self) -> bool:
        """Whether the pictures of an epoch differ from the dataset's."""
        fields = ("vertical_flip", "translate", "rotate", "shift", "shear", "zoom", "channel_shift", "cutout", "mixup")
        return self.flip != "none" or any(getattr(self, field) for field in fields)

    def config(self) -> dict:
        """All fields, as they are written into a record."""
        return dataclasses.asdict(self) | {"drops": list(self.drops)}

    def identity(self) -> dict:
        """The fields that differ from their defaults: what a run's hash covers."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is dataclasses.MISSING or getattr(self, field.name) != field.default
        }


def _out_of_range(field: str, low: float, high: float, open_: bool, value) -> str:
    bounds = f"from {low} to {high}" if high < math.inf else f"of at least {low}"
    bounds = f"greater than {low}" + (f", at most {high}" if high < math.inf else "") if open_ else bounds
    return f"Recipe: {field} must be a number {bounds}, not {value!r}."
