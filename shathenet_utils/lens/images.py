"""A dataset's images and labels as a network takes them."""

import numpy as np

from shathenet_utils.lens.steps import LensError


def prepared(images, shape: list[int], name: str) -> tuple[np.ndarray, list[str]]:
    """Images as bytes of a network's size, (n, height, width, channels), and sentences on what was changed.

    images: uint8 (n, height, width) or (n, height, width, channels), grey (one channel), colour (three) or colour with
    opacity (four, drawn on white). Of another size they are resized; grey for a colour network is repeated; colour for
    a grey one becomes its luma, as Pillow's "L". name: the network's. Raises LensError for what are no such images.
    """
    images = np.asarray(images)
    if images.size == 0:
        return np.zeros((0, *shape), np.uint8), []
    if images.dtype == np.uint8 and images.ndim == 3:
        images = images[..., None]
    size = " × ".join(map(str, shape))
    if images.dtype != np.uint8 or images.ndim != 4:
        raise LensError(
            f"The lens wants images of 8 bits, {size} as {name} takes them, not {images.dtype} {images.shape}"
            f"{_hint(images)}."
        )
    notes, (height, width, channels) = [], shape
    if images.shape[3] != channels:
        images, note = _in_channels(images, channels, size, name)
        notes.append(note)
    if images.shape[1:3] != (height, width):
        notes.append(f"The images were resized from {images.shape[1]} × {images.shape[2]} to {height} × {width}.")
        images = _resized(images, height, width)
    return images, notes


def _hint(images: np.ndarray) -> str:
    if images.dtype.kind != "f" or images.ndim not in (3, 4):
        return ""
    low, high = images.min(), images.max()
    if not 0 <= low <= high <= 1 and not -1 <= low <= high <= 1:
        return ""
    made = "(255 * images)" if low >= 0 else "(127.5 * (images + 1))"
    given = "(0, 1)" if low >= 0 else "(-1, 1)"
    return f" from {low:.3g} to {high:.3g}: pass np.uint8(np.round{made}) and input_range={given}"


def _in_channels(images: np.ndarray, channels: int, size: str, name: str) -> tuple[np.ndarray, str]:
    """Images of one, three or four channels as ones of one or three."""
    if images.shape[3] == 4 and channels in (1, 3):
        opacity = images[..., 3:].astype(np.uint32)
        images = ((images[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    if images.shape[3] == 1 and channels == 3:
        return np.repeat(images, 3, axis=3), "The images are grey: all three channels are the same."
    if images.shape[3] == 3 and channels == 1:
        return luma(images), "The network takes grey images: colours were turned into grey."
    if images.shape[3] == channels:
        return images, "Transparent parts of the images are drawn on white."
    raise LensError(f"{name} takes images of {size}; those given have {images.shape[3]} channels.")


def luma(images: np.ndarray) -> np.ndarray:
    """Colour images, uint8 (…, 3), in grey, uint8 (…, 1): Pillow's "L", after ITU-R 601-2."""
    red, green, blue = (images[..., channel].astype(np.uint32) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[..., None]


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 images of another size: means of areas where they shrink, bilinear where they grow."""
    from PIL import Image

    def resize(channel: np.ndarray) -> np.ndarray:
        shrinks = channel.shape[0] >= height and channel.shape[1] >= width
        how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(channel).resize((width, height), how))

    return np.stack([np.stack([resize(image[..., c]) for c in range(images.shape[3])], axis=-1) for image in images])


def numbers_of(labels, count: int, classes: list[str] | None) -> list[int] | None:
    """Labels as whole numbers, one for each of `count` images: from (n,), (n, 1), or one-hot (n, classes). Raises
    LensError for others."""
    if labels is None:
        return None
    labels = np.asarray(labels)
    given = labels.shape
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.size and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    whole = labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and np.equal(labels, np.round(labels)).all())
    if labels.ndim != 1 or not whole:
        raise LensError(f"Labels are whole numbers, one for each image, (n,) or one-hot (n, classes), not {given}.")
    if len(labels) != count:
        raise LensError(f"There are {len(labels)} labels for {count} images.")
    found = [int(label) for label in labels]
    if classes is not None and found and not 0 <= min(found) <= max(found) < len(classes):
        raise LensError(f"Labels from {min(found)} to {max(found)} don't name {len(classes)} classes.")
    return found
