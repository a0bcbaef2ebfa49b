"""The lens in a browser, for its tests."""


def settle(page) -> None:
    """Wait until all that was asked of the page's lenses is computed and drawn."""
    page.evaluate("Promise.all([window.lens].flat().map((one) => one.ready()))")


def in_sight(element) -> dict:
    """Where an element is, once it has been scrolled to."""
    element.scroll_into_view_if_needed()
    return element.bounding_box()
