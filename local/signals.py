"""Ctrl-C and SIGTERM end a program in an orderly way, wherever they meet it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_put_off: list[bool] = []
"""One for each `undisturbed` that the main thread is in: whether a signal has arrived meanwhile."""


class StopRequestedError(KeyboardInterrupt):
    """A signal asks the program to end. Not an `Exception`: no code on the way may take it for a fault of its own."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Within, the first signal raises `StopRequestedError`; later ones are ignored: nothing cuts the cleanup short.

    Only in the main thread.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if _put_off:
            _put_off[-1] = True
        else:
            raise StopRequestedError

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within, what `stop_on_signals` raises waits until the end, so that what was started can be ended.

    For moments only. Other threads are never disturbed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _put_off.append(False)
    try:
        yield
    finally:
        stop = _put_off.pop()
    if stop:
        raise StopRequestedError
