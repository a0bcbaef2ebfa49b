"""Pretrained networks: weights are checked before they are read, features are the network's, and kept whole."""

import dataclasses
import importlib.util
import pickle
import shutil

import numpy as np
import pytest
from helpers import tiny_dataset, tries
from hypothesis import given
from hypothesis import strategies as st

from shathenet_utils import architecture, datasets, models, pretrained, training
from shathenet_utils.backend import keras, layers
from shathenet_utils.recipes import Augmentation, Recipe

NAME = "efficientnet_lite0@64"
WEIGHTS = importlib.util.find_spec(pretrained.LITE0_PACKAGE)


def random_body(size, imagenet=True):
    """EfficientNet-Lite0 with random weights, where its ImageNet weights are not what is tested."""
    keras.utils.set_random_seed(1)
    return pretrained.efficientnet_lite0(size, imagenet=False)


def use_random_body(monkeypatch):
    monkeypatch.setattr(pretrained, "frozen", lambda name, imagenet=True: random_body(int(name.partition("@")[2])))


@pytest.fixture
def body(monkeypatch):
    use_random_body(monkeypatch)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A dataset, its features, and the folder that keeps them."""
    data, folder = tiny_dataset(train=20, validation=10, test=10), tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        use_random_body(patch)
        return data, pretrained.features(data, NAME, folder), folder


def moving_statistics(model):
    """The moving means and variances of a model's batch norms, nested ones' too, by path."""
    return {weight.path: weight.numpy() for weight in model.non_trainable_weights if "/moving_" in weight.path}


def codes_of(model, images):
    found = model(images.astype(np.float32), training=False).numpy()
    return 255 * np.sqrt(found / 6)


def test_the_networks_have_the_size_they_are_known_for():
    lite0 = pretrained.efficientnet_lite0(224, imagenet=False)
    assert lite0.count_params() == 3_413_024
    assert lite0.count_params() + 1280 * 1000 + 1000 == 4_694_024
    assert architecture.macs(lite0) == pytest.approx(384e6, rel=0.02)
    assert not lite0.trainable_weights
    assert models.inception_v3().count_params() == 21_823_274
    assert models.inception_v3(classes=1000).count_params() == 23_851_784
    assert models.linear_head().count_params() == 12_810
    assert models.efficientnet_lite0().count_params() == 3_413_024 + 12_810
    assert (
        architecture.macs(models.efficientnet_lite0(128))
        == architecture.macs(pretrained.efficientnet_lite0(128, imagenet=False)) + 12_800
    )


def test_features_are_those_of_the_image_and_of_its_mirror_image(computed):
    data, found, _ = computed
    model = random_body(64)
    for part in ("train", "validation", "test"):
        images, codes = getattr(data, f"{part}_images"), getattr(found, f"{part}_images")
        assert (codes.shape, codes.dtype) == ((len(images), 1, 2, 1280), np.uint8)
        np.testing.assert_allclose(codes[:, 0, 0], codes_of(model, images), atol=0.51)
        np.testing.assert_allclose(codes[:, 0, 1], codes_of(model, images[:, :, ::-1]), atol=0.51)
        np.testing.assert_array_equal(getattr(data, f"{part}_labels"), getattr(found, f"{part}_labels"))
    assert found.fingerprint != data.fingerprint
    assert found.split == data.split


def test_the_head_takes_the_first_view_and_undoes_the_square_root():
    head = models.linear_head()
    codes = np.random.default_rng(0).integers(0, 256, (5, 1, 2, 1280)).astype(np.uint8)
    kernel, bias = head.get_layer("logits").get_weights()
    expected = (6 * (codes[:, 0, 0] / 255.0) ** 2) @ kernel + bias
    np.testing.assert_allclose(training.predict(head, codes), expected, rtol=1e-4, atol=1e-4)


def test_a_kept_feature_is_not_computed_again_whatever_the_split(body, computed, tmp_path, monkeypatch):
    data, first, folder = computed
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(pretrained, "extractor", lambda model: pytest.fail("it was computed again"))
    part = {"train_images": data.train_images[5:15], "train_labels": data.train_labels[5:15]}
    half = pretrained.features(dataclasses.replace(data, **part), NAME, tmp_path)
    np.testing.assert_array_equal(half.train_images, first.train_images[5:15])


@pytest.mark.parametrize("harm", ["cut", "emptied", "garbled"])
def test_damaged_features_are_computed_again(body, computed, tmp_path, harm):
    data, first, folder = computed
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    [path] = tmp_path.rglob("*.npz")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes({"cut": content[:middle], "emptied": b"", "garbled": content[:middle] + b"\x5a" * middle}[harm])
    again = pretrained.features(data, NAME, tmp_path)
    np.testing.assert_array_equal(again.train_images, first.train_images)


def test_a_stop_keeps_what_was_computed(body, tmp_path, monkeypatch):
    data = tiny_dataset(train=20, validation=10, test=10)
    monkeypatch.setattr(pretrained, "CHUNK", 15)
    whole, asked = pretrained.extractor, []

    def counting(model):
        compute = whole(model)

        def stopping(images, tell):
            asked.append(len(images))
            if len(asked) == 2:
                raise KeyboardInterrupt
            return compute(images, tell)

        return stopping

    monkeypatch.setattr(pretrained, "extractor", counting)
    with pytest.raises(KeyboardInterrupt):
        pretrained.features(data, NAME, tmp_path)
    pretrained.features(data, NAME, tmp_path)
    assert asked == [15, 15, 15, 10]


def test_flipping_features_is_flipping_images():
    """A recipe's flip and the test views swap the two halves of a feature "image"."""
    head = models.linear_head()
    codes = np.random.default_rng(0).integers(0, 256, (5, 1, 2, 1280)).astype(np.uint8)
    swapped = training.predict(head, codes[:, :, ::-1])
    both = training.average_of_views(training.predictor(head), codes, "flip")
    np.testing.assert_allclose(both, (training.predict(head, codes) + swapped) / 2, atol=1e-5)


def test_a_head_learns_from_features():
    stream, data = np.random.default_rng(0), tiny_dataset()
    centres = stream.integers(0, 150, (10, 1, 2, 1280))
    codes = {
        f"{part}_images": (centres[getattr(data, f"{part}_labels")] + stream.integers(0, 100)).astype(np.uint8)
        for part in ("train", "validation", "test")
    }
    trained = training.fit(
        models.linear_head(),
        dataclasses.replace(data, **codes),
        Recipe(5, 20, augmentation=Augmentation(flip="random")),
        seed=0,
    )
    assert trained.history["validation_accuracy"][-1] > 0.9


@pytest.mark.parametrize("name", ["resnet@64", "efficientnet_lite0", "efficientnet_lite0@20", "efficientnet_lite0@x"])
def test_an_unknown_frozen_network_is_one_sentence(name):
    with pytest.raises(ValueError, match=r"^There is no frozen network '.*'; there are efficientnet_lite0@SIZE"):
        pretrained.frozen(name)


def test_missing_weights_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(pretrained.PretrainedError, match=r"install them with .*requirements-pretrained\.txt"):
        pretrained.efficientnet_lite0(64)


def test_weights_that_are_not_the_published_ones_are_refused(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = [str(tmp_path)]

    path = tmp_path / pretrained.LITE0_FILE
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: Spec)
    with pytest.raises(pretrained.PretrainedError, match=r"can't be read \(FileNotFoundError\): install"):
        pretrained.lite0_path()
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(pretrained.PretrainedError, match="is not the file that was published"):
        pretrained.lite0_path()


class Sly:
    """What a harmful file would hold: unpickled, it calls a function."""

    def __reduce__(self):
        return (shutil.rmtree, ("/nowhere",))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pickle.dumps(Sly()), "asks for shutil"),
        (b"", "Ran out of input"),
        (pickle.dumps(7) * 3, "does not begin as one"),
    ],
    ids=["a function", "empty", "another pickle"],
)
def test_a_file_that_is_no_state_dict_is_refused_and_nothing_runs(tmp_path, content, why):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(pretrained.PretrainedError, match=rf"is no PyTorch file of arrays \(.*{why}"):
        pretrained.read_state_dict(tmp_path / "weights.pth")


@tries(60)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(pretrained.PretrainedError, match="is no PyTorch file of arrays"):
        pretrained.read_state_dict(path)


def test_offline_inception_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("SHATHENET_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(
        pretrained.PretrainedError, match=r"^Inception-v3's ImageNet weights are neither in .* nor to be"
    ):
        pretrained.inception_v3()


def test_a_message_names_no_home_folder(monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("SHATHENET_OFFLINE", "1")
    monkeypatch.setattr(pretrained, "INCEPTION_FILE", "no such file")
    with pytest.raises(pretrained.PretrainedError, match=r"neither in ~/\.keras/models nor") as told:
        pretrained.inception_v3()
    assert str(pretrained.Path.home()) not in str(told.value)


def test_inceptions_weights_are_checked_before_they_are_opened(monkeypatch, tmp_path):
    def fetched(name, url, *, cache_subdir, file_hash):
        assert (name, cache_subdir, file_hash) == (pretrained.INCEPTION_FILE, "models", pretrained.INCEPTION_MD5)
        raise ValueError("Incomplete or corrupted file detected.\nmore")

    monkeypatch.delenv("SHATHENET_OFFLINE", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", fetched)
    with pytest.raises(pretrained.PretrainedError, match=r"\(Incomplete or corrupted file detected\.\): run this once"):
        pretrained.inception_v3()


def test_inceptions_weights_fill_the_body_and_freeze_it(monkeypatch, tmp_path):
    source = models.inception_v3()
    path = tmp_path / "inception.weights.h5"
    source.get_layer("inception").save_weights(path)
    monkeypatch.delenv("SHATHENET_OFFLINE", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: path)
    model = pretrained.inception_v3()
    for ours, theirs in zip(model.get_layer("inception").weights, source.get_layer("inception").weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert [weight.path for weight in model.trainable_weights] == ["logits/kernel", "logits/bias"]


def test_frozen_batch_norm_keeps_its_statistics_in_training(monkeypatch):
    """Trial 20: a nested model called with training=False does not, in Keras 3."""
    model = models.inception_v3(75, inference=True)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    before, outputs = moving_statistics(model), model(images, training=False).numpy()
    assert len(before) == 188
    np.testing.assert_allclose(model(images, training=True).numpy(), outputs, atol=1e-4)
    model.compile(keras.optimizers.SGD(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.arange(4), epochs=1, verbose=0)
    for path, values in moving_statistics(model).items():
        np.testing.assert_array_equal(values, before[path])


def test_unfreezing_lets_all_train_but_batch_norm():
    for model in (models.inception_v3(75, inference=True), models.efficientnet_lite0(32)):
        for layer in model.layers:
            layer.trainable = False
        pretrained.unfreeze(model)
        nested = [layer for outer in model.layers for layer in getattr(outer, "layers", [outer])]
        norms = {
            weight.path for layer in nested if isinstance(layer, layers.BatchNormalization) for weight in layer.weights
        }
        assert norms
        assert {weight.path for weight in model.non_trainable_weights} == norms


def test_the_fine_tuned_network_trains_its_body_and_keeps_its_statistics():
    training.set_seed(0)
    model, data = models.efficientnet_lite0(32), tiny_dataset(train=20, validation=10, test=10)
    statistics, kernel = moving_statistics(model), model.get_layer("block0_depthwise_conv").get_weights()[0]
    training.fit(model, data, Recipe(1, 10, learning_rate=1e-3), seed=0)
    for path, values in moving_statistics(model).items():
        np.testing.assert_array_equal(values, statistics[path])
    assert (model.get_layer("block0_depthwise_conv").get_weights()[0] != kernel).any()  # random weights: tiny steps


def test_random_features_depend_on_the_seed_and_do_not_vanish(tmp_path):
    data, name = tiny_dataset(train=30, validation=10, test=10), "efficientnet_lite0_random@32"
    first = pretrained.features(data, name, tmp_path, seed=1)
    again = pretrained.features(data, name, tmp_path / "elsewhere", seed=1)
    other = pretrained.features(data, name, tmp_path, seed=2)
    np.testing.assert_array_equal(first.train_images, again.train_images)
    assert (first.train_images != other.train_images).mean() > 0.5
    assert first.train_images.std(axis=0).mean() > 10  # of 255: images differ
    assert "random weights" in first.provenance


def test_the_sample_of_features_is_whole_and_classes_lie_apart_in_it():
    train, labels, validation, validation_labels = pretrained.sample_features()
    assert (train.shape, validation.shape) == ((100, 1280), (500, 1280))
    assert (np.bincount(labels) == 10).all()
    assert (np.bincount(validation_labels) == 50).all()
    assert 0 <= train.min() and train.max() <= 6
    nearest = np.argmin(((validation[:, None] - train) ** 2).sum(axis=2), axis=1)
    assert np.mean(labels[nearest] == validation_labels) > 0.4  # by distance; chance is a tenth
    assert pretrained.sample_features("random")[0].std() > 0.1


@pytest.mark.slow
def test_the_weights_are_read_as_pytorch_reads_them():
    import torch

    assert WEIGHTS, "The slow tests need requirements-pretrained.txt."
    path = pretrained.lite0_path()
    expected = torch.load(path, weights_only=True)
    found = pretrained.read_state_dict(path)
    assert list(found) == list(expected)
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name].numpy())


@pytest.mark.slow
def test_the_features_are_those_that_pytorch_computes():
    """EfficientNet-Lite0 once more, written with PyTorch's functions around the file's own names."""
    import torch
    from torch.nn import functional

    assert WEIGHTS, "The slow tests need requirements-pretrained.txt."
    weights = torch.load(pretrained.lite0_path(), weights_only=True)

    def conv(x, kernel, norm, stride=1, groups=1, activation=True):
        size = weights[f"{kernel}.weight"].shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + size - x.shape[-1], 0)  # TensorFlow's SAME
        x = functional.pad(x, (total // 2, total - total // 2) * 2)
        x = functional.conv2d(x, weights[f"{kernel}.weight"], stride=stride, groups=groups)
        parts = (weights[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        x = functional.batch_norm(x, *parts, eps=1e-3)
        return functional.relu6(x) if activation else x

    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3)).astype(np.float32)
    x = conv(torch.from_numpy((images - 127) / 128).permute(0, 3, 1, 2), "_conv_stem", "_bn0", 2)
    for number in range(16):
        block, around, stride = f"_blocks.{number}", x, 2 if number in (1, 3, 5, 11) else 1
        if f"{block}._expand_conv.weight" in weights:
            x = conv(x, f"{block}._expand_conv", f"{block}._bn0")
        x = conv(x, f"{block}._depthwise_conv", f"{block}._bn1", stride, groups=x.shape[1])
        x = conv(x, f"{block}._project_conv", f"{block}._bn2", activation=False)
        x = x + around if x.shape == around.shape else x
    expected = conv(x, "_conv_head", "_bn1").mean((2, 3)).numpy()
    found = pretrained.efficientnet_lite0(96)(images, training=False).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow
def test_a_network_with_a_head_gets_the_same_body():
    assert WEIGHTS, "The slow tests need requirements-pretrained.txt."
    model = models.efficientnet_lite0(64)
    pretrained.load_lite0(model)
    body = keras.Model(model.input, model.get_layer("features").output)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    expected = pretrained.efficientnet_lite0(64)(images, training=False).numpy()
    np.testing.assert_allclose(body(images, training=False).numpy(), expected, atol=1e-5)


@pytest.mark.slow
def test_the_sample_of_features_is_of_the_images_that_it_says():
    if not datasets.cifar10_is_here():
        pytest.skip("CIFAR-10 is not here.")
    data = datasets.cifar10(download=False)
    for found, images in zip(pretrained.sample_features()[::2], pretrained.sample_images(data), strict=True):
        computed = pretrained.extractor(pretrained.frozen("efficientnet_lite0@128"))(images[:20])[:, 0, 0]
        np.testing.assert_allclose(found[:20], pretrained.decoded(computed), atol=0.05)
