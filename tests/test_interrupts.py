"""Ctrl-C waits for a safe place, once, and is never lost."""

import signal
import threading

import pytest

from shathenet_utils import interrupts


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def same_handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_waits_for_a_safe_place():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held() as take:
        take()
        done.append("nothing was pressed")
        press()
        done.append("went on")
        take()
        done.append("never")
    assert done == ["nothing was pressed", "went on"]


def test_ctrl_c_counts_at_the_end_of_the_block_and_only_once():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held():
        press()
        done.append("went on")
    assert done == ["went on"]
    with interrupts.held() as take:
        press()
        with pytest.raises(KeyboardInterrupt):
            take()
        take()


def test_a_second_ctrl_c_does_not_wait():
    with pytest.raises(KeyboardInterrupt), interrupts.held():
        press()
        press()
        pytest.fail("the second one was held too")


def test_an_error_of_the_block_is_not_hidden_by_ctrl_c():
    with pytest.raises(ValueError, match="the block's own"), interrupts.held():
        press()
        raise ValueError("the block's own")


def test_within_another_the_inner_place_takes_it():
    with interrupts.held():
        with pytest.raises(KeyboardInterrupt), interrupts.held() as take:
            press()
            take()
        with pytest.raises(KeyboardInterrupt), interrupts.held():
            press()


def test_a_script_in_the_background_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.held() as take:
            press()
            take()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_a_thread_nothing_changes():
    found = []

    def work():
        with interrupts.held() as take:
            take()
            found.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
