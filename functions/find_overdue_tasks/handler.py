"""Every minute, and when a task makes room at a provider: dispatch the queues, and start a check of what is overdue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.check_function import CheckFunction
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.catalogue import PROVIDERS
from vidu_relay.observability import logger, observed
from vidu_relay.settings import FindOverdueTasksSettings, load, polling_policy
from vidu_relay.usecases.dispatch_tasks import DispatchDependencies, dispatch_queues
from vidu_relay.usecases.find_due_batches import find_due_batches
from vidu_relay.usecases.find_overdue_tasks import find_overdue_tasks

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(FindOverdueTasksSettings)
table = aws.client("dynamodb")
store = TaskStore(table, settings.table_name)
poller = TaskPoller(aws.client("stepfunctions"), settings.state_machine_arn)
checker = CheckFunction(aws.client("lambda"), settings.check_function)
batches = BatchStore(table, settings.table_name)
requests = BatchQueue(aws.client("sqs"), settings.requests_queue_url)
dispatch = DispatchDependencies(
    store=store,
    queue=ProviderQueue(table, settings.table_name),
    pauses=ProviderPauses(table, settings.table_name),
    checker=checker,
    policy=polling_policy(settings),
    ceiling=settings.max_tasks_in_flight,
)

MARGIN_MS = 5_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    dispatch_queues(PROVIDERS, dispatch)
    find_due_batches(batches, requests)
    result = find_overdue_tasks(
        store, poller, checker, time_is_up=lambda: context.get_remaining_time_in_millis() < MARGIN_MS
    )
    logger.info("sweep_done", started=result.started, failed=result.failed, oldest_seconds=result.oldest_seconds)
    return {"started": result.started, "failed": result.failed, "oldest_seconds": result.oldest_seconds}
