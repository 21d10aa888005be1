"""`relay submit`: request a video; a repeated request under the same key is not paid twice."""

from __future__ import annotations

import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.answer import NoAnswerError, RefusedError, checked
from cli.command import INTERRUPTED, Relay
from cli.model_options import LISTS, ModelCommand, parameters_of
from cli.screen import Screen
from cli.watching import follow
from vidu_relay.domain.catalogue import DEFAULT_MODEL, models
from vidu_relay.domain.client_fields import MOST_URGENT
from vidu_relay.domain.image_format import FORMATS, MAX_IMAGE_BYTES, content_type_of
from vidu_relay.domain.image_reference import S3_SCHEME

IDEMPOTENCY_KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
T = TypeVar("T")

ADDRESSES = ("https://", "http://", S3_SCHEME)


@click.command(
    cls=ModelCommand,
    examples=[
        "submit request.json --idempotency-key order-4711",
        "submit --prompt 'a fox in the snow' --image fox.png --duration 5 --watch",
        "submit --prompt '@fox meets @robot' --subject fox=fox.png,https://example.com/fox.webp --subject robot=r.png",
        "submit --model viduq2_text2video --prompt 'a fox in the snow'      (--help: what that model takes)",
        "submit -                                  (from standard input)",
    ],
)
@click.argument("file", required=False)
@click.option("--model", metavar="ID", help=f"`relay models` lists them (default: {DEFAULT_MODEL}).")
@click.option("--external-id", metavar="ID", help="Your own id of the task, unique among your tasks.")
@click.option(
    "--priority", type=click.IntRange(-MOST_URGENT, MOST_URGENT), help="Higher ones wait less than your others."
)
@click.option("--label", multiple=True, metavar="KEY=TEXT", help="A text of your own; 16 at most.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="The same key and request are the same task (default: a random one, shown on standard error).",
)
@click.option("--watch", "watches", is_flag=True, help="Continue like `watch`, with its exit status.")
@click.option("--dry-run", is_flag=True, help="Check the request and show what would be sent and its price; no task.")
def submit(
    relay: Relay,
    file: str | None,
    model: str | None,
    idempotency_key: str | None,
    watches: bool,
    dry_run: bool,
    **options: Any,
) -> int:
    """Submit a task, from a FILE with the body of POST /v1/tasks (-: standard input) or from options.

    The first options are the model's. If no answer comes, the tool repeats the request under the same idempotency key.
    """
    key = _key(idempotency_key)
    if file is not None and (given := next(_given({"model": model, **options}), None)):
        raise RefusedError(f"the file is the whole request: put {given} into it, or give options only")
    body = _read_file(file) if file is not None else None
    request = {} if file is not None else _request(relay, model or DEFAULT_MODEL, options)
    if idempotency_key is None and not dry_run:
        relay.screen.remark(f"idempotency key: {key}")
    again = relay.again(*_words(file, request, key))
    sent = body if body is not None else json.dumps(request).encode()
    if dry_run:
        return _show_estimate(relay, sent, again)
    try:
        task = with_retries(lambda: relay.api.submit(sent, key), "submitting under the same key", relay.screen)
    except NoAnswerError as error:
        raise RefusedError(
            f"no answer to the submission ({error}): it may be recorded, or not. Repeat it under the same key, which "
            f"can cause no second task:\n  {again}"
        ) from error
    except KeyboardInterrupt:
        relay.screen.remark(f"\nInterrupted: the task may be recorded. The same key gives the same task:\n  {again}")
        return INTERRUPTED
    task_id, status = str(task["task_id"]), str(task["status"])
    data = {"task_id": task_id, "status": status, "created_at": task["created_at"], "idempotency_key": key}
    relay.screen.line(f"Task {task_id} is {status}.", data)
    if watches:
        return follow(relay, [task_id], answered=True)
    relay.screen.remark(f"To watch it:\n  {relay.again('watch', task_id)}")
    return 0


def _show_estimate(relay: Relay, request: bytes, again: str) -> int:
    """Print what a request would send and cost, and the command that submits it."""
    found = with_retries(lambda: relay.api.estimate(request), "asking for the estimate", relay.screen)
    basis = {"list": "by the price list", "learned": "by what such tasks were billed lately"}.get(found["basis"])
    price = f"{found['usd']} USD, {basis}" if basis else "an unknown price"
    call = f"{found['request']['path']} {json.dumps(found['request']['body'], indent=1, ensure_ascii=False)}"
    counted = f"A budget counts {found['reserved_usd']} USD until the bill is known."
    relay.screen.line(f"{found['provider']} would be sent {call}\nfor {price}. {counted}", found)
    relay.screen.remark(f"Nothing was submitted. To submit it:\n  {again}")
    return 0


def _key(given: str | None) -> str:
    """The idempotency key. An empty one is refused: a random one in its place would pay again in the next run."""
    if given is None:
        return f"relay-{secrets.token_hex(16)}"
    return checked(
        given, IDEMPOTENCY_KEY, "an idempotency key has 1 to 255 printable ASCII characters, no space outside"
    )


def with_retries(call: Callable[[], T], what: str, screen: Screen) -> T:
    """The result of the call, which is made up to `ATTEMPTS` times until there is an answer. Raises what it raises."""
    for attempt in range(1, ATTEMPTS):
        try:
            return call()
        except NoAnswerError as error:
            pause = error.retry_after or FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)
            screen.remark(f"{error}: {what} again in {pause:g} s")
            time.sleep(pause)
    return call()


def _read_file(name: str) -> bytes:
    """The request in a file, `-` for standard input. It must be JSON; the API checks the rest."""
    try:
        body = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot read {name}: {error.strerror}") from error
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{'standard input' if name == '-' else name} is not JSON: {error}") from error
    return body


def _request(relay: Relay, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The request that the options make, after the upload of the files they name. What was not given is not sent."""
    _check_needed(model, options)
    subjects = _subjects(options.get("subject", ()))
    names = [*options.get("image", ()), *(name for images in subjects.values() for name in images)]
    # all are read before the first is sent
    files = {name: _read_image(name) for name in names if not name.startswith(ADDRESSES)}
    uris = {name: name for name in names}
    for name, (content, kind) in files.items():
        uris[name] = with_retries(partial(relay.api.upload, content, kind), f"uploading {name}", relay.screen)
        relay.screen.remark(f"uploaded {name} as {uris[name]}")
    request: dict[str, Any] = {"model": model}
    if subjects:
        request["subjects"] = [{"id": id_, "images": [uris[n] for n in images]} for id_, images in subjects.items()]
    elif names:
        request["images"] = [uris[name] for name in options["image"]]
    if options["label"]:
        request["labels"] = _labels(options["label"])
    listed = ("image", "subject", "label")
    others = {name: value for name, value in options.items() if name not in listed and value is not None}
    return {**request, **others}


def _check_needed(model: str, options: Mapping[str, Any]) -> None:
    """Raises `RefusedError` where an option is missing without which no provider takes a request for the model."""
    taken = parameters_of(models()[model])
    lists = [f"--{name}" for name in ("image", "subject") if f"{name}s" in taken]
    given = [name for name in lists if options[name[2:]]]
    prompt = ["--prompt"] if all(spec.required for spec in taken["prompt"].values()) else []
    if not list(_given(options)):
        needed = " with ".join([*prompt, *([" or ".join(lists)] if lists else [])])
        raise RefusedError(f"give a FILE with the request (- for standard input), or {needed}")
    if prompt and options["prompt"] is None:
        raise RefusedError(f"give --prompt: {model} needs one")
    if lists and len(given) != 1:
        raise RefusedError(f"give {'either ' if len(lists) > 1 else ''}{' or '.join(lists)}, at least once")


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    """Labels from `KEY=TEXT`; the API checks the rest."""
    labels: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals) or key in labels:
            raise RefusedError(f"--label {text!r}: must be KEY=TEXT, each key once")
        labels[key] = value
    return labels


def _subjects(given: tuple[str, ...]) -> dict[str, list[str]]:
    """Images by subject, from `ID=IMAGE[,IMAGE]`; a subject that is given twice gets all of them."""
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


def _given(options: Mapping[str, Any]) -> Iterator[str]:
    """The options of the request that were given."""
    yield from (_option(name, value) for name, value in options.items() if value not in (None, ()))


def _option(name: str, value: object) -> str:
    return f"--{'no-' if value is False else ''}{name.replace('_', '-')}"


def _words(file: str | None, request: dict[str, Any], key: str) -> list[str]:
    """The words that submit the same request under the same key. Images keep the names of their uploads: another upload
    would make another request."""
    if file is not None:
        return ["submit", file, "--idempotency-key", key]
    words = ["submit", "--idempotency-key", key]
    words += [f"--image={image}" for image in request.get("images", [])]
    words += [f"--subject={subject['id']}={','.join(subject['images'])}" for subject in request.get("subjects", [])]
    words += [f"--label={name}={text}" for name, text in request.get("labels", {}).items()]
    for name, value in request.items():
        if name not in (*LISTS, "labels"):
            words.append(_option(name, value) + ("" if isinstance(value, bool) else f"={value}"))
    return words
