"""One thread that calls functions at later moments."""

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count


class Timer:
    """Calls what it is given, one after another; the calls must be short. Stops on `close`; what is due later is lost.

    `on_error` gets the exception of a call that fails; the timer goes on.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._wake = threading.Condition()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="simulator-timer")
        self._thread.start()

    def call_at(self, moment: float, function: Callable[[], None]) -> None:
        """Call `function` once `time.monotonic()` reaches `moment`."""
        with self._wake:
            heapq.heappush(self._queue, (moment, next(self._numbers), function))
            self._wake.notify()

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` in so many seconds."""
        self.call_at(time.monotonic() + seconds, function)

    def clear(self) -> None:
        """Forget everything that is still to be called."""
        with self._wake:
            self._queue.clear()

    def close(self) -> None:
        """Stop and wait for the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while not self._closed:
                wait = self._queue[0][0] - time.monotonic() if self._queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._queue)[2]
                self._wake.wait(wait)
            return None

    def _run(self) -> None:
        while function := self._next():
            try:
                function()
            except Exception as error:  # noqa: BLE001 - handed on to the owner, who fails loudly at its end
                self._on_error(error)
