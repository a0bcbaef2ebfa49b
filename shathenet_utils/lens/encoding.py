"""Arrays as JSON that `js/decode.js` decodes, in as many bits as they need."""

import base64

import numpy as np

LARGE = 4_000_000  # bytes of weights, beyond which a page holds kernels in eight bits
SMALL = 65_536  # numbers of a constant that is kept as it is
SMALLEST, LARGEST = 2.0**-14, 65504.0  # of float16, smaller ones with fewer digits left out


def encode(array) -> dict:
    """An array as JSON: its shape, its dtype ("f2", "f4", "u1" or "i1", little-endian) and its bytes in base 85, four
    in five letters (RFC 1924's, with a comma for "<", which must not stand in a page)."""
    array = np.asarray(array)
    kind = {"float16": "f2", "float32": "f4", "uint8": "u1", "int8": "i1"}[array.dtype.name]
    data = np.ascontiguousarray(array, "<" + kind if kind[0] == "f" else kind)
    told = base64.b85encode(data.tobytes()).decode("ascii").replace("<", ",")
    return {"shape": list(array.shape), "dtype": kind, "data": told}


def rounded(array, axes_before: int = 0) -> dict:
    """Weights, encoded in float16, or in float32 where that would lose more than its last digit.

    axes_before: how many axes, such as the epochs', stand before the weight's own. Of a kernel numbers far smaller than
    its largest may lose digits; of numbers that stand alone, such as variances, none.
    """
    array = np.asarray(array, np.float32)
    sizes = np.abs(array[np.isfinite(array)])
    sizes = sizes[sizes > 0]
    fits = not sizes.size or (
        sizes.max() <= LARGEST and (sizes.max() if array.ndim - axes_before > 1 else sizes.min()) >= SMALLEST
    )
    return encode(array.astype(np.float16) if fits else array)


def in_eight_bits(array, axes_before: int = 0) -> dict:
    """A finite kernel, (…, filters), as whole numbers from -127 to 127, and the `scale` of each filter, float32:
    weight = number · scale; with one axis of epochs before, the scale of each epoch and filter."""
    array = np.asarray(array, np.float32)
    between = tuple(range(axes_before, array.ndim - 1))
    largest = np.abs(array).max(axis=between, keepdims=True)
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    numbers = np.clip(np.rint(array / scale), -127, 127).astype(np.int8)
    return encode(numbers) | {"scale": encode(scale.reshape(*array.shape[:axes_before], array.shape[-1]))}


def weights(arrays: dict[str, np.ndarray], axes_before: dict[str, int], constants: set[str]) -> dict[str, dict]:
    """All weights, encoded: kernels in eight bits where there would be more than `LARGE` bytes in 16; small constants,
    which no training rounds off, in float32."""
    large = 2 * sum(array.size for array in arrays.values()) > LARGE
    encoded = {}
    for key, array in arrays.items():
        array = np.asarray(array, np.float32)
        if key in constants and array.size <= SMALL:
            encoded[key] = encode(array)
            continue
        kernel = array.ndim - axes_before[key] > 1 and np.isfinite(array).all()
        encoded[key] = (in_eight_bits if large and kernel else rounded)(array, axes_before[key])
    return encoded
