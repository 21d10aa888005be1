"""Where the running stacks are described: each in its own folder, and the newest of them in ``.local/stack.json``.

That file shows a stack that runs, or does not exist: when its stack ends or is killed, it shows another one.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.programs import ROOT
from local.stack import LOCK, Stack

STACK_FILE = ROOT / ".local" / "stack.json"


@contextmanager
def described(stack: Stack, work_dir: Path, shown: Path = STACK_FILE) -> Iterator[None]:
    """Show this stack, which runs in ``work_dir`` beside ``shown``, for as long as the block lasts."""
    own = work_dir / STACK_FILE.name
    with _one_at_a_time(shown):
        stack.write(own)
        stack.write(shown)
    try:
        yield
    finally:
        with _one_at_a_time(shown):
            own.unlink(missing_ok=True)
            _choose(shown)


def show_a_running_stack(shown: Path = STACK_FILE) -> None:
    """Leave the file as it is if its stack runs; else let it show the newest one that does, or remove it."""
    with _one_at_a_time(shown):
        _choose(shown)


def _choose(shown: Path) -> None:
    files = sorted(shown.parent.glob(f"*/{STACK_FILE.name}"), key=lambda file: file.stat().st_mtime_ns)
    running = [file.read_text() for file in files if _is_locked(file.with_name(LOCK))]
    if not running:
        shown.unlink(missing_ok=True)
    elif not shown.exists() or shown.read_text() not in running:
        Stack(**json.loads(running[-1])).write(shown)


@contextmanager
def _one_at_a_time(shown: Path) -> Iterator[None]:
    shown.parent.mkdir(parents=True, exist_ok=True)
    with shown.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_locked(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
