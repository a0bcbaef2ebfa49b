"""The images that a page's exercises train on."""

from shathenet_utils import datasets


def page_data() -> datasets.Dataset:
    """CIFAR-10, or where it is not downloaded its stand-in, as on the page itself."""
    try:
        return datasets.cifar10(download=False)
    except datasets.DatasetError:
        return datasets.toy_shapes()
