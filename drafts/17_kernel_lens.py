# %% [markdown] id="title"
# # 17 · The kernel lens
#
# What do the kernels learn? The original's own note: *may be show some kernels in order to see what is learning?*
#
# **You will** follow one number through a network, watch kernels change from epoch to epoch, switch filters off, and
# compare three networks' first layers. **You need** notebooks 01 to 03.

# %% id="imports"
import numpy as np
import pandas as pd

from shathenet_utils import experiments, lens, lesson, plots, records, stats

lesson.header("17")

# %% id="data" tags=["nbval-ignore-output"]
data = lesson.data()

# %% [markdown] id="guess-why"
# v1.0's first layer has 16 kernels, v1.2's 32. Some filters end up answering no picture at all.

# %% id="guess"
lesson.guess("17.dead", "How many of v1.2's first 32 filters end up dead?", 0, 32, unit="filters")

# %% [markdown] id="open"
# ## A number, followed
#
# Point at a pixel of the map, or move with the arrow keys: the outlined part of the picture is all that the number
# depends on; beside it stand the window, the kernel, and the sum. Drag the epoch. Type into the kernel. Where the lens
# can't live, here is [its page](../figures/lens_v1_0.html), which needs no network.

# %% id="lens-v1_0"
first = lens.recorded("v1_0", "adam_1e-3", data, name="lens_v1_0")
first

# %% [markdown] id="by-hand-why"
# The same by hand, with the weights that the lens shows: one window, one kernel, all three colours, the bias, and
# ReLU.

# %% id="by-hand"
from keras import Model

network, record = experiments.trained("v1_0", "adam_1e-3")
enlarged, maps = (network.get_layer(name).output for name in ("enlarge", "conv1"))
picture, output = Model(network.input, [enlarged, maps])(data.test_images[:1])

# %% id="by-hand-check"
kernel, bias = network.get_layer("conv1").get_weights()
row, column, filter_ = 5, 9, 3
window = np.asarray(picture)[0, 6 * row : 6 * row + 7, 6 * column : 6 * column + 7]
number = max(0.0, float((window * kernel[..., filter_]).sum() + bias[filter_]))
np.testing.assert_allclose(number, np.asarray(output)[0, row, column, filter_], atol=1e-4)

# %% [markdown] id="moved"
# ## Which layer moves?
#
# How far is each layer's kernel from where it began, as a share of its size then? From the epochs that the runs kept.

# %% id="moved-figure"
def path(snapshots, layer):
    """Epoch → how far a kernel is from its start, of its norm then."""
    kept = snapshots[f"{layer}/kernel"].astype("float32")
    return np.linalg.norm((kept - kept[0]).reshape(len(kept), -1), axis=1) / np.linalg.norm(kept[0])


snapshots = records.load_arrays(record["weights"]["snapshots"])
epochs = [1, 2, 5, 10, 20, 40, 60]
names = ["conv1", "conv2", "conv3", "dense", "logits"]
moved = {layer: path(snapshots, layer)[epochs] for layer in names}
plots.lines(
    {layer: {epoch: stats.interval([far]) for epoch, far in zip(epochs, found, strict=True)}
     for layer, found in moved.items()},
    x_label="epoch", y_label="distance from the start, of the norm then", logarithmic=True,
    name="v1_0_moved",
)

# %% id="moved-words"
order = sorted(moved, key=lambda layer: moved[layer][-1])
lesson.say(
    """{least} moves least, by {little:.0%} of its norm; {most} most, by {far:.0%}. After one epoch
    {least} has done {share:.0%} of its way.""",
    least=order[0], little=moved[order[0]][-1], most=order[-1], far=moved[order[-1]][-1],
    share=moved[order[0]][0] / moved[order[0]][-1],
)

# %% [markdown] id="first"
# ## Three first layers
#
# v1.0's 7×7 kernels see two by two pixels (notebook 01), so noise stays in them. v1.2's are 5×5, on pictures enlarged
# by half. The 64/128/128 begins with 2×2 kernels that are computed, not learned, and learns from there with batch
# norm.

# %% id="first-figure"
v1_2, run = experiments.trained("v1_2", "original")
kept = records.load_arrays(run["weights"]["snapshots"])["conv1a/kernel"].astype("float32")
trained = {"v1.0, trained": snapshots["conv1/kernel"][-1].astype("float32")}
plots.kernels(
    {**trained, "v1.2, before": kept[0], "v1.2, trained": kept[-1]},
    columns=16, name="first_kernels",
    alt="""First kernels: v1.0's, coloured noise over flat patches; v1.2's before training, noise;
    trained, some with edges and patches of one colour, some still noise.""",
)

# %% [markdown] id="smooth-why"
# Is a kernel still noise? In noise, neighbouring weights have nothing to do with each other; in an edge or a patch
# they are alike. The mean correlation of neighbours tells:

# %% id="smooth"
def neighbours_alike(kernels):
    """(height, width, channels, filters) → each filter's correlation of neighbouring weights."""
    centred = kernels - kernels.mean(axis=(0, 1), keepdims=True)
    beside = [(centred[:, :-1] * centred[:, 1:]), (centred[:-1] * centred[1:])]
    together = np.mean([each.mean(axis=(0, 1, 2)) for each in beside], axis=0)
    return together / (centred**2).mean(axis=(0, 1, 2))


alike = {when: neighbours_alike(kept[at]) for when, at in (("before", 0), ("after", -1))}
lesson.say(
    """v1.2's first kernels: {before:+.2f} before training, {after:+.2f} after, on the mean of 32; the
    smoothest {most:+.2f}.""",
    before=alike["before"].mean(), after=alike["after"].mean(), most=alike["after"].max(),
)

# %% [markdown] id="colour-why"
# And is it about brightness or about colour? What a kernel's three channels have in common answers brightness; what
# they differ by, colour. The share of its squares that differs:

# %% id="colour"
def colour(kernels):
    """(height, width, 3, filters) → each filter's share that tells colours apart, 0 (grey) to 1."""
    apart = kernels - kernels.mean(axis=2, keepdims=True)
    return (apart**2).sum(axis=(0, 1, 2)) / (kernels**2).sum(axis=(0, 1, 2))


shares = {"v1.0": colour(trained["v1.0, trained"]), "v1.2": colour(kept[-1])}
lesson.say(
    """Mostly about colour are {old} of v1.0's {of_old} kernels and {new} of v1.2's {of_new}; of those
    the most colourful differs by {most:.0%}, the greyest by {least:.0%}.""",
    old=(shares["v1.0"] > 0.5).sum(), of_old=len(shares["v1.0"]), new=(shares["v1.2"] > 0.5).sum(),
    of_new=len(shares["v1.2"]), most=shares["v1.2"].max(), least=shares["v1.2"].min(),
)

# %% [markdown] id="whiten"
# ## What whitening does
#
# The first kernels of the 64/128/128 are patterns of 2×2 pixels, set from the training pictures before the first step:
# each is a direction in which such patches vary, divided by how much they do. So each answer has the same spread, and
# none says what another has said.

# %% id="whiten-figure"
wide, _ = experiments.trained("airbench", "epochs_12")
whiten = wide.get_layer("whiten").kernel.numpy()[..., :12]
plots.kernels(
    {"2×2 patterns, from the one that pictures vary in most": whiten}, columns=12,
    name="whitening_kernels", alt="""Twelve 2×2 patterns: flat ones, then light to dark upright, level and
    crosswise, then the same in colours.""",
)

# %% id="whiten-words"
spread = 1 / np.linalg.norm(whiten.reshape(-1, 12), axis=0)
share = spread**2 / (spread**2).sum()
lesson.say(
    """The first pattern holds {first:.0%} of how patches vary, the first three {three:.0%}, the last
    {last:.2%}: neighbouring pixels are mostly alike. Whitening makes the rest as loud.""",
    first=share.max(), three=np.sort(share)[-3:].sum(), last=share.min(),
)

# %% id="lens-airbench"
lens.recorded("airbench", "epochs_12", data)

# %% [markdown] id="dead"
# ## Dead filters
#
# After ReLU a filter that answers zero to every picture learns no more: no gradient reaches it. On 1,000 validation
# pictures, of the layers with ReLU:

# %% id="dead-count"
def dead(network):
    """Layer → the share of its filters that answer none of the pictures."""
    layers = [layer for layer in network.layers if len(layer.output.shape) == 4 and by_relu(layer)]
    answers = Model(network.input, [layer.output for layer in layers]).predict(seen, verbose=0)
    return {str(n + 1): (found.max(axis=(0, 1, 2)) <= 0).mean() for n, found in enumerate(answers)}


def by_relu(layer):
    return getattr(getattr(layer, "activation", None), "__name__", "") == "relu"


seen = data.validation_images[:1000]
networks = {"v1.0": network, "v1.2": v1_2, "64/128/128": wide}

# %% [markdown] id="dead-table-why"
# From left to right, the networks; from line to line, their layers from below:

# %% id="dead-table"
found = lesson.counted("17_dead", lambda: {name: dead(each) for name, each in networks.items()}, data)
pd.DataFrame(found).rename_axis("layer").map("{:.0%}".format, na_action="ignore").fillna("–")

# %% id="dead-compare"
lesson.compare("17.dead", round(32 * found["v1.2"]["1"]), unit="filters")

# %% [markdown] id="two"
# ## Two beside each other
#
# v1.2 and the 64/128/128 on the same pictures; where you look in one, the other follows.

# %% id="lens-two"
lens.compare(
    lens.recorded("v1_2", "original", data, pictures=5),
    lens.recorded("airbench", "epochs_12", data, pictures=5),
)

# %% [markdown] id="exercises"
# ## Exercises
#
# **17.1 Norm.** The gallery sorts kernels by their norm. Write it for one kernel.

# %% id="exercise-1" tags=["exercise"]
def norm(kernel):
    """kernel: (height, width, channels); returns a number."""
    ...


def numpy_norm(kernel):
    return float(np.linalg.norm(kernel))


draw = np.random.default_rng(17)
lesson.check("17.1", norm, numpy_norm, [(draw.normal(size=(3, 3, 3)),) for _ in range(3)])

# %% [markdown] id="solution-1"
# <details><summary>Solution 17.1</summary>
#
# ```python
# def norm(kernel):
#     return float((kernel**2).sum() ** 0.5)
# ```
#
# The root of the sum of squares, over all input channels.
# </details>

# %% [markdown] id="exercise-2-text"
# **17.2 Alike.** Two filters are near twins where the cosine of their angle is near one, however large they are. Write
# it.

# %% id="exercise-2" tags=["exercise"]
def cosine(one, other):
    ...


def by_angle(one, other):
    one, other = one.ravel(), other.ravel()
    return float(one @ other / (one @ one * (other @ other)) ** 0.5)


pairs = [tuple(draw.normal(size=(2, 3, 3, 3))) for _ in range(3)]
lesson.check("17.2", cosine, by_angle, pairs)

# %% [markdown] id="solution-2"
# <details><summary>Solution 17.2</summary>
#
# ```python
# def cosine(one, other):
#     return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
# ```
#
# A kernel and its double have a cosine of one: their answers differ in size alone.
# </details>

# %% [markdown] id="exercise-3-text"
# **17.3 Edge.** Write the 3×3 kernel of one channel that answers one to a step from 0 to 1 between its first and its
# last column, in every row alike, and zero where nothing changes from left to right.

# %% id="exercise-3" tags=["exercise"]
def upright_edge():
    """Returns a (3, 3) array."""
    ...


def answers(kernel, window):
    return float((np.asarray(kernel) * window).sum())


step, flat, level = np.tile([0, 0.5, 1], (3, 1)), np.ones((3, 3)), np.tile([[0], [0.5], [1]], (1, 3))


def edge_answers():
    kernel = upright_edge()
    asked = (step, flat, level)
    return None if kernel is None else np.array([answers(kernel, window) for window in asked])


lesson.check("17.3", edge_answers, lambda: np.array([1.0, 0.0, 0.0]), [()])

# %% [markdown] id="solution-3"
# <details><summary>Solution 17.3</summary>
#
# ```python
# def upright_edge():
#     return np.tile([-1 / 3, 0, 1 / 3], (3, 1))
# ```
#
# The lens has its cousin among its presets, *Sobel, upright*, whose middle row counts twice. Put it into a first layer
# and look at the map.
# </details>

# %% [markdown] id="keeps"
# ## What this page leaves

# %% id="keeps-words"
lesson.say(
    """Of v1.0's {of} first kernels {flat} are hardly more than noise or one flat colour, and {gone:.0%}
    answer nothing. In v1.2's, neighbours went from {before:+.2f} to {after:+.2f} alike. The 64/128/128
    does not leave its first layer to chance: it computes it, and at most {wide:.0%} of a layer's
    filters are dead.""",
    flat=(neighbours_alike(trained["v1.0, trained"]) < 0.2).sum(), of=16,
    gone=found["v1.0"]["1"], before=alike["before"].mean(), after=alike["after"].mean(),
    wide=max(found["64/128/128"].values()),
)
