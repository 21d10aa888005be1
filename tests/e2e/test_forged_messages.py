"""Messages that the relay did not send: on the bus, from the archive, put straight into its queues.

Workers take an id from a message and nothing else, so the worst that a message can do is cause a read of the task.
"""

import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.client import RelayClient
from tests.e2e.attempts import as_function, calm_task, effects, log_lines, settled_task
from tests.e2e.queues import messages_until, retried, take_all, wait_until_empty
from tests.e2e.waiting import wait_until
from tests.e2e.watched import FORGER
from tests.unit.template import FUNCTIONS
from vidu_relay.domain.identifiers import task_id_from_random

MISSING = "a" * 26
PUBLISHERS = {"publish_events", "accept_request", "notify_client", "reconcile_spending"}

Body = dict[str, Any]


def forged(task_id: Any, status: str = "generated", **more: Any) -> str:
    """The detail of a `VideoTaskGenerated` as the relay would publish it, with a video of the forger's choice."""
    task = {
        "task_id": task_id,
        "status": status,
        "version": 99,
        "output": [{"results": [{"type": "video", "url": "https://forger.example/video.mp4"}]}],
        "videos": [{"bucket": "forger", "key": "videos/forged.mp4"}],
        **more,
    }
    return json.dumps({"event_id": f"{task_id}:99", "tenant_id": FORGER, "task": task})


def entry(relay: RelayClient, source: str, detail: str, kind: str = "VideoTaskGenerated") -> Body:
    return {"EventBusName": relay.stack.bus, "Source": source, "DetailType": kind, "Detail": detail}


def unknown_task() -> str:
    """The id of a task that does not exist: `deliver_videos` logs each message that names it."""
    return task_id_from_random(secrets.token_bytes(16))


def deliveries_of(relay: RelayClient, task_id: str) -> int:
    """How often `deliver_videos` got an `unknown_task`, by its log, once its queue is empty."""
    wait_until_empty(relay, relay.resources()["DeliveriesQueue"])
    function = relay.stack.functions["deliver_videos"]
    return sum(task_id in line and function in line for line in log_lines(relay))


def test_event_in_the_relays_name_is_refused_and_one_of_another_source_starts_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    """Even to an administrator of the account."""
    task_id, unknown = calm_task(relay, request_body), unknown_task()
    before = effects(relay, task_id)
    ours, own = entry(relay, "vidu-relay", forged(task_id)), entry(relay, "some.app", "{}")
    request = entry(relay, "vidu-relay", json.dumps({"request": request_body}), "VideoTaskRequested")

    for entries in ([ours], [own, ours], [ours, own], [request]):
        with pytest.raises(ClientError, match="AccessDenied"):
            relay.aws("events").put_events(Entries=entries)
    for source in ("Vidu-Relay", "vidu-relay ", " vidu-relay", "vidu-relay.evil", "vidu_relay", "some.app", "demo.app"):
        entries = [entry(relay, source, forged(one)) for one in (task_id, unknown)]
        for one in relay.aws("events").put_events(Entries=entries)["Entries"]:
            relay.event(lambda event, event_id=one["EventId"]: event["id"] == event_id)  # type: ignore[misc]

    assert deliveries_of(relay, unknown) == 0
    assert effects(relay, task_id) == before


def test_no_function_but_the_publishers_puts_an_event_and_those_in_no_other_name(relay: RelayClient) -> None:
    ours = entry(relay, "vidu-relay", "{}", "Probe")
    for folder in FUNCTIONS:
        events = as_function(relay, folder, "events")
        refused = [[entry(relay, source, "{}")] for source in ("some.app", relay.stack.event_source, "aws.s3")]
        refused.append([{**ours, "EventBusName": "default"}])
        if folder in PUBLISHERS:
            assert events.put_events(Entries=[ours])["FailedEntryCount"] == 0
            refused.append([ours, entry(relay, "some.app", "{}")])
        else:
            refused.append([ours])
        for entries in refused:
            with pytest.raises(ClientError, match="AccessDenied"):
                events.put_events(Entries=entries)


def test_event_with_a_publishers_stolen_credentials_only_causes_a_read_and_its_replay_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    """What the event says of status, version and video is not used. A replay reaches consumers alone."""
    began = datetime.now(UTC) - timedelta(minutes=1)
    task_id, unknown = calm_task(relay, request_body), unknown_task()
    settled = settled_task(relay, request_body | {"prompt": "@fox sits with @robot"})
    finished = f"{settled['task_id']}:{settled['version']}"
    first = relay.event(lambda event: event["detail"].get("event_id") == finished)
    before, found = effects(relay, task_id, settled["task_id"]), relay.resources()
    ids: list[Any] = [task_id, settled["task_id"], f'x", "task_id": "{task_id}', {"task_id": task_id}, 7, None, unknown]
    details = [forged(task_id, "completed"), forged(task_id, padding="x" * 200_000), *map(forged, ids)]
    request = entry(relay, "vidu-relay", json.dumps({"request": request_body}), "VideoTaskRequested")
    event_id = ""
    with retried(relay, found["DeliveriesQueue"], receives=1):
        publisher = as_function(relay, "publish_events", "events")
        for one in (request, *(entry(relay, "vidu-relay", detail) for detail in details)):
            reply = publisher.put_events(Entries=[one])
            assert reply["FailedEntryCount"] == 0
            event_id = reply["Entries"][0]["EventId"]
        asked = wait_until(lambda: deliveries_of(relay, unknown), "the read, which the log shows")
    take_all(relay, found["DeliveriesDeadLetters"])
    wait_until_empty(relay, found["RequestsQueue"])
    assert effects(relay, task_id, settled["task_id"]) == before
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1, "the rule keeps the request out"

    events, name = relay.aws("events"), f"replay-{secrets.token_hex(4)}"
    archive = events.describe_archive(ArchiveName=found["EventArchive"])
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=began,
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": archive["EventSourceArn"]},
    )
    again = relay.event(lambda event: (event["detail"].get("event_id"), event.get("replay-name")) == (finished, name))
    relay.event(lambda event: (event["id"], event.get("replay-name")) == (event_id, name))
    wait_until(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED", "the end of the replay")

    assert again["detail"] == first["detail"]
    assert deliveries_of(relay, unknown) == asked
    assert effects(relay, task_id, settled["task_id"]) == before


UNREADABLE = (
    "deliver everything",
    '"{task}"',
    '{{"task_id": ["{task}"]}}',
    '{{"task_id": "{task}x"}}',
    '{{"task_id": "task#{task}"}}',
    '{{"task_id": "../{task}"}}',
    "[" * 20_000,
    '{{"task_id": "' + "a" * 200_000 + '"}}',
    '{{"detail": {{"task": {{"task_id": "{task}"}}}}}}',
)
READABLE = (
    '{{"task_id": "{task}"}}',
    '{{"task_id": "' + MISSING + '"}}',
    '{{"task_id": "{settled}"}}',
    '{{"task_id": "{task}", "status": "generated", "bucket": "forger", "url": "https://forger.example"}}',
    '{{"task_id": "{settled}", "task_id": "{task}"}}',
)


def send_all(relay: RelayClient, queue: str, dead: str, bodies: Iterable[str], unreadable: list[str]) -> list[str]:
    """Put messages into a queue; those that came to its dead-letter queue, once the unreadable ones did."""
    urls = relay.resources()
    take_all(relay, urls[dead])
    with retried(relay, urls[queue], 5, receives=1):
        for body in bodies:
            relay.aws("sqs").send_message(QueueUrl=urls[queue], MessageBody=body)
        wait_until_empty(relay, urls[queue])
        return messages_until(relay, urls[dead], set(bodies).__contains__, lambda found: len(found) >= len(unreadable))


def test_messages_put_straight_into_the_queue_of_deliveries_change_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    """What names no task ends in the dead-letter queue; a video that was delivered is not written again."""
    task_id = calm_task(relay, request_body)
    settled = settled_task(relay, request_body | {"prompt": "@fox meets @robot"})["task_id"]
    before, names = effects(relay, task_id, settled), {"task": task_id, "settled": settled}
    unreadable = [body.format(**names) for body in UNREADABLE]
    sent = [*unreadable, *(body.format(**names) for body in READABLE)]

    dead = send_all(relay, "DeliveriesQueue", "DeliveriesDeadLetters", sent, unreadable)

    assert sorted(dead) == sorted(unreadable)
    assert effects(relay, task_id, settled) == before


def test_check_that_the_relay_did_not_start_has_no_lease_and_does_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    task_id = calm_task(relay, request_body)
    before = effects(relay, task_id)
    lease = int(before["records"][task_id]["lease"]["N"])
    states = relay.aws("stepfunctions")
    refused: list[Body] = [{"task_id": task_id}, {"task_id": task_id, "lease": "all"}, {}]
    ended: list[Body] = [{"task_id": task_id, "lease": one} for one in (lease - 1, lease + 1, 0, -1)]
    ended += [{"task_id": MISSING, "lease": lease}, {"task_id": f"../{task_id}", "lease": lease}]

    def start(given: Body) -> str:
        machine = relay.stack.state_machine_arn
        return str(states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"])

    retried = [start(given) for given in refused]
    for arn in [start(given) for given in ended]:
        wait_until(lambda arn=arn: states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED", "its end")  # type: ignore[misc]
    for arn in retried:
        states.stop_execution(executionArn=arn)

    assert effects(relay, task_id) == before


def notification(bucket: str, key: str, **more: Any) -> str:
    """What S3 says of a dropped file."""
    detail = {"bucket": {"name": bucket}, "object": {"key": key, **more}}
    return json.dumps({"id": "x", "source": "aws.s3", "detail-type": "Object Created", "detail": detail})


def test_forged_notifications_of_a_dropped_file_make_no_second_task(relay: RelayClient, request_body: Body) -> None:
    """Whatever a message says of a file, the file itself is read, and one content under one key is one task."""
    key, inbox = relay.drop("forged/order.json", request_body), relay.stack.inbox_bucket
    wait_until(lambda: len(relay.seen_by_provider(request_body["prompt"])) == 1, "the task")
    version = relay.aws("s3").head_object(Bucket=inbox, Key=key)["VersionId"]
    again = [
        notification(inbox, key),
        notification(inbox, key, **{"version-id": version}),
        notification(inbox, key, **{"version-id": "no-such-version"}),
        notification(inbox, f"requests/{relay.stack.tenant_id}/forged/none.json"),
    ]
    dead = [
        notification("another-bucket", key),
        notification(relay.stack.videos_bucket, key),
        notification(inbox, f"tasks/{relay.stack.tenant_id}/x.json"),
        json.dumps({**json.loads(notification(inbox, key)), "replay-name": "again"}),
        json.dumps({"source": "demo.app", "detail-type": "VideoTaskGenerated", "detail": {}, "id": "x"}),
        "[" * 20_000,
        json.dumps({"task_id": MISSING}),
    ]
    event = {"source": "demo.app", "detail-type": "VideoTaskRequested", "detail": "x", "id": "a-forged-request"}

    found = send_all(relay, "RequestsQueue", "RequestsDeadLetters", [*again, *dead, json.dumps(event)], dead)

    assert sorted(found) == sorted(dead)
    assert relay.rejection("demo.app", "a-forged-request")["detail"]["error"]["code"]
    tasks = relay.call("GET", "/v1/tasks?limit=100").json()["tasks"]
    assert len([task for task in tasks if task["request"]["prompt"] == request_body["prompt"]]) == 1
    assert len(relay.seen_by_provider(request_body["prompt"])) == 1
