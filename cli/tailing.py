"""`relay tail`: the events of the bus as they happen, through a queue and a rule that exist as long as it runs."""

from __future__ import annotations

import json
import secrets
import signal
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cli.answer import RefusedError, checked
from cli.connection import Connection
from cli.screen import Screen
from cli.watching import INTERRUPTED
from vidu_relay.adapters.event_bus import SOURCE
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPE_REJECTED, EVENT_TYPES

__all__ = ["TYPES", "tail"]

TYPES = (EVENT_TYPE_ACCEPTED, *EVENT_TYPES.values(), EVENT_TYPE_REJECTED, EVENT_TYPE_NOTIFICATION_FAILED)
PREFIX = "relay-tail-"
"""What the rule and the queue are called, with a random part behind it."""
KEEP_SECONDS = 3600
"""How long an event waits in the queue for a machine that sleeps meanwhile."""
WAIT_SECONDS = 20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
SERVER_FAULT = 500
GONE = frozenset({"ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


def tail(arguments: Namespace, connection: Connection) -> int:
    """Show events until Ctrl-C, SIGTERM or SIGHUP, then remove rule and queue; the exit status is 130.

    Raises `RefusedError` if something could not be removed, with what it is.
    """
    screen = Screen(as_json=arguments.json)
    pattern = _pattern(arguments)
    stop = _Stop()
    with stop.on_signals(), ExitStack() as cleanup:
        listener = _Listener(connection)
        cleanup.callback(listener.remove)
        listener.set_up(pattern)
        try:
            with stop.interruptible():
                screen.remark(f"Listening on {listener.bus} by the rule {listener.name}. Ctrl-C ends it.")
                for event in listener.events(screen):
                    screen.line(_line(event), event)
        except KeyboardInterrupt:
            screen.remark(f"\nRemoving the rule and the queue {listener.name}.")
    return INTERRUPTED


def _pattern(arguments: Namespace) -> dict[str, Any]:
    """The events that are asked for, as EventBridge's pattern."""
    detail: dict[str, Any] = {}
    if arguments.task:
        rule = "a task id has 26 of a-z and 2-7, as the API returns it"
        ids = {"task_id": [checked(task_id, TASK_ID, rule) for task_id in arguments.task]}
        detail["$or"] = [{"task": ids}, ids]  # a failed notification names its task outside of one
    if arguments.tenant:
        detail["tenant_id"] = arguments.tenant
    pattern: dict[str, Any] = {"source": [SOURCE]}
    if arguments.type:
        pattern["detail-type"] = arguments.type
    return {**pattern, "detail": detail} if detail else pattern


class _Stop:
    """Signals end the waiting. While something is set up or removed they wait for its end."""

    def __init__(self) -> None:
        self._asked = False
        self._interruptible = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within, Ctrl-C, SIGTERM and SIGHUP are asked for here. Only in the main thread."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._ask) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, a signal raises `KeyboardInterrupt`; at once if it came before."""
        self._interruptible = True
        try:
            if self._asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._interruptible = False

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._interruptible:
            self._interruptible = False  # a second one cuts nothing short
            raise KeyboardInterrupt


class _Listener:
    """A rule on the stack's bus, and the queue it feeds: of the same name, for this run alone."""

    def __init__(self, connection: Connection) -> None:
        self.bus = connection.output("EventBusName")
        self.name = f"{PREFIX}{secrets.token_hex(6)}"
        self._sqs, self._events = connection.client("sqs"), connection.client("events")
        self._queue = ""

    def set_up(self, pattern: dict[str, Any]) -> None:
        """Make the queue, then the rule, then join them."""
        self._queue = self._sqs.create_queue(
            QueueName=self.name,
            Attributes={"MessageRetentionPeriod": str(KEEP_SECONDS), "SqsManagedSseEnabled": "true"},
        )["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        rule = self._events.put_rule(
            Name=self.name,
            EventBusName=self.bus,
            EventPattern=json.dumps(pattern),
            Description="`relay tail` of an operator; removed when it ends.",
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

    def events(self, screen: Screen) -> Iterator[dict[str, Any]]:
        """Events in the order of arrival, without end. An outage is waited out, and said once."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                reply = self._sqs.receive_message(
                    QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS
                )
            except (BotoCoreError, ClientError) as error:
                if not _is_outage(error):
                    raise
                if pause == FIRST_PAUSE_SECONDS:
                    screen.remark(f"no answer from SQS ({type(error).__name__}): events wait there for an hour")
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = FIRST_PAUSE_SECONDS
            for message in reply.get("Messages", []):
                event: dict[str, Any] = json.loads(message["Body"])
                yield event
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])

    def remove(self) -> None:
        """Remove what is there, each whatever becomes of the others. Raises `RefusedError` with what was left."""
        steps: dict[str, Callable[[], None]] = {
            "targets of the rule": self._remove_targets,
            "rule": self._remove_rule,
            "queue": self._remove_queue,
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

    def _remove_targets(self) -> None:
        self._events.remove_targets(Rule=self.name, EventBusName=self.bus, Ids=["queue"])

    def _remove_rule(self) -> None:
        self._events.delete_rule(Name=self.name, EventBusName=self.bus)

    def _remove_queue(self) -> None:
        if self._queue:
            self._sqs.delete_queue(QueueUrl=self._queue)


def _is_outage(error: BotoCoreError | ClientError) -> bool:
    """Whether a call failed on the way, or by the fault of the other side: not for what it asked."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= SERVER_FAULT
    return isinstance(error, HTTPClientError | NoConnectionError)


def _line(event: dict[str, Any]) -> str:
    """An event for people: when, what, whose, which task, and what went wrong."""
    detail = event["detail"]
    task = detail.get("task") or detail
    error = task.get("error")
    about = f"{task['task_id']}  v{task['version']}" if "task_id" in task else str(detail.get("source"))
    about += f"  {detail['url_origin']}" if "url_origin" in detail else ""
    wrong = f"  {error.get('code')}: {error.get('message') or error.get('detail')}" if error else ""
    return f"{event['time']}  ✉ {event['detail-type']:<20}  {detail.get('tenant_id')}  {about}{wrong}"
