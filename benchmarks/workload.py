"""What the measurements submit to a local stack, and how they wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from local.client import RelayClient, TooSlowError
from vidu_relay.adapters.provider_pause import ProviderPauses

__all__ = [
    "GENERATION_SECONDS",
    "OVERDUE",
    "PROMPT",
    "check",
    "empty_queue",
    "finish",
    "finish_in_turn",
    "finish_without_callbacks",
    "held",
    "request",
    "wait_until",
]

PROMPT = (
    "@fox and @robot share a hotpot by the window of a small mountain station while snow falls outside; warm lamp "
    "light, steam rising, slow camera move from the street through the glass, a train passes in the background."
)
PROVIDER = "gateway"
GENERATION_SECONDS = 0.3
WAIT_SECONDS = 60.0
OVERDUE = "1"
"""The due date that the measurement itself sets, to make a task overdue."""


def request(relay: RelayClient, prompt: str = "", **more: Any) -> dict[str, Any]:
    """A usual request, with these words at the end of its prompt."""
    return {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [
            {"id": "fox", "images": [relay.image("fox.png")]},
            {"id": "robot", "images": [relay.image("robot.jpg")]},
        ],
        "prompt": f"{PROMPT} {prompt}".rstrip(),
        "duration": 1,
        **more,
    }


def finish(relay: RelayClient, prompts: Iterable[str], **more: Any) -> None:
    """Tasks that go well, one after the other, by callback."""
    for prompt in prompts:
        _complete(relay, relay.submit(request(relay, prompt, **more))["task_id"])


def finish_in_turn(relay: RelayClient, prompts: Iterable[str]) -> None:
    """Tasks that all wait in the queue until the last one is submitted, then go on as others make room."""
    with held(relay):
        task_ids = [relay.submit(request(relay, prompt))["task_id"] for prompt in prompts]
    relay.sweep()
    for task_id in task_ids:
        _complete(relay, task_id)


@contextmanager
def held(relay: RelayClient) -> Iterator[None]:
    """Every task waits in the provider's queue."""
    pauses = ProviderPauses(relay.aws("dynamodb"), relay.stack.table)
    pauses.hold(PROVIDER, None, now=_now())
    try:
        yield
    finally:
        pauses.release(PROVIDER, None, now=_now())


def empty_queue(relay: RelayClient) -> None:
    """Sweep until later tasks need not wait."""
    pauses = ProviderPauses(relay.aws("dynamodb"), relay.stack.table)

    def is_empty() -> bool:
        relay.sweep()
        pause = pauses.find(PROVIDER)
        return pause is None or pause.queued_at is None

    wait_until(is_empty, "the queue's flag is still up")


def _now() -> int:
    return int(time.time() * 1000)


def finish_without_callbacks(relay: RelayClient, tasks: int) -> None:
    """Tasks whose callbacks are lost, each found by its first check, which comes when it would: after the end."""
    relay.script("no callbacks", {"callbacks": {"drop": True}})
    for number in range(tasks):
        task_id = relay.submit(request(relay, f"no callbacks {number}"))["task_id"]
        time.sleep(2 * GENERATION_SECONDS)
        check(relay, task_id)
        _complete(relay, task_id)


def check(relay: RelayClient, *task_ids: str) -> None:
    """Make each task overdue, and sweep; until a check has recorded when the next one is due."""
    for task_id in task_ids:
        _check(relay, task_id)


def _check(relay: RelayClient, task_id: str) -> None:
    dynamodb, which = relay.aws("dynamodb"), _record(relay, task_id)
    dynamodb.update_item(
        **which, UpdateExpression="SET due_at = :now", ExpressionAttributeValues={":now": {"N": OVERDUE}}
    )
    relay.sweep()

    def has_checked() -> bool:
        item = dynamodb.get_item(**which, ConsistentRead=True)["Item"]
        return "due_since" not in item and item.get("due_at") != {"N": OVERDUE}

    wait_until(has_checked, f"task {task_id} is not checked")


def _complete(relay: RelayClient, task_id: str) -> None:
    """Until the record says so. Read by the operator, so that no client's request is counted."""
    dynamodb, which = relay.aws("dynamodb"), {**_record(relay, task_id), "ConsistentRead": True}
    wait_until(
        lambda: dynamodb.get_item(**which)["Item"]["status"]["S"] == "completed", f"task {task_id} is not completed"
    )


def _record(relay: RelayClient, task_id: str) -> dict[str, Any]:
    return {"TableName": relay.stack.table, "Key": {"pk": {"S": f"task#{task_id}"}}}


def wait_until(is_so: Callable[[], bool], otherwise: str) -> None:
    """Raises `TooSlowError` after `WAIT_SECONDS`."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TooSlowError(f"{otherwise} after {WAIT_SECONDS:g} s")
        time.sleep(0.05)
