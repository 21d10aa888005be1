"""What can go wrong with the laptop stack.

LocalStackError           the message says what failed and where the log is
├── PortTakenError        another program listens there
└── CommandFailedError    a program of ours failed or did not get ready
"""

from pathlib import Path


class LocalStackError(Exception):
    """The stack cannot be started. The message is for the person at the terminal."""


class PortTakenError(LocalStackError):
    """The port asked for is in use."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken by another program. Choose another one, for example PORT={port + 1}.")


class CommandFailedError(LocalStackError):
    """A program ended with an error, or did not get ready in time."""

    def __init__(self, what: str, problem: str, log: Path) -> None:
        super().__init__(f"{what} {problem}. Its log: {log}")
