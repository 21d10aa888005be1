"""Messages that are not ours: on the bus, from the archive, put straight into the queue of deliveries.

Workers take an id from a message and nothing else, so the worst that a message can do is make us look again.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.client import RelayClient
from tests.e2e.attempts import as_function, calm_task, effects, settled_task
from tests.e2e.waiting import wait_until
from tests.e2e.watched import FORGER
from tests.unit.template import FUNCTIONS
from vidu_relay.domain.identifiers import task_id_from_random

COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
MISSING = "a" * 26
PUBLISHERS = {"publish_events", "accept_request", "notify_client"}

Body = dict[str, Any]


def forged(task_id: Any, status: str = "generated", **more: Any) -> str:
    """The detail of a `VideoTaskGenerated` as we would publish it, with a video of the forger's choice."""
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


def ghost() -> str:
    """The id of a task that there is not: `deliver_videos` says in its log that it was asked for it."""
    return task_id_from_random(secrets.token_bytes(16))


def asked_for(relay: RelayClient, task_id: str) -> int:
    """How often `deliver_videos` was asked for a `ghost`, as its log has it once the queue is worked off."""
    logs, function = relay.aws("logs").get_paginator("filter_log_events"), relay.stack.functions["deliver_videos"]
    pages = logs.paginate(logGroupName=relay.resources()["FunctionLogs"])
    lines = [event["message"] for page in pages for event in page["events"]]
    return sum(task_id in line and function in line for line in lines)


def wait_until_worked_off(relay: RelayClient, url: str) -> None:
    def empty() -> bool:
        found = relay.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(COUNTS))["Attributes"]
        return all(found[count] == "0" for count in COUNTS)

    wait_until(empty, "an empty queue", 180)  # twenty messages that fail five times each take a while


@contextmanager
def impatient(relay: RelayClient, url: str) -> Iterator[None]:
    """Meanwhile a message that fails is visible again at once, and soon a dead letter."""
    sqs = relay.aws("sqs")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def take_all(relay: RelayClient, url: str) -> list[str]:
    """Take every message out of a queue."""
    sqs, taken = relay.aws("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            taken.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


def test_event_in_our_name_is_refused_even_to_an_administrator_of_the_account(
    relay: RelayClient, request_body: Body
) -> None:
    task_id, nobody = calm_task(relay, request_body), ghost()
    before = effects(relay, task_id)
    ours, own = entry(relay, "vidu-relay", forged(task_id)), entry(relay, "some.app", "{}")

    for entries in ([ours], [own, ours], [ours, own], [entry(relay, "vidu-relay", "{}", "VideoTaskCompleted")]):
        with pytest.raises(ClientError, match="AccessDenied"):
            relay.aws("events").put_events(Entries=entries)
    for source in ("Vidu-Relay", "vidu-relay ", "vidu-relay.", " vidu-relay", "vidu_relay"):
        details = (forged(task_id), forged(nobody))
        relay.aws("events").put_events(Entries=[entry(relay, source, detail) for detail in details])
        relay.event(lambda event, source=source: event["source"] == source)  # type: ignore[misc]
    wait_until_worked_off(relay, relay.resources()["DeliveriesQueue"])

    assert asked_for(relay, nobody) == 0
    assert effects(relay, task_id) == before


@pytest.mark.parametrize("folder", sorted(set(FUNCTIONS) - PUBLISHERS))
def test_no_function_but_the_publishers_puts_any_event(relay: RelayClient, folder: str) -> None:
    for source in ("vidu-relay", "some.app"):
        with pytest.raises(ClientError, match="AccessDenied"):
            as_function(relay, folder, "events").put_events(Entries=[entry(relay, source, forged(MISSING))])


@pytest.mark.parametrize("folder", sorted(PUBLISHERS))
def test_publisher_speaks_in_no_other_name(relay: RelayClient, folder: str) -> None:
    events = as_function(relay, folder, "events")
    ours = entry(relay, "vidu-relay", "{}", "Probe")
    for source in ("some.app", relay.stack.event_source, "aws.s3", "vidu-relay2"):
        for entries in ([entry(relay, source, "{}")], [ours, entry(relay, source, "{}")]):
            with pytest.raises(ClientError, match="AccessDenied"):
                events.put_events(Entries=entries)
    with pytest.raises(ClientError, match="AccessDenied"):
        events.put_events(Entries=[{**ours, "EventBusName": "default"}])


@pytest.mark.parametrize("source", ("some.app", "demo.app", "awsome.s3", "vidu-relay.evil"))
def test_forged_event_of_another_source_starts_nothing(relay: RelayClient, request_body: Body, source: str) -> None:
    task_id, nobody = calm_task(relay, request_body), ghost()
    before = effects(relay, task_id)

    entries = [entry(relay, source, forged(id_)) for id_ in (task_id, nobody)]
    for one in relay.aws("events").put_events(Entries=entries)["Entries"]:
        relay.event(lambda event, mark=one["EventId"]: event["id"] == mark)  # type: ignore[misc]
    wait_until_worked_off(relay, relay.resources()["DeliveriesQueue"])

    assert asked_for(relay, nobody) == 0
    assert effects(relay, task_id) == before


def test_event_forged_with_the_publishers_own_rights_only_makes_us_look(relay: RelayClient, request_body: Body) -> None:
    """As if its credentials were stolen: what the event says of status, version and video is not believed."""
    task_id, nobody = calm_task(relay, request_body), ghost()
    settled = settled_task(relay, request_body | {"prompt": "@fox sits with @robot"})
    before = effects(relay, task_id, settled["task_id"])
    queues = relay.resources()
    ids: list[Any] = [task_id, settled["task_id"], nobody, f'x", "task_id": "{task_id}', {"task_id": task_id}, 7, None]
    details = [forged(id_) for id_ in ids] + [forged(task_id, "completed"), forged(task_id, padding="x" * 200_000)]

    with impatient(relay, queues["DeliveriesQueue"]):
        for detail in details:
            thief = as_function(relay, "publish_events", "events")
            reply = thief.put_events(Entries=[entry(relay, "vidu-relay", detail)])
            assert reply["FailedEntryCount"] == 0
        wait_until_worked_off(relay, queues["DeliveriesQueue"])
    take_all(relay, queues["DeliveriesDeadLetters"])

    assert asked_for(relay, nobody) > 0, "it looks, and can be seen to"
    assert effects(relay, task_id, settled["task_id"]) == before


def test_replay_of_the_archive_reaches_consumers_and_copies_nothing(relay: RelayClient, request_body: Body) -> None:
    began = datetime.now(UTC) - timedelta(minutes=1)
    task, nobody = settled_task(relay, request_body), ghost()
    finished = f"{task['task_id']}:{task['version']}"
    first = relay.event(lambda event: event["detail"].get("event_id") == finished)
    # an event that starts a delivery, and the log tells of it: each time
    thief = as_function(relay, "publish_events", "events")
    reply = thief.put_events(Entries=[entry(relay, "vidu-relay", forged(nobody))])
    mark = reply["Entries"][0]["EventId"]
    wait_until_worked_off(relay, relay.resources()["DeliveriesQueue"])
    before, asked = effects(relay, task["task_id"]), asked_for(relay, nobody)
    assert asked > 0
    events = relay.aws("events")
    archive = events.describe_archive(ArchiveName=relay.resources()["EventArchive"])
    name = f"replay-{secrets.token_hex(4)}"
    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive["ArchiveArn"],
        EventStartTime=began,
        EventEndTime=datetime.now(UTC) + timedelta(minutes=1),
        Destination={"Arn": archive["EventSourceArn"]},
    )

    again = relay.event(lambda event: (event["detail"].get("event_id"), event.get("replay-name")) == (finished, name))
    relay.event(lambda event: (event["id"], event.get("replay-name")) == (mark, name))
    wait_until(lambda: events.describe_replay(ReplayName=name)["State"] == "COMPLETED", "the end of the replay")
    wait_until_worked_off(relay, relay.resources()["DeliveriesQueue"])

    assert again["detail"] == first["detail"]
    assert asked_for(relay, nobody) == asked
    assert effects(relay, task["task_id"]) == before


UNREADABLE = {
    "empty": " ",
    "text": "deliver everything",
    "number": "7",
    "null": "null",
    "list": '["{task}"]',
    "text with an id": '"{task}"',
    "id as a list": '{{"task_id": ["{task}"]}}',
    "id as an object": '{{"task_id": {{"S": "{task}"}}}}',
    "no id": '{{"task_id": null}}',
    "another name": '{{"TASK_ID": "{task}"}}',
    "longer": '{{"task_id": "{task}x"}}',
    "upper case": '{{"task_id": "AAAAAAAAAAAAAAAAAAAAAAAAAA"}}',
    "record's key": '{{"task_id": "task#{task}"}}',
    "path": '{{"task_id": "../{task}"}}',
    "line end": '{{"task_id": "{task}\\n"}}',
    "null byte": '{{"task_id": "{task}\\u0000"}}',
    "deep": "[" * 20_000,
    "large": '{{"task_id": "' + "a" * 200_000 + '"}}',
    "binary": '{{"task_id": "\u00fe\u00ff\U0001f4a3"}}',
    "event": '{{"detail": {{"task": {{"task_id": "{task}"}}}}}}',
}
READABLE = {
    "unfinished": '{{"task_id": "{task}"}}',
    "missing": '{{"task_id": "' + MISSING + '"}}',
    "settled": '{{"task_id": "{settled}"}}',
    "another": '{{"task_id": "{other}"}}',
    "told what to do": '{{"task_id": "{task}", "status": "generated", "bucket": "forger", "url": "https://forger.example"}}',
    "twice": '{{"task_id": "{settled}", "task_id": "{task}"}}',
}


def test_messages_put_straight_into_the_queue_change_nothing_and_end(relay: RelayClient, request_body: Body) -> None:
    """What can be read is looked at and found to be no work; what cannot ends among the dead letters."""
    task_id = calm_task(relay, request_body)
    settled = settled_task(relay, request_body | {"prompt": "@fox meets @robot"})["task_id"]
    other = calm_task(relay, request_body | {"prompt": f"{request_body['prompt']}, another one"})
    before, queues = effects(relay, task_id, settled, other), relay.resources()
    take_all(relay, queues["DeliveriesDeadLetters"])
    names = {"task": task_id, "settled": settled, "other": other}
    unreadable = [body.format(**names) for body in UNREADABLE.values()]
    sent = (*unreadable, *(body.format(**names) for body in READABLE.values()))
    sqs, dead = relay.aws("sqs"), list[str]()

    with impatient(relay, queues["DeliveriesQueue"]):
        for body in sent:
            sqs.send_message(QueueUrl=queues["DeliveriesQueue"], MessageBody=body)
        wait_until_worked_off(relay, queues["DeliveriesQueue"])

        def buried() -> bool:
            dead.extend(body for body in take_all(relay, queues["DeliveriesDeadLetters"]) if body in sent)
            return len(dead) >= len(unreadable)

        wait_until(buried, "the dead letters")

    assert sorted(dead) == sorted(unreadable)
    assert effects(relay, task_id, settled, other) == before


def test_execution_that_somebody_else_starts_has_no_lease_and_does_nothing(
    relay: RelayClient, request_body: Body
) -> None:
    task_id = calm_task(relay, request_body)
    before = effects(relay, task_id)
    lease = int(before["records"][task_id]["lease"]["N"])
    states = relay.aws("stepfunctions")
    inputs: list[Any] = [
        {"task_id": task_id, "lease": lease - 1},
        {"task_id": task_id, "lease": lease + 1},
        {"task_id": task_id, "lease": 0},
        {"task_id": task_id, "lease": -1},
        {"task_id": MISSING, "lease": lease},
        {"task_id": f"../{task_id}", "lease": lease},
        {"task_id": task_id},
        {"task_id": task_id, "lease": "all"},
        {},
    ]
    started = [
        states.start_execution(stateMachineArn=relay.stack.state_machine_arn, input=json.dumps(given))["executionArn"]
        for given in inputs
    ]
    for arn in started[:6]:
        wait_until(lambda arn=arn: states.describe_execution(executionArn=arn)["status"] == "SUCCEEDED", "its end")  # type: ignore[misc]
    for arn in started[6:]:  # tried again for a while, in vain
        states.stop_execution(executionArn=arn)

    assert effects(relay, task_id) == before


# ----------------------------------------------------------------------------------------- the queue of requests


def notification(bucket: str, key: str, **more: Any) -> str:
    """What S3 says of a dropped file."""
    detail = {"bucket": {"name": bucket}, "object": {"key": key, **more}}
    return json.dumps({"id": "x", "source": "aws.s3", "detail-type": "Object Created", "detail": detail})


def tasks_like(relay: RelayClient, prompt: str) -> int:
    """How many tasks the table and the provider have with this prompt."""
    tasks = relay.call("GET", "/v1/tasks?limit=100").json()["tasks"]
    assert len(relay.seen_by_provider(prompt)) == sum(prompt in task["request"]["prompt"] for task in tasks)
    return len(relay.seen_by_provider(prompt))


def test_forged_notices_of_a_dropped_file_ask_for_no_second_video(relay: RelayClient, request_body: Body) -> None:
    """Whatever a message says of a file, the file itself is read, and one content under one key is one task."""
    prompt = request_body["prompt"]
    key = relay.drop("forged/order.json", request_body)
    wait_until(lambda: len(relay.seen_by_provider(prompt)) == 1, "the task")
    queues, inbox = relay.resources(), relay.stack.inbox_bucket
    version = relay.aws("s3").head_object(Bucket=inbox, Key=key)["VersionId"]
    again = [
        notification(inbox, key),
        notification(inbox, key, **{"version-id": version}),
        notification(inbox, key, **{"version-id": "no-such-version"}),
        notification(inbox, f"requests/{relay.stack.tenant_id}/forged/none.json"),
    ]
    dead = [
        notification("somebody-elses", key),
        notification("somebody-elses", key, **{"version-id": version}),
        notification(relay.stack.videos_bucket, key),
        notification(inbox, key.removesuffix(".json")),
        notification(inbox, f"tasks/{relay.stack.tenant_id}/x.json"),
        json.dumps({**json.loads(notification(inbox, key)), "replay-name": "again"}),
        json.dumps({**json.loads(notification(inbox, key)), "source": "some.app"}),
        json.dumps({"source": "demo.app", "detail-type": "VideoTaskGenerated", "detail": {}, "id": "x"}),
        "not JSON",
        "[]",
        "[" * 20_000,
        json.dumps({"task_id": MISSING}),
    ]
    source, event_id = "demo.app", "a-forged-request"
    rejected = json.dumps({"source": source, "detail-type": "VideoTaskRequested", "detail": "x", "id": event_id})
    take_all(relay, queues["RequestsDeadLetters"])
    found: list[str] = []
    with impatient(relay, queues["RequestsQueue"]):
        for body in (*again, *dead, rejected):
            relay.aws("sqs").send_message(QueueUrl=queues["RequestsQueue"], MessageBody=body)
        wait_until_worked_off(relay, queues["RequestsQueue"])

        def buried() -> bool:
            letters = take_all(relay, queues["RequestsDeadLetters"])
            found.extend(body for body in letters if body in (*again, *dead))
            return len(found) >= len(dead)

        wait_until(buried, "the dead letters")

    assert sorted(found) == sorted(dead)
    assert relay.rejection(source, event_id)["detail"]["error"]["code"]
    assert tasks_like(relay, prompt) == 1


@pytest.mark.parametrize("source", ("some.app", "demo.app2", "Demo.app", "demo", "demo.app ", "vidu-relay2"))
def test_request_of_a_source_that_is_nobodys_makes_no_task(relay: RelayClient, request_body: Body, source: str) -> None:
    detail = {"request": request_body, "tenant_id": relay.stack.tenant_id, "idempotency_key": "stolen"}
    event = entry(relay, source, json.dumps(detail), "VideoTaskRequested")
    mark = relay.aws("events").put_events(Entries=[event])["Entries"][0]["EventId"]
    rejected = relay.rejection(source, mark)

    assert (rejected["detail"]["tenant_id"], rejected["detail"]["error"]["code"]) == (None, "source_not_mapped")
    assert request_body["prompt"] not in json.dumps(rejected)
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_request_in_our_own_name_is_refused_by_the_bus_and_kept_out_by_the_rule(
    relay: RelayClient, request_body: Body
) -> None:
    event = entry(relay, "vidu-relay", json.dumps({"request": request_body}), "VideoTaskRequested")
    with pytest.raises(ClientError, match="AccessDenied"):
        relay.aws("events").put_events(Entries=[event])
    mark = as_function(relay, "publish_events", "events").put_events(Entries=[event])["Entries"][0]["EventId"]
    relay.event(lambda event: event["id"] == mark)
    wait_until_worked_off(relay, relay.resources()["RequestsQueue"])
    assert relay.seen_by_provider(request_body["prompt"]) == []
