"""`relay task`: show one task, and repeat a step of it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import click
from botocore.exceptions import ClientError

from cli.answer import Answer, RefusedError, checked, printable
from cli.api import TASK_RULE
from cli.command import Group, Relay
from cli.connection import Connection, now
from cli.publisher import publish_again
from cli.webhook_log import last_webhook
from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.notification_queue import NotificationQueue
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.delivery import reopen
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.notification import Notification, latest_notified
from vidu_relay.domain.polling import LEASE_MS
from vidu_relay.domain.representation import event_detail, event_type, timestamp
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Delivery, Task
from vidu_relay.usecases.save_with_retry import save_with_retry

PROMPT_CHARACTERS = 100


@click.group(cls=Group)
def task() -> None:
    """List all tenants' tasks, show one, and repeat a step of it."""


def _of_one_task(name: str) -> Callable[[Callable[[Relay, Task], Answer]], click.Command]:
    """A command with the id of a task as its argument. Raises `RefusedError` if there is no such task."""

    def decorate(run: Callable[[Relay, Task], Answer]) -> click.Command:
        def command(relay: Relay, task_id: str) -> Answer:
            return run(relay, _known_task(task_id, relay.connection))

        examples = [f"task {name} mfzwizlnnvsg63dpo5xw2zltmu"]
        return task.command(name, help=run.__doc__, examples=examples)(click.argument("task_id")(command))

    return decorate


@_of_one_task("show")
def show(relay: Relay, task: Task) -> Answer:
    """Show all that is known of a task, with the last delivery and webhook errors, but no link or image address."""
    at = now()
    delivery = task.delivery or Delivery()
    data = {
        **event_detail(task)["task"],
        "tenant_id": task.tenant_id,
        "revision": task.revision,
        "provider": task.provider,
        "history": [
            {
                "at": timestamp(entry.at),
                "seconds_since_creation": (entry.at - task.created_at) / 1000,
                "status": entry.status.value,
                "source": entry.source,
            }
            for entry in task.history
        ],
        "attempts": task.attempts,
        "attempt": _attempt(task),
        "remote_id": task.remote_id,
        "candidates": list(task.candidate_ids),
        "lease": task.lease,
        "poller": _poller_state(task, relay.connection),
        "checks": task.checks,
        "due_at": timestamp(task.due_at) if task.due_at is not None else None,
        "due": _due(task, at),
        "deadline_at": timestamp(task.deadline_at),
        "waits_for_account_since": timestamp(task.paused_since) if task.paused_since is not None else None,
        "waits_in_queue_since": timestamp(task.queued_at) if task.waits and task.queued_at is not None else None,
        "delivery_requests": delivery.requests,
        "source_faults": delivery.source_faults,
        "delivery_error": asdict(delivery.last_error) if delivery.last_error else None,
        "webhook": last_webhook(task, relay.connection) if task.request.get("callback_url") else None,
        "record_deleted_at": timestamp(task.expires_at * 1000) if task.expires_at is not None else None,
    }
    return Answer(printable("\n".join(_life(task, data, at))), data)


@_of_one_task("check")
def check(relay: Relay, task: Task) -> Answer:
    """Check a task now: submit it, read the provider, deliver or expire it, whatever is next."""
    if task.due_at is None:
        return _nothing(task, "started", f"It needs no more checks: it is {task.status}.")
    connection, show = relay.connection, relay.again("task", "show", task.task_id)
    lease = store_of(connection).take_lease(task.task_id, task.due_at, now() + LEASE_MS)
    if lease is None:
        return _nothing(task, "started", f"It has just changed: see `{show}`.")
    TaskPoller(connection.client("stepfunctions"), connection.resource("PollTask")).start(task.task_id, lease.number)
    return Answer(
        f"Task {task.task_id} is {task.status}; poll_task checks it now, under lease {lease.number}. To see the result:"
        f"\n  {show}",
        {"task_id": task.task_id, "status": task.status.value, "started": True, "lease": lease.number},
    )


@_of_one_task("deliver")
def deliver(relay: Relay, task: Task) -> Answer:
    """Copy a generated task's videos now, also after `video_unavailable`. An existing object is never overwritten."""
    connection = relay.connection
    asked = save_with_retry(store_of(connection), task, lambda current: reopen(current, now=now()))
    if asked.status is not Status.GENERATED:
        return _nothing(asked, "asked", _why_nothing_to_deliver(relay, asked))
    DeliveryQueue(connection.client("sqs"), connection.resource("DeliveriesQueue")).ask(task.task_id, task.tenant_id)
    return Answer(
        f"The delivery of task {task.task_id} is queued. To see the result:\n"
        f"  {relay.again('task', 'show', task.task_id)}",
        {"task_id": task.task_id, "status": asked.status.value, "asked": True},
    )


@_of_one_task("notify")
def notify(relay: Relay, task: Task) -> Answer:
    """Send a task's latest change to its callback_url again, under the same `webhook-id`."""
    connection, version = relay.connection, latest_notified(task)
    if not task.request.get("callback_url"):
        return _nothing(task, "asked", "Its client gave no callback_url.")
    if version is None:
        return _nothing(task, "asked", f"It has no change to send yet: it is {task.status}.")
    NotificationQueue(
        connection.client("sqs"),
        connection.resource("NotificationsQueue"),
    ).ask(Notification(task.task_id, version, replay=True), task.tenant_id)
    return Answer(
        f"The webhook about version {version} of task {task.task_id} is queued. If it fails, it is tried for 72 hours.",
        {"task_id": task.task_id, "status": task.status.value, "asked": True, "version": version},
    )


@_of_one_task("publish")
def publish(relay: Relay, task: Task) -> Answer:
    """Publish the event of a task's present version again, under the same event id."""
    connection, key = relay.connection, {"pk": {"S": f"task#{task.task_id}"}}
    reply = connection.client("dynamodb").get_item(
        TableName=connection.resource("TaskTable"), Key=key, ConsistentRead=True
    )
    image = {name: _through_json(value) for name, value in reply["Item"].items()}
    record = {
        "eventName": "MODIFY",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": key, "NewImage": image, "SequenceNumber": "0", "StreamViewType": "NEW_AND_OLD_IMAGES"},
    }
    if publish_again([record], connection):
        raise RefusedError(
            f"the event of task {task.task_id} could not be published: see `sam logs --name PublishEvents`"
        )
    event = f"{task.task_id}:{task.version}"
    return Answer(
        f"{event_type(task)} is published again as {event}.",
        {"task_id": task.task_id, "event_id": event, "detail_type": event_type(task)},
    )


def _known_task(task_id: str, connection: Connection) -> Task:
    checked(task_id, TASK_ID, TASK_RULE)
    task = store_of(connection).get(task_id)
    if task is None:
        raise RefusedError(f"there is no task {task_id}: it never was, or its record was deleted (RetainTasksDays)")
    return task


def store_of(connection: Connection) -> TaskStore:
    return TaskStore(connection.client("dynamodb"), connection.resource("TaskTable"))


def _nothing(task: Task, what: str, reason: str) -> Answer:
    return Answer(
        f"Nothing to do for task {task.task_id}. {reason}",
        {"task_id": task.task_id, "status": task.status.value, what: False, "reason": reason},
    )


def _why_nothing_to_deliver(relay: Relay, task: Task) -> str:
    if task.status is Status.COMPLETED:
        return f"It is completed: {', '.join(f's3://{video.bucket}/{video.key}' for video in task.videos)}"
    if task.due_at is not None:
        return (
            f"It is {task.status}: there is no video yet. To check it: `{relay.again('task', 'check', task.task_id)}`."
        )
    return f"It is {task.status}{f' ({task.error.code})' if task.error else ''}."


def _poller_state(task: Task, connection: Connection) -> str | None:
    """The state of the execution that holds the present lease; None if none was started for it."""
    machine = connection.resource("PollTask")
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{task.task_id}-{task.lease}"
    try:
        reply = connection.client("stepfunctions").describe_execution(executionArn=execution)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return None
    return str(reply["status"]).lower()


def _attempt(task: Task) -> dict[str, Any] | None:
    if task.attempt is None:
        return None
    ended = task.attempt.ended_at
    return {"started_at": timestamp(task.attempt.started_at), "ended_at": timestamp(ended) if ended else None}


def _due(task: Task, at: int) -> str:
    if task.due_at is None:
        return "never: it needs no more checks"
    if task.due_at > at:
        return f"in {span(task.due_at - at)}"
    return f"overdue for {span(at - task.due_at)}"


def _life(task: Task, data: Mapping[str, Any], at: int) -> Iterator[str]:
    """The lines of `task show`."""
    attempt, webhook = data["attempt"], data["webhook"]
    yield f"Task {task.task_id} of tenant {task.tenant_id} is {task.status} (version {task.version})"
    yield f"  request     {task.request.get('model')}: {str(task.request.get('prompt', ''))[:PROMPT_CHARACTERS]!r}"
    yield f"  created     {timestamp(task.created_at)}, {span(at - task.created_at)} ago"
    yield f"  deadline    {data['deadline_at']}"
    yield "  history"
    for entry in task.history:
        since = span(entry.at - task.created_at)
        yield f"    {timestamp(entry.at)}  +{since:<9}  {entry.status:<10}  by {entry.source}"
    last = f", the last from {attempt['started_at']} to {attempt['ended_at'] or 'an unknown moment'}" if attempt else ""
    yield f"  attempts    {task.attempts}{last}"
    candidates = f" (candidates, not proven: {', '.join(task.candidate_ids)})" if task.candidates else ""
    yield f"  at provider {task.remote_id or 'no id known'}{candidates}"
    yield f"  next check  {data['due']}"
    yield f"  poller      {data['poller'] or 'none started'} for lease {task.lease}; {task.checks} checks without news"
    if task.paused_since is not None:
        yield f"  account     refused by the provider: the task waits since {data['waits_for_account_since']}"
    if since := data["waits_in_queue_since"]:
        yield f"  queue       the task waits for its turn at {task.provider} since {since}"
    failed = task.delivery.attempts if task.delivery else 0
    yield f"  deliveries  {failed} failed, {data['source_faults']} by the source; {data['delivery_requests']} repeated"
    if error := data["delivery_error"]:
        yield f"              last error {error['code']}: {error['message']}"
    if webhook:
        yield f"  webhook     {'; '.join(f'{name} {value}' for name, value in webhook.items()) or 'not sent yet'}"
    if task.usage and task.usage.cost:
        yield f"  cost        {task.usage.cost}"
    for video in task.videos:
        yield f"  video       s3://{video.bucket}/{video.key}  {video.size} bytes  sha256 {video.sha256}"
    if task.error:
        yield f"  error       {task.error.code}: {task.error.message}"
    if data["record_deleted_at"]:
        yield f"  deleted at  {data['record_deleted_at']}"


def span(milliseconds: int) -> str:
    """A duration in its two largest units."""
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _through_json(value: Any) -> Any:
    """A DynamoDB value as a stream event carries it: binary values as base 64 text."""
    (kind, content), *_ = value.items()
    if kind == "B":
        return {"B": base64.b64encode(content).decode()}
    if kind == "L":
        return {"L": [_through_json(part) for part in content]}
    if kind == "M":
        return {"M": {name: _through_json(part) for name, part in content.items()}}
    return value
