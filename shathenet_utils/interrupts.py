"""Ctrl-C that waits for a safe place: inside TensorFlow's own code an interrupt can end as an error of another kind."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Within this, Ctrl-C takes effect where the function that this yields is called, which then raises
    KeyboardInterrupt, or else at the end of the block. A second Ctrl-C doesn't wait.

    It may stand within another. Where Ctrl-C is no KeyboardInterrupt, in a thread or in a script in the background,
    nothing changes.
    """
    pressed = False

    def keep(number, frame):
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True

    def take():
        nonlocal pressed
        if pressed:
            pressed = False
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield take
        return
    signal.signal(signal.SIGINT, keep)
    try:
        yield take
    finally:
        signal.signal(signal.SIGINT, before)
    take()
