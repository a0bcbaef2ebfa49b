"""Drawn images of shapes with textures: the stand-in for readers without CIFAR-10, `datasets.toy_shapes`."""

import numpy as np


def draw_shapes(labels: np.ndarray, stream: np.random.RandomState) -> np.ndarray:
    """One image per label (shape · 2 + texture), labels (n,) from 0 to 9: uint8 (n, 32, 32, 3), 0 to 255.

    stream: what the random numbers are drawn from; it is advanced.
    """

    def draw(low, high, *more):
        return stream.uniform(low, high, (len(labels), 1, 1, *more)).astype(np.float32)

    def turned(x, y, angle):
        return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x

    rows, columns = np.mgrid[-15.5:16, -15.5:16].astype(np.float32)
    radius, angle, circle = draw(9, 13), np.pi / 9, 2 * np.pi
    x, y = turned(columns - draw(-3, 3), rows - draw(-3, 3), draw(-angle, angle))
    distance = np.hypot(x, y)
    third = np.float32(np.sqrt(3) / 2)
    outside = [  # of each shape: how far a pixel lies outside, in pixels, negative inside; areas are alike
        distance - 0.85 * radius,
        np.maximum(np.abs(x), np.abs(y)) - 0.75 * radius,
        np.maximum(y, np.maximum(third * x, -third * x) - y / 2) - 0.6 * radius,
        np.maximum(np.minimum(np.abs(x), np.abs(y)) - 0.3 * radius, np.maximum(np.abs(x), np.abs(y)) - radius),
        np.abs(distance - 0.75 * radius) - 0.25 * radius,
    ]
    shape = np.choose(labels[:, None, None] // 2, outside)
    inside = np.clip(0.5 - shape, 0, 1)[..., None]

    u, v = turned(columns, rows, draw(-angle, angle))
    pitch = circle / draw(5, 7)
    waves = np.cos(pitch * u + draw(0, circle)), np.cos(pitch * v + draw(0, circle))
    texture = np.where(labels[:, None, None] % 2, waves[0] + waves[1], 2 * waves[0])
    painted = np.clip(0.5 + 1.5 * texture, 0, 1)[..., None]

    def apart(colour):  # another colour, at least 80 away in every channel, on the side that has room
        return colour + np.where(colour < 128, 1, -1) * draw(80, 125, 3)

    ground = draw(0, 255, 3)
    colour = apart(ground)
    paint = apart(colour)
    light = (draw(-1.2, 1.2) * columns + draw(-1.2, 1.2) * rows)[..., None]
    image = ground * (1 - inside) + inside * (colour * (1 - painted) + paint * painted) + light
    noise = stream.standard_normal(image.shape).astype(np.float32)
    return np.clip(image + 20 * noise, 0, 255).astype(np.uint8)
