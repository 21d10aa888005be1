"""Two hundred callbacks at once on the deployed stack: duplicates, every state, forged ones between."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from local.client import RelayClient
from tests.e2e.waiting import wait_until

RINGS = 200
STATES = ("created", "queueing", "processing", "success", "completed", "failed", "canceled", None)
HONEST = [
    "VideoTaskAccepted",
    "VideoTaskSubmitted",
    "VideoTaskProcessing",
    "VideoTaskGenerated",
    "VideoTaskCompleted",
]


def test_burst_of_callbacks_leaves_what_the_honest_sequence_leaves(
    relay: RelayClient, request_body: dict[str, Any]
) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    path, _, token = seen["request"]["params"]["callback_url"].removeprefix(relay.stack.api_url).partition("?token=")
    kid, _, mac = token.partition(".")
    chance = random.Random(0)  # noqa: S311 - makes a story, guards nothing

    def ring(number: int) -> tuple[bool, int]:
        forged = number % 4 == 0
        lie = {"id": chance.choice([seen["id"], "another", 7]), "status": chance.choice(STATES), "error": "no"}
        given = f"{kid}.{mac.swapcase()}" if forged else token
        return forged, relay.call("POST", path, params={"token": given}, json=lie).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ring, range(RINGS)))
    assert {status for forged, status in answers if forged} <= {403, 429}
    assert {status for forged, status in answers if not forged} <= {200, 429}
    assert sum(status == 200 for _, status in answers) > 0

    task = relay.wait(task_id, "completed", meanwhile=relay.sweep)
    events: list[dict[str, Any]] = []

    def complete() -> bool:
        events.extend(relay.new_events(task_id))
        return any(event["detail-type"] == HONEST[-1] for event in events)

    wait_until(complete, "the last event")
    kinds = [event["detail-type"] for event in events]
    assert kinds == [kind for kind in HONEST if kind in kinds], "each at most once, in the honest order"
    first = int(datetime.fromisoformat(task["created_at"]).timestamp())
    assert [event["detail"]["task"]["version"] for event in events] == [*range(first, first + len(events))]
    assert events[-1]["detail"]["task"]["version"] == task["version"]
    assert relay.create_calls(task_id) == 1
    (after,) = relay.seen_by_provider(request_body["prompt"])
    assert [video["sha256"] for video in task["videos"]] == [video["sha256"] for video in after["videos"]]
