"""What the relay adds to the provider's own time, and what a healthy task writes: measured on the local stack.

Submits tasks one after the other and prints, as medians with their extremes: the time from the submit call to the
`VideoTaskCompleted` event beyond the simulator's generation time, the time of the submit call itself, the writes to
the table, and the size of the finished record. Times are of this machine and an emulated AWS: compare them with each
other, not with AWS.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.client import RelayClient
from local.stack import LocalStack

GENERATION_SECONDS = 1.0
PROMPT = (
    "@fox and @robot share a hotpot by the window of a small mountain station while snow falls outside; warm lamp "
    "light, steam rising, slow camera move from the street through the glass, a train passes in the background."
)


def main() -> int:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20, help="how many tasks are counted, after two that warm up")
    tasks = parser.parse_args().tasks
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder), generation_seconds=GENERATION_SECONDS, progress=_say) as stack,
    ):
        relay = RelayClient(stack)
        measured = [_measure(relay) for _ in range(tasks + 2)][2:]
        relay.close()
    _say(f"{tasks} tasks, one after the other, generation time {GENERATION_SECONDS:g} s; median (min to max)")
    _row("submit call", [m["submit_ms"] for m in measured], "ms")
    _row("submit → VideoTaskCompleted, beyond generation", [m["overhead_ms"] for m in measured], "ms")
    _row("table writes per task: its record", [m["record_writes"] for m in measured], "")
    _row("table writes per task: its remote id", [m["claim_writes"] for m in measured], "")
    _row("table writes per task: its tenant's day", [m["counter_writes"] for m in measured], "")
    _row("finished record", [m["record_bytes"] for m in measured], "bytes")
    return 0


def _measure(relay: RelayClient) -> dict[str, float]:
    request = {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "fox", "images": [relay.image("fox.png")]},
            {"id": "robot", "images": [relay.image("robot.jpg")]},
        ],
        "prompt": PROMPT,
        "duration": 1,
    }
    counted = _accepted_today(relay)
    began = time.perf_counter()
    task_id = relay.submit(request)["task_id"]
    submitted = time.perf_counter()
    while not any(event["detail-type"] == "VideoTaskCompleted" for event in relay.new_events(task_id)):
        time.sleep(0.01)
    ended = time.perf_counter()
    items = relay.aws("dynamodb").scan(TableName=relay.stack.table, ConsistentRead=True)["Items"]
    record = next(item for item in items if item["pk"]["S"] == f"task#{task_id}")
    claims = [item for item in items if item["pk"]["S"].startswith("remote#") and item["task_id"]["S"] == task_id]
    return {
        "submit_ms": (submitted - began) * 1000,
        "overhead_ms": (ended - began - GENERATION_SECONDS) * 1000,
        "record_writes": float(record["revision"]["N"]),
        "claim_writes": float(len(claims)),
        "counter_writes": float(_accepted_today(relay) - counted),
        "record_bytes": float(item_bytes(record)),
    }


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


def _row(what: str, values: Sequence[float], unit: str) -> None:
    middle, low, high = statistics.median(values), min(values), max(values)
    _say(f"  {what:<48} {middle:7.0f} ({low:.0f} to {high:.0f}) {unit}".rstrip())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
