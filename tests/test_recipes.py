"""A recipe refuses what makes no sense, and its defaults never change: old records' hashes rest on them."""

import dataclasses
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
        ({"optimizer": "adamw"}, "optimizer"),
        ({"optimizer": None}, "optimizer"),
        ({"precision": "mixed_float16"}, "precision"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_it(changed, named):
    with pytest.raises(ValueError, match=f"^Recipe: {named} must be") as refused:
        Recipe(**{"epochs": 1} | changed)
    assert "\n" not in str(refused.value)


recipes = some.builds(
    Recipe,
    epochs=some.integers(1, 100),
    batch_size=some.sampled_from([1, 32, 512]),
    optimizer=some.sampled_from(WORDS["optimizer"]),
    learning_rate=some.floats(1e-6, 1),
    precision=some.sampled_from(WORDS["precision"]),
)


@tries(100)
@given(recipes)
def test_identity_leaves_out_defaults_and_is_enough_to_rebuild_the_recipe(recipe):
    identity = recipe.identity()
    assert Recipe(**identity) == recipe == Recipe(**recipe.config())
    assert not any(DEFAULTS.get(field) == value for field, value in identity.items())
    assert "epochs" in identity


def test_a_recipe_of_defaults_is_known_by_its_epochs_alone():
    assert Recipe(epochs=60).identity() == {"epochs": 60}


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(epochs=1).epochs = 2
