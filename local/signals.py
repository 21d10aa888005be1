"""Ctrl-C and SIGTERM end a program in an orderly way, wherever they meet it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(KeyboardInterrupt):
    """Somebody wants the program to end. Not an `Exception`: nothing on the way may take it for a fault of its own."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Within, the first signal raises `StopRequestedError`; later ones are ignored: nothing cuts the cleanup short.

    Only in the main thread.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise StopRequestedError

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
