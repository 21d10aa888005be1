"""`relay submit`: ask for a video, and be able to ask again without paying twice."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cli.answer import RefusedError, checked
from cli.api import Api, NoAnswerError, spoken_again
from cli.screen import Screen
from cli.watching import INTERRUPTED, follow
from vidu_relay.domain.image_format import FORMATS, MAX_IMAGE_BYTES, content_type_of
from vidu_relay.domain.image_reference import S3_SCHEME

__all__ = ["PARAMETERS", "patiently", "submit"]

PARAMETERS = ("prompt", "duration", "resolution", "aspect_ratio", "seed", "audio", "off_peak", "callback_url")
"""The parameters of a request that are options of the same name; an option that was not given is not sent."""
IDEMPOTENCY_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
T = TypeVar("T")

ADDRESSES = ("https://", "http://", S3_SCHEME)


def submit(arguments: Namespace, api: Api) -> int:
    """Submit a request from a file, from standard input or from options; exit status 0 once it is recorded.

    No answer is asked for again under the same key, which makes that harmless. With `watch` the exit status is that of
    `relay watch`.
    """
    screen = Screen(as_json=arguments.json)
    key = _key(arguments.idempotency_key)
    whole = arguments.file is not None
    if whole and (given := list(_options(arguments))):
        raise RefusedError(f"the file is the whole request: put {given[0]} into it, or give options only")
    body = _read_file(arguments.file) if whole else None
    request = {} if whole else _request(arguments, api, screen)
    if arguments.idempotency_key is None:
        screen.remark(f"idempotency key: {key}")
    again = _again(arguments, request, key)
    try:
        sent = body if body is not None else json.dumps(request).encode()
        task = patiently(lambda: api.submit(sent, key), "submitting under the same key", screen)
    except NoAnswerError as error:
        raise RefusedError(
            f"no answer to the submission ({error}): it may be recorded, or not. Repeat it under the same key, which "
            f"can cause no second task:\n  {again}"
        ) from error
    except KeyboardInterrupt:
        screen.remark(f"\nInterrupted: the task may be recorded, or not. The same key gives the same task:\n  {again}")
        return INTERRUPTED
    task_id, status = str(task["task_id"]), str(task["status"])
    said = {"task_id": task_id, "status": status, "created_at": task["created_at"], "idempotency_key": key}
    hint = "" if arguments.watch else f" `relay watch {task_id}` shows how it goes on."
    screen.line(f"Task {task_id} is {status}.{hint}", said)
    if not arguments.watch:
        return 0
    return follow([task_id], api, screen, spoken_again(arguments, "watch", task_id), heard=True)


def _key(given: str | None) -> str:
    """The idempotency key. An empty one is no wish for a random one: the next run would have another, and pay again."""
    if given is None:
        return f"relay-{secrets.token_hex(16)}"
    return checked(
        given, IDEMPOTENCY_KEY, "an idempotency key has 1 to 255 printable ASCII characters, no space outside"
    )


def patiently(call: Callable[[], T], what: str, screen: Screen) -> T:
    """What the call gives; without an answer it is made again, up to `ATTEMPTS` times. Raises what it raises."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except NoAnswerError as error:
            pause = error.retry_after or FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
            screen.remark(f"{error}: {what} again in {pause:g} s")
            time.sleep(pause)
    return call()


def _read_file(name: str) -> bytes:
    """The request in a file, `-` for standard input. The API judges what it says; only JSON is let through."""
    try:
        body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot read {name}: {error.strerror}") from error
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{'standard input' if name == '-' else name} is not JSON: {error}") from error
    return body


def _request(arguments: Namespace, api: Api, screen: Screen) -> dict[str, Any]:
    """The request that the options make, after the files they name were uploaded."""
    from vidu_relay.domain.request_model import MODEL

    if arguments.prompt is None:
        raise RefusedError("give a FILE with the request (- for standard input), or --prompt with --image or --subject")
    if bool(arguments.image) == bool(arguments.subject):
        raise RefusedError("give either --image or --subject, at least once")
    subjects = _subjects(arguments.subject)
    names = [*arguments.image, *(name for images in subjects.values() for name in images)]
    # all are read before the first is sent
    files = {name: _read_image(name) for name in names if not name.startswith(ADDRESSES)}
    uris = {name: name for name in names}
    for name, (content, kind) in files.items():
        uris[name] = patiently(partial(api.upload, content, kind), f"uploading {name}", screen)
        screen.remark(f"uploaded {name} as {uris[name]}")
    request: dict[str, Any] = {"model": MODEL}
    if subjects:
        request["subjects"] = [{"id": id_, "images": [uris[n] for n in images]} for id_, images in subjects.items()]
    else:
        request["images"] = [uris[name] for name in arguments.image]
    given = {name: getattr(arguments, name) for name in PARAMETERS}
    return {**request, **{name: value for name, value in given.items() if value is not None}}


def _subjects(given: list[str]) -> dict[str, list[str]]:
    """Images by subject, from `ID=IMAGE[,IMAGE]`; a subject that is given again gets more of them."""
    subjects: dict[str, list[str]] = {}
    for text in given:
        id_, equals, images = text.partition("=")
        names = [name for name in images.split(",") if name]
        if not (id_ and equals and names):
            raise RefusedError(f"--subject {text!r}: must be ID=IMAGE, or ID=IMAGE,IMAGE")
        subjects.setdefault(id_, []).extend(names)
    return subjects


def _read_image(name: str) -> tuple[bytes, str]:
    """The content of an image file, and its type by its first bytes."""
    path = Path(name)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise RefusedError(
            f"cannot read the image {name!r}: {error.strerror} (an image is a file, https://… or s3://…)"
        ) from error
    if len(content) > MAX_IMAGE_BYTES:
        raise RefusedError(f"{name} is larger than {MAX_IMAGE_BYTES // 1024**2} MB: give a smaller image")
    kind = content_type_of(content[:12])
    if kind is None:
        raise RefusedError(f"{name} is no {FORMATS} by its content")
    return content, kind


def _options(arguments: Namespace) -> Iterator[str]:
    """The options of the request that were given."""
    for name in ("image", "subject", *PARAMETERS):
        if getattr(arguments, name) not in (None, []):
            yield f"--{name.replace('_', '-')}"


def _again(arguments: Namespace, request: dict[str, Any], key: str) -> str:
    """The command that submits the same request under the same key. Files are named as they were uploaded: uploaded
    again they would have other names, and be another request."""
    if arguments.file is not None:
        return spoken_again(arguments, "submit", arguments.file, "--idempotency-key", key)
    words = ["submit", "--idempotency-key", key]
    words += [f"--image={image}" for image in request.get("images", [])]
    words += [f"--subject={subject['id']}={','.join(subject['images'])}" for subject in request.get("subjects", [])]
    for name in PARAMETERS:
        value = request.get(name)
        if value is not None:
            words.append(f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}"))
    return spoken_again(arguments, *words)
