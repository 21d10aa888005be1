"""`relay tail`: the events of the bus as they happen, through a queue and a rule that exist as long as it runs."""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cli.answer import RefusedError, checked
from cli.api import TASK_RULE
from cli.command import INTERRUPTED, Command, Relay
from cli.connection import Connection
from cli.screen import Screen
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain.batch_representation import EVENT_TYPE_BATCH_ACCEPTED, EVENT_TYPE_BATCH_COMPLETED
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.provider_books import EVENT_TYPE_BALANCE_LOW, EVENT_TYPE_BILL_DIFFERS
from vidu_relay.domain.states import (
    EVENT_TYPE_ACCEPTED,
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPES,
)

TYPES = (
    EVENT_TYPE_ACCEPTED,
    *EVENT_TYPES.values(),
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_BATCH_ACCEPTED,
    EVENT_TYPE_BATCH_COMPLETED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPE_NOTIFICATION_FAILED,
    EVENT_TYPE_BILL_DIFFERS,
    EVENT_TYPE_BALANCE_LOW,
)
PREFIX = "relay-tail-"
"""The names of rule and queue begin with it."""
KEEP_SECONDS = 3600
"""How long an event waits in the queue, for example while this machine sleeps."""
WAIT_SECONDS = 20
LOOK_UP_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
SERVER_FAULT = 500
GONE = frozenset({"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


@click.command(cls=Command, examples=["tail", "tail --tenant acme --type VideoTaskCompleted --type VideoTaskFailed"])
@click.option("--task", multiple=True, metavar="TASK_ID", help="Of this task only; repeatable.")
@click.option("--tenant", multiple=True, help="Of this tenant only; repeatable.")
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Of this detail type only; repeatable.")
def tail(relay: Relay, task: tuple[str, ...], tenant: tuple[str, ...], types: tuple[str, ...]) -> int:
    """Print events as they come until Ctrl-C, through a rule and a queue that are removed at the end.

    It needs AWS credentials that may make both. Ctrl-C, SIGTERM and SIGHUP end it with exit status 130.
    """
    pattern, stop, screen = _pattern(task, tenant, types), _Stop(), relay.screen
    with stop.on_signals(), ExitStack() as cleanup:
        listener = Listener(relay.connection)
        cleanup.callback(listener.remove)
        listener.set_up(pattern)
        screen.remark(f"Listening on {listener.bus} by the rule {listener.name}. Ctrl-C ends it.")
        try:
            for event in listener.events(screen, stop):
                with stop.interrupting():
                    screen.line(_line(event), event)
        except KeyboardInterrupt:
            pass  # the reader of the line has stopped reading
        screen.remark(f"\nRemoving the rule and the queue {listener.name}.")
    return INTERRUPTED


def _pattern(tasks: tuple[str, ...], tenants: tuple[str, ...], types: tuple[str, ...]) -> dict[str, Any]:
    """EventBridge's pattern of the wanted events."""
    detail: dict[str, Any] = {}
    if tasks:
        ids = {"task_id": [checked(task_id, TASK_ID, TASK_RULE) for task_id in tasks]}
        detail["$or"] = [{"task": ids}, ids]  # a failed notification has the id outside of `task`
    if tenants:
        detail["tenant_id"] = list(tenants)
    pattern: dict[str, Any] = {"source": [SOURCE]}
    if types:
        pattern["detail-type"] = list(types)
    return {**pattern, "detail": detail} if detail else pattern


class _Stop:
    """Turns signals into messages: an exception could interrupt code that holds a lock, for example of a pool of
    connections. The lock would stay, and the removal of rule and queue would wait for ever."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        """Holds None after a signal. A signal handler may put into it at any time."""
        self.asked = False
        self._interrupting = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within, Ctrl-C, SIGTERM and SIGHUP go to the inbox. Only in the main thread."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within, a signal also raises `KeyboardInterrupt`: a write waits as long as its reader does not read."""
        self._interrupting = True
        try:
            yield
        finally:
            self._interrupting = False

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        self.inbox.put(None)
        if self._interrupting:
            self._interrupting = False  # a second signal interrupts nothing
            raise KeyboardInterrupt


class Listener:
    """A rule on the stack's bus, and the queue it feeds: of the same name, for this run alone."""

    def __init__(self, connection: Connection, prefix: str = PREFIX) -> None:
        self.bus = connection.resource("EventBus")
        self.name = f"{_prefix_of(self.bus, prefix)}{secrets.token_hex(6)}"
        self._sqs, self._events = connection.client("sqs"), connection.client("events")
        self._queue = ""

    def set_up(self, pattern: dict[str, Any]) -> None:
        """Make the queue, then the rule, then connect them."""
        self._queue = self._sqs.create_queue(
            QueueName=self.name,
            Attributes={"MessageRetentionPeriod": str(KEEP_SECONDS), "SqsManagedSseEnabled": "true"},
        )["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        rule = self._events.put_rule(
            Name=self.name,
            EventBusName=self.bus,
            EventPattern=json.dumps(pattern),
            Description="An operator's `relay` listens; removed when it ends.",
        )["RuleArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": attributes["QueueArn"],
            "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        targets = [{"Id": "queue", "Arn": attributes["QueueArn"]}]
        reply = self._events.put_targets(Rule=self.name, EventBusName=self.bus, Targets=targets)
        if reply["FailedEntryCount"]:
            raise RefusedError(f"the rule {self.name} cannot feed its queue: {reply['FailedEntries']}")

    def receive(self, seconds: int) -> list[dict[str, Any]]:
        """Events that arrive within the seconds (at most 20), as soon as there are some. They stay in the queue."""
        reply = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=seconds)
        return [json.loads(message["Body"]) for message in reply.get("Messages", [])]

    def events(self, screen: Screen, stop: _Stop) -> Iterator[dict[str, Any]]:
        """Events in the order of arrival, until a signal comes. Waits during an outage, with one remark."""
        receiver = _Receiver(self._sqs, self._queue, stop.inbox)
        receiver.start()
        remarked = False
        try:
            while (received := _next(stop.inbox)) is not None:
                if isinstance(received, Exception):
                    if not _is_outage(received):
                        raise received
                    if not remarked:
                        outage = type(received).__name__
                        screen.remark(f"no answer from SQS ({outage}): SQS keeps events for an hour")
                    remarked = True
                    continue
                remarked = False
                for message in received:
                    event: dict[str, Any] = json.loads(message["Body"])
                    yield event
                    if stop.asked:
                        return
                    self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                receiver.go_on()
        finally:
            receiver.end()

    def remove(self) -> None:
        """Remove targets, rule and queue, each even if another fails. Raises `RefusedError` with what was left."""
        rule = {"Rule": self.name, "EventBusName": self.bus}
        steps: dict[str, Callable[[], object]] = {
            "targets of the rule": lambda: self._events.remove_targets(**rule, Ids=["queue"]),
            "rule": lambda: self._events.delete_rule(Name=self.name, EventBusName=self.bus),
            "queue": lambda: self._queue and self._sqs.delete_queue(QueueUrl=self._queue),
        }
        left = []
        for what, step in steps.items():
            try:
                step()
            except ClientError as error:
                if error.response["Error"]["Code"] not in GONE:
                    left.append(f"{what}: {error}")
            except BotoCoreError as error:
                left.append(f"{what}: {error}")
        if left:
            problems = "; ".join(left)
            raise RefusedError(
                f"not everything could be removed ({problems}): delete the rule {self.name} of the bus {self.bus} "
                "and the queue of the same name by hand"
            )

    @classmethod
    def remove_leftovers(cls, connection: Connection, prefix: str, before: float) -> None:
        """Remove what killed runs on this stack have left: queues made before a moment (in seconds), and their rules.

        A queue is made before its rule and removed after it. Raises as `remove`.
        """
        sqs, ours = connection.client("sqs"), _prefix_of(connection.resource("EventBus"), prefix)
        for url in sqs.list_queues(QueueNamePrefix=ours).get("QueueUrls", []):
            try:
                made = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["CreatedTimestamp"])["Attributes"]
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE:
                    continue  # another run has just ended
                raise
            if int(made["CreatedTimestamp"]) < before:
                left = cls(connection)
                left.name, left._queue = url.rpartition("/")[2], url
                left.remove()


class _Receiver(threading.Thread):
    """Waits for messages beside the main thread, which can act on a signal at once."""

    def __init__(self, sqs: Any, queue: str, inbox: SimpleQueue[Any]) -> None:
        super().__init__(daemon=True)  # a call under way at the end is not waited for
        self._sqs, self._queue, self._inbox = sqs, queue, inbox
        self._wanted = threading.Semaphore()
        self._ended = False

    def run(self) -> None:
        """Put what is received into the inbox, a list of messages or an exception: lists only when asked to go on."""
        pause = FIRST_PAUSE_SECONDS
        while self._wanted.acquire() and not self._ended:
            try:
                reply = self._sqs.receive_message(
                    QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS
                )
            except Exception as error:  # noqa: BLE001 - the main thread raises it
                self._inbox.put(error)
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                self._wanted.release()
                continue
            pause = FIRST_PAUSE_SECONDS
            self._inbox.put(reply.get("Messages", []))

    def go_on(self) -> None:
        """The last messages are processed."""
        self._wanted.release()

    def end(self) -> None:
        """Receive no more."""
        self._ended = True
        self._wanted.release()


def _next(inbox: SimpleQueue[Any]) -> Any:
    """The next entry of the inbox. The time-out lets Python run signal handlers if the signal woke another thread."""
    while True:
        with suppress(Empty):
            return inbox.get(timeout=LOOK_UP_SECONDS)


def _is_outage(error: Exception) -> bool:
    """Whether a call failed on the way or at the server, not because of the call itself."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= SERVER_FAULT
    return isinstance(error, HTTPClientError | NoConnectionError)


def _line(event: dict[str, Any]) -> str:
    """An event for people: when, what, whose, about which task, batch, source or provider, and what went wrong."""
    detail = event["detail"]
    subject = detail.get("task") or detail.get("batch") or detail
    error = subject.get("error")
    about = next(str(subject[name]) for name in ("task_id", "batch_id", "source", "provider") if name in subject)
    about += f"  v{subject['version']}" if "version" in subject else ""
    about += f"  {detail['url_origin']}" if "url_origin" in detail else ""
    wrong = f"  {error.get('code')}: {error.get('message') or error.get('detail')}" if error else ""
    return f"{event['time']}  ✉ {event['detail-type']:<20}  {detail.get('tenant_id')}  {about}{wrong}"


def _prefix_of(bus: str, prefix: str) -> str:
    """The prefix of a bus: the queues of all stacks of an account are listed together."""
    return f"{prefix}{hashlib.sha256(bus.encode()).hexdigest()[:8]}-"
