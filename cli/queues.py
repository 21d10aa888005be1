"""`relay queues`: the dead-letter queues, what lies in them, and the way back."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.answer import Answer, RefusedError, table
from cli.connection import Connection
from vidu_relay.adapters.delivery_queue import read_message
from vidu_relay.adapters.notification_queue import read_notification
from vidu_relay.adapters.request_queue import read_request

__all__ = ["list_all", "redrive"]

DEAD_LETTERS = "DeadLetters"
QUEUE = "Queue"
UNROUTED = "UnroutedEvents"
DELIVERIES = "DeliveriesQueue"
REQUESTS = "RequestsQueue"
NOTIFICATIONS = "NotificationsQueue"
GROUP = "MessageGroupId"
"""A message keeps its group, the tenant, on the way back."""
HIDDEN_SECONDS = 120
"""How long a message that is being moved is hidden from everybody else."""
EXCERPT_CHARACTERS = 200

Message = Mapping[str, Any]


class _UnreadableError(Exception):
    """A dead letter that no queue could work off. The message says why."""


@dataclass(slots=True)
class _Redrive:
    moved: int = 0
    discarded: int = 0
    left: list[dict[str, str]] = field(default_factory=list)


def list_all(_: Namespace, connection: Connection) -> Answer:
    """Each dead-letter queue: how many messages wait in it, and how many somebody is looking at."""
    sqs = connection.client("sqs")
    shown = []
    for name, queue in _dead_letter_queues(connection).items():
        counts = sqs.get_queue_attributes(
            QueueUrl=connection.resource(queue),
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        shown.append(
            {
                "name": name,
                "depth": int(counts["ApproximateNumberOfMessages"]),
                "in_flight": int(counts["ApproximateNumberOfMessagesNotVisible"]),
            }
        )
    rows = [("QUEUE", "DEPTH", "IN FLIGHT")]
    rows += [(str(queue["name"]), str(queue["depth"]), str(queue["in_flight"])) for queue in shown]
    return Answer(table(rows), {"queues": shown})


def redrive(arguments: Namespace, connection: Connection) -> Answer:
    """Move every dead letter back to the queue it was meant for, one at a time.

    A letter is deleted only after its copy was sent: what breaks off in between moves it twice, never not at all, and
    the workers do nothing twice. A letter that no worker could read would come straight back: it stays and is shown,
    or is deleted with `--discard-unreadable`.
    """
    queues = _dead_letter_queues(connection)
    if arguments.queue not in queues:
        raise RefusedError(f"{arguments.queue!r} is no dead-letter queue of this stack: there are {', '.join(queues)}")
    output = queues[arguments.queue]
    sqs, url = connection.client("sqs"), connection.resource(output)
    destination = _by_rule(connection) if output == UNROUTED else _back_to(connection, output)
    result = _Redrive()
    unreadable: list[Message] = []
    for message in _messages(sqs, url):
        try:
            target, body = destination(message)
        except _UnreadableError as error:
            if arguments.discard_unreadable:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                result.discarded += 1
                continue
            unreadable.append(message)
            excerpt = message["Body"][:EXCERPT_CHARACTERS]
            result.left.append({"message_id": message["MessageId"], "reason": str(error), "body": excerpt})
            continue
        attributes = message.get("Attributes", {})
        group = {name: attributes[name] for name in (GROUP,) if name in attributes}
        sqs.send_message(QueueUrl=target, MessageBody=body, **group)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        result.moved += 1
    for message in unreadable:
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return Answer(
        _said(arguments.queue, result),
        {"queue": arguments.queue, "moved": result.moved, "discarded": result.discarded, "left": result.left},
    )


def _dead_letter_queues(connection: Connection) -> dict[str, str]:
    """Each dead-letter queue's name in the template, by the name the operator uses: `DeliveriesDeadLetters` is
    `deliveries-dead-letters`, as its alarm is called."""
    found = [name for name in connection.resources if name.endswith(DEAD_LETTERS) or name == UNROUTED]
    return {_kebab(name): name for name in sorted(found)}


def _messages(sqs: Any, url: str) -> Iterator[Message]:
    """Every message that is there, once each, hidden from others meanwhile."""
    seen: set[str] = set()
    while True:
        reply = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,  # asks every server of the queue: without it an answer may be empty though letters wait
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=[GROUP],
        )
        fresh = [message for message in reply.get("Messages", []) if message["MessageId"] not in seen]
        if not fresh:
            return
        for message in fresh:
            seen.add(message["MessageId"])
            yield message


def _back_to(connection: Connection, output: str) -> Callable[[Message], tuple[str, str]]:
    """Letters of one worker's queue go back to it as they are."""
    url = connection.resource(output.removesuffix(DEAD_LETTERS) + QUEUE)

    def destination(message: Message) -> tuple[str, str]:
        return url, _message_for(connection, url, message["Body"])

    return destination


def _by_rule(connection: Connection) -> Callable[[Message], tuple[str, str]]:
    """Letters of EventBridge go to the queue their rule was to reach, which stands in the attribute `TARGET_ARN`.

    EventBridge keeps the event as it was before the rule's input transformer, which makes `{"task_id": …}` of it for
    the deliveries.
    """
    by_name = {
        url.rpartition("/")[2]: url for name, url in connection.resources.items() if name.endswith(QUEUE)
    }  # a queue's address and its ARN end in the same name

    def destination(message: Message) -> tuple[str, str]:
        arn = message.get("MessageAttributes", {}).get("TARGET_ARN", {}).get("StringValue", "")
        url = by_name.get(arn.rpartition(":")[2])
        if url is None:
            raise _UnreadableError(f"its TARGET_ARN {arn!r} is no queue of this stack")
        return url, _message_for(connection, url, message["Body"])

    return destination


def _message_for(connection: Connection, url: str, body: str) -> str:
    """What the worker of a queue is to read. Raises `_UnreadableError` if it could not."""
    if url == connection.resource(DELIVERIES):
        return _task_message(body)
    if url == connection.resource(NOTIFICATIONS):
        return _notification(body)
    if url == connection.resource(REQUESTS):
        try:
            read_request(body)
        except (ValueError, RecursionError) as error:
            raise _UnreadableError(f"it asks for no video: {error}") from error
    return body


def _task_message(body: str) -> str:
    """A message that names a task: it is one already, or the event of one. Raises `_UnreadableError`."""
    try:
        content = json.loads(body)
        if isinstance(content, dict) and "detail" in content:
            content = {"task_id": content["detail"]["task"]["task_id"]}
        text = json.dumps(content)
        read_message(text)
    except (ValueError, KeyError, TypeError) as error:
        raise _UnreadableError("it names no task") from error
    return text


def _notification(body: str) -> str:
    """A message that names a change of a task: it is one already, or the event of it. Raises `_UnreadableError`."""
    try:
        content = json.loads(body)
        if isinstance(content, dict) and "detail" in content:
            task = content["detail"]["task"]
            content = {"task_id": task["task_id"], "version": task["version"]}
        text = json.dumps(content)
        read_notification(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _UnreadableError("it names no change of a task") from error
    return text


def _said(queue: str, result: _Redrive) -> str:
    lines = [f"{queue}: {result.moved} moved back, {result.discarded} discarded, {len(result.left)} left."]
    lines += [f"  {left['message_id']}: {left['reason']}: {left['body']!r}" for left in result.left]
    if result.left:
        lines.append("What is left no worker can read. Run it again with --discard-unreadable to delete it.")
    return "\n".join(lines)


def _kebab(name: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
