"""The cheapest real task, from the submission to the object in S3: what `--spend` pays for."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
import time
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from cli.answer import NoAnswerError
from cli.api import Api, ApiRefusedError
from cli.doctor.findings import TENANT, Context, Finding, State
from cli.doctor.outside import temporary_key, tenant
from cli.screen import Screen
from cli.submission import with_retries
from cli.tenants import directory_of
from cli.watching import LOCAL_PACE, PACE
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.image_format import MIN_IMAGE_PIXELS as PIXELS
from vidu_relay.domain.states import SETTLED, Status

FOLLOW_SECONDS = 900.0


def spend(context: Context, screen: Screen) -> Finding:
    """Submit one task under one idempotency key, follow it to its end, and compare the video in S3 with its record."""
    from vidu_relay.domain.catalogue import DEFAULT_MODEL

    tenant(context)
    directory, local = directory_of(context.connection), context.connection.endpoint_url is not None
    directory.set_daily_cap(TENANT, _taken_today(context) + 1)
    task_id = ""
    try:
        with temporary_key(context) as key:
            api = Api(context.output("ApiUrl"), key, ca_bundle=context.connection.ca_bundle, local=local)
            uri = with_retries(partial(api.upload, _picture(), "image/png"), "uploading", screen)
            request = {
                "model": DEFAULT_MODEL,
                "images": [uri],
                "prompt": "a grey square",
                "duration": 1,
                "resolution": "720p",
            }
            idempotency_key = secrets.token_hex(16)
            task_id = task_id_for_key(TENANT, idempotency_key)
            screen.remark(f"submitting task {task_id}, which costs money once")
            submit = partial(api.submit, json.dumps(request).encode(), idempotency_key)
            task = _follow(api, with_retries(submit, "submitting under the same key", screen), local)
    except NoAnswerError as error:
        show = context.again("task", "show", task_id) if task_id else "repeat it"
        return Finding(State.UNKNOWN, f"no answer ({error}); the task may be recorded, or not", show)
    except ApiRefusedError as error:
        return Finding(State.NOT, str(error), "sam logs --name SubmitTask")
    finally:
        directory.set_daily_cap(TENANT, 0)
    try:
        faults = [fault for video in task["videos"] if (fault := _fault_in_s3(context, video))]
    except ClientError as error:
        found = f"{assess_spent(task, []).found}; not compared with S3: {error}"
        return Finding(State.UNKNOWN, found, context.again("task", "show", task_id))
    return assess_spent(task, faults, context.again("task", "show", task_id))


def _taken_today(context: Context) -> int:
    """How many tasks of our tenant count towards its cap today: a cap of one more lets one through."""
    day = time.strftime("%Y-%m-%d", time.gmtime(context.connection.time_at_aws() / 1000))
    key = {"pk": {"S": f"cap#{TENANT}#{day}"}}
    item = context.client("dynamodb").get_item(TableName=context.resource("TaskTable"), Key=key).get("Item", {})
    return int(item.get("accepted", {"N": "0"})["N"])


def _follow(api: Api, task: dict[str, Any], local: bool) -> dict[str, Any]:
    """The task once it is settled, or as it stands when the time is over. A read without an answer is repeated."""
    end = time.monotonic() + FOLLOW_SECONDS
    while task["status"] not in SETTLED and time.monotonic() < end:
        time.sleep((LOCAL_PACE if local else PACE).shortest)
        try:
            task = api.task(task["task_id"])
        except NoAnswerError:
            continue
    return task


def _fault_in_s3(context: Context, video: Mapping[str, Any]) -> str | None:
    """What differs between an object and the record of it."""
    body = context.client("s3").get_object(Bucket=video["bucket"], Key=video["key"])["Body"]
    digest, size = hashlib.sha256(), 0
    for chunk in body.iter_chunks(1024 * 1024):
        digest.update(chunk)
        size += len(chunk)
    same = (size, digest.hexdigest()) == (video["size"], video["sha256"])
    return None if same else f"s3://{video['bucket']}/{video['key']} is not what was recorded"


def assess_spent(task: Mapping[str, Any], faults: list[str], show: str = "") -> Finding:
    """By the task at its end, and by what is wrong with its videos in S3."""
    usage = task["usage"] or {}
    cost = f"cost US$ {usage['cost']}" if usage.get("cost") else "the provider states no price"
    found = f"task {task['task_id']} is {task['status']}"
    if task["status"] == Status.COMPLETED and task["videos"] and not faults:
        video = task["videos"][0]
        return Finding(State.OK, f"{found}; {video['size']:,} bytes in s3://{video['bucket']}/{video['key']}; {cost}")
    if task["status"] not in SETTLED:
        return Finding(State.UNKNOWN, f"{found} and not settled yet", show)
    error = f": {task['error']['code']}" if task["error"] else ""
    return Finding(State.NOT, "; ".join((f"{found}{error}", *faults, cost)), show)


def _picture() -> bytes:
    """A grey square as PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", PIXELS, PIXELS, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * PIXELS) * PIXELS)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
