"""A recipe refuses what makes no sense, and its defaults never change: old records' hashes rest on them."""

import dataclasses
import json
import math

import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some

from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, WORDS, Augmentation, Optimizer, Recipe, Schedule

# A new field is added here with the default that is the old behaviour; what stands here is never edited.
DEFAULTS = {
    Recipe: {
        "batch_size": 32,
        "learning_rate": 1e-3,
        "optimizer": Optimizer(),
        "schedule": Schedule(),
        "augmentation": Augmentation(),
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "averaging": "none",
        "precision": "float32",
        "test_views": "single",
        "early_stopping": 0,
    },
    Optimizer: {
        "name": "adam",
        "momentum": 0.0,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay": "decoupled",
        "beta_lr_multiplier": 1.0,
        "non_kernel_lr_multiplier": 1.0,
        "scale_kernels": True,
    },
    Schedule: {
        "name": "constant",
        "warmup": 0.0,
        "warmup_from": 0.0,
        "final_fraction": 0.0,
        "milestones": (0.5, 0.75),
        "step_factor": 0.1,
    },
    Augmentation: {
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
    },
}
PARTS = {"optimizer": Optimizer, "schedule": Schedule, "augmentation": Augmentation}


@pytest.mark.parametrize("part", DEFAULTS, ids=lambda part: part.__name__)
def test_a_default_never_changes(part):
    found = {field.name: field.default for field in dataclasses.fields(part) if field.name != "epochs"}
    assert found == DEFAULTS[part]
    assert all(type(found[name]) is type(value) for name, value in DEFAULTS[part].items())


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
        ({"optimizer": None}, "optimizer"),
        ({"optimizer": Schedule()}, "optimizer"),
        ({"schedule": 0.1}, "schedule"),
        ({"augmentation": "flip"}, "augmentation"),
        ({"augmentation": {"flip": "random"}}, "augmentation"),
        ({"precision": "mixed_float16"}, "precision"),
        ({"loss": "hinge"}, "loss"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"averaging": "swa"}, "averaging"),
        ({"test_views": "ten_crop"}, "test_views"),
        ({"early_stopping": -1}, "early_stopping"),
        ({"early_stopping": True}, "early_stopping"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_it(changed, named):
    with pytest.raises(ValueError, match=f"^Recipe: {named} must be") as refused:
        Recipe(**{"epochs": 1} | changed)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "changed", "named"),
    [
        (Optimizer, {"name": "adagrad"}, "name"),
        (Optimizer, {"name": "sgd", "momentum": -0.1}, "momentum"),
        (Optimizer, {"name": "sgd", "momentum": 1}, "momentum"),
        (Optimizer, {"nesterov": 1}, "nesterov"),
        (Optimizer, {"weight_decay": -1}, "weight_decay"),
        (Optimizer, {"weight_decay": math.nan}, "weight_decay"),
        (Optimizer, {"decay": "l2"}, "decay"),
        (Optimizer, {"beta_lr_multiplier": 0}, "beta_lr_multiplier"),
        (Optimizer, {"name": "muon", "non_kernel_lr_multiplier": 0}, "non_kernel_lr_multiplier"),
        (Schedule, {"name": "sawtooth"}, "name"),
        (Schedule, {"name": "linear", "warmup": 2}, "warmup"),
        (Schedule, {"name": "linear", "warmup": 1}, "warmup"),
        (Schedule, {"name": "cosine", "final_fraction": -0.1}, "final_fraction"),
        (Schedule, {"step_factor": 0}, "step_factor"),
        (Schedule, {"milestones": (0.75, 0.5)}, "milestones"),
        (Schedule, {"milestones": (0.5, 1.5)}, "milestones"),
        (Schedule, {"milestones": (0, 0.5)}, "milestones"),
        (Augmentation, {"flip": "up"}, "flip"),
        (Augmentation, {"flip": True}, "flip"),
        (Augmentation, {"vertical_flip": "yes"}, "vertical_flip"),
        (Augmentation, {"translate": 1.5}, "translate"),
        (Augmentation, {"translate": -1}, "translate"),
        (Augmentation, {"cutout": -8}, "cutout"),
        (Augmentation, {"zoom": 1}, "zoom"),
        (Augmentation, {"rotate": 360}, "rotate"),
        (Augmentation, {"shear": 90}, "shear"),
        (Augmentation, {"shift": 1.1}, "shift"),
        (Augmentation, {"channel_shift": 256}, "channel_shift"),
        (Augmentation, {"mixup": -0.2}, "mixup"),
    ],
    ids=str,
)
def test_a_bad_value_of_a_part_is_refused_in_one_sentence_that_names_it(part, changed, named):
    with pytest.raises(ValueError, match=f"^{part.__name__}: {named} must be") as refused:
        part(**changed)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        (Optimizer, {"momentum": 0.9}, "adam takes no momentum"),
        (Optimizer, {"scale_kernels": False}, "scale_kernels is of muon alone"),
        (Optimizer, {"name": "sgd", "nesterov": True}, "give a momentum above 0"),
        (Optimizer, {"name": "rmsprop", "momentum": 0.9, "nesterov": True}, "momentum of sgd or muon"),
        (Optimizer, {"beta_lr_multiplier": 64}, "adam divides such a factor out again"),
        (Optimizer, {"name": "sgd", "non_kernel_lr_multiplier": 2}, "of muon alone"),
        (Optimizer, {"name": "adamw", "decay": "coupled"}, "take adam for the coupled one"),
        (Schedule, {"name": "exponential"}, "give a final_fraction above it"),
        (Schedule, {"name": "step", "warmup": 0.1}, "no warm-up here"),
        (Schedule, {"name": "one_cycle"}, "give a warmup above 0"),
        (Schedule, {"warmup_from": 0.2}, "give a warmup above 0"),
        (Schedule, {"final_fraction": 0.1}, "has no final_fraction"),
        (Schedule, {"name": "step", "final_fraction": 0.1}, "has no final_fraction"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused_in_one_sentence(part, changed, said):
    with pytest.raises(ValueError, match=f"^{part.__name__}: .*{said}") as refused:
        part(**changed)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "word"), [("optimizer", name) for name in ("adam", "sgd", "muon")] + [("schedule", "cosine")]
)
def test_a_plain_word_stands_for_a_part_with_its_defaults(field, word):
    named, whole = (Recipe(8, **{field: value}) for value in (word, PARTS[field](word)))
    assert named == whole
    assert named.identity() == whole.identity()
    assert Recipe(8, schedule="constant", optimizer="adam").identity() == {"epochs": 8}


def test_an_unknown_word_for_a_part_is_refused_as_the_part_refuses_it():
    with pytest.raises(ValueError, match="^Optimizer: name must be one of adam, .*, not 'adagrad'"):
        Recipe(8, optimizer="adagrad")
    with pytest.raises(ValueError, match="^Schedule: name must be one of constant, .*, not 'sawtooth'"):
        Recipe(8, schedule="sawtooth")


def test_whole_numbers_are_kept_as_fractions_where_fractions_are_meant():
    one = Recipe(1, learning_rate=1, label_smoothing=0, augmentation=Augmentation(rotate=35, mixup=1))
    other = Recipe(1, learning_rate=1.0, label_smoothing=0.0, augmentation=Augmentation(rotate=35.0, mixup=1.0))
    assert json.dumps(one.identity()) == json.dumps(other.identity())
    assert json.dumps(one.config()) == json.dumps(other.config())
    assert type(one.learning_rate) is float and type(one.epochs) is int
    coupled = Optimizer("sgd", momentum=0, weight_decay=1)
    assert (type(coupled.momentum), type(coupled.weight_decay)) == (float, float)


def test_only_augmentation_that_changes_images_says_so():
    assert not Augmentation().changes_images
    assert ORIGINAL_AUGMENTATION.changes_images
    for field, default in DEFAULTS[Augmentation].items():
        value = {"flip": "random", "vertical_flip": True}.get(field, 1 if isinstance(default, int) else 0.5)
        assert Augmentation(**{field: value}).changes_images, field


optimizers = some.builds(
    Optimizer, name=some.sampled_from(["sgd", "muon"]), momentum=some.floats(0.1, 0.99), nesterov=some.booleans(),
    weight_decay=some.floats(0, 1), decay=some.sampled_from(["decoupled", "coupled"]),
) | some.sampled_from([Optimizer(name) for name in ("adam", "adamw", "lion", "rmsprop")])  # fmt: skip
schedules = some.builds(
    Schedule, name=some.sampled_from(["cosine", "linear", "one_cycle"]), warmup=some.floats(0.01, 0.5),
    warmup_from=some.floats(0, 1), final_fraction=some.floats(0, 1),
) | some.builds(Schedule, name=some.just("step"), milestones=some.sampled_from([(0.5, 0.75), (0.3,), ()]))  # fmt: skip
augmentations = some.builds(
    Augmentation, flip=some.sampled_from(["none", "random", "alternating"]), translate=some.integers(0, 8),
    rotate=some.floats(0, 180), mixup=some.floats(0, 2),
)  # fmt: skip
recipes = some.builds(
    Recipe, epochs=some.integers(1, 100), batch_size=some.sampled_from([1, 32, 512]),
    learning_rate=some.floats(1e-6, 1), optimizer=optimizers, schedule=schedules, augmentation=augmentations,
    **{field: some.sampled_from(words) for field, words in WORDS.items()},
)  # fmt: skip


def rebuilt(fields):
    """A recipe from its identity or configuration, after a record's JSON."""
    fields = json.loads(json.dumps(fields))
    return Recipe(**{name: PARTS[name](**value) if name in PARTS else value for name, value in fields.items()})


def defaults_in(identity, part=Recipe):
    """The fields of an identity that are their defaults, which it should leave out."""
    found = [name for name, value in identity.items() if DEFAULTS[part].get(name) == value]
    return found + [name for field in PARTS.keys() & identity for name in defaults_in(identity[field], PARTS[field])]


@tries(100)
@given(recipes)
def test_identity_leaves_out_defaults_and_is_enough_to_rebuild_the_recipe(recipe):
    identity = recipe.identity()
    assert rebuilt(identity) == recipe == rebuilt(recipe.config())
    assert defaults_in(identity) == []
    assert all(identity[field] for field in PARTS.keys() & identity)
    assert "epochs" in identity


@tries(50)
@given(recipes)
def test_a_recipe_is_shown_as_it_would_be_written(recipe):
    names = {part.__name__: part for part in DEFAULTS}
    assert eval(repr(recipe), names) == recipe


def test_a_recipe_of_defaults_is_known_by_its_epochs_alone():
    assert Recipe(epochs=60).identity() == {"epochs": 60}
    assert repr(Recipe(epochs=60)) == "Recipe(epochs=60)"


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(epochs=1).epochs = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(epochs=1).augmentation.translate = 2


@pytest.mark.parametrize("field", ["momentum", "warmup", "flip", "start", "drops", "bias_rate"])
def test_a_field_of_a_part_or_of_old_is_no_field_of_a_recipe(field):
    with pytest.raises(TypeError, match=field):
        Recipe(1, **{field: 0})


def a_history(*validation_losses):
    return {"loss": [1.0] * len(validation_losses), "validation_loss": list(validation_losses)}


@pytest.mark.parametrize(
    ("losses", "stops", "whole", "kept"),
    [
        ((3, 2, 1), False, False, 2), ((1, 2), False, False, 0), ((1, 2, 3), True, True, 0),
        ((3, 1, 1, 2), True, True, 1), ((3, 2, 1, 3, 0), False, True, 4), ((3, 2, 1, 3, 2), True, True, 2),
    ],
)  # fmt: skip
def test_early_stopping_ends_a_run_after_so_many_epochs_without_a_lower_loss(losses, stops, whole, kept):
    recipe, usual, history = Recipe(5, early_stopping=2), Recipe(5), a_history(*losses)
    assert (recipe.stops_after(history), recipe.is_whole(history), recipe.kept_epoch(history)) == (stops, whole, kept)
    assert (usual.stops_after(history), usual.kept_epoch(history)) == (False, len(losses) - 1)
    assert usual.is_whole(history) == (len(losses) == 5)


def test_early_stopping_and_averages_of_weights_exclude_each_other():
    with pytest.raises(ValueError, match="^Recipe: early_stopping keeps the weights of one epoch"):
        Recipe(5, early_stopping=2, averaging="ema")
