# %% [markdown] id="title"
# # 02 · v1.1, bigger, with augmentation
#
# What did seventy times the parameters buy, and what did augmentation?
#
# **You will** see what a network is shown when its pictures are varied, take apart what the original changed in one
# step, and find out why varying pictures more is not always better. **You need** notebook 01.

# %% id="imports"
import numpy as np
import pandas as pd

from shathenet_utils import augment, experiments, lesson, models, plots, recipes, records, stats
from shathenet_utils.datasets import few
from shathenet_utils.training import accuracy, predict

question, smaller = experiments.get("v1_1"), experiments.get("v1_1_batch")
lesson.header("02", question, smaller)

# %% id="data" tags=["nbval-ignore-output"]
data = lesson.data()

# %% [markdown] id="seed"
# The original says of v1.1: *image augmentation, 70 epochs, 1.25M parameters*, and an accuracy far above v1.0's.
# Two things changed at once, so its table can't say which of them helped. Here each changes alone.

# %% [markdown] id="guess-why"
# Both networks, v1.0's and v1.1's, each without augmentation, with flip and translation, and with all that the
# original did to its pictures. Put them in your order before you read on.

# %% id="guess"
arms = {
    "small_plain": "v1.0 alone", "small_flip_translate": "v1.0 flipped and moved",
    "small_original": "v1.0 with the whole set", "plain": "v1.1 alone",
    "flip_translate": "v1.1 flipped and moved", "original": "v1.1 with the whole set",
}
lesson.order("02.arms", "Which comes first on the test set, and which last?", arms.values())

# %% [markdown] id="network"
# ## The network
#
# Three pairs of convolutions, the first of each pair with stride 2, and two dense layers. The original enlarges
# pictures to 299×299 and halves the map after each pair once more.

# %% id="architecture"
network = models.v1_1()
plots.architecture(models.layer_table(network), name="v1_1_architecture")

# %% [markdown] id="original-why"
# A picture of 299×299 is out of a CPU's reach. Ours enlarges to 36×36 and leaves the three pools out, so that the last
# map is again 5×5×128, and every layer has as many weights as there.

# %% id="original"
original = models.v1_1(original=True)
assert original.count_params() == network.count_params() == 1_252_138
lesson.say(
    """Both have {parameters:,} parameters. A picture takes {theirs:.2f} billion multiply-adds there,
    {ours:.1f} million here: one in {ratio:.0f}.""",
    parameters=network.count_params(), theirs=models.macs(original) / 1e9,
    ours=models.macs(network) / 1e6, ratio=models.macs(original) / models.macs(network),
)

# %% [markdown] id="sees-why"
# What else does that change? A layer's *receptive field* is the square of the picture that one of its numbers depends
# on. Enlarged pictures make it cover fewer of CIFAR-10's own pixels (Araujo et al., 2019):

# %% id="sees"
def receptive_fields(network, size):
    """Layer → the side of its receptive field in pixels of the 32×32 picture."""
    side, step, found = 1, 1, {}
    for layer in network.layers:
        kernel = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
        if kernel is not None:
            side, step = side + (kernel[0] - 1) * step, step * layer.strides[0]
            found[layer.name] = round(1 + (side - 1) * 32 / size, 1)
    return found

# %% [markdown] id="sees-table-why"
# In the original, and in ours:

# %% id="sees-table"
fields = {"at 299×299": receptive_fields(original, 299), "at 36×36": receptive_fields(network, 36)}
pd.DataFrame(fields).rename_axis("layer").map("{:.1f}".format, na_action="ignore").fillna("–")

# %% id="sees-words"
lesson.say(
    """The original's first layer looks at {first:.1f} pixels of CIFAR-10 a side, mostly copies of one
    another; ours at {ours:.1f}. Its last looks at {last:.0f}, ours at {wide:.0f}, more than the picture
    has.""",
    first=fields["at 299×299"]["conv1a"], ours=fields["at 36×36"]["conv1a"],
    last=fields["at 299×299"]["conv3b"], wide=fields["at 36×36"]["conv3b"],
)

# %% [markdown] id="augmentation"
# ## What the network is shown
#
# Augmentation varies a training picture anew in every epoch; its label stays. Rows: the picture as it is; flipped left
# to right and moved by up to four pixels; all that the original did.

# %% id="augmentation-table"
pd.Series(recipes.ORIGINAL_AUGMENTATION, name="the original's set").to_frame()

# %% [markdown] id="channel-shift-why"
# Read with care, one of them does nothing:

# %% id="channel-shift"
lesson.say(
    """Turn and shear are in degrees, shift and zoom shares of the side. The channel shift is drawn from
    −{bound} to {bound} on a scale of 255: it rounds to nothing, and did so in the original.""",
    bound=recipes.ORIGINAL_AUGMENTATION["channel_shift"],
)

# %% id="augmentation-figure"
shown_as = {"as it is": "plain", "flip, move": "flip_translate", "original's": "original_3e-4"}
treatments = {label: question.variant(arm).recipe for label, arm in shown_as.items()}
here = data.name == "cifar10"
one, label = data.train_images[7:8].repeat(10, 0), data.train_labels[7:8].repeat(10)
rows = [augment.of_epoch(one, label, recipe, 0, 0).images for recipe in treatments.values()]
plots.pictures(
    np.concatenate(rows) if here else [], rows=list(treatments), name="v1_1_augmentation",
    alt="""One training picture, ten times in each of three rows: unchanged; flipped and moved by some
    pixels; turned, stretched, moved and flipped, also upside down.""",
)

# %% [markdown] id="experiment"
# ## The experiment

# %% id="question"
question

# %% [markdown] id="runs-why"
# Adam at a constant rate, batches of 128, and the pictures in the same order for the same seed; 70 epochs, or half of
# them where half says enough: for the rate that is not kept, and for a network that soon knows its pictures by heart.

# %% id="runs"
runs = question.run()
runs.table()

# %% [markdown] id="rate-why"
# The original gives no learning rate; v1.0 did best with Adam's own, 1e-3. For v1.1 the validation pictures choose
# again, by the mean of five epochs up to the last that both rates have seen:

# %% id="rate"
half = question.variant("original_1e-3").recipe.epochs


def at_half(found):
    """Validation accuracy by then, a number a seed."""
    return np.array([np.mean(run["history"]["validation_accuracy"][half - 5 : half]) for run in found])

# %% [markdown] id="rate-words-why"
# Seed by seed:

# %% id="rate-words"
faster, slower = (at_half(runs.recorded[arm][:3]) for arm in ("original_1e-3", "original_3e-4"))
gain = stats.paired_difference(slower, faster)
kept = "original_3e-4" if gain.mean > 0 else "original_1e-3"
lesson.say(
    """A rate of 3e-4 in place of 1e-3 changes validation accuracy by {gain} points, {n} seeds: the book
    keeps {kept}.""",
    gain=stats.points(gain), n=gain.n, kept=kept,
)

# %% [markdown] id="beside"
# ## Beside the original's number

# %% id="beside-figure"
published = records.published()
there = published["original_v1_1"]["value"]
plots.seeds(runs, published=[("the original", there)], name="v1_1_seeds")

# %% id="beside-words"
ours = runs.interval(kept)
lesson.say(
    """The original says {there:.0%}. Ours, {n} seeds with its augmentation: {mean:.1%}, 95 % interval
    {low:.1%} to {high:.1%}.""",
    there=there, **ours._asdict(),
)

# %% [markdown] id="looking-why"
# How did the original read its number? Whoever looks at every epoch and reports the best one, reports luck too. On
# validation pictures:

# %% id="looking"
epochs = [run["history"]["validation_accuracy"] for run in runs.recorded[kept]]
best, end = (stats.interval([choose(run) for run in epochs]) for choose in (max, lambda run: run[-1]))
lesson.say(
    """The best epoch gets {best}, the last {end}: {more:+.1f} points for looking, and still {short:.1f}
    short.""",
    best=records.told(best), end=records.told(end), more=100 * (best.mean - end.mean),
    short=100 * (there - best.mean),
)

# %% [markdown] id="batch-why"
# Nor does the original say how many pictures a step takes. Its v1.0 took 32; ours, 128, take a quarter of the steps.
# Is that it? One run with 32, a *pilot*, for half the epochs:

# %% id="batch"
pilot, large = at_half(smaller.run().recorded["batch_32"]), stats.interval(slower)
lesson.say(
    """After {half} epochs it gets {small:.1%} of validation pictures; ours with 128, {large}.""",
    half=half, small=pilot[0], large=records.told(large),
)

# %% [markdown] id="bought"
# ## What parameters bought, and what augmentation
#
# From left to right, seventy times the parameters; from line to line, the same pictures varied more.

# %% id="bought-figure"
large = {"plain": "plain", "flip_translate": "flip_translate", "original": kept}
labels = {"plain": "no augmentation", "flip_translate": "flip, move", "original": "original's set"}
sizes = [runs.recorded[arm][0]["parameters"] for arm in ("small_plain", "plain")]
series = {
    labels[how]: {sizes[0]: runs.interval(f"small_{how}"), sizes[1]: runs.interval(arm)}
    for how, arm in large.items()
}
plots.lines(
    series, x_label="parameters", y_label="test accuracy", logarithmic=True, name="v1_1_bought"
)

# %% id="order-compare"
tested = {**{f"small_{how}": f"small_{how}" for how in large}, **large}
lesson.compare_order("02.arms", {arms[how]: runs.interval(arm).mean for how, arm in tested.items()})

# %% [markdown] id="bought-words-why"
# The differences, seed by seed:

# %% id="bought-words"
bought = {how: runs.difference(arm, f"small_{how}") for how, arm in large.items()}
small = {how: runs.difference(f"small_{how}", "small_plain") for how in ("flip_translate", "original")}
big = {how: runs.difference(large[how], "plain") for how in ("flip_translate", "original")}
pd.DataFrame({
    "parameters buy": {labels[how]: stats.points(gain) for how, gain in bought.items()},
    "augmentation buys v1.0": {labels[how]: stats.points(gain) for how, gain in small.items()},
    "augmentation buys v1.1": {labels[how]: stats.points(gain) for how, gain in big.items()},
}).fillna("–")

# %% [markdown] id="why"
# ## Why more isn't better
#
# A network without augmentation learns its training pictures by heart; one with the original's set hardly knows them.
# Each line: five or three seeds' mean, on training pictures as the network sees them, and on validation pictures.

# %% id="curves"
shown = ["small_plain", "small_flip_translate", "plain", "flip_translate", kept]
plots.learning_curves(runs, shown, name="v1_1_learning_curves")

# %% [markdown] id="fitted-words-why"
# The two ways to fail, in numbers of the last epoch:

# %% id="fitted-words"
def last(arm):
    ends = [np.mean([run["history"][key][-1] for run in runs.recorded[arm]]) for key in KEYS]
    return "{:.1%} and {:.1%}".format(*ends)


KEYS = ("accuracy", "validation_accuracy")
lesson.say(
    """Of training and of validation pictures v1.1 gets right, in its last epoch: {plain} without
    augmentation; {fair} with flip and translation; {hard} with the original's set. The first overfits;
    the last underfits, it can't fit even what it trains on.""",
    plain=last("plain"), fair=last("flip_translate"), hard=last(kept),
)

# %% [markdown] id="views-why"
# What does the set ask for that the test never does? 2,000 validation pictures, changed in one way at a time, shown to
# both networks:

# %% id="views"
def views(pictures):
    """What was done → the pictures so changed."""
    stream, whole = np.random.default_rng(0), question.variant(kept).recipe
    return {
        "as they are": pictures,
        "upside down": pictures[:, ::-1],
        "turned": augment.affine(pictures, stream, rotate=whole.rotate),
        "zoomed": augment.affine(pictures, stream, zoom=whole.zoom),
        "the whole set": augment.of_epoch(pictures, np.zeros(len(pictures)), whole, 0, 0).images,
    }

# %% id="views-count"
def right():
    pictures, answers = data.validation_images[:2000], data.validation_labels[:2000]
    found = {}
    for how in ("flip_translate", "original"):
        network, _ = experiments.trained("v1_1", large[how])
        found[labels[how]] = {
            done: accuracy(predict(network, view), answers) for done, view in views(pictures).items()
        }
    return found

# %% [markdown] id="views-table-why"
# From left to right, the two networks; from line to line, what was done to the pictures:

# %% id="views-table"
counted = lesson.counted("02_views", right, data)
pd.DataFrame(counted).map("{:.1%}".format)

# %% id="views-words"
fair, hard = counted["flip, move"], counted["original's set"]
lesson.say(
    """Upside down, the one changes by {falls:+.0f} points, the other by {stands:+.0f}; on the whole
    set the other leads by {leads:.0f}. It has learned what it was shown, and pays for it with
    {pays:.0f} points where the test asks.""",
    falls=100 * (fair["upside down"] - fair["as they are"]),
    stands=100 * (hard["upside down"] - hard["as they are"]),
    leads=100 * (hard["the whole set"] - fair["the whole set"]),
    pays=100 * (fair["as they are"] - hard["as they are"]),
)

# %% [markdown] id="live"
# ## Train it yourself
#
# On 500 pictures of each class, so that it takes half a minute:

# %% id="taste" tags=["nbval-ignore-output"]
taste = question.run(
    budget="taste", variants=["flip_translate"], seeds=[0], retrain=True,
    data=few(data, 500, seed=0), on_epoch=plots.LiveCurve(),
)
taste.table(own_only=True)

# %% [markdown] id="exercises"
# ## Exercises
#
# **02.1 Reach.** A layer's receptive field grows with each layer. Write one step: from the field and the step of what
# lies below, to the field and the step of a layer with this kernel and stride.

# %% id="exercise-1" tags=["exercise"]
def reach(field, step, kernel_size, stride):
    """Returns (field, step) of the layer above."""
    ...


def counted(field, step, kernel_size, stride):
    first = {step * place + pixel for place in range(kernel_size) for pixel in range(field)}
    return len(range(min(first), max(first) + 1)), step * stride


lesson.check("02.1", reach, counted, [(1, 1, 7, 2), (7, 2, 7, 1), (19, 2, 5, 2)])

# %% [markdown] id="solution-1"
# <details><summary>Solution 02.1</summary>
#
# ```python
# def reach(field, step, kernel_size, stride):
#     return field + (kernel_size - 1) * step, step * stride
# ```
#
# Neighbouring numbers of the map below lie `step` pixels apart; a kernel spans `kernel_size - 1` such steps.
# </details>

# %% [markdown] id="exercise-2-text"
# **02.2 Flip.** Mirror a picture left to right, without a loop.

# %% id="exercise-2" tags=["exercise"]
def mirrored(picture):
    """picture: (height, width, channels)."""
    ...


def book_flip(picture):
    return augment.flip(picture[None], np.array([True]))[0]


pictures = np.random.default_rng(2).integers(0, 256, (4, 3, 5, 3), np.uint8)
lesson.check("02.2", mirrored, book_flip, [(picture,) for picture in pictures])

# %% [markdown] id="solution-2"
# <details><summary>Solution 02.2</summary>
#
# ```python
# def mirrored(picture):
#     return picture[:, ::-1]
# ```
#
# Rows stay, columns are read backwards, colours stay.
# </details>

# %% [markdown] id="exercise-3-text"
# **02.3 Count.** How many different pictures can flip and translation by up to so many pixels make of one? Then
# compare with the epochs that a run has.

# %% id="exercise-3" tags=["exercise"]
def different(pixels, flips):
    ...


def tried(pixels, flips):
    reach = range(-pixels, pixels + 1)
    return len({(down, right) for down in reach for right in reach}) * (2 if flips else 1)


lesson.check("02.3", different, tried, [(4, True), (2, False), (0, True)])

# %% [markdown] id="solution-3"
# <details><summary>Solution 02.3</summary>
#
# ```python
# def different(pixels, flips):
#     return (2 * pixels + 1) ** 2 * (2 if flips else 1)
# ```
#
# More than any run has epochs: hardly a picture is seen twice in the same place.
# </details>

# %% [markdown] id="keeps"
# ## What the next page takes along

# %% id="keeps-words"
lesson.say(
    """The original's step from {seed_small:.0%} to {there:.0%} mixed two things. Here parameters buy
    {alone} points without augmentation, {together} with flip and translation. The original's set
    changes v1.0 by {takes} points and v1.1 by {gives}. The book keeps flip and translation,
    {accuracy}; the original's set stays for the blank in its next row.""",
    seed_small=published["original_v1_0"]["value"], there=there, alone=stats.points(bought["plain"]),
    together=stats.points(bought["flip_translate"]), takes=stats.points(small["original"]),
    gives=stats.points(big["original"]), accuracy=records.told(runs.interval("flip_translate")),
)
