"""The minute's sweep, switched off for tests that it may overtake, and what makes it find a task."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from local.client import RelayClient

KEPT = ("Name", "GroupName", "Description", "ScheduleExpression", "FlexibleTimeWindow", "Target")


def without_sweeps(relay: RelayClient) -> AbstractContextManager[None]:
    """Meanwhile the schedule runs none.

    One that has just begun looks for what was due at its beginning: it finds no task submitted here.
    """
    return schedule_switched_off(relay.aws("scheduler"))


@contextmanager
def schedule_switched_off(scheduler: Any) -> Iterator[None]:
    """Meanwhile the schedule of the sweep is disabled."""
    (listed,) = (one for one in scheduler.list_schedules()["Schedules"] if "FindOverdueTasks" in one["Target"]["Arn"])
    found = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
    schedule = {name: found[name] for name in KEPT}
    scheduler.update_schedule(**schedule, State="DISABLED")
    try:
        yield
    finally:
        scheduler.update_schedule(**schedule, State="ENABLED")


def make_overdue(relay: RelayClient, task_id: str) -> None:
    """The next sweep finds this task, whenever it would have been due."""
    change_record(relay, f"task#{task_id}", "SET due_at = :long_ago ADD revision :one", "attribute_exists(due_at)")


def change_record(relay: RelayClient, key: str, change: str, condition: str, **values: Any) -> None:
    """Update an item of the table. An expression may use `:long_ago`, `:one` and the values, which are typed."""
    values = {"long_ago": {"N": "1"}, "one": {"N": "1"}, **values}
    relay.aws("dynamodb").update_item(
        TableName=relay.stack.table,
        Key={"pk": {"S": key}},
        UpdateExpression=change,
        ConditionExpression=condition,
        ExpressionAttributeValues={f":{name}": v for name, v in values.items() if f":{name}" in change + condition},
    )
