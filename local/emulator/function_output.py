"""What the process of a function writes, taken line by line while it runs."""

import os
import queue
import select
import threading
from contextlib import suppress
from typing import BinaryIO

__all__ = ["FunctionOutput"]

CHUNK_BYTES = 65_536


class FunctionOutput:
    """Moves what comes out of a pipe into a queue of lines.

    `pump` does so until the end. `take` does it at once, for what was written before: after it has returned, all of
    that is in the queue, however busy the machine is.
    """

    def __init__(self, stream: BinaryIO, lines: "queue.Queue[str]") -> None:
        self.stream = stream
        self._lines = lines
        self._begun = b""
        self._ended = False
        self._lock = threading.Lock()
        self._ready = _poll_of(stream)

    def pump(self) -> None:
        """Until the last writer has closed the pipe; then our end of it is closed, too."""
        more = _poll_of(self.stream)
        with self.stream:
            while not self._ended:
                more.poll()
                self.take()

    def take(self) -> None:
        """Everything that has been written by now."""
        with self._lock:
            while not self._ended and self._ready.poll(0):
                content = os.read(self.stream.fileno(), CHUNK_BYTES)
                *whole, self._begun = (self._begun + content).split(b"\n")
                if not content:
                    whole = [self._begun] if self._begun else []
                    self._ended = True
                for line in whole:
                    self._put(line.rstrip(b"\r").decode("utf-8", "replace"))

    def _put(self, line: str) -> None:
        """The oldest line makes room where no line is taken: a full pipe would hold up the function."""
        while True:
            with suppress(queue.Full):
                self._lines.put_nowait(line)
                return
            with suppress(queue.Empty):
                self._lines.get_nowait()


def _poll_of(stream: BinaryIO) -> select.poll:
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    return poll
