"""`relay batch`: many requests in one file, by the HTTP API."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import requests

from cli.answer import Answer, NoAnswerError, RefusedError, printable, table
from cli.api import Api, ApiRefusedError
from cli.command import INTERRUPTED, Group, Relay
from cli.submission import with_retries
from cli.watching import EXIT_STATUS, LOCAL_PACE, PACE, TRIES_AT_FIRST
from vidu_relay.domain.batch import BatchState
from vidu_relay.domain.states import Status
from vidu_relay.usecases.create_upload import UPLOAD_SECONDS

UNREAD_SECONDS = 60
"""`watch` waits so long for a batch that the relay does not know: its file may be read soon."""
SHOWN = 50
"""Failures and rejections that `show` prints; the summary has all."""
WATCHES = click.option("--watch", "watches", is_flag=True, help="Continue like `batch watch`, with its exit status.")


@click.group("batch", cls=Group)
def batch() -> None:
    """Submit many requests as one file (JSON Lines), and see what became of them."""


@batch.command(examples=["batch submit night.jsonl --watch"])
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@WATCHES
def submit(relay: Relay, file: Path, watches: bool) -> int:
    """Submit a FILE with a request a line: the body of POST /v1/tasks. The same file is the same batch, paid once."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RefusedError(f"cannot read {file}: {error.strerror}") from error
    return _submit(relay, content, watches=watches)


@batch.command(examples=["batch show bmfzwizlnnvsg63dpo5xw2zltmu"])
@click.argument("batch_id")
def show(relay: Relay, batch_id: str) -> Answer:
    """Show how far a batch is; once it is completed, what failed."""
    found = relay.api.batch(batch_id)
    lines = [_line(found), *_costs(found)]
    data = {name: value for name, value in found.items() if not name.endswith("_url")}
    if "summary_url" in found:
        summary = json.loads(_download(relay.api, found["summary_url"]))
        data |= {name: summary[name] for name in ("rejections", "failures")}
        lines += _failures(summary)
    if "retry_url" in found:
        lines.append(f"To submit again what failed:\n  {relay.again('batch', 'retry', batch_id)}")
    return Answer(printable("\n".join(lines)), data)


@batch.command(examples=["batch watch bmfzwizlnnvsg63dpo5xw2zltmu"])
@click.argument("batch_id")
def watch(relay: Relay, batch_id: str) -> int:
    """Print how a batch goes on until it is completed; Ctrl-C ends the watching, not the batch.

    Exit status 0 all completed, 3 some failed or were rejected, 4 expired, 5 canceled (the highest).
    """
    return _follow(relay, batch_id)


@batch.command(examples=["batch retry bmfzwizlnnvsg63dpo5xw2zltmu --watch"])
@click.argument("batch_id")
@WATCHES
def retry(relay: Relay, batch_id: str, watches: bool) -> int:
    """Submit again what failed or expired in a completed batch, as another batch. It is paid again."""
    found = relay.api.batch(batch_id)
    if "retry_url" not in found:
        why = "nothing in it can be submitted again" if found["state"] == BatchState.COMPLETED else "wait for its end"
        raise RefusedError(f"batch {batch_id} is {found['state']}: {why}")
    return _submit(relay, _download(relay.api, found["retry_url"]), watches=watches)


def _submit(relay: Relay, content: bytes, *, watches: bool) -> int:
    sha256 = hashlib.sha256(content).hexdigest()
    form = with_retries(partial(relay.api.batch_form, sha256, len(content)), "asking for the form", relay.screen)
    with_retries(partial(relay.api.send_form, form, content), "uploading", relay.screen)
    batch_id = str(form["batch_id"])
    relay.screen.line(f"Batch {batch_id} is uploaded.", {"batch_id": batch_id, "state": "uploaded"})
    if watches:
        return _follow(relay, batch_id, datetime.fromisoformat(form["expires_at"]) - timedelta(seconds=UPLOAD_SECONDS))
    relay.screen.remark(f"To watch it:\n  {relay.again('batch', 'watch', batch_id)}")
    return 0


def _follow(relay: Relay, batch_id: str, uploaded: datetime | None = None) -> int:
    """Print each change until the batch is completed. `uploaded`: an answer from before then is not to this upload.

    Raises `RefusedError` if the file was refused.
    """
    pace = LOCAL_PACE if relay.api.local else PACE
    shown, began, failures = "", time.monotonic(), 0
    changed = began
    try:
        while True:
            try:
                wait = uploaded is not None or time.monotonic() < began + UNREAD_SECONDS
                found = _read(relay.api, batch_id, uploaded, wait=wait and not shown)
            except NoAnswerError as error:
                failures += 1
                if failures == TRIES_AT_FIRST and not (shown or uploaded):
                    raise
                if failures == 1:
                    relay.screen.remark(f"{relay.api.url} gives no answer ({error}); trying again")
                time.sleep(max(error.retry_after or 0, pace.after_failures(failures)))
                continue
            failures = 0
            if found and found["state"] == "rejected":
                raise RefusedError(f"the file was refused: {found['error']['code']}: {found['error']['detail']}")
            if found and (line := _line(found)) != shown:
                relay.screen.line(line, {name: found[name] for name in found if not name.endswith("_url")})
                shown, changed = line, time.monotonic()
            if found and found["state"] == BatchState.COMPLETED:
                return _end(relay, found)
            time.sleep(pace.until_next(time.monotonic() - changed))
    except KeyboardInterrupt:
        again = relay.again("batch", "watch", batch_id)
        relay.screen.remark(f"\nNot watching any more; the batch goes on. Watch again:\n  {again}")
        return INTERRUPTED


def _read(api: Api, batch_id: str, uploaded: datetime | None, *, wait: bool) -> dict[str, Any] | None:
    """The batch; None while its file is not read, if that may be waited for."""
    try:
        found = api.batch(batch_id)
    except ApiRefusedError as error:
        if error.status == requests.codes.not_found and wait:
            return None
        raise
    old = uploaded and found["state"] == "rejected" and datetime.fromisoformat(found["rejected_at"]) < uploaded
    return None if old else found


def _end(relay: Relay, found: Mapping[str, Any]) -> int:
    for line in _costs(found):
        relay.screen.remark(line)
    if found["rejected"] or len(found["ended"]) > 1 or Status.COMPLETED not in found["ended"]:
        relay.screen.remark(f"To see what failed:\n  {relay.again('batch', 'show', found['batch_id'])}")
    ends = [EXIT_STATUS[Status(status)] for status in found["ended"]]
    return max([*ends, EXIT_STATUS[Status.FAILED] if found["rejected"] else 0])


def _line(found: Mapping[str, Any]) -> str:
    if found["state"] == "rejected":
        return f"Batch {found['batch_id']} was refused: {found['error']['code']}: {found['error']['detail']}"
    parts = [f"{found['lines']} lines"]
    if found["tasks"] is not None:
        parts += [f"{found['tasks']} tasks", f"{found['rejected']} rejected"]
    parts += [f"{number} {status}" for status, number in sorted(found["ended"].items())]
    return f"Batch {found['batch_id']} is {found['state']}: {', '.join(parts)}."


def _costs(found: Mapping[str, Any]) -> Iterator[str]:
    if "cost_usd" in found:
        yield (
            f"{found['expected_cost_usd']} USD expected, {found['cost_usd']} USD billed, "
            f"{found['uncertain_usd']} USD uncertain."
        )


def _failures(summary: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        *((one["line"], "", "rejected", one["error"]["code"]) for one in summary["rejections"]),
        *(
            (one["line"], one["task_id"], one["status"], (one["error"] or {}).get("code", ""))
            for one in summary["failures"]
        ),
    ]
    if rows:
        texts = [tuple(map(str, row)) for row in sorted(rows)[:SHOWN]]
        yield table([("LINE", "TASK", "STATUS", "ERROR"), *texts])
    if len(rows) > SHOWN:
        yield f"{len(rows) - SHOWN} more: --json shows all."


def _download(api: Api, link: str) -> bytes:
    with api.open(link, 0) as (_, chunks):
        return b"".join(chunks)
