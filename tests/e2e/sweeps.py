"""The minute's sweep, out of the way of tests that it may overtake, and at hand for those that are about it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from local.client import RelayClient

__all__ = ["make_overdue", "schedule_switched_off", "without_sweeps"]

KEPT = ("Name", "GroupName", "Description", "ScheduleExpression", "FlexibleTimeWindow", "Target")
LONG_AGO = "1"


def without_sweeps(relay: RelayClient) -> AbstractContextManager[None]:
    """Meanwhile the schedule runs none.

    One that has just begun looks for what was due at its beginning: it finds no task submitted here.
    """
    return schedule_switched_off(relay.aws("scheduler"))


@contextmanager
def schedule_switched_off(scheduler: Any) -> Iterator[None]:
    """Meanwhile the schedule of the stack is disabled."""
    (listed,) = scheduler.list_schedules()["Schedules"]
    found = scheduler.get_schedule(Name=listed["Name"], GroupName=listed["GroupName"])
    schedule = {name: found[name] for name in KEPT}
    scheduler.update_schedule(**schedule, State="DISABLED")
    try:
        yield
    finally:
        scheduler.update_schedule(**schedule, State="ENABLED")


def make_overdue(relay: RelayClient, task_id: str) -> None:
    """The next sweep finds this task, whenever it would have been due."""
    relay.aws("dynamodb").update_item(
        TableName=relay.stack.table,
        Key={"pk": {"S": f"task#{task_id}"}},
        UpdateExpression="SET due_at = :long_ago ADD revision :one",
        ConditionExpression="attribute_exists(due_at)",
        ExpressionAttributeValues={":long_ago": {"N": LONG_AGO}, ":one": {"N": "1"}},
    )
