"""`DELETE /v1/tasks/{task_id}` → the content of a settled task is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.task_content import TaskContent
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.errors import DeletionIncompleteError, InvalidRequestError
from vidu_relay.http import invalid_request, problem, task_not_found, tenant_of
from vidu_relay.observability import Metric, count, logger, observed
from vidu_relay.settings import DeleteTaskSettings, load
from vidu_relay.usecases.delete_task import DeletionDependencies, delete_task

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(DeleteTaskSettings)
deps = DeletionDependencies(
    store=TaskStore(aws.client("dynamodb"), settings.table_name),
    requests=RequestArchive(aws.client("s3"), settings.inbox_bucket),
    content=TaskContent(aws.client("s3"), settings.inbox_bucket, settings.videos_bucket),
    log=NotificationLog(aws.client("dynamodb"), settings.table_name),
)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    try:
        known = delete_task(str((event.get("pathParameters") or {}).get("task_id", "")), tenant_of(event), deps)
    except InvalidRequestError as error:
        count(Metric.REQUEST_REFUSED)
        logger.info("deletion_declined", code=error.code)
        return invalid_request(error)
    except DeletionIncompleteError as error:
        logger.warning("deletion_incomplete", reason=str(error))
        detail = "Some objects of the task are left. Send the deletion again."
        return problem(503, "deletion_incomplete", detail, headers={"retry-after": "10"})
    return {"statusCode": 204} if known else task_not_found()
