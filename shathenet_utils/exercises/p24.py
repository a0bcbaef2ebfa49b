"""References of page 24's exercises: FLOP, the least time, Amdahl's law, batch sizes in turn, a figure of speed."""

from shathenet_utils.exercises import Exercise


def epoch_flop(side, kernel_size, channels, filters, images):
    return 6 * side**2 * kernel_size**2 * channels * filters * images


def least_seconds(layers_of_network, peak, memory_speed):
    times = [(flop / peak, moved / memory_speed) for flop, moved in layers_of_network]
    return sum(map(max, times)), sum(memory > arithmetic for arithmetic, memory in times)


def fraction_before(part_gain, whole_gain):
    return (1 - 1 / whole_gain) / (1 - 1 / part_gain)


def gain_of_batch(gain, small, large):
    """What is wrong with the seconds of small batches divided by those of large ones, in a sentence, or ""."""
    gain = float(gain)
    if not 0 < gain < 1000:
        return "a quotient of two times is above 0, and one of a thousand is not plausible."
    if gain == 1:
        return f"two measurements are never exactly equal: is one of them made with a batch size of {large}?"
    if gain < 1:
        return "small batches should not be faster: divide the other way round, or let the two take turns."
    return ""


_LAYERS = [(4e9, 1e6), (0, 4e8), (1e6, 1e8)]

EXERCISES = {
    "24.1": Exercise(
        epoch_flop,
        [(32, 3, 24, 64, 45_000), (16, 5, 8, 8, 1_000), (8, 1, 128, 10, 1)],
        "The formula of the idea, per image; a training step does three times as much; then all images.",
    ),
    "24.2": Exercise(
        least_seconds,
        [(_LAYERS[:1], 4e11, 4e10), (_LAYERS[1:2], 4e11, 4e10), (_LAYERS, 4e11, 4e10)],
        "For each layer the slower of arithmetic and memory; then add the layers, and count those where it is memory.",
    ),
    "24.3": Exercise(
        fraction_before,
        [(2, 4 / 3), (1.9, 1.64), (10, 5.26)],
        "Write the law for 1/S, and solve it for p.",
    ),
    "24.4": Exercise(
        None,
        [(25, 500)],
        "Build the network once; call epoch_seconds for each batch size, twice in turn; divide the two shortest.",
        accepts=gain_of_batch,
        expects="the seconds per epoch with the small batch divided by those with the large one",
    ),
    "24.5": Exercise(
        lambda: "B",
        feedback={
            "A": "Look at its interval in the table: does it exclude 1?",
            "C": "The step was measured on a loop that three other steps had changed already. Compare its interval "
            "with that of fit in bfloat16.",
            "D": "How many processors does the figure show, and do all have instructions for bfloat16?",
        },
        hint="Compare intervals, and ask on what each number was measured.",
    ),
}
