"""One file shows a stack that runs, whatever others start, stop or are killed beside it."""

import dataclasses
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.stack import Stack
from local.stack_file import described, show_a_running_stack


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return tmp_path / "stack.json"


def stack_named(name: str) -> Stack:
    empty: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Stack)), "")
    return Stack(**{**empty, "stack_name": name, "functions": {}})


@contextmanager
def running(shown: Path, name: str) -> Iterator[None]:
    """A stack that holds its folder's lock and is described, as `make local` does it."""
    folder = shown.parent / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with described(stack_named(name), folder, shown):
            yield


def name_in(shown: Path) -> str:
    return Stack(**json.loads(shown.read_text())).stack_name


def test_file_is_there_as_long_as_its_stack_runs(shown: Path) -> None:
    with running(shown, "1"):
        assert name_in(shown) == "1"
    assert not shown.exists()
    assert not list(shown.parent.glob("*/stack.json"))


def test_stack_that_ends_leaves_the_file_to_one_that_still_runs(shown: Path) -> None:
    with running(shown, "1"):
        with running(shown, "2"):
            with running(shown, "3"):
                assert name_in(shown) == "3"
            assert name_in(shown) == "2"
        assert name_in(shown) == "1"


def test_older_stack_that_ends_leaves_the_file_of_the_newer_one_alone(shown: Path) -> None:
    with ExitStack() as newer:
        with running(shown, "1"):
            newer.enter_context(running(shown, "2"))
        assert name_in(shown) == "2"


def test_file_of_a_killed_stack_is_gone_before_the_next_one_is_ready(shown: Path) -> None:
    folder = shown.parent / "1"
    folder.mkdir()
    (folder / "lock").touch()  # not locked
    stack_named("1").write(folder / "stack.json")
    stack_named("1").write(shown)
    show_a_running_stack(shown)
    assert not shown.exists()


def test_stack_that_starts_leaves_the_file_of_a_running_one_alone(shown: Path) -> None:
    with running(shown, "1"), running(shown, "2"):
        stack_named("1").write(shown)
        show_a_running_stack(shown)
        assert name_in(shown) == "1"


def test_the_file_with_the_api_key_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        stack_named("1").write(tmp_path / "stack.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
