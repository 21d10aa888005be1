"""`relay queues`: the dead-letter queues, their messages, and the redrive."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from cli.answer import Answer, RefusedError, printable, table
from cli.command import Group, Relay
from cli.connection import Connection
from vidu_relay.adapters.delivery_queue import read_message
from vidu_relay.adapters.notification_queue import read_notification
from vidu_relay.adapters.request_queue import read_request
from vidu_relay.domain.queued_requests import BatchMessage, DroppedFile
from vidu_relay.domain.representation import timestamp

DEAD_LETTERS = "DeadLetters"
QUEUE = "Queue"
UNROUTED = "UnroutedEvents"
DELIVERIES = "DeliveriesQueue"
REQUESTS = "RequestsQueue"
NOTIFICATIONS = "NotificationsQueue"
GROUP = "MessageGroupId"
"""The tenant: a message keeps it in a redrive."""
HIDDEN_SECONDS = 120
"""How long a received message is hidden from other readers."""
EXCERPT_CHARACTERS = 200

Message = Mapping[str, Any]


class _UnreadableError(Exception):
    """A DLQ message that no worker could process. The message says why."""


@click.group(cls=Group)
def queues() -> None:
    """The dead-letter queues."""


@queues.command("list", examples=["queues list"])
def list_all(relay: Relay) -> Answer:
    """List each dead-letter queue: messages that wait, and messages that a reader has received."""
    shown = depths(relay.connection)
    rows = [("QUEUE", "DEPTH", "IN FLIGHT")]
    rows += [(queue["name"], str(queue["depth"]), str(queue["in_flight"])) for queue in shown]
    return Answer(table(rows), {"queues": shown})


def depths(connection: Connection) -> list[dict[str, Any]]:
    """Each dead-letter queue, by `name`, with `depth` and `in_flight`."""
    sqs, shown = connection.client("sqs"), []
    for name, queue in _dead_letter_queues(connection).items():
        counts = sqs.get_queue_attributes(
            QueueUrl=connection.resource(queue),
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        waiting, received = (int(counts[f"ApproximateNumberOfMessages{kind}"]) for kind in ("", "NotVisible"))
        shown.append({"name": name, "depth": waiting, "in_flight": received})
    return shown


@queues.command(examples=["queues peek deliveries-dead-letters"])
@click.argument("queue")
def peek(relay: Relay, queue: str) -> Answer:
    """Show the messages of a dead-letter queue and what each is about. They stay in the queue."""
    output = _known_queue(relay.connection, queue)
    sqs, url, destination = _opened(relay.connection, output)
    shown = []
    received = list(_messages(sqs, url))
    for message in received:
        try:
            about = _about(relay.connection, *destination(message))
        except _UnreadableError as error:
            about = f"unreadable: {error}"
        sent = int(message["Attributes"]["SentTimestamp"])
        body = message["Body"]
        shown.append({"message_id": message["MessageId"], "sent_at": timestamp(sent), "about": about, "body": body})
        _show_again(sqs, url, message)
    lines = [f"{one['sent_at']}  {one['about']}\n  {one['body'][:EXCERPT_CHARACTERS]}" for one in shown]
    if shown:
        lines.append(f"To move them back to their queue:\n  {relay.again('queues', 'redrive', queue)}")
    text = printable("\n".join(lines)) or f"{queue} is empty."
    return Answer(text, {"queue": queue, "messages": shown})


@queues.command(
    examples=[
        "queues redrive deliveries-dead-letters",
        "queues redrive notifications-dead-letters",
        "queues redrive unrouted-events",
        "queues redrive deliveries-dead-letters --discard-unreadable",
    ]
)
@click.argument("queue")
@click.option("--discard-unreadable", is_flag=True, help="Delete messages that no worker could parse.")
def redrive(relay: Relay, queue: str, discard_unreadable: bool) -> Answer:
    """Move DLQ messages back to their queue; a message that no worker could parse stays and is shown.

    A message is deleted after its copy was sent. An interruption can move it twice, which the workers tolerate.
    """
    output = _known_queue(relay.connection, queue)
    sqs, url, destination = _opened(relay.connection, output)
    moved, discarded, left, unreadable = 0, 0, list[dict[str, str]](), list[Message]()
    for message in _messages(sqs, url):
        try:
            target, body = destination(message)
        except _UnreadableError as error:
            if discard_unreadable:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                discarded += 1
                continue
            unreadable.append(message)
            excerpt = message["Body"][:EXCERPT_CHARACTERS]
            left.append({"message_id": message["MessageId"], "reason": str(error), "body": excerpt})
            continue
        group = {name: value for name, value in message["Attributes"].items() if name == GROUP}
        sqs.send_message(QueueUrl=target, MessageBody=body, **group)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        moved += 1
    for message in unreadable:
        _show_again(sqs, url, message)
    lines = [f"{queue}: {moved} moved back, {discarded} discarded, {len(left)} left."]
    lines += [f"  {one['message_id']}: {one['reason']}: {one['body']!r}" for one in left]
    if left:
        discard = relay.again("queues", "redrive", queue, "--discard-unreadable")
        lines.append(f"No worker can parse what is left. To delete it:\n  {discard}")
    data = {"queue": queue, "moved": moved, "discarded": discarded, "left": left}
    return Answer(printable("\n".join(lines)), data)


def _known_queue(connection: Connection, queue: str) -> str:
    """The queue's name in the template. Raises `RefusedError` if it is no dead-letter queue of the stack."""
    found = _dead_letter_queues(connection)
    if queue not in found:
        raise RefusedError(f"{queue!r} is no dead-letter queue of this stack: these are {', '.join(found)}")
    return found[queue]


def _opened(connection: Connection, output: str) -> tuple[Any, str, Callable[[Message], tuple[str, str]]]:
    """A client, the queue's address, and what says where each message goes in a redrive, with which body."""
    destination = _by_rule(connection) if output == UNROUTED else _back_to(connection, output)
    return connection.client("sqs"), connection.resource(output), destination


def _show_again(sqs: Any, url: str, message: Message) -> None:
    """Make a received message visible to other readers at once."""
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)


def _about(connection: Connection, url: str, body: str) -> str:
    """What the worker of a queue does with a body that it can parse."""
    if url == connection.resource(DELIVERIES):
        return f"copies the videos of task {read_message(body)}"
    if url == connection.resource(NOTIFICATIONS):
        notification = read_notification(body)
        return f"sends the webhook about version {notification.version} of task {notification.task_id}"
    request = read_request(body)
    if isinstance(request, DroppedFile):
        return f"submits the request in s3://{request.bucket}/{request.key}"
    if isinstance(request, BatchMessage):
        return f"goes on with batch {request.batch_id}"
    return f"submits the request of event {request.event_id} from {request.source}"


def _dead_letter_queues(connection: Connection) -> dict[str, str]:
    """Each dead-letter queue's name in the template, by the operator's name, which its alarm has too:
    `DeliveriesDeadLetters` is `deliveries-dead-letters`."""
    found = [name for name in connection.resources if name.endswith(DEAD_LETTERS) or name == UNROUTED]
    return {_kebab(name): name for name in sorted(found)}


def _messages(sqs: Any, url: str) -> Iterator[Message]:
    """Every message of a queue, once each, hidden from other readers meanwhile."""
    seen: set[str] = set()
    while True:
        reply = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,  # asks every server of the queue: a short poll may return nothing while messages wait
            VisibilityTimeout=HIDDEN_SECONDS,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=[GROUP, "SentTimestamp"],
        )
        fresh = [message for message in reply.get("Messages", []) if message["MessageId"] not in seen]
        if not fresh:
            return
        for message in fresh:
            seen.add(message["MessageId"])
            yield message


def _back_to(connection: Connection, output: str) -> Callable[[Message], tuple[str, str]]:
    """DLQ messages of one worker's queue go back to it as they are."""
    url = connection.resource(output.removesuffix(DEAD_LETTERS) + QUEUE)

    def destination(message: Message) -> tuple[str, str]:
        return url, _message_for(connection, url, message["Body"])

    return destination


def _by_rule(connection: Connection) -> Callable[[Message], tuple[str, str]]:
    """DLQ messages of EventBridge go to the target of their rule, the queue in the attribute `TARGET_ARN`.

    Their body is the event before the rule's input transformer, which makes `{"task_id": …}` of it for deliveries.
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
    """The body that the worker of a queue can parse: an event becomes the message that its rule would send.

    Raises `_UnreadableError` if there is none.
    """
    if url == connection.resource(REQUESTS):
        try:
            read_request(body)
        except (ValueError, RecursionError) as error:
            raise _UnreadableError(f"it requests no video: {error}") from error
        return body
    read, names, wrong = (
        (read_message, ["task_id"], "it names no task")
        if url == connection.resource(DELIVERIES)
        else (read_notification, ["task_id", "version"], "it names no change of a task")
    )
    try:
        content = json.loads(body)
        if isinstance(content, dict) and "detail" in content:
            content = {name: content["detail"]["task"][name] for name in names}
        text = json.dumps(content)
        read(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _UnreadableError(wrong) from error
    return text


def _kebab(name: str) -> str:
    return re.sub("(?=[A-Z])", "-", name).lstrip("-").lower()
