"""`relay task`: one task's whole life, and the hands that help it on."""

from __future__ import annotations

import base64
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from cli.answer import Answer, RefusedError, checked, table
from cli.connection import Connection, now
from cli.publisher import publish_again
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

__all__ = ["check", "deliver", "notify", "overdue", "publish", "show"]

PROMPT_CHARACTERS = 100
OVERDUE_SHOWN = 100
"""The oldest of so many are enough to see what ails them."""


def show(arguments: Namespace, connection: Connection) -> Answer:
    """Everything that is known of a task, nothing of it secret: links and image addresses are cut."""
    task = _known_task(arguments.task_id, connection)
    at = now()
    poller = _poller_state(task, connection)
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
        "poller": poller,
        "checks": task.checks,
        "due_at": timestamp(task.due_at) if task.due_at is not None else None,
        "due": _due(task, at),
        "deadline_at": timestamp(task.deadline_at),
        "waits_for_account_since": timestamp(task.paused_since) if task.paused_since is not None else None,
        "delivery_requests": delivery.requests,
        "source_faults": delivery.source_faults,
        "record_deleted_at": timestamp(task.expires_at * 1000) if task.expires_at is not None else None,
    }
    return Answer(_life(task, data, at), data)


def overdue(_: Namespace, connection: Connection) -> Answer:
    """The tasks that somebody should have looked at by now, the longest overdue first, at most `OVERDUE_SHOWN`.

    Those among them that the sweep has taken a lease for count as long as no poller has written the record since.
    """
    store, at = _store(connection), now()
    tasks = store.get_many(task_id for task_id, _ in store.find_due(at + LEASE_MS))
    due = ((min(task.due_since or at, task.due_at or at), task) for task in tasks.values())
    found = sorted(((since, task) for since, task in due if since < at), key=lambda one: one[0])
    shown = [
        {
            "task_id": task.task_id,
            "tenant_id": task.tenant_id,
            "status": task.status.value,
            "overdue_seconds": (at - since) // 1000,
        }
        for since, task in found[:OVERDUE_SHOWN]
    ]
    rows = [("TASK", "TENANT", "STATUS", "OVERDUE")]
    rows += [
        (str(task["task_id"]), str(task["tenant_id"]), str(task["status"]), f"{task['overdue_seconds']} s")
        for task in shown
    ]
    text = f"{table(rows)}\n{len(found)} in all." if found else "No task is overdue."
    return Answer(text, {"overdue": len(found), "tasks": shown})


def check(arguments: Namespace, connection: Connection) -> Answer:
    """Take the task's lease and start `poll_task` for it, as the sweep would if the task were due."""
    task = _known_task(arguments.task_id, connection)
    if task.due_at is None:
        return _nothing(task, "started", f"Nobody need look at it: it is {task.status} for good.")
    lease = _store(connection).take_lease(task.task_id, task.due_at, now() + LEASE_MS)
    if lease is None:
        return _nothing(task, "started", "It changed in this very moment. `relay task show` says how.")
    TaskPoller(connection.client("stepfunctions"), connection.resource("PollTask")).start(task.task_id, lease.number)
    return Answer(
        f"Task {task.task_id} is {task.status}; poll_task looks at it now, under lease {lease.number}. "
        "`relay task show` says what came of it.",
        {"task_id": task.task_id, "status": task.status.value, "started": True, "lease": lease.number},
    )


def deliver(arguments: Namespace, connection: Connection) -> Answer:
    """Ask for a task's videos to be copied now, also if that was given up (`video_unavailable`)."""
    task = _known_task(arguments.task_id, connection)
    asked = save_with_retry(_store(connection), task, lambda current: reopen(current, now=now()))
    if asked.status is not Status.GENERATED:
        return _nothing(asked, "asked", _why_nothing_to_deliver(asked))
    DeliveryQueue(connection.client("sqs"), connection.resource("DeliveriesQueue")).ask(task.task_id, task.tenant_id)
    return Answer(
        f"The videos of task {task.task_id} are asked for. `relay task show` says what came of it.",
        {"task_id": task.task_id, "status": asked.status.value, "asked": True},
    )


def notify(arguments: Namespace, connection: Connection) -> Answer:
    """Ask for the client to be told of the latest change that it is told of, under the same `webhook-id` as before."""
    task = _known_task(arguments.task_id, connection)
    version = latest_notified(task)
    if not task.request.get("callback_url"):
        return _nothing(task, "asked", "Its client gave no callback_url.")
    if version is None:
        return _nothing(task, "asked", f"There is nothing to tell yet: it is {task.status}.")
    NotificationQueue(
        connection.client("sqs"),
        connection.resource("NotificationsQueue"),
        connection.resource("NotificationsDeadLetters"),
    ).ask(Notification(task.task_id, version), task.tenant_id)
    return Answer(
        f"The client of task {task.task_id} is told of version {version}. If it cannot be, it is tried for a day.",
        {"task_id": task.task_id, "status": task.status.value, "asked": True, "version": version},
    )


def publish(arguments: Namespace, connection: Connection) -> Answer:
    """Publish the event of the task's present version again, under the same event id."""
    task = _known_task(arguments.task_id, connection)
    key = {"pk": {"S": f"task#{task.task_id}"}}
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
    checked(task_id, TASK_ID, "a task id has 26 of a-z and 2-7, as the API returns it")
    task = _store(connection).get(task_id)
    if task is None:
        raise RefusedError(f"there is no task {task_id}: it never was, or its record was deleted (RetainTasksDays)")
    return task


def _store(connection: Connection) -> TaskStore:
    return TaskStore(connection.client("dynamodb"), connection.resource("TaskTable"))


def _nothing(task: Task, what: str, reason: str) -> Answer:
    return Answer(
        f"Nothing to do for task {task.task_id}. {reason}",
        {"task_id": task.task_id, "status": task.status.value, what: False, "reason": reason},
    )


def _why_nothing_to_deliver(task: Task) -> str:
    if task.status is Status.COMPLETED:
        return f"It is completed: {', '.join(f's3://{video.bucket}/{video.key}' for video in task.videos)}"
    if task.due_at is not None:
        return f"It is {task.status}: there is no video yet. `relay task check` looks for one."
    return f"It is {task.status} for good{f' ({task.error.code})' if task.error else ''}."


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
        return "never: nobody need look at it again"
    if task.due_at > at:
        return f"in {_span(task.due_at - at)}"
    return f"overdue for {_span(at - task.due_at)}"


def _life(task: Task, data: Mapping[str, Any], at: int) -> str:
    prompt = str(task.request.get("prompt", ""))
    attempt, error, usage = data["attempt"], task.error, task.usage
    delivery = task.delivery or Delivery()
    last = delivery.last_error
    lines = [
        f"Task {task.task_id} of tenant {task.tenant_id} is {task.status} (version {task.version})",
        f"  request     {task.request.get('model')}: {prompt[:PROMPT_CHARACTERS]!r}",
        f"  created     {timestamp(task.created_at)}, {_span(at - task.created_at)} ago",
        f"  deadline    {timestamp(task.deadline_at)}",
        "  history",
        *(
            f"    {timestamp(entry.at)}  +{_span(entry.at - task.created_at):<9}  {entry.status:<10}  by {entry.source}"
            for entry in task.history
        ),
        f"  attempts    {task.attempts}"
        + (
            f", the last from {attempt['started_at']} to {attempt['ended_at'] or 'an unknown moment'}"
            if attempt
            else ""
        ),
        f"  at provider {task.remote_id or 'no id known'}"
        + (f" (candidates, not proven: {', '.join(task.candidate_ids)})" if task.candidates else ""),
        f"  next look   {data['due']}",
        f"  poller      {data['poller'] or 'none started'} for lease {task.lease}; {task.checks} checks without news",
        *(
            [f"  account     refused by the provider: the task waits since {data['waits_for_account_since']}"]
            if task.paused_since is not None
            else []
        ),
        f"  deliveries  {delivery.attempts} failed, {delivery.source_faults} by the source; "
        f"asked for again {delivery.requests} times" + (f"; last error {last.code}: {last.message}" if last else ""),
    ]
    lines += [f"  cost        {usage.cost}"] if usage and usage.cost else []
    lines += [
        f"  video       s3://{video.bucket}/{video.key}  {video.size} bytes  sha256 {video.sha256}"
        for video in task.videos
    ]
    lines += [f"  error       {error.code}: {error.message}"] if error else []
    lines += [f"  forgotten   {data['record_deleted_at']}"] if data["record_deleted_at"] else []
    return "\n".join(lines)


def _span(milliseconds: int) -> str:
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
