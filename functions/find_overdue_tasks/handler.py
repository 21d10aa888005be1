"""Every minute: start `poll_task`, or a single check, for each overdue task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.check_function import CheckFunction
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.observability import logger, observed
from vidu_relay.settings import FindOverdueTasksSettings, load
from vidu_relay.usecases.find_overdue_tasks import find_overdue_tasks

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(FindOverdueTasksSettings)
store = TaskStore(aws.client("dynamodb"), settings.table_name)
poller = TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn)
checker = CheckFunction(aws.client("lambda"), settings.check_function)

MARGIN_MS = 5_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    result = find_overdue_tasks(
        store, poller, checker, time_is_up=lambda: context.get_remaining_time_in_millis() < MARGIN_MS
    )
    logger.info("sweep_done", started=result.started, failed=result.failed, oldest_seconds=result.oldest_seconds)
    return {"started": result.started, "failed": result.failed, "oldest_seconds": result.oldest_seconds}
