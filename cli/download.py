"""`relay get`: a completed task's videos as files, each whole and the one that was recorded."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from cli.answer import Answer, NoAnswerError, RefusedError
from cli.api import Api, LinkRefusedError
from cli.command import Command, Relay
from cli.screen import Bar
from vidu_relay.domain.states import Status

ATTEMPTS = 5
"""Requests in a row that bring no new byte, before the download fails."""
FIRST_PAUSE_SECONDS = 0.5
READ_BYTES = 1024 * 1024


@click.command(
    cls=Command, examples=["get mfzwizlnnvsg63dpo5xw2zltmu", "get mfzwizlnnvsg63dpo5xw2zltmu --output fox.mp4"]
)
@click.argument("task_id")
@click.option("-o", "--output", metavar="FILE|FOLDER", default=".", help="Where (default: here, named by the task).")
@click.option("--force", is_flag=True, help="Overwrite a file of another content.")
def get(relay: Relay, task_id: str, output: str, force: bool) -> Answer:
    """Save a completed task's videos, checked by size and SHA-256. A file appears only when it is whole."""
    saved = _save_videos(relay, task_id, output, force=force)
    lines = [
        f"{'Exists already' if one['already_there'] else 'Saved'}: {one['path']}  "
        f"({one['size']:,} bytes, SHA-256 as recorded)"
        for one in saved
    ]
    return Answer("\n".join(lines), {"task_id": task_id, "videos": saved})


def _save_videos(relay: Relay, task_id: str, output: str, *, force: bool) -> list[dict[str, Any]]:
    """Save each video of a completed task; path, size, SHA-256 of each, and whether it existed already.

    A file appears whole, under its name at the end, with size and SHA-256 as the task has them; or not at all. A file
    of another content that has the name is kept, unless `force`. Raises `RefusedError`.
    """
    api = relay.api
    task = api.task(task_id)
    if task["status"] != Status.COMPLETED:
        raise RefusedError(
            f"task {task_id} is {task['status']}: it has no videos. See `{relay.again('watch', task_id)}`"
        )
    videos: Sequence[Mapping[str, Any]] = task["videos"]
    saved: list[dict[str, Any]] = []
    try:
        with relay.screen.bars() as bars:
            for number, (video, path) in enumerate(zip(videos, _paths(output, task_id, len(videos)), strict=True)):
                exists = path.exists() and _is_same(path, video)
                if not exists:
                    if path.is_dir() or (path.exists() and not force):
                        raise RefusedError(f"{path} exists and is another file: choose another name, or say --force")
                    _save(api, task_id, number, video, path, bars.add(path.name, video["size"]), force=force)
                facts = {"size": video["size"], "sha256": video["sha256"]}
                saved.append({"path": str(path), **facts, "already_there": exists})
    except OSError as error:
        raise RefusedError(f"cannot write {error.filename or output}: {error.strerror}") from error
    return saved


def _paths(output: str, task_id: str, number: int) -> list[Path]:
    """Where each video goes: into a folder under the task's name, or to the one file."""
    target = Path(output)
    if not (target.is_dir() or output.endswith(os.sep)):
        if number != 1:
            raise RefusedError(f"the task has {number} videos: name a folder with --output, not a file")
        return [target]
    target.mkdir(parents=True, exist_ok=True)
    if number == 1:
        return [target / f"{task_id}.mp4"]
    return [target / f"{task_id}-{index}.mp4" for index in range(1, number + 1)]


def _is_same(path: Path, video: Mapping[str, Any]) -> bool:
    if not path.is_file() or path.stat().st_size != video["size"]:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == str(video["sha256"])


def _save(api: Api, task_id: str, number: int, video: Mapping[str, Any], path: Path, bar: Bar, *, force: bool) -> None:
    part = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            _Transfer(api, task_id, number, video, file, bar).run()
            file.flush()
            os.fsync(file.fileno())
        if force:
            part.replace(path)
        else:
            _rename_new(part, path)
    finally:
        part.unlink(missing_ok=True)


def _rename_new(part: Path, path: Path) -> None:
    """Rename, unless the name was taken meanwhile. A link can be refused, a rename cannot."""
    try:
        os.link(part, path)
    except FileExistsError as error:
        raise RefusedError(f"{path} was created meanwhile: it was kept") from error
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        # a file system without hard links: another program may still create the file between check and rename
        if path.exists():
            raise RefusedError(f"{path} was created meanwhile: it was kept") from error
        part.rename(path)


class _Transfer:
    """One video into one open file. An interrupted download resumes with a fresh link."""

    def __init__(self, api: Api, task_id: str, number: int, video: Mapping[str, Any], file: BinaryIO, bar: Bar) -> None:
        self._api, self._task_id, self._number = api, task_id, number
        self._size, self._sha256 = int(video["size"]), str(video["sha256"])
        self._file, self._bar = file, bar
        self._received, self._digest = 0, hashlib.sha256()

    def run(self) -> None:
        """Fetch and check. Raises `RefusedError` if that fails, or the video is not what was recorded."""
        fruitless = 0
        while self._received < self._size:
            before = self._received
            try:
                self._fetch()
                reason = NoAnswerError("the connection broke")
            except (NoAnswerError, LinkRefusedError) as error:
                reason = error if isinstance(error, NoAnswerError) else NoAnswerError(str(error))
            fruitless = 0 if self._received > before else fruitless + 1
            if self._received < self._size:
                if fruitless >= ATTEMPTS:
                    raise RefusedError(f"the video of {self._task_id} cannot be fetched: {reason}")
                time.sleep(reason.retry_after or FIRST_PAUSE_SECONDS * 2**fruitless)
        if self._digest.hexdigest() != self._sha256:
            raise self._wrong("its SHA-256 differs")

    def _fetch(self) -> None:
        """Fetch what is missing, as far as it comes."""
        with self._api.open(self._link(), self._received) as (goes_on, chunks):
            if self._received and not goes_on:
                self._file.seek(0)
                self._file.truncate()
                self._received, self._digest = 0, hashlib.sha256()
            for chunk in chunks:
                self._received += len(chunk)
                if self._received > self._size:
                    raise self._wrong(f"it is longer than {self._size:,} bytes")
                self._file.write(chunk)
                self._digest.update(chunk)
                self._bar.show(self._received, f"{self._received / 1e6:.1f} of {self._size / 1e6:.1f} MB")

    def _link(self) -> str:
        """A link of now: the one before may have expired."""
        task = self._api.task(self._task_id)
        links = [result["url"] for output in task["output"] for result in output["results"] if "url" in result]
        if self._number >= len(links):
            raise RefusedError(f"task {self._task_id} names no link to its video {self._number + 1}")
        return str(links[self._number])

    def _wrong(self, why: str) -> RefusedError:
        return RefusedError(
            f"what came for {self._task_id} is not the video that was recorded ({why}): nothing was saved"
        )
