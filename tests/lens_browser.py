"""The lens in a browser, for its tests."""

import pytest

LONGEST_WAIT = 60_000  # milliseconds; a machine that does much else is slow, and not wrong


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens a lens in a page of its own, from a file; an error in it, or a request for anything but
    the file, fails the test."""
    from shathenet_utils import lens
    from shathenet_utils.lens import payload

    pages, asked, errors = [], [], []

    def opened(*arguments, shown=None, width=1280, at="", before="", touch=False, **more):
        """The page on `shown`, a `lens.Lens`, or on that of `payload.payload`'s arguments. at: what follows the
        address; before: a script that runs first; touch: whether the screen takes touches."""
        shown = shown or lens.Lens(payload.payload(*arguments, **more), {})
        path = shown.to_html(tmp_path / f"lens{len(pages)}.html")
        page = browser.new_page(has_touch=touch, viewport={"width": width, "height": 900})
        pages.append(page)
        page.set_default_timeout(LONGEST_WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        if before:
            page.add_init_script(before)
        page.goto(path.as_uri() + at)
        settle(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not errors
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def settle(page) -> None:
    """Wait until all that was asked of the page's lenses is computed and drawn."""
    page.evaluate("Promise.all([window.lens].flat().map((one) => one.ready()))")


def in_sight(element) -> dict:
    """Where an element is, once it has been scrolled to."""
    element.scroll_into_view_if_needed()
    return element.bounding_box()
