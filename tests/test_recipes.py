"""A recipe refuses what makes no sense, and its defaults never change: old records' hashes rest on them."""

import dataclasses
import json
import math

import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils.recipes import WORDS, Recipe

# A new field is added here with the default that is the old behaviour; what stands here is never edited.
DEFAULTS = {
    "batch_size": 32,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "precision": "float32",
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "decay": "decoupled",
    "schedule": "constant",
    "warmup": 0.0,
    "start": 0.0,
    "end": 0.0,
    "drops": (0.5, 0.75),
    "drop": 0.1,
    "loss": "cross_entropy",
    "label_smoothing": 0.0,
    "averaging": "none",
    "bias_rate": 1.0,
    "rest_rate": 1.0,
    "flip": "none",
    "vertical_flip": False,
    "translate": 0,
    "rotate": 0.0,
    "shift": 0.0,
    "shear": 0.0,
    "zoom": 0.0,
    "channel_shift": 0.0,
    "cutout": 0,
    "mixup": 0.0,
    "test_views": "single",
}


def test_a_default_never_changes():
    assert {field.name: field.default for field in dataclasses.fields(Recipe) if field.name != "epochs"} == DEFAULTS


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"epochs": "60"}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -32}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": -1e-3}, "learning_rate"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"learning_rate": "1e-3"}, "learning_rate"),
        ({"optimizer": "adagrad"}, "optimizer"),
        ({"optimizer": None}, "optimizer"),
        ({"precision": "mixed_float16"}, "precision"),
        ({"optimizer": "sgd", "momentum": -0.1}, "momentum"),
        ({"optimizer": "sgd", "momentum": 1.5}, "momentum"),
        ({"nesterov": 1}, "nesterov"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"weight_decay": math.nan}, "weight_decay"),
        ({"decay": "l2"}, "decay"),
        ({"schedule": "sawtooth"}, "schedule"),
        ({"schedule": "linear", "warmup": 2}, "warmup"),
        ({"schedule": "cosine", "end": -0.1}, "end"),
        ({"drop": 0}, "drop"),
        ({"drops": (0.75, 0.5)}, "drops"),
        ({"drops": (0.5, 1.5)}, "drops"),
        ({"loss": "hinge"}, "loss"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"averaging": "swa"}, "averaging"),
        ({"bias_rate": 0}, "bias_rate"),
        ({"flip": "up"}, "flip"),
        ({"flip": True}, "flip"),
        ({"vertical_flip": "yes"}, "vertical_flip"),
        ({"translate": 1.5}, "translate"),
        ({"translate": -1}, "translate"),
        ({"cutout": -8}, "cutout"),
        ({"zoom": 1}, "zoom"),
        ({"rotate": 360}, "rotate"),
        ({"mixup": -0.2}, "mixup"),
        ({"test_views": "ten_crop"}, "test_views"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_it(changed, named):
    with pytest.raises(ValueError, match=f"^Recipe: {named} must be") as refused:
        Recipe(**{"epochs": 1} | changed)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"momentum": 0.9}, "adam takes no momentum"),
        ({"optimizer": "sgd", "nesterov": True}, "give a momentum above 0"),
        ({"optimizer": "rmsprop", "momentum": 0.9, "nesterov": True}, "momentum of sgd or muon"),
        ({"bias_rate": 64}, "adam divides such a factor out again"),
        ({"optimizer": "sgd", "rest_rate": 2}, "of muon alone"),
        ({"schedule": "exponential"}, "give an end above it"),
        ({"optimizer": "adamw", "decay": "coupled"}, "take adam for the coupled one"),
        ({"schedule": "step", "warmup": 0.1}, "no warm-up here"),
        ({"schedule": "one_cycle"}, "give a warmup above 0"),
        ({"optimizer": "sgd", "momentum": 1}, "must be below 1"),
        ({"label_smoothing": 1}, "must be below 1"),
        ({"start": 0.2}, "give a warmup above 0"),
        ({"end": 0.1}, "falls to no end"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_one_sentence(changed, said):
    with pytest.raises(ValueError, match=f"^Recipe: .*{said}") as refused:
        Recipe(**{"epochs": 1} | changed)
    assert "\n" not in str(refused.value)


recipes = some.builds(
    Recipe,
    epochs=some.integers(1, 100),
    batch_size=some.sampled_from([1, 32, 512]),
    optimizer=some.sampled_from(WORDS["optimizer"]),
    learning_rate=some.floats(1e-6, 1),
    precision=some.sampled_from(WORDS["precision"]),
    schedule=some.sampled_from(["constant", "cosine", "linear"]),
    drops=some.sampled_from([(0.5, 0.75), (0.3,), ()]),
    loss=some.sampled_from(WORDS["loss"]),
    flip=some.sampled_from(WORDS["flip"]),
    rotate=some.floats(0, 180),
    mixup=some.floats(0, 2),
)


@tries(100)
@given(recipes)
def test_identity_leaves_out_defaults_and_is_enough_to_rebuild_the_recipe(recipe):
    identity = recipe.identity()
    assert Recipe(**identity) == recipe == Recipe(**recipe.config())
    assert not any(DEFAULTS.get(field) == value for field, value in identity.items())
    assert "epochs" in identity


@tries(50)
@given(recipes)
def test_a_recipe_survives_a_record(recipe):
    assert Recipe(**json.loads(json.dumps(recipe.config()))) == recipe


def test_a_recipe_of_defaults_is_known_by_its_epochs_alone():
    assert Recipe(epochs=60).identity() == {"epochs": 60}


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(epochs=1).epochs = 2
