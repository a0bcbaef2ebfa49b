"""What the lens is given: images and labels of any kind, and what a network's outputs mean."""

import numpy as np
import pytest
from PIL import Image

from shathenet_utils import datasets, lens, models
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import LensError, encoding, widget
from shathenet_utils.lens.graph import graph
from shathenet_utils.lens.images import luma
from shathenet_utils.lens.payload import payload

NO_IMAGES = np.zeros((0, 8, 8, 3), np.uint8)


def network(units=3, activation=None, *, channels=3, loss=None):
    model = keras.Sequential(
        [
            keras.Input((8, 8, channels)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(units, activation=activation, name="end"),
        ],
        name="mine",
    )
    if loss:
        model.compile(loss=loss)
    return model


def head(model, classes=None, **arguments):
    return payload(model, NO_IMAGES, classes=classes, **arguments)["head"]


# What outputs mean


def test_a_single_sigmoid_tells_two_classes_apart():
    expected = {
        "kind": "probabilities", "apply": "none", "binary": True, "exclusive": True, "names": ["cat", "dog"],
    }  # fmt: skip
    assert head(network(1, "sigmoid"), ["cat", "dog"]) == expected
    assert head(network(1, "sigmoid"))["names"] == ["class 0", "class 1"]
    as_a_layer = keras.Sequential([network(1), layers.Activation("sigmoid")])
    assert head(as_a_layer, ["cat", "dog"]) == expected


def test_several_sigmoids_are_shown_each_on_its_own():
    found = head(network(3, "sigmoid"), ["sky", "sea", "sand"])
    assert (found["kind"], found["apply"], found["binary"], found["exclusive"]) == (
        "probabilities",
        "none",
        False,
        False,
    )


@pytest.mark.parametrize(
    ("units", "activation", "arguments"),
    [
        (1, None, {}),
        (1, "relu", {}),
        (3, None, {}),
        (3, "tanh", {"classes": ["a", "b", "c"]}),
        (3, None, {"classes": ["a", "b", "c"], "head": "numbers"}),
        (3, None, {"classes": ["a", "b", "c"], "loss": "mse"}),
        (3, None, {"classes": ["a", "b", "c"], "loss": keras.losses.Huber()}),
    ],
)
def test_a_regression_is_plain_numbers(units, activation, arguments):
    loss = arguments.pop("loss", None)
    found = head(network(units, activation, loss=loss), **arguments)
    assert found["kind"] == "numbers"
    assert len(found["names"]) == units


@pytest.mark.parametrize(
    ("units", "activation", "loss", "said", "apply", "exclusive"),
    [
        (3, "softmax", None, None, "none", True),
        (3, None, None, None, "softmax", True),
        (3, "log_softmax", None, None, "exp", True),
        (3, None, "categorical_crossentropy", None, "softmax", True),
        (3, None, "binary_crossentropy", None, "sigmoid", False),
        (1, None, keras.losses.BinaryCrossentropy(from_logits=True), None, "sigmoid", True),
        (1, None, None, "binary_logit", "sigmoid", True),
        (3, None, None, "sigmoid_logits", "sigmoid", False),
        (3, None, "mse", "logits", "softmax", True),
    ],
)
def test_probabilities_are_what_the_last_function_or_the_loss_says(units, activation, loss, said, apply, exclusive):
    classes = ["a", "b", "c"] if units == 3 else ["a", "b"]
    found = head(network(units, activation, loss=loss), classes, head=said)
    assert (found["kind"], found["apply"], found["exclusive"]) == ("probabilities", apply, exclusive)
    assert found["names"] == classes


def test_what_is_no_probability_is_never_one():
    found = payload(network(1, "softmax"), NO_IMAGES)
    assert found["head"]["kind"] == "numbers"
    assert "A softmax of one number is 1 whatever the network computes" in found["notes"][0]
    images = keras.Input((8, 8, 3))
    assert head(keras.Model(images, layers.Conv2D(3, 3, activation="softmax")(images))) == {"kind": "none"}
    of_one_pixel = keras.Model(images, layers.Conv2D(3, 8, activation="softmax")(images))
    assert head(of_one_pixel)["kind"] == "probabilities", "a network without a dense layer"
    with pytest.raises(LensError, match="head='best' is none of softmax, sigmoid"):
        head(network(), head="best")


def test_probabilities_that_no_last_function_shows_are_found_by_their_sum():
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3)(layers.Rescaling(1 / 255)(images))
    mean_of_places = layers.GlobalAveragePooling2D()(layers.Softmax()(x))
    of_two = layers.Average()([layers.Dense(3, "softmax")(layers.Flatten()(x)) for _ in range(2)])
    for end in (mean_of_places, of_two, keras.ops.log(of_two)):
        found = head(keras.Model(images, end), ["a", "b", "c"])
        assert (found["kind"], found["exclusive"]) == ("probabilities", True)
        assert found["apply"] == ("exp" if end is not mean_of_places and end is not of_two else "none")
    places = layers.Flatten()(layers.Softmax()(layers.Conv2D(3, 7)(images)))  # 2 × 2 places, each with a sum of one
    assert head(keras.Model(images, places))["kind"] == "numbers"


def test_class_names_that_do_not_fit_are_told_and_left_out():
    found = payload(network(4), NO_IMAGES, classes=["a", "b", "c"])
    assert found["head"] == {"kind": "numbers", "names": [f"output {number}" for number in range(4)]}
    assert found["notes"] == ["There are 3 class names and the network has 4 outputs: its outputs are numbered."]
    assert "has one output for two classes" in payload(network(1, "sigmoid"), NO_IMAGES, classes=["a"])["notes"][0]


# Which output, which input


def two_heads():
    images = keras.Input((8, 8, 3), name="images")
    x = layers.Flatten(name="flat")(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, [layers.Dense(10, name="kind")(x), layers.Dense(4, name="colour")(x)], name="mine")


def test_of_several_outputs_one_is_chosen():
    model = two_heads()
    with pytest.raises(
        LensError, match="mine has 2 outputs: choose one by its name or number, output='kind' or output=0"
    ):
        graph(model)
    for output, name in (("colour", "colour"), (1, "colour"), (-2, "kind"), ("flat", "flat")):
        assert graph(model, output).layers[-1]["name"] == name
    for output in ("size", 2, -3):
        with pytest.raises(LensError, match="mine has no output .*, and no layer of that name: its outputs are “kind”"):
            graph(model, output)
    model.compile(loss={"kind": "sparse_categorical_crossentropy", "colour": "mse"})
    assert head(model, output="kind")["apply"] == "softmax"
    assert head(model, output=1)["kind"] == "numbers"


def test_an_output_that_another_layer_made_or_the_input_itself_comes_last():
    images = keras.Input((8, 8, 3), name="images")
    first = layers.Conv2D(2, 3, name="first")(images)
    second = layers.Conv2D(2, 3, name="second")(first)
    inner = keras.Model(images, [first, second], name="inner")
    outside = keras.Input((8, 8, 3))
    outputs = inner(outside)
    model = keras.Model(outside, layers.Flatten()(layers.Add()([outputs[0], outputs[0]])))
    assert [layer["name"] for layer in graph(model).layers][-2:] == [layer.name for layer in model.layers][-2:]
    assert graph(keras.Model(outside, outputs[0])).layers[-1]["shape"] == [6, 6, 2]
    assert graph(keras.Model(outside, outside)).layers[-1]["kind"] == "input"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="sub")
        self.conv, self.flat, self.end = layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)

    def call(self, x, training=False):
        return self.end(self.flat(keras.ops.relu(self.conv(x / 255))))


class Computes(Subclassed):
    def call(self, x):
        return self.end(self.flat(self.conv(np.asarray(x))))


def test_a_subclassed_model_is_followed_once_it_has_been_called():
    model = Subclassed()
    with pytest.raises(LensError, match="sub doesn't know its input yet: call it on a batch of images once"):
        graph(model)
    model(np.zeros((1, 8, 8, 3), np.float32))
    assert [layer["type"] for layer in graph(model).layers[-3:]] == ["keras.ops.Relu", "Flatten", "Dense"]
    model = Computes()
    model(np.zeros((1, 8, 8, 3), np.float32))
    with pytest.raises(LensError, match="The lens can't follow Computes.call"):
        graph(model)


def several_inputs():
    one, other = keras.Input((8, 8, 3), name="one"), keras.Input((2,), name="other")
    return keras.Model([one, other], layers.Concatenate()([layers.Flatten()(one), other]), name="mine")


def without_size():
    images = keras.Input((None, None, 3))
    return keras.Model(images, layers.Conv2D(2, 1)(images))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: "a string", "The lens opens Keras models, not str"),
        (lambda: keras.Sequential([layers.Conv2D(2, 3)], name="mine"), "add a keras.Input of the images' shape"),
        (several_inputs, "mine has 2: “one”, “other”. Open the part that belongs to one"),
        (without_size, r"images of known height, width and channels, not of \(None, None, 3\)"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)]), "not of \\(4,\\)"),
    ],
    ids=["no model", "Sequential without Input", "two inputs", "unknown size", "no images"],
)
def test_what_the_lens_cannot_open_is_one_sentence(make, told):
    with pytest.raises(LensError, match=told):
        graph(make())


def test_a_network_without_a_layer_that_scales_is_asked_for_its_range():
    images = keras.Input((8, 8, 3))
    model = keras.Model(images, layers.Dense(2)(layers.Flatten()(layers.Conv2D(2, 3)(images))), name="mine")
    assert "No layer of mine scales its input" in payload(model, NO_IMAGES)["notes"][0]
    for given in ((0, 255), (0, 1), (-1, 1)):
        assert payload(model, NO_IMAGES, input_range=given)["notes"] == []
    assert payload(network(), NO_IMAGES)["notes"] == []
    scaled = graph(model, input_range=(-1, 1)).layers
    assert scaled[1]["name"] == "input range"
    assert [scaled[1]["factor"][0] * pixel + scaled[1]["offset"][0] for pixel in (0, 255)] == [-1, 1]
    assert scaled[2]["inputs"] == [1]


# Images and labels


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float16"])
def test_a_network_of_another_precision_is_told(precision):
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(2, 3, dtype=precision)])
    (note,) = payload(keras.Model(images, inner(images), name="mine"), NO_IMAGES)["notes"]
    short = precision.removeprefix("mixed_")
    assert note == f"Keras computes layers of mine in {short}, the lens in float32: digits differ."


def test_images_of_other_channels_and_sizes_are_turned_into_the_networks():
    colours = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), np.uint8)
    grey = np.stack([np.asarray(Image.fromarray(one).convert("L")) for one in colours])[..., None]
    np.testing.assert_array_equal(luma(colours), grey)
    assert luma(np.array([[255, 0, 0], [0, 0, 255]], np.uint8)).ravel().tolist() == [76, 29]

    def shown(images, channels=3):
        found = payload(network(channels=channels), images)
        return found["images"]["shape"], found["notes"]

    assert shown(colours, 1) == (
        [2, 8, 8, 1],
        [
            "The network takes grey images: colours were turned into grey.",
            "The images were resized from 12 × 10 to 8 × 8.",
        ],
    )
    assert shown(grey[..., 0])[1][0] == "The images are grey: all three channels are the same."
    opacity = np.concatenate([colours, np.zeros_like(grey)], axis=3)[:, :8, :8]
    found = payload(network(), opacity)
    assert found["images"] == encoding.encode(np.full((2, 8, 8, 3), 255, np.uint8)), "on white"
    with pytest.raises(LensError, match="mine takes images of 8 × 8 × 3; those given have 2 channels"):
        shown(np.zeros((1, 8, 8, 2), np.uint8))


def test_shrunken_images_are_means_of_areas():
    stripes = np.tile(np.array([0, 100], np.uint8), 8)[None, None, :, None] * np.ones((1, 16, 16, 3), np.uint8)
    assert payload(network(), stripes)["images"] == encoding.encode(np.full((1, 8, 8, 3), 50, np.uint8))


def test_images_that_are_not_of_8_bits_are_refused_with_what_to_do():
    for images, told in (
        (
            np.zeros((1, 8, 8, 3), np.float32) + 0.5,
            r"pass np\.uint8\(np\.round\(255 \* images\)\) and input_range=\(0, 1\)",
        ),
        (np.full((1, 8, 8, 3), -0.5), r"input_range=\(-1, 1\)"),
        (np.zeros((8, 8), np.uint8), r"8 × 8 × 3 as mine takes them, not uint8 \(8, 8\)"),
    ):
        with pytest.raises(LensError, match=told):
            payload(network(), images)


def test_labels_of_every_usual_form_are_taken():
    images = np.zeros((3, 8, 8, 3), np.uint8)
    for labels in ([2, 0, 1], [[2], [0], [1]], [2.0, 0.0, 1.0], np.eye(3)[[2, 0, 1]], np.eye(3, dtype=int)[[2, 0, 1]]):
        assert payload(network(), images, labels)["labels"] == [2, 0, 1]
    assert payload(network(), images)["labels"] is None
    for labels, told in (
        ([1, 2], "2 labels for 3 images"),
        ([0.5, 1, 2], "whole numbers"),
        (np.ones((3, 3)), "one for each image"),
        ([0, 1, 3], "Labels from 0 to 3 don't name 3 classes"),
        ([0, 1, -1], "Labels from -1 to 1 don't name 3 classes"),
    ):
        with pytest.raises(LensError, match=told):
            payload(network(), images, labels, classes=["a", "b", "c"])


def test_images_come_as_a_dataset_or_with_their_labels():
    images, labels = np.zeros((30, 8, 8, 3), np.uint8), np.arange(30) % 3
    for pair in ((images, labels), [images.tolist(), labels.tolist()]):
        pair = (np.asarray(pair[0], np.uint8), pair[1])
        assert lens.open(network(), pair).data["labels"] == [0, 1, 2] * 6 + [0, 1]
    assert lens.open(network(), (images, labels), 2, labels=None).data["labels"] is None
    for other in (images, {"images": images}, "cifar10", None):
        with pytest.raises(LensError, match=r"a pair of arrays, \(images, labels\), not from (ndarray|dict|str|None)"):
            lens.open(network(), other)


def test_a_lens_needs_no_images():
    for shown in (
        lens.open(models.v1_0(), datasets.toy_shapes(20, 0, 0)),
        lens.open(models.v1_0(), datasets.toy_shapes(20, 10, 10), 0),
    ):
        assert shown.data["images"]["shape"] == [0, 32, 32, 3]
        assert shown.data["labels"] == []


# Size


def test_a_plain_large_networks_kernels_have_8_bits(monkeypatch):
    model = network()
    assert payload(model, NO_IMAGES)["rounded"] == "16 bits"
    monkeypatch.setattr(encoding, "LARGE", 100)
    found = payload(model, NO_IMAGES)
    assert found["rounded"] == "8 bits"
    weights = next(layer["weights"] for layer in found["layers"] if layer["kind"] == "conv")
    kernel, bias = (found["arrays"][weights[name]] for name in ("kernel", "bias"))
    assert (kernel["dtype"], kernel["scale"]["shape"], bias["dtype"]) == ("i1", [2], "f2")


@pytest.mark.slow
def test_vgg16_without_its_top_fits_in_20_megabytes(tmp_path, recwarn):
    shown = lens.open(
        keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3)),
        datasets.toy_shapes(10, 10, 10),
        1,
    )
    assert shown.to_html(tmp_path / "vgg.html").stat().st_size < 20e6
    assert [str(one.message) for one in recwarn if "MB" in str(one.message)] == []


def test_a_large_page_is_announced_with_what_to_do(monkeypatch, tmp_path):
    shown = lens.open(models.v1_0(), datasets.toy_shapes(20, 10, 10))
    monkeypatch.setattr(widget, "LARGE_PAGE", 30_000)
    with pytest.warns(UserWarning, match=r"lens\.html will have 0 MB, 0 of them weights: with output=, a layer's name"):
        shown.to_html(tmp_path / "lens.html")
    many = lens.open(models.v1_0(), datasets.toy_shapes(20, 10, 50), 50)
    with pytest.warns(UserWarning, match="open it with fewer images"):
        many.to_html(tmp_path / "lens.html")


def test_the_figure_shows_the_first_convolution_of_a_nested_model():
    body = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=False)
    model = keras.Sequential([keras.Input((32, 32, 3)), body, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    assert widget._first_kernels(model).shape == (3, 3, 3, 16)


def test_a_weight_history_leaves_out_what_is_computed_from_weights():
    class Doubled(layers.Conv2D):
        def call(self, x):
            return keras.ops.conv(x, self.kernel + self.kernel) + self.bias

    images = keras.Input((8, 8, 3))
    model = keras.Model(images, layers.Flatten()(Doubled(2, 3, name="twice")(images)))
    assert not [layer for layer in graph(model).layers if layer["kind"] == "unknown"]
    told = [layer["type"] for layer in graph(model, fixed=False).layers if layer["kind"] == "unknown"]
    assert told == ["Doubled whose weights are used in other forms than they are kept"]
