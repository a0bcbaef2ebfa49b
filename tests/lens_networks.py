"""Networks as people build them: the ideas of published ones and of tutorials, small, in our own words."""

from shathenet_utils.backend import keras, layers, ops, tf

NETWORKS = {}


def network(size=16, channels=3):
    """Register a function from images to outputs as a network of its name."""

    def register(function):
        def build():
            images = keras.Input((size, size, channels), name="images")
            return keras.Model(images, function(images), name=function.__name__)

        NETWORKS[function.__name__] = build
        return function

    return register


def conv(x, filters, kernel=3, strides=1, activation="relu", norm=True, **more):
    x = layers.Conv2D(filters, kernel, strides, "same", use_bias=not norm, **more)(x)
    x = layers.BatchNormalization()(x) if norm else x
    return layers.Activation(activation)(x) if activation else x


def classes(x, count=10, activation="softmax"):
    return layers.Dense(count, activation=activation)(layers.GlobalAveragePooling2D()(x))


def excite(x, ratio=4, gate="sigmoid"):
    """Squeeze and excitation, with the vector that Keras repeats over the map."""
    weights = layers.Dense(x.shape[-1] // ratio, "relu")(layers.GlobalAveragePooling2D()(x))
    return layers.Multiply()([x, layers.Dense(x.shape[-1], gate)(weights)])


# Chains


@network(28, 1)
def lenet(x):
    x = layers.AveragePooling2D(2)(layers.Conv2D(6, 5, padding="same", activation="tanh")(x / 255))
    x = layers.AveragePooling2D(2)(layers.Conv2D(16, 5, activation="tanh")(x))
    for units in (120, 84):
        x = layers.Dense(units, "tanh")(layers.Flatten()(x))
    return layers.Dense(10, "softmax")(x)


@network(48)
def alexnet_like(x):
    x = layers.MaxPooling2D(3, 2)(layers.Conv2D(12, 11, 4, "same", activation="relu")(layers.Rescaling(1 / 255)(x)))
    x = layers.MaxPooling2D(3, 2)(layers.Conv2D(16, 5, padding="same", groups=2, activation="relu")(x))
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    x = layers.Dropout(0.5)(layers.Dense(32, "relu")(layers.Flatten()(x)))
    return layers.Dense(10, "softmax")(x)


@network()
def vgg_like(x):
    for filters in (8, 16):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer="l2")(x)
        x = layers.MaxPooling2D()(x)
    return layers.Dense(10)(layers.Dense(32, "relu")(layers.Flatten()(x)))


@network()
def network_in_network(x):
    for filters, strides in ((12, 1), (16, 2)):
        x = conv(x, filters, 5, strides, norm=False)
        x = conv(conv(x, filters, 1, norm=False), filters, 1, norm=False)
    return layers.Softmax()(layers.GlobalAveragePooling2D()(conv(x, 10, 1, activation=None, norm=False)))


@network()
def all_convolutional(x):
    for filters in (8, 12):
        x = conv(conv(x, filters, norm=False), filters, strides=2, norm=False)
    return layers.Activation("softmax")(layers.GlobalAveragePooling2D()(layers.Conv2D(10, 1)(x)))


@network()
def keras_tutorial_with_augmentation(x):
    for layer in (layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)):
        x = layer(x)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    for filters in (8, 16):
        x = layers.MaxPooling2D()(layers.Conv2D(filters, 3, padding="same", activation=tf.nn.relu)(x))
    return layers.Dense(5)(layers.Dense(16, activation=tf.nn.relu)(layers.Dropout(0.2)(layers.Flatten()(x))))


@network()
def cats_and_dogs(x):
    x = layers.Rescaling(1 / 255)(x)
    for filters in (8, 16):
        x = layers.MaxPooling2D(2, padding="same")(layers.Conv2D(filters, 3, activation="relu")(x))
    return layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))


@network()
def discriminator(x):
    for filters in (8, 16):
        x = layers.Conv2D(filters, 4, 2, "same", activation=layers.LeakyReLU(0.2))(x)
    return layers.Dense(1)(layers.Dropout(0.3)(layers.Flatten()(x)))


@network()
def multilayer_perceptron(x):
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dropout(0.5)(layers.ELU()(layers.BatchNormalization()(layers.Dense(24)(x))))
    return layers.Dense(10, "log_softmax")(x)


@network()
def maxout(x):
    x = layers.Conv2D(16, 3, padding="same")(x)
    x = ops.max(layers.Reshape((16, 16, 8, 2))(x), axis=-1)
    return classes(layers.Conv2D(8, 3, activation="relu")(x))


# Residual networks


@network()
def resnet_v1(x):
    x = conv(x, 8)
    for filters, strides in ((8, 1), (16, 2)):
        short = x if strides == 1 else conv(x, filters, 1, strides, activation=None)
        x = layers.ReLU()(layers.Add()([conv(conv(x, filters, strides=strides), filters, activation=None), short]))
    return classes(x)


@network()
def resnet_v1_padded(x):
    """Its shortcuts add channels of zeros and have no weights."""
    x = conv(x, 8)
    short = ops.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (4, 4)))
    return classes(ops.relu(conv(conv(x, 16, strides=2), 16, activation=None) + short))


@network()
def resnet_v2(x):
    x = layers.Conv2D(16, 3, padding="same")(x)
    for filters, strides in ((16, 1), (24, 2)):
        before = layers.ReLU()(layers.BatchNormalization()(x))
        short = layers.Conv2D(filters, 1, strides)(before) if strides > 1 else x
        inner = conv(conv(before, filters // 4, 1), filters // 4, strides=strides)
        x = layers.add([layers.Conv2D(filters, 1)(inner), short])
    return classes(layers.ReLU()(layers.BatchNormalization()(x)))


@network()
def wide_resnet(x):
    x = conv(x, 16)
    inner = layers.Dropout(0.3)(conv(x, 16))
    return classes(layers.Add()([x, layers.Conv2D(16, 3, padding="same")(inner)]))


@network()
def resnext(x):
    x = conv(x, 16)
    return classes(layers.ReLU()(layers.Add()([x, conv(conv(conv(x, 8, 1), 8, groups=4), 16, 1, activation=None)])))


@network()
def squeeze_and_excite(x):
    x = conv(x, 16)
    return classes(layers.ReLU()(layers.Add()([x, excite(conv(x, 16, activation=None))])))


@network()
def highway(x):
    x = conv(x, 8, activation="tanh")
    gate = layers.Conv2D(8, 3, padding="same", activation="sigmoid", bias_initializer="ones")(x)
    return classes(conv(x, 8) * gate + x * (1 - gate))


@network()
def fractal(x):
    long = conv(conv(x, 8), 8)
    return classes(layers.Average()([conv(x, 8), long, conv(long, 8)]))


@network()
def reparameterised(x):
    """RepVGG's block in training: three branches."""
    x = conv(x, 8)
    three, one = conv(x, 8, activation=None), conv(x, 8, 1, activation=None)
    return classes(layers.ReLU()(layers.Add()([three, one, layers.BatchNormalization()(x)])))


# Branches


def inception(x, widths):
    a, b, c, d = widths
    return layers.Concatenate()([
        conv(x, a, 1), conv(conv(x, b, 1), b), conv(conv(x, c, 1), c, 5),
        conv(layers.MaxPooling2D(3, 1, "same")(x), d, 1),
    ])  # fmt: skip


@network()
def googlenet_like(x):
    x = layers.MaxPooling2D(3, 2, "same")(conv(x, 8, 7))
    return classes(layers.Dropout(0.4)(inception(inception(x, (4, 6, 2, 2)), (6, 8, 4, 4))))


@network()
def inception_v3_like(x):
    x = conv(x, 8)
    pooled = conv(layers.AveragePooling2D(3, 1, "same")(x), 4, 1)
    return classes(layers.concatenate([conv(conv(conv(x, 6, 1), 6, (1, 7)), 6, (7, 1)), conv(x, 4, 1), pooled], axis=3))


@network()
def densenet(x):
    x = conv(x, 8)
    for _ in range(3):
        new = layers.Conv2D(4, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
        x = layers.Concatenate(axis=-1)([x, new])
    return classes(layers.AveragePooling2D(2)(conv(x, 8, 1)))


@network()
def squeezenet(x):
    x = conv(x, 12, strides=2, norm=False)
    for squeeze in (4, 6):
        x = conv(x, squeeze, 1, norm=False)
        x = layers.Concatenate()([conv(x, 2 * squeeze, 1, norm=False), conv(x, 2 * squeeze, norm=False)])
    return layers.Softmax()(layers.GlobalAveragePooling2D()(conv(x, 10, 1, norm=False)))


@network()
def ghostnet(x):
    x = conv(x, 8)
    return classes(layers.Concatenate()([x, layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)]))


# Small and separable


@network()
def mobilenet(x):
    x = conv(x, 8, strides=2, activation=layers.ReLU(6.0))
    for filters, strides in ((12, 1), (16, 2)):
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, strides, "same")(x)))
        x = conv(x, filters, 1, activation="relu6")
    return classes(x)


@network()
def mobilenet_v2(x):
    x = conv(x, 8, activation="relu6")
    wide = conv(x, 48, 1, activation="relu6")
    wide = layers.DepthwiseConv2D(3, 1, "valid")(layers.ZeroPadding2D(1)(wide))
    return classes(layers.Add()([x, conv(layers.ReLU(6.0)(layers.BatchNormalization()(wide)), 8, 1, activation=None)]))


@network()
def mobilenet_v3(x):
    x = conv(x, 8, activation="hard_silu")
    x = layers.DepthwiseConv2D(5, 2, "same")(x)
    return classes(layers.Activation("hard_silu")(excite(x * ops.relu6(x + 3) / 6, 2, "hard_sigmoid")))


@network()
def shufflenet(x):
    x = conv(x, 12)
    y = layers.Reshape((16, 16, 3, 4))(conv(x, 12, 1, groups=3))
    y = layers.Reshape((16, 16, 12))(layers.Permute((1, 2, 4, 3))(y))
    return classes(layers.ReLU()(layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(y)])))


@network()
def efficientnet_like(x):
    x = layers.Normalization(mean=[120, 115, 100], variance=[60**2] * 3)(x)
    x = conv(x, 8, strides=2, activation="swish")
    wide = conv(x, 16, 1, activation=keras.activations.swish)
    wide = layers.DepthwiseConv2D(3, padding="same", activation=tf.nn.silu)(wide)
    return classes(layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(conv(excite(wide), 8, 1, activation=None)) + x)


@network()
def xception(x):
    x = conv(x, 8)
    y = layers.SeparableConv2D(16, 3, padding="same", use_bias=False)(x)
    y = layers.SeparableConv2D(16, 3, padding="same")(layers.Activation("relu")(layers.BatchNormalization()(y)))
    return classes(layers.add([layers.MaxPooling2D(3, 2, "same")(y), layers.Conv2D(16, 1, 2)(x)]))


# After transformers


@keras.saving.register_keras_serializable("tests")
class LayerScale(layers.Layer):
    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer=keras.initializers.Constant(1e-6), name="gamma")

    def call(self, x):
        return self.gamma * x


@keras.saving.register_keras_serializable("tests")
class StochasticDepth(layers.Layer):
    def call(self, x, training=None):
        if training:
            return x * keras.random.bernoulli((ops.shape(x)[0], 1, 1, 1), 0.8) / 0.8
        return x


@network()
def convnext(x):
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(12, 4, 4)(x))
    y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(7, padding="same")(x))
    y = layers.Dense(12)(layers.Activation("gelu")(layers.Dense(48)(y)))
    return classes(layers.Add()([x, StochasticDepth()(LayerScale()(y))]))


@network()
def convmixer(x):
    x = layers.BatchNormalization()(layers.Activation("gelu")(layers.Conv2D(12, 2, 2)(x)))
    y = layers.BatchNormalization()(layers.Activation("gelu")(layers.DepthwiseConv2D(5, padding="same")(x)))
    return classes(layers.BatchNormalization()(layers.Activation("gelu")(layers.Conv2D(12, 1)(layers.Add()([y, x])))))


@network()
def mlp_mixer(x):
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, 4)(x))
    tokens = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    x = x + layers.Permute((2, 1))(layers.Dense(16)(layers.Dense(32, "gelu")(tokens)))
    x = x + layers.Dense(12)(layers.Dense(24, "gelu")(layers.LayerNormalization()(x)))
    return layers.Dense(10)(layers.GlobalAveragePooling1D()(x))


@keras.saving.register_keras_serializable("tests")
class Positions(layers.Layer):
    """Tokens with a learned place each, and one more token in front of them."""

    def build(self, shape):
        self.places = self.add_weight(shape=(1, shape[1], shape[2]), name="places")

    def call(self, tokens):
        return tokens + self.places


@network()
def vision_transformer(x):
    x = Positions()(layers.Reshape((16, 12))(layers.Conv2D(12, 4, 4)(x)))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(2, 6, dropout=0.1)(y, y), x])
    y = layers.Dense(12)(layers.Dense(24, activation=keras.activations.gelu)(layers.LayerNormalization()(x)))
    return layers.Dense(10)(layers.Flatten()(layers.Add()([x, y])))


@network()
def attention_block(x):
    """CBAM: channels and places are weighed by their means and maxima."""
    x = conv(x, 8)
    shared = layers.Dense(8)
    pooled = [layers.GlobalAveragePooling2D(keepdims=True)(x), layers.GlobalMaxPooling2D(keepdims=True)(x)]
    x = x * ops.sigmoid(shared(pooled[0]) + shared(pooled[1]))
    places = ops.concatenate([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)], axis=-1)
    return classes(x * layers.Conv2D(1, 7, padding="same", activation="sigmoid")(places))


@network()
def efficient_channel_attention(x):
    x = conv(x, 8)
    gate = layers.Conv1D(1, 3, padding="same", use_bias=False)(ops.expand_dims(layers.GlobalAveragePooling2D()(x), -1))
    return classes(x * ops.reshape(ops.sigmoid(gate), (-1, 1, 1, 8)))


# Maps to maps


@network()
def unet(x):
    first = conv(x, 6)
    second = conv(layers.MaxPooling2D()(first), 8)
    bottom = conv(layers.MaxPooling2D()(second), 12)
    up = layers.Concatenate()([layers.Conv2DTranspose(8, 2, 2)(bottom), second])
    up = layers.Concatenate()([layers.Conv2DTranspose(6, 3, 2, "same")(conv(up, 8)), first])
    return layers.Conv2D(3, 1, activation="softmax")(conv(up, 6))


@network()
def unet_that_enlarges(x):
    first = conv(x, 6)
    up = layers.UpSampling2D(2, interpolation="bilinear")(conv(layers.AveragePooling2D(2)(first), 8))
    return layers.Conv2D(1, 1, activation="sigmoid")(layers.concatenate([up, first]))


@network()
def atrous_pyramid(x):
    """DeepLab's head: convolutions of several dilations, and the whole image's mean."""
    x = conv(x, 8, strides=2)
    mean = layers.UpSampling2D(8, interpolation="bilinear")(conv(layers.AveragePooling2D(8)(x), 4, 1))
    wide = [conv(x, 4, dilation_rate=rate) for rate in (1, 2, 3)]
    return layers.Resizing(16, 16)(layers.Conv2D(3, 1)(layers.Concatenate()([mean, *wide])))


@network(16, 1)
def autoencoder(x):
    x = layers.Conv2D(4, 3, 2, "same", activation="relu")(x)
    code = layers.Dense(8, name="code")(layers.Flatten()(x))
    x = layers.Reshape((8, 8, 4))(layers.Dense(256, "relu")(code))
    return layers.Conv2DTranspose(1, 3, 2, "same", activation="sigmoid")(x)


@network(12)
def super_resolution(x):
    """Its last step orders channels into places."""
    x = layers.Conv2D(12, 3, padding="same")(
        layers.PReLU(shared_axes=[1, 2])(conv(x, 8, 5, norm=False, activation=None))
    )
    x = ops.transpose(ops.reshape(x, (-1, 12, 12, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
    return ops.clip(ops.reshape(x, (-1, 24, 24, 3)), 0, 1)


# Put together


@network()
def siamese_branch(x):
    return layers.UnitNormalization()(layers.Dense(8)(layers.Flatten()(conv(x, 8, strides=2))))


@network()
def the_same_body_twice(x):
    body = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(6, 3, 2), layers.ReLU(), layers.Flatten()])
    return layers.Dense(1, "sigmoid")(ops.abs(body(x) - body(x[:, :, ::-1])))


@network(32)
def transfer_learning(x):
    body = keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    body.trainable = False
    x = body(keras.applications.mobilenet_v2.preprocess_input(x), training=False)
    return layers.Dense(3)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x)))


@keras.saving.register_keras_serializable("tests")
class Residual(layers.Layer):
    def __init__(self, filters, **arguments):
        super().__init__(**arguments)
        self.convs = [layers.Conv2D(filters, 3, padding="same") for _ in range(2)]
        self.norms = [layers.BatchNormalization() for _ in range(2)]

    def call(self, x, training=None):
        y = x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            y = ops.relu(norm(conv(y), training=training))
        return x + y


@network()
def blocks_as_layers(x):
    return classes(Residual(8)(Residual(8)(layers.Conv2D(8, 1)(x))))


@network()
def capsules_squashed(x):
    x = layers.Reshape((-1, 8))(layers.Conv2D(16, 5, 4)(x))
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    x = squared / (1 + squared) / ops.sqrt(squared + 1e-7) * x
    return layers.Dense(10)(layers.Flatten()(x))


@network()
def lambdas(x):
    x = layers.Lambda(lambda image: image / 255.0 - 0.5)(x)
    x = layers.Lambda(lambda maps: keras.activations.relu(maps))(layers.Conv2D(8, 3)(x))
    return layers.Dense(4, "softmax")(layers.Lambda(lambda maps: ops.mean(maps, axis=[1, 2]))(x))
