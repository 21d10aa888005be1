"""What the relay adds to the provider's own time, and what a healthy task writes: measured on the local stack.

Submits tasks one after the other, and 16 at once, and gives, as medians with their extremes: the time from the submit
call to the `VideoTaskCompleted` event beyond the simulator's generation time, the time of the submit call itself, the
writes to the table, and the size of the finished record. Times are of this machine and an emulated AWS: compare them
with each other, not with AWS.
"""

from __future__ import annotations

import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, row, table
from benchmarks.workload import PROMPT, request
from local.client import RelayClient, TooSlowError
from local.stack import LocalStack

GENERATION_SECONDS = 1.0
TASKS, WARM_UP = 15, 2
IN_FLIGHT, WAVES = 16, 3
IMAGES, IMAGE_SIDE = 7, 1292
"""As many as a request may have; pixels a side, which give a PNG of 5 MB where nothing is compressed."""


def measure(tasks: int = TASKS, say: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Tasks one after the other, then waves of 16 at once, on a stack of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder), generation_seconds=GENERATION_SECONDS, progress=say) as stack,
    ):
        relay = RelayClient(stack)
        try:
            say("one task after the other")
            alone = [_measure(relay) for _ in range(tasks + WARM_UP)][WARM_UP:]
            say(f"submitting {IMAGES} images of 5 MB in S3")
            pairs = _image_pairs(relay, tasks)
            say(f"{IN_FLIGHT} tasks in flight")
            together = [_wave(relay) for _ in range(WAVES + 1)][1:]
        finally:
            relay.close()
    crowd = [overhead for wave in together for overhead in wave]
    return [
        row("submit call, 1 in flight", [m["submit_ms"] for m in alone], "ms"),
        row(f"submit call, {IMAGES} images of 5 MB in S3", [in_s3 for in_s3, _ in pairs], "ms"),
        row(
            f"submit call, {IMAGES} images of 5 MB in S3 ÷ {IMAGES} small ones at URLs",
            [in_s3 / at_urls for in_s3, at_urls in pairs],
            "×",
        ),
        row("submit → VideoTaskCompleted, 1 in flight", [m["overhead_ms"] for m in alone], "ms"),
        row(f"submit → VideoTaskCompleted, {IN_FLIGHT} in flight", crowd, "ms"),
        row("table writes per task: its record", [m["record_writes"] for m in alone], ""),
        row("table writes per task: its remote id", [m["owner_writes"] for m in alone], ""),
        row("table writes per task: its tenant's day", [m["counter_writes"] for m in alone], ""),
        row("finished record", [m["record_bytes"] for m in alone], "bytes"),
    ]


def report(rows: Sequence[Row]) -> list[str]:
    """The section of `RESULTS.md`."""
    return [
        f"Beyond the simulator's generation time of {GENERATION_SECONDS:g} s, until the event is read from a queue",
        f"behind the bus; AWS is emulated: compare these times with each other only. {IN_FLIGHT} in flight means",
        f"submitted at once, {WAVES} waves; each task's time begins with its own submit call, and stack, simulator and",
        "client share this machine's cores.",
        "",
        *table(rows),
    ]


def _wave(relay: RelayClient) -> list[float]:
    """Milliseconds that each of 16 tasks took beyond its generation."""

    def submit(_: int) -> tuple[str, float]:
        client = RelayClient(relay.stack)
        try:
            began = time.perf_counter()
            return client.submit(asked)["task_id"], began
        finally:
            client.close()

    asked = request(relay)
    found: dict[str, float] = {}
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        began = dict(pool.map(submit, range(IN_FLIGHT)))
        deadline = time.perf_counter() + WAVE_SECONDS
        while len(found) < len(began):
            if time.perf_counter() > deadline:
                raise TooSlowError(f"{len(began) - len(found)} of {IN_FLIGHT} tasks not completed")
            for task_id in began.keys() - found.keys():
                if any(event["detail-type"] == "VideoTaskCompleted" for event in relay.new_events(task_id)):
                    found[task_id] = (time.perf_counter() - began[task_id] - GENERATION_SECONDS) * 1000
            time.sleep(0.01)
    return list(found.values())


WAVE_SECONDS = 120


def _measure(relay: RelayClient) -> dict[str, float]:
    asked = request(relay)
    counted = _accepted_today(relay)
    began = time.perf_counter()
    task_id = relay.submit(asked)["task_id"]
    submitted = time.perf_counter()
    while not any(event["detail-type"] == "VideoTaskCompleted" for event in relay.new_events(task_id)):
        time.sleep(0.01)
    ended = time.perf_counter()
    items = relay.aws("dynamodb").scan(TableName=relay.stack.table, ConsistentRead=True)["Items"]
    record = next(item for item in items if item["pk"]["S"] == f"task#{task_id}")
    owners = [item for item in items if item["pk"]["S"].startswith("remote#") and item["task_id"]["S"] == task_id]
    return {
        "submit_ms": (submitted - began) * 1000,
        "overhead_ms": (ended - began - GENERATION_SECONDS) * 1000,
        "record_writes": float(record["revision"]["N"]),
        "owner_writes": float(len(owners)),
        "counter_writes": float(_accepted_today(relay) - counted),
        "record_bytes": float(item_bytes(record)),
    }


def _image_pairs(relay: RelayClient, times: int) -> list[tuple[float, float]]:
    """Milliseconds of a submit call with large images in S3, and of one with small images at URLs, in turns."""
    bucket, folder = relay.stack.inbox_bucket, f"uploads/{relay.stack.tenant_id}"
    in_s3 = []
    for number in range(IMAGES):
        key = f"{folder}/large-{number}.png"
        relay.aws("s3").put_object(Bucket=bucket, Key=key, Body=_png(IMAGE_SIDE), ContentType="image/png")
        in_s3.append(f"s3://{bucket}/{key}")
    at_urls = [relay.image("fox.png")] * IMAGES

    def submitting(images: Sequence[str]) -> float:
        asked = {"model": "viduq2_pro_fast_reference2video", "images": images, "prompt": PROMPT, "duration": 1}
        began = time.perf_counter()
        relay.submit(asked)
        return (time.perf_counter() - began) * 1000

    pairs = [(submitting(in_s3), submitting(at_urls)) for _ in range(times + WARM_UP)]
    return pairs[WARM_UP:]


def _png(side: int) -> bytes:
    """A black square, uncompressed."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(3 * side)) * side, level=0)
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def _accepted_today(relay: RelayClient) -> int:
    items = relay.aws("dynamodb").scan(TableName=relay.stack.table, ConsistentRead=True)["Items"]
    return sum(int(item["accepted"]["N"]) for item in items if item["pk"]["S"].startswith("cap#"))


def item_bytes(item: Mapping[str, Any]) -> int:
    """Bytes of an item as DynamoDB bills them."""
    return sum(len(name.encode()) + _size(value) for name, value in item.items())


def _size(value: dict[str, Any]) -> int:
    """Bytes of an attribute value as DynamoDB bills them (developer guide, "DynamoDB item sizes and formats")."""
    ((kind, content),) = value.items()
    if kind == "N":
        return len(content.lstrip("-").strip("0").replace(".", "")) // 2 + 2
    if kind in ("S", "B"):
        return len(content.encode() if isinstance(content, str) else content)
    if kind == "L":
        return 3 + sum(1 + _size(part) for part in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size(part) for name, part in content.items())
    return 1
