"""Augmentation: what it does to images, what it leaves alone, and that an epoch's images depend on (seed, epoch)
alone."""

import numpy as np
import pytest
from helpers import tries
from hypothesis import given
from hypothesis import strategies as some
from scipy import ndimage

from shathenet_utils import augment
from shathenet_utils.recipes import ORIGINAL_AUGMENTATION, Augmentation

SETS = {
    "flip": {"flip": "random"},
    "alternating flip": {"flip": "alternating"},
    "vertical flip": {"vertical_flip": True},
    "translate": {"translate": 2},
    "rotate": {"rotate": 35.0},
    "shear": {"shear": 20.0},
    "shift": {"shift": 0.15},
    "zoom": {"zoom": 0.35},
    "channel shift": {"channel_shift": 20.0},
    "the original's": ORIGINAL_AUGMENTATION.identity(),
    "cutout": {"cutout": 8},
    "mixup": {"mixup": 0.2},
    "everything": {**ORIGINAL_AUGMENTATION.identity(), "translate": 2, "cutout": 8, "mixup": 0.2},
}
each_set = pytest.mark.parametrize("fields", SETS.values(), ids=SETS)


def some_images(count=60, height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def smooth_images(count=12, side=32):
    """Images whose neighbouring pixels differ little: two resamplings of them agree."""
    noise = np.random.default_rng(1).uniform(0, 255, (count, side, side, 3))
    return np.uint8(ndimage.gaussian_filter(noise, (0, 4, 4, 0), mode="nearest"))


def epoch(fields, seed=3, number=4, images=None):
    images = some_images() if images is None else images
    return augment.of_epoch(images, np.arange(len(images)) % 10, Augmentation(**fields), seed, number)


@each_set
def test_an_epoch_is_known_from_seed_and_number_alone(fields):
    once, again = epoch(fields), epoch(fields)
    np.testing.assert_array_equal(once.images, again.images)
    for other in (epoch(fields, seed=4), epoch(fields, number=5)):
        assert (once.images != other.images).any()


@each_set
def test_images_keep_their_shape_and_kind_and_the_originals_stay(fields):
    images = some_images(count=250, height=24, width=32)  # more than two chunks, the last not full
    before = images.copy()
    images.flags.writeable = False
    changed = epoch(fields, images=images)
    assert (changed.images.shape, changed.images.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)
    assert (changed.images != images).any(axis=(1, 2, 3)).mean() > 0.3


def test_without_augmentation_nothing_is_copied():
    images = some_images()
    shown = epoch({}, images=images)
    assert shown.images is images
    assert (shown.other_labels, shown.shares) == (None, None)


EXPECTED_SUMS = [95845, 95845, 95845, 95977, 96806, 96372, 96360, 95377, 88577, 96894, 96318, 94801, 98315]


def test_the_streams_of_recorded_runs_never_change():
    images = some_images(4, 8, 8)
    sums = [int(epoch(fields, images=images).images.astype(int).sum()) for fields in SETS.values()]
    assert sums == EXPECTED_SUMS


def test_a_flip_twice_is_the_image_and_only_the_chosen_are_flipped():
    images, chosen = some_images(), np.arange(60) % 3 == 0
    for vertical in (False, True):
        flipped = augment.flip(images, chosen, vertical)
        np.testing.assert_array_equal(augment.flip(flipped, chosen, vertical), images)
        np.testing.assert_array_equal(flipped[~chosen], images[~chosen])
    np.testing.assert_array_equal(augment.flip(images, chosen)[0], images[0, :, ::-1])
    np.testing.assert_array_equal(augment.flip(images, chosen, vertical=True)[0], images[0, ::-1])


def test_an_alternating_flip_shows_every_image_from_both_sides_in_two_epochs():
    images = some_images()
    first, second, third = (epoch({"flip": "alternating"}, number=number).images for number in (0, 1, 2))
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(second, first[:, :, ::-1])
    kept = (first == images).all(axis=(1, 2, 3))
    assert 15 < kept.sum() < 45


@tries(30)
@given(some.integers(-3, 3), some.integers(-3, 3))
def test_a_shift_moves_the_inside_and_mirrors_at_the_edge(down, right):
    images = some_images(3)
    moved = augment.shifted(images, down, right)
    for image, original in zip(moved, images, strict=True):
        padded = np.pad(original, ((3, 3), (3, 3), (0, 0)), mode="reflect")
        np.testing.assert_array_equal(image, padded[3 - down : 35 - down, 3 - right : 35 - right])


def test_a_translation_draws_every_move_alike_and_moves_by_whole_pixels():
    images = some_images(500)
    moved = augment.translate(images, 2, np.random.default_rng(0))
    counts = np.array([
        [(moved == augment.shifted(images, y, x)).all(axis=(1, 2, 3)).sum() for x in range(-2, 3)] for y in range(-2, 3)
    ])  # fmt: skip
    assert counts.sum() == 500
    assert counts.min() >= 8  # 20 are expected of each


@pytest.mark.parametrize("fields", [{"rotate": 35.0}, {"shear": 20.0}, {"shift": 0.15}, {"zoom": 0.35}], ids=str)
def test_affine_is_what_scipy_resamples(fields):
    images = smooth_images()
    ours = augment.affine(images, np.random.default_rng(5), **fields)
    stream = np.random.default_rng(5)
    count, side = len(images), images.shape[1]
    bounds = {"rotate": 0, "shear": 0, "shift": 0, "zoom": 0} | fields
    angle, slant = np.deg2rad(stream.uniform(-1, 1, (2, count)) * [[bounds["rotate"]], [bounds["shear"]]])
    moves = stream.uniform(-bounds["shift"], bounds["shift"], (2, count)) * side
    zooms = stream.uniform(1 - bounds["zoom"], 1 + bounds["zoom"], (2, count))
    for i, image in enumerate(images):
        turn = np.array([[np.cos(angle[i]), -np.sin(angle[i])], [np.sin(angle[i]), np.cos(angle[i])]])
        matrix = turn @ [[1, -np.sin(slant[i])], [0, np.cos(slant[i])]] @ np.diag(zooms[:, i])
        centre = np.full(2, (side - 1) / 2)
        offset = centre + turn @ moves[:, i] - matrix @ centre
        theirs = [
            ndimage.affine_transform(image[..., c].astype(float), matrix, offset, order=1, mode="nearest")
            for c in range(3)
        ]
        assert np.abs(ours[i] - np.stack(theirs, -1)).max() <= 1.5, i  # whole numbers, and weights in 256ths


def test_affine_with_nothing_to_do_gives_the_image_itself():
    images = some_images()
    np.testing.assert_array_equal(augment.affine(images, np.random.default_rng(0)), images)


def test_affine_keeps_an_image_of_one_colour_and_tells_of_other_channels():
    flat = np.broadcast_to(np.array([0, 128, 255], np.uint8), (5, 32, 32, 3))
    fields = ORIGINAL_AUGMENTATION.identity() | {"channel_shift": 0.0}
    np.testing.assert_array_equal(epoch(fields, images=flat).images, flat)
    with pytest.raises(ValueError, match="three channels, not 1"):
        augment.affine(some_images()[..., :1], np.random.default_rng(0), rotate=5)


def test_a_channel_shift_moves_each_channel_as_a_whole_and_stays_in_range():
    grey = np.full((40, 8, 8, 3), 128, np.uint8)
    changed = augment.channel_shift(grey, 20, np.random.default_rng(0)).astype(int)
    assert (changed == changed[:, :1, :1]).all()
    assert -20 <= (changed - 128).min() < -15 < 15 < (changed - 128).max() <= 20
    assert augment.channel_shift(np.full((9, 2, 2, 3), 250, np.uint8), 20, np.random.default_rng(0)).max() == 255
    np.testing.assert_array_equal(augment.channel_shift(grey, 0.49, np.random.default_rng(0)), grey)
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    augment.channel_shift(grey, 0.1, one)
    augment.channel_shift(grey, 20, other)
    assert one.random() == other.random(), "what is drawn next does not hang on how far"


@tries(20)
@given(some.integers(1, 40))
def test_cutout_greys_one_square_and_nothing_else(side):
    images = some_images(20)
    cut = augment.cutout(images, side, np.random.default_rng(side))
    grey = np.rint(images.mean(axis=(0, 1, 2)))
    for image, original in zip(cut, images, strict=True):
        changed = (image != original).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        square = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (square == grey).all()
        assert max(square.shape[:2]) <= side
        assert min(square.shape[:2]) >= min(side, 32) // 2  # the centre lies inside the image


def test_mixup_blends_images_and_says_how_much_of_each():
    images, labels = some_images(200), np.arange(200)
    mixed = augment.mixup(images, labels, 0.4, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.labels, labels)
    assert sorted(mixed.other_labels) == labels.tolist()
    share = mixed.shares[:, None, None, None]
    assert mixed.shares.dtype == np.float32
    assert 0 <= mixed.shares.min() < 0.05 < 0.95 < mixed.shares.max() <= 1
    blend = share * images + (1 - share) * images[mixed.other_labels]
    assert np.abs(mixed.images - blend).max() <= 0.501
