"""v1.0 is the original network exactly; what is counted of a network is right; its digest tells it from any other."""

import dataclasses

import numpy as np
import pytest

from shathenet_utils import architecture, models
from shathenet_utils.backend import keras, layers, tf

DIGESTS = {"nearest": "a226afc06ac7196b", "bilinear": "0bee7fab92f8327b"}  # as the records hold them


@pytest.fixture(scope="module")
def v1_0():
    return models.v1_0()


def test_v1_0_has_the_originals_layers(v1_0):
    rows = {row["layer"]: row for row in architecture.layer_table(v1_0)}
    counted = {name: row["parameters"] for name, row in rows.items() if row["parameters"]}
    assert counted == {"conv1": 2368, "conv2": 6416, "conv3": 4640, "dense": 4128, "logits": 330}
    assert v1_0.count_params() == sum(counted.values()) == 17_882
    assert [rows[name]["output"] for name in ("enlarge", "conv1", "conv2", "conv3", "pool", "flatten", "logits")] == [
        (192, 192, 3), (32, 32, 16), (8, 8, 16), (4, 4, 32), (2, 2, 32), (128,), (10,)
    ]  # fmt: skip
    assert rows["conv1"]["count"] == "7·7·3·16 + 16"
    assert rows["logits"]["count"] == "32·10 + 10"


def test_v1_0_starts_with_kernels_of_standard_deviation_a_twentieth_and_no_bias(v1_0):
    for layer in v1_0.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            drawn = 0.05 * 0.8796  # what cutting at two standard deviations leaves of it
            assert kernel.std() == pytest.approx(drawn, abs=4 * drawn / np.sqrt(2 * kernel.size)), layer.name
            assert np.abs(kernel).max() <= 0.1
            assert not bias.any()


def multiplications_by_the_profiler(model):
    """Half the floating-point operations that TensorFlow's profiler counts in convolutions and matrix products."""
    graph = tf.function(lambda images: model(images)).get_concrete_function(tf.TensorSpec((1, 32, 32, 3))).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    found, pending = 0, [tf.compat.v1.profiler.profile(graph, cmd="op", options=options)]
    while pending:
        node = pending.pop()
        pending += node.children
        if node.name in ("Conv2D", "MatMul", "DepthwiseConv2dNative"):
            found += node.float_ops
    return found // 2


def test_macs_are_what_tensorflows_profiler_counts(v1_0):
    assert architecture.macs(v1_0) == multiplications_by_the_profiler(v1_0) == 2_896_192


def test_macs_of_other_layers_are_what_the_profiler_counts():
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, (3, 5), (2, 1), padding="valid")(images)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.Conv2D(16, 3, use_bias=False)(x)
    block = keras.Sequential([keras.Input((11, 24, 16)), layers.Conv2D(16, 3, padding="same")])
    x = block(block(x))
    model = keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    assert architecture.macs(model) == multiplications_by_the_profiler(model)
    assert sum(row["parameters"] for row in architecture.layer_table(block)) == block.count_params()


def test_a_grouped_convolution_sees_its_group_only():
    images = keras.Input((6, 6, 8))
    model = keras.Model(images, layers.Conv2D(16, 3, groups=4)(images))
    assert architecture.macs(model) == 4 * 4 * (3 * 3 * 2 * 16)


class Block(layers.Layer):
    """A layer of a user's own: a convolution and a product of matrices."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.conv = layers.Conv2D(16, 3, padding="same")

    def build(self, shape):
        self.mixing = self.add_weight(shape=(16, 4), name="mixing")

    def call(self, x):
        return keras.ops.relu(self.conv(x)) @ self.mixing


def test_macs_of_a_users_own_layer_are_those_of_what_it_is_made_of():
    images = keras.Input((32, 32, 3))
    model = keras.Model(images, Block(name="block")(images))
    assert architecture.macs(model) == 442_368 + 32 * 32 * 16 * 4
    assert [row["layer"] for row in architecture.layer_table(model)] == ["block"]
    assert architecture.layer_table(model)[0]["parameters"] == model.count_params()


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (layers.SeparableConv2D(16, 3, padding="same", use_bias=False), 76_800),
        (layers.Conv2DTranspose(16, 3, strides=2), 442_368),
        (layers.PReLU(), 0),
        (layers.LayerNormalization(axis=[1, 2]), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_macs_of_layers_with_kernels_of_another_kind(layer, macs):
    images = keras.Input((32, 32, 3))
    assert architecture.macs(keras.Model(images, layer(images))) == macs


def test_what_can_not_be_counted_is_said():
    images = keras.Input((8, 6, 3))
    rows = layers.Reshape((8, 18))(images)
    with pytest.raises(NotImplementedError, match="can't count the MACs of recurrent, a GRU"):
        architecture.macs(keras.Model(images, layers.GRU(4, name="recurrent")(rows)))
    with pytest.raises(NotImplementedError, match=r"can't count the MACs of einsum.*keras\.ops\.Einsum"):
        architecture.macs(keras.Model(images, keras.ops.einsum("bhwc,bhvc->bhwv", images, images)))


@pytest.mark.parametrize("interpolation", DIGESTS)
def test_v1_0_never_changes(interpolation):
    """An edit that changes this digest makes v1.0 another network than the recorded one: declare a new version."""
    assert architecture.model_digest(models.v1_0(interpolation)) == DIGESTS[interpolation]


@dataclasses.dataclass(frozen=True)
class Network:
    """A small network with a knob for everything that a digest must notice."""

    filters: int = 4
    kernel_size: int = 3
    strides: int = 1
    padding: str = "same"
    activation: str = "relu"
    use_bias: bool = True
    pool: str = "max"
    pool_first: bool = False
    classes: int = 10
    rate: float = 0.1
    skip_from: str = "conv"
    twice: bool = False
    add: float = 1.0
    nested: int = 4
    initializer: str = "glorot_uniform"
    prefix: str = "a_"
    seed: int = 0

    def build(self):
        keras.utils.set_random_seed(self.seed)
        initializer = keras.initializers.get(self.initializer)
        if self.initializer == "truncated_normal":
            initializer = keras.initializers.TruncatedNormal(seed=self.seed)
        pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[self.pool]
        steps = [
            layers.Conv2D(
                self.filters, self.kernel_size, self.strides, self.padding, activation=self.activation,
                use_bias=self.use_bias, name=self.prefix + "conv", kernel_initializer=initializer,
            ),
            pool(2, name=self.prefix + "pool"),
        ]  # fmt: skip
        images = x = keras.Input((8, 8, 3), name=self.prefix + "images")
        for layer in reversed(steps) if self.pool_first else steps:
            x = layer(x)
        first = layers.Dense(6, name=self.prefix + "first")(layers.Flatten()(x))
        second = layers.Dense(6, name=self.prefix + "second")(first)
        shared = layers.Dense(6, name=self.prefix + "shared")
        x = shared(second)
        x = shared(x) if self.twice else layers.Dropout(self.rate)(x)
        x = x + self.add * (first if self.skip_from == "conv" else second)
        inner = keras.Input((6,))
        x = keras.Model(inner, layers.Dense(self.nested)(inner), name=self.prefix + "nested")(x)
        return keras.Model(images, layers.Dense(self.classes)(x))


@pytest.mark.parametrize(
    "change",
    [
        {"filters": 5}, {"kernel_size": 5}, {"strides": 2}, {"padding": "valid"}, {"activation": "tanh"},
        {"use_bias": False}, {"pool": "average"}, {"pool_first": True}, {"classes": 11}, {"rate": 0.2},
        {"skip_from": "dense"}, {"twice": True}, {"add": 2.0}, {"nested": 5}, {"initializer": "he_normal"},
    ],
    ids=str,
)  # fmt: skip
def test_any_change_of_the_architecture_changes_the_digest(change):
    assert architecture.model_digest(Network(**change).build()) != architecture.model_digest(Network().build())


@pytest.mark.parametrize("change", [{"prefix": "b_"}, {"seed": 1}], ids=str)
def test_names_and_seeds_do_not_change_the_digest(change):
    plain = Network(initializer="truncated_normal")
    assert architecture.model_digest(dataclasses.replace(plain, **change).build()) == architecture.model_digest(
        plain.build()
    )


def test_precision_and_training_do_not_change_the_digest():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.v1_0()
    finally:
        keras.config.set_dtype_policy("float32")
    models_before = architecture.model_digest(model)
    model.layers[-1].set_weights([np.ones((32, 10)), np.ones(10)])
    keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=lambda layer, x, **_: layer(x))
    assert models_before == architecture.model_digest(model) == DIGESTS["nearest"]
    assert architecture.macs(model) == 2_896_192


OF_A_READER = """
SCALE = 2.0
def helper(x):
    return keras.ops.relu(x)
def activation(x):
    return keras.ops.relu(x)
def zeros(shape, dtype=None):
    return keras.ops.zeros(shape)
class Kernel(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, 2)
class Steps(layers.Layer):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps
    def call(self, x):
        for step in self.steps:
            x = step(x)
        return x
def build():
    images = keras.Input((40, 40, 3))
    x = Steps([layers.Conv2D(3, 1, activation="elu")])(images)
    x = layers.Conv2D(3, 1, activation=activation, bias_initializer=zeros, kernel_initializer=Kernel())(x)
    factor = keras.ops.full((3,), 3.0)
    x = layers.Lambda(lambda x: helper(x) * SCALE * factor)(x)
    return keras.Model(images, layers.Flatten()(x + PLANE))
"""


def digest_of_a_readers_own(old="", new="", plane=0):
    """The digest of a network in a reader's cell, in which something was replaced."""
    array = np.zeros((40, 40, 3), np.float32)
    array[20, 20] = plane
    names = {"keras": keras, "layers": layers, "PLANE": array, "__name__": "__main__"}
    exec(compile(OF_A_READER.replace(old, new), f"cell {old} {new}", "exec"), names)
    return architecture.model_digest(names["build"]())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 3.0"), ("def helper(x):\n    return keras.ops.relu", "def helper(x):\n    return abs"),
        ("def activation(x):\n    return keras.ops.relu", "def activation(x):\n    return keras.ops.tanh"),
        ("keras.ops.zeros", "keras.ops.ones"), ("full(shape, 2)", "full(shape, 3)"), ("(3,), 3.0", "(3,), 4.0"),
        ('"elu"', '"relu"'), ("x = step(x)", "x = -step(x)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_reader_changes_in_functions_and_classes_of_his_own_changes_the_digest(old, new):
    assert old in OF_A_READER
    assert digest_of_a_readers_own(old, new) != digest_of_a_readers_own()


def test_the_numbers_of_a_large_constant_change_the_digest_and_a_new_file_does_not():
    assert digest_of_a_readers_own(plane=1) != digest_of_a_readers_own()
    assert digest_of_a_readers_own("SCALE", "\n\nSCALE") == digest_of_a_readers_own()


def test_a_sequential_model_is_counted_too():
    steps = [keras.Input((32, 32, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(10)]
    model = models.build(lambda: keras.Sequential(steps))
    assert sum(row["parameters"] for row in architecture.layer_table(model)) == model.count_params()
    assert architecture.macs(model) == 30 * 30 * 27 * 4 + 30 * 30 * 4 * 10
    assert len(architecture.model_digest(model)) == 16


def test_a_layers_traffic_is_what_it_reads_and_writes():
    images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(images)
    network = keras.Model(images, layers.Add(name="add")([x, layers.ReLU(name="relu")(x)]))
    rows = {row["layer"]: row for row in architecture.traffic(network)}
    assert rows["conv"]["flops"] == 2 * 8 * 8 * 3 * 3 * 3 * 4
    assert (rows["conv"]["numbers"], rows["conv"]["weights"]) == (8 * 8 * (3 + 4), 3 * 3 * 3 * 4 + 4)
    assert (rows["relu"]["flops"], rows["relu"]["numbers"]) == (0, 2 * 8 * 8 * 4)
    assert rows["add"]["numbers"] == 3 * 8 * 8 * 4


@pytest.mark.parametrize(
    ("name", "arguments", "parameters", "macs"),
    [
        ("v1_1", {}, 1_252_138, 36.6e6),
        ("v1_1", {"size": 40}, 1_252_138, 43.7e6),
        ("v1_2", {}, 1_269_418, 118e6),
        ("v1_2", {"kernels": "3x3", "widths": (48, 64, 64, 128, 128)}, 1_272_698, 110e6),
        ("v1_2", {"kernels": "5x5", "widths": (32, 32, 48, 80, 96), "dense_units": 448}, 1_246_186, 121e6),
        ("v1_2", {"kernels": "side_by_side", "widths": (48, 64, 64, 96, 128), "dense_units": 528}, 1_256_034, 124e6),
        ("thin_resnet", {}, 17_058, 3.4e6),
        ("thin_resnet", {"widths": (16, 28, 43)}, 46_457, 9.95e6),
        ("airbench", {}, 570_296, 54.2e6),
        ("airbench", {"widths": (64, 256, 256)}, 1_973_944, 118e6),
    ],
    ids=str,
)
def test_a_networks_size_is_the_one_it_is_known_for(name, arguments, parameters, macs):
    network = models.build(name, arguments)
    assert network.count_params() == parameters
    assert architecture.macs(network) == pytest.approx(macs, rel=0.02)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    logits = np.asarray(network(images))
    assert (logits.shape, logits.dtype) == ((4, 10), np.float32)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(
    ("function", "parameters", "macs", "side", "smaller"),
    [(models.v1_1, 1_252_138, 1.48e9, 299, 36), (models.v1_2, 1_269_418, 2.2e9, 224, 48)],
    ids=["v1_1", "v1_2"],
)
def test_an_original_has_as_many_parameters_as_its_small_twin_and_trains_a_step(
    function, parameters, macs, side, smaller
):
    network, small = function(original=True), function()
    assert network.count_params() == small.count_params() == parameters
    assert architecture.macs(network) == pytest.approx(macs, rel=0.01)
    assert [layer.output.shape[1] for layer in (network.get_layer("enlarge"), small.get_layer("enlarge"))] == [
        side,
        smaller,
    ]
    assert network.get_layer("flatten").output.shape == small.get_layer("flatten").output.shape
    assert [weight.shape for weight in network.weights] == [weight.shape for weight in small.weights]
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    before = network.get_layer("conv1a").kernel.numpy()
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    assert np.isfinite(network.train_on_batch(images, np.array([3, 5])))
    assert not np.array_equal(before, network.get_layer("conv1a").kernel.numpy())


def test_unknown_kernels_and_widths_that_do_not_divide_are_one_sentence():
    with pytest.raises(
        ValueError, match=r"^v1_2: kernels must be one of stacked, 3x3, 5x5, side_by_side, not '7x7'\.$"
    ):
        models.v1_2("7x7")
    with pytest.raises(ValueError, match=r"^inception: filters must be a multiple of 4, not 30\.$"):
        models.v1_2("side_by_side", (30, 32, 32, 32, 32))


def test_an_unknown_model_is_one_sentence():
    with pytest.raises(ValueError, match=r"^There is no model named 'v9_9'; this book has v1_0, .*\.$"):
        models.build("v9_9")


class Unknown(keras.Model):
    """A model that says nothing of its layers before it is called."""


@pytest.mark.parametrize(
    "function", [lambda: "v1_0", lambda: None, Unknown, lambda: keras.Sequential([layers.Dense(10)])],
    ids=["a name", "nothing", "a subclass", "without an input"],
)  # fmt: skip
def test_what_returns_no_model_of_layers_is_one_sentence(function):
    with pytest.raises(TypeError, match=r"\(\) must return a (keras\.Model|model)") as refused:
        models.build(function)
    assert "\n" not in str(refused.value)


def test_arguments_reach_the_model():
    assert models.build("v1_0", {"classes": 7}).output_shape == (None, 7)


images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "right",
    [images, images.astype(np.float32), tf.constant(images), np.full((1, 32, 32, 3), 255, np.uint8)],
    ids=["uint8", "float32", "tensor", "white"],
)
def test_images_of_every_type_are_taken(v1_0, right):
    logits = v1_0(right)
    assert logits.shape == (len(right), 10)
    assert logits.dtype == tf.float32
    np.testing.assert_allclose(logits, v1_0(np.asarray(right, np.float32)), atol=1e-6)


def test_pixels_reach_the_first_convolution_as_0_to_1(v1_0):
    scaled = keras.Model(v1_0.input, v1_0.get_layer("enlarge").output)(images)
    assert scaled.shape == (2, 192, 192, 3)
    np.testing.assert_allclose(scaled[:, ::6, ::6], images / 255, atol=1e-6)
    np.testing.assert_array_equal(scaled[:, 5::6, 5::6], scaled[:, ::6, ::6])
