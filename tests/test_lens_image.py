"""Readers' own images in the lens: what the browser makes of a file is what Pillow makes of it."""

import numpy as np
import pytest
from lens_browser import LONGEST_WAIT, choose, settle
from PIL import Image

from shathenet_utils import lens
from shathenet_utils.backend import keras, layers
from shathenet_utils.lens import payload

pytestmark = pytest.mark.browser
HEIGHT, WIDTH = 24, 32


@pytest.fixture(scope="module")
def pages(browser, tmp_path_factory):
    """By the number of its input's channels, a page on a network."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for channels in (1, 3, 4):
        pixels = keras.Input((HEIGHT, WIDTH, channels), name="images")
        model = keras.Model(pixels, layers.Conv2D(2, 3, name="first")(layers.Rescaling(1 / 255)(pixels)))
        shown = lens.Lens(payload.payload(model, np.zeros((1, HEIGHT, WIDTH, channels), np.uint8)), {})
        found[channels] = browser.new_page()
        found[channels].set_default_timeout(LONGEST_WAIT)
        found[channels].goto(shown.to_html(folder / f"{channels}.html").as_uri())
        found[channels].get_by_text("Your own image", exact=True).click()
    yield found
    for page in found.values():
        page.close()


TAKEN = """async () => {
  const message = document.querySelector("#page").shadowRoot.querySelector(".own p");
  const waits = () => window.lens.own.data.includes(-1) && !message.textContent.includes("not an image");
  for (let at = 0; at < 3000 && waits(); at++) await new Promise((then) => setTimeout(then, 20));
  return message.textContent;
}"""


def taken(page, path, channels=3, fit="the whole image"):
    """What the lens makes of a file: (height, width, channels)."""
    files = page.get_by_label("Or a file")
    page.evaluate("window.lens.own.data.fill(-1)")
    choose(page, "Take", value=fit)
    if files.evaluate("input => input.files.length"):
        page.evaluate(TAKEN)  # the last file, once more
        page.evaluate("window.lens.own.data.fill(-1)")
    files.set_input_files(path)
    assert "it has not left this page" in page.evaluate(TAKEN)
    settle(page)
    assert page.evaluate("window.lens.state.image === window.lens.count"), "it is shown"
    return np.array(page.evaluate("Array.from(window.lens.own.data)")).reshape(HEIGHT, WIDTH, channels)


def smooth(height, width, seed=0):
    """A photograph's stand-in: colours that change from place to place, with some noise."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (9, 12, 3), np.uint8)).resize((width, height), Image.BICUBIC)
    return np.clip(np.asarray(coarse) + draw.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def boxed(image):
    return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.BOX), float)


def test_a_photograph_of_twelve_megapixels_is_averaged_by_area(pages, tmp_path):
    image = Image.fromarray(smooth(3000, 4000))
    image.save(tmp_path / "photo.png", compress_level=1)
    found = taken(pages[3], tmp_path / "photo.png")
    assert np.abs(found - boxed(image)).max() <= 2
    near = np.asarray(image.resize((WIDTH, HEIGHT), Image.NEAREST), float)
    assert np.abs(near - boxed(image)).max() > 10, "a pixel here and there is something else"


@pytest.mark.parametrize("size", [(7, 5), (33, 25), (64, 48), (100, 31), (32, 24)])
def test_areas_are_pillows_for_any_size(pages, tmp_path, size):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), np.uint8))
    image.save(tmp_path / "noise.png")
    assert np.abs(taken(pages[3], tmp_path / "noise.png") - boxed(image)).max() <= 1


def test_the_middle_of_an_image_is_taken_in_the_networks_proportions(pages, tmp_path):
    image = Image.fromarray(smooth(240, 640))
    image.save(tmp_path / "wide.png")
    middle = image.crop((160, 0, 480, 240))
    assert np.abs(taken(pages[3], tmp_path / "wide.png", fit="its middle") - boxed(middle)).max() <= 1


def on_white(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")


def write_transparent(path):
    alpha = np.repeat(np.linspace(0, 255, 96).astype(np.uint8)[:, None], 128, axis=1)
    image = Image.fromarray(np.dstack([smooth(96, 128), alpha]))
    image.save(path)
    return on_white(image)


def write_palette(path):
    image = Image.fromarray(smooth(96, 128)).quantize(16)
    image.save(path, transparency=0)
    return on_white(Image.open(path))


def write_sixteen_bits(path):
    """A PNG of 16 bits per channel, which Pillow can't write."""
    import struct
    import zlib

    numbers = smooth(96, 128).astype(np.uint16) * 257
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in numbers)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 96, 16, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return Image.fromarray((numbers >> 8).astype(np.uint8))


def write_cmyk(path):
    image = Image.fromarray(smooth(96, 128)).convert("CMYK")
    image.save(path, quality=95)
    return Image.open(path).convert("RGB")


def write_turned(path):
    image = Image.fromarray(smooth(96, 128))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn it by 90° clockwise
    image.save(path, quality=95, exif=exif)
    return Image.open(path).transpose(Image.ROTATE_270)


def write_animated(path):
    first, second = Image.new("RGB", (64, 48), (250, 10, 40)), Image.new("RGB", (64, 48), (0, 200, 0))
    first.save(path, save_all=True, append_images=[second], duration=40, loop=0)
    return first


def write_grey(path):
    image = Image.fromarray(smooth(96, 128)).convert("L")
    image.save(path)
    return image


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("transparent.png", write_transparent), ("palette.png", write_palette), ("sixteen.png", write_sixteen_bits),
        ("cmyk.jpg", write_cmyk), ("turned.jpg", write_turned), ("animated.gif", write_animated),
        ("grey.png", write_grey),
    ],
)  # fmt: skip
def test_files_of_many_kinds_are_seen_as_pillow_sees_them(pages, tmp_path, name, write):
    expected = write(tmp_path / name)
    assert np.abs(taken(pages[3], tmp_path / name) - boxed(expected)).max() <= 2


@pytest.mark.parametrize(("colour", "grey"), [((255, 0, 0), 76), ((0, 0, 255), 29), ((0, 255, 0), 150), ((9, 9, 9), 9)])
def test_a_grey_network_sees_how_bright_a_colour_is(pages, tmp_path, colour, grey):
    image = Image.new("RGB", (50, 40), colour)
    image.save(tmp_path / "pure.png")
    assert image.convert("L").getpixel((0, 0)) == grey
    assert (taken(pages[1], tmp_path / "pure.png", 1) == grey).all()
    page = pages[1]
    page.get_by_label("Colour", exact=True).fill("#{:02x}{:02x}{:02x}".format(*colour))
    page.locator("#page canvas.pen").focus()
    page.keyboard.press(" ")
    settle(page)
    assert page.evaluate("window.lens.own.data[0]") == grey, "drawn with the pen"


def test_a_network_of_four_channels_sees_an_opaque_image(pages, tmp_path):
    Image.new("RGB", (50, 40), (10, 20, 30)).save(tmp_path / "pure.png")
    assert (taken(pages[4], tmp_path / "pure.png", 4) == [10, 20, 30, 255]).all()


@pytest.mark.parametrize(
    ("text", "factor", "offset"), [("0 to 255", 1, 0), ("0 to 1", 1 / 255, 0), ("−1 to 1", 2 / 255, -1)]
)
def test_the_reader_says_which_range_of_pixel_values_a_network_takes(opened, text, factor, offset):
    """A network without a layer that scales gives no other sign of what it was trained on."""
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    pixels = keras.Input((8, 8, 3), name="images")
    model = keras.Model(pixels, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3)(pixels))))
    for weight in model.weights:
        weight.assign(weight.numpy().astype(np.float16))
    page = opened(model, images)
    choose(page, "Pixel values", label=text)
    numbers = page.evaluate("Array.from(window.lens.outputs().at(-1).data)")
    expected = np.asarray(model(images[:1].astype(np.float32) * np.float32(factor) + offset))[0]
    np.testing.assert_allclose(numbers, expected, atol=1e-5 * max(1, np.abs(expected).max()))


def test_a_network_that_scales_its_input_is_not_asked_for_a_range(pages):
    assert not pages[3].get_by_label("Pixel values").is_visible()
