"""A recipe says how to train, in words and numbers only.

It is part of a run's identity: its fields that differ from their defaults enter the run's hash. So a
default never changes, and a new field's default is the old behaviour; old records then stay valid.
"""

import dataclasses

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train a network.

    epochs: passes over the training images, at least 1.
    batch_size: images a step, at least 1; the last step of an epoch takes what is left.
    optimizer: "adam" (Kingma & Ba, 2015) or "sgd", with Keras's default arguments.
    learning_rate: constant over the run, greater than 0.
    precision: Keras's dtype policy, "float32" or "mixed_bfloat16".

    The loss is the cross-entropy of the logits. Raises ValueError on a value outside these ranges.
    """

    epochs: int
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    precision: str = "float32"

    def __post_init__(self):
        for field in ("epochs", "batch_size"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Recipe: {field} must be a whole number of at least 1, not {value!r}.")
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
            raise ValueError(f"Recipe: learning_rate must be a number greater than 0, not {rate!r}.")
        for field, allowed in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, field) not in allowed:
                raise ValueError(f"Recipe: {field} must be one of {', '.join(allowed)}, not {getattr(self, field)!r}.")

    def config(self) -> dict:
        """All fields, as they are written into a record."""
        return dataclasses.asdict(self)

    def identity(self) -> dict:
        """The fields that differ from their defaults: what a run's hash covers."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.default is dataclasses.MISSING or getattr(self, field.name) != field.default
        }
