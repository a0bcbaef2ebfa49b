# %% [markdown] id="title"
# # 03 · v1.2, mixing convolutions
#
# What stands in the original's blank? And what do kernels of different size add, stacked as there, or side by side?
#
# **You will** fill a cell of the original's table that was left empty, count what a kernel costs, write a network
# whose path forks, and compare four ways to spend the same parameters. **You need** notebook 02.

# %% id="imports"
import numpy as np

from shathenet_utils import bench, blocks, datasets, experiments, lesson, models, plots, records, stats

question, kernels = experiments.get("v1_2"), experiments.get("v1_2_kernels")
start, branches = experiments.get("v1_2_start"), experiments.get("v1_2_branches")
lesson.header("03", question, kernels, start, branches)

# %% id="data" tags=["nbval-ignore-output"]
data = lesson.data()

# %% [markdown] id="seed"
# The table's third row: *v1.2, first simple approach, image augmentation, 70 epochs, 1.25M*, and then two underscores
# where an accuracy should be. Under the things to try a single item is ticked: *mix and add different convolutions →
# v1.2*. So it was built. What did it reach?

# %% id="guess"
lesson.guess("03.v1_2", "How many per cent of the test pictures does v1.2 get right?", 10, 100)

# %% [markdown] id="network"
# ## The network
#
# Five pairs of convolutions, 5×5 in the first pair and 3×3 in the others, none with a stride; a pool after each pair
# halves the map. The second layer has no activation, as in v1.1: its maps go through the pool as they are.

# %% id="architecture"
network = models.v1_2()
plots.architecture(models.layer_table(network), name="v1_2_architecture")

# %% [markdown] id="original-why"
# The original enlarges pictures to 224×224 and does without padding. Ours enlarges to 48×48, pads, and leaves the
# fifth pool out; the last map is again 3×3×128.

# %% id="original"
original = models.v1_2(original=True)
assert original.count_params() == network.count_params() == 1_269_418
lesson.say(
    """Both have {parameters:,} parameters. A picture takes {theirs:.1f} billion multiply-adds there,
    {ours:.0f} million here, {more:.1f} times those of v1.1.""",
    parameters=network.count_params(), theirs=models.macs(original) / 1e9,
    ours=models.macs(network) / 1e6, more=models.macs(network) / models.macs(models.v1_1()),
)

# %% [markdown] id="blank"
# ## Filling the blank
#
# 70 epochs with the original's augmentation and v1.1's learning rate, five seeds.

# %% id="blank-table"
runs = question.run()
runs.table()

# %% id="blank-words"
before = experiments.get("v1_1").run()
arms = [name for name in before.recorded if name.startswith("original")]
v1_1 = max(arms, key=lambda arm: before.interval(arm, "validation_accuracy").mean)
ours = runs.interval("original")
gain = stats.paired_difference(runs.values("original"), before.values(v1_1))
lesson.say(
    """The blank is {accuracy}, {n} seeds. That is {gain} points against v1.1 with the same
    augmentation, seed by seed.""",
    accuracy=records.told(ours), n=ours.n, gain=stats.points(gain),
)

# %% id="guess-compare"
lesson.compare("03.v1_2", 100 * ours.mean)

# %% [markdown] id="curves-why"
# Does it overfit, as a network of its size might, or does the augmentation still ask too much of it?

# %% id="curves"
plots.learning_curves(runs, name="v1_2_learning_curves")

# %% id="fitted"
def fitted(found):
    return np.mean([run["history"]["accuracy"][-1] for run in found])


lesson.say(
    """Of the varied pictures that they train on, in the last epoch, v1.2 gets {ours:.1%} right and v1.1
    {theirs:.1%}; of validation pictures, {judged:.1%} and {there:.1%}.""",
    ours=fitted(runs.recorded["original"]), theirs=fitted(before.recorded[v1_1]),
    judged=runs.interval("original", "validation_accuracy").mean,
    there=before.interval(v1_1, "validation_accuracy").mean,
)

# %% [markdown] id="jumps-why"
# At a constant rate the curve jumps from epoch to epoch. How much of the interval is the luck of the last one, which
# counts?

# %% id="jumps"
def late(found):
    """Validation accuracy after each of the last ten epochs, (seeds, 10)."""
    return np.array([run["history"]["validation_accuracy"][-10:] for run in found])


ten, earlier = late(runs.recorded["original"]), late(before.recorded[v1_1])
lesson.say(
    """Within a seed the last ten epochs have a standard deviation of {within:.1f} points. Between seeds
    it is {last:.1f} points after the last epoch, {mean:.1f} in the ten's mean; in that mean v1.2 is
    {gain} points ahead of v1.1.""",
    within=100 * ten.std(axis=1, ddof=1).mean(), last=100 * ten[:, -1].std(ddof=1),
    mean=100 * ten.mean(axis=1).std(ddof=1),
    gain=stats.points(stats.paired_difference(ten.mean(axis=1), earlier.mean(axis=1))),
)

# %% [markdown] id="cost"
# ## What a kernel costs
#
# Behind the item on the list is a question: which kernels? Two 3×3 one after another see as far as one 5×5, and so do
# a 1×5 and a 5×1. Move the sliders; one of the three always costs most.

# %% id="calculator"
lesson.calculator(kernel_size=5, channels=64, filters=64, side=24)

# %% [markdown] id="cost-words-why"
# By how much? A kernel's weights grow with the square of its side; the others' with its side.

# %% id="cost-words"
costs = lesson.convolution_costs(kernel_size=5, channels=64, filters=64, side=24)
full, factorised, threes = (weights for weights, _ in costs.values())
lesson.say(
    """From 64 to 64 channels: {full:,} parameters for a 5×5, {threes:.0%} of them for two 3×3,
    {factorised:.0%} for a 1×5 and a 5×1.""",
    full=full, threes=threes / full, factorised=factorised / full,
)

# %% [markdown] id="functional"
# ## A path that forks
#
# A `Sequential` model is a list: each layer has one layer before it. Kernels *side by side* need a fork and a place
# where the branches meet. Keras's *functional* way writes each layer as a function of what goes in, so that any graph
# can be drawn:

# %% id="fork"
import keras
from keras import Input, Model, layers


def conv(x, filters, *kernel_size):
    return layers.Conv2D(filters, kernel_size, padding="same", activation="relu")(x)


def side_by_side(x, filters):
    quarter = filters // 4
    branches = [
        conv(x, quarter, 1, 1), conv(x, quarter, 3, 3), conv(x, quarter, 5, 5),
        conv(conv(x, quarter, 1, 5), quarter, 5, 1),
    ]
    return layers.Concatenate()(branches)

# %% [markdown] id="fork-check-why"
# That is an *Inception* block in small (Szegedy et al., 2015, 2016). The book's own, which the experiment uses, has
# the same weights:

# %% id="fork-check"
maps = Input((24, 24, 64))
forked = Model(maps, side_by_side(maps, 64))
books = Model(maps, blocks.inception(maps, 64, padding="same", name="x"))
assert forked.count_params() == books.count_params()
lesson.say(
    "Four branches from 64 to 64 channels: {few:,} parameters; a single 5×5 would take {full:,}.",
    few=forked.count_params(), full=full,
)

# %% [markdown] id="experiment"
# ## Four ways to spend the same
#
# *stacked*, as v1.2 does it; 3×3 everywhere; 5×5 everywhere; side by side. The widths differ, so that parameters and
# arithmetic don't. Put the four in your order first.

# %% id="order"
names = ["stacked", "3x3", "5x5", "side_by_side"]
lesson.order("03.kernels", "Which kernels come first on the test set?", names)

# %% id="kernels-question"
kernels

# %% [markdown] id="kernels-why"
# Eight epochs with a falling learning rate, flip and translation, much shorter than for the blank; three seeds each.

# %% id="kernels-results"
lesson.results("v1_2_kernels", baseline="stacked")

# %% id="kernels-words"
compared = kernels.run()
best, last = compared.best(), min(names, key=lambda name: compared.interval(name).mean)
gap, lost = (compared.difference(name, "stacked") for name in (best, last))
lesson.say(
    """Best on validation: {best}, {gap} points against the original's stack, seed by seed. Last is
    {last}, {lost} points.""",
    best=best, gap=stats.points(gap), last=last, lost=stats.points(lost),
)

# %% id="order-compare"
lesson.compare_order("03.kernels", {name: compared.interval(name).mean for name in names})

# %% [markdown] id="suspects"
# ## Two suspects
#
# Blocks with branches won ImageNet's contest of 2014. Why not here? The first suspect is the start. As in the original,
# every kernel begins with a standard deviation of 0.05, but a filter of 5×5 adds up 25 times as many products as one
# of 1×1. He et al. (2015) give a filter of $n$ weights the variance $2/n$ instead, so that none is louder than another.

# %% id="shares"
def shares(experiment):
    """Per cent of a block's mean square from each branch at the start, on noise; mean of ten blocks."""
    keras.utils.set_random_seed(0)
    variant = experiment.variant("side_by_side")
    network = models.build(variant.model, variant.model_arguments)
    joins = [layer.output for layer in network.layers if isinstance(layer, layers.Concatenate)]
    noise = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3))
    squares = [np.square(maps).mean((0, 1, 2)) for maps in Model(network.input, joins)(noise)]
    branches = [100 * square.reshape(4, -1).sum(axis=1) / square.sum() for square in squares]
    return dict(zip(["1×1", "3×3", "5×5", "1×5, 5×1"], np.mean(branches, axis=0), strict=True))

# %% [markdown] id="shares-why"
# How loud is each branch before any training?

# %% id="shares-figure"
started = {"0.05, as the original": shares(kernels), "after He": shares(start)}
plots.stacked(started, label="per cent of what a block puts out at the start", name="v1_2_shares")

# %% [markdown] id="start-why"
# Two of the four are hardly heard. So: the same network, the same seeds, He's start.

# %% id="start-guess"
text = "By how many points does He's start change what side_by_side reaches?"
lesson.guess("03.start", text, -10, 10, unit="points")

# %% [markdown] id="start-reveal"
# And the answer:

# %% id="start-words"
after = start.run()
change = stats.paired_difference(after.values("side_by_side"), compared.values("side_by_side"))
lesson.compare("03.start", 100 * change.mean, unit="points")

# %% [markdown] id="where-why"
# The second suspect is what the parameters are spent on.

# %% id="where"
def weights_in(network, ending=""):
    found = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    return sum(layer.count_params() for layer in found if layer.name.endswith(ending))


branched = models.build("v1_2", kernels.variant("side_by_side").model_arguments)
lesson.say(
    """The 5×5 branch makes a quarter of the filters and takes {share:.0%} of the convolutions'
    parameters.""",
    share=weights_in(branched, "5x5") / weights_in(branched),
)

# %% [markdown] id="without-why"
# What if there were none, and more filters of the three other kinds for the same parameters?

# %% id="without"
wider = models.build("v1_2", branches.variant("without_5x5").model_arguments)
lesson.say(
    """{wider:,} parameters instead of {branched:,}; the last block has {more} filters instead of
    {few}.""",
    wider=wider.count_params(), branched=branched.count_params(),
    more=wider.get_layer("conv5b_join").output.shape[-1],
    few=branched.get_layer("conv5b_join").output.shape[-1],
)

# %% [markdown] id="verdict-why"
# Both suspects beside the first results, against the stack:

# %% id="verdict"
arms = {name: compared.recorded[name] for name in ("stacked", "side_by_side")}
arms["with He's start"] = after.recorded["side_by_side"]
arms |= branches.run().recorded
suspects = records.Runs("v1_2_suspects", arms, own={})
plots.paired_differences(suspects, "stacked", name="v1_2_suspects")

# %% id="verdict-words"
gained = suspects.difference("without_5x5", "side_by_side")
lesson.say(
    """He's start changes what side by side reaches by {change} points; giving up the 5×5, by {gained}
    points. The stack is {left} points from the latter.""",
    change=stats.points(change), gained=stats.points(gained),
    left=stats.points(suspects.difference("stacked", "without_5x5")),
)

# %% [markdown] id="seconds-why"
# Equal arithmetic is not equal time. Seconds of an epoch, the four in turn on one idle machine:

# %% id="seconds"
timed = bench.load("experiment_v1_2_kernels")["contenders"]
seconds = {name: timed[name]["seconds"] for name in names}
plots.turns(seconds, label="seconds an epoch", name="v1_2_seconds")

# %% [markdown] id="live"
# ## Train it yourself
#
# On 500 pictures of each class, so that it takes half a minute:

# %% id="taste" tags=["nbval-ignore-output"]
taste = kernels.run(
    budget="taste", variants=["side_by_side"], seeds=[0], retrain=True,
    data=datasets.few(data, 500, seed=0), on_epoch=plots.LiveCurve(),
)
taste.table(own_only=True)

# %% [markdown] id="exercises"
# ## Exercises
#
# **03.1 Factorise.** How many parameters have a 1×k and then a k×1 convolution, from so many channels to so many
# filters?

# %% id="exercise-1" tags=["exercise"]
def factorised(k, channels, filters):
    ...


def keras_count(k, channels, filters):
    maps = Input((8, 8, channels))
    wide = layers.Conv2D(filters, (1, k))(maps)
    return Model(maps, layers.Conv2D(filters, (k, 1))(wide)).count_params()


lesson.check("03.1", factorised, keras_count, [(5, 64, 64), (7, 3, 16), (3, 1, 10)])

# %% [markdown] id="solution-1"
# <details><summary>Solution 03.1</summary>
#
# ```python
# def factorised(k, channels, filters):
#     return k * channels * filters + filters + k * filters * filters + filters
# ```
#
# The second convolution already has `filters` channels below it.
# </details>

# %% [markdown] id="exercise-2-text"
# **03.2 Shrink.** Without padding (*valid*) a kernel can't stand at the edge. How wide is the output? Then see why the
# original's v1.2 must enlarge to 224×224 to have 3×3 left.

# %% id="exercise-2" tags=["exercise"]
def valid_width(width, kernel_size, stride):
    ...


def keras_width(width, kernel_size, stride):
    return layers.Conv2D(1, kernel_size, stride).compute_output_shape((1, width, width, 1))[1]


lesson.check("03.2", valid_width, keras_width, [(224, 5, 1), (108, 3, 1), (9, 2, 2), (7, 7, 1)])

# %% [markdown] id="solution-2"
# <details><summary>Solution 03.2</summary>
#
# ```python
# def valid_width(width, kernel_size, stride):
#     return (width - kernel_size) // stride + 1
# ```
#
# 224 → 220 → 216, pool 108 → 106 → 104, pool 52, and so on down to 3.
# </details>

# %% [markdown] id="exercise-3-text"
# **03.3 Join.** What shape comes out when branches are concatenated along the channels?

# %% id="exercise-3" tags=["exercise"]
def joined(*shapes):
    """shapes: (height, width, channels) each; returns the shape of all side by side."""
    ...


def keras_joined(*shapes):
    return tuple(layers.Concatenate()([Input(shape) for shape in shapes]).shape[1:])


samples = [((8, 8, 3), (8, 8, 5)), ((4, 6, 1), (4, 6, 1), (4, 6, 7))]
lesson.check("03.3", joined, keras_joined, samples)

# %% [markdown] id="solution-3"
# <details><summary>Solution 03.3</summary>
#
# ```python
# def joined(*shapes):
#     height, width, _ = shapes[0]
#     return height, width, sum(channels for *_, channels in shapes)
# ```
#
# Heights and widths must be the same; that is why each branch pads.
# </details>

# %% [markdown] id="keeps"
# ## What the next page takes along

# %% id="keeps-words"
slower = np.mean(seconds[best]) / np.mean(seconds["stacked"])
lesson.say(
    """The blank in the original's table is {accuracy}: {gain} points against v1.1, for {times:.1f}
    times its multiply-adds. Of four ways to spend the same parameters {best} is best, {gap} points
    against the stack, in {slower:.2f} times its seconds. The next page turns to the table's last
    row.""",
    accuracy=records.told(ours), gain=stats.points(gain), best=best, gap=stats.points(gap),
    slower=slower, times=models.macs(network) / models.macs(models.v1_1()),
)
