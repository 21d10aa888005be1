"""`GET /v1/tasks`, `GET /v1/tasks/{task_id}`, `…/notifications`, `GET /v1/batches/{batch_id}` and `GET /v1/usage` → the
tenant's own tasks, their webhooks, its batches, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.notification_log import NotificationLog
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.adapters.request_inbox import RequestInbox
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.http import (
    budget_of,
    daily_cap_of,
    entity_tags,
    invalid_request,
    json_response,
    problem,
    task_not_found,
    tenant_of,
)
from vidu_relay.observability import observed
from vidu_relay.settings import ReadTasksSettings, load
from vidu_relay.usecases.advise_retry import RecentTasks
from vidu_relay.usecases.read_batch import read_batch
from vidu_relay.usecases.read_tasks import list_notifications, list_tasks, read_task
from vidu_relay.usecases.read_usage import read_today, read_usage

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(ReadTasksSettings)
store = TaskStore(aws.client("dynamodb"), settings.table_name)
recent = RecentTasks(store)
queue = ProviderQueue(aws.client("dynamodb"), settings.table_name)
requests = RequestArchive(aws.client("s3"), settings.inbox_bucket)
quota = DailyQuota(aws.client("dynamodb"), settings.table_name, once=aws.client("dynamodb"))
ledger = Ledger(aws.client("dynamodb"), settings.ledger_table)
videos = VideoLinks(aws.client("s3"))
log = NotificationLog(aws.client("dynamodb"), settings.table_name)
batches = BatchStore(aws.client("dynamodb"), settings.table_name)
inbox = RequestInbox(aws.client("s3"), settings.inbox_bucket)


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    tenant_id = tenant_of(event)
    named = event.get("pathParameters") or {}
    if "batch_id" in named:
        batch = read_batch(named["batch_id"], tenant_id, batches=batches, inbox=inbox, links=videos)
        return json_response(200, batch) if batch else problem(404, "batch_not_found", "There is no such batch.")
    task_id = named.get("task_id")
    if task_id is not None and event["routeKey"].endswith("/notifications"):
        webhooks = list_notifications(task_id, tenant_id, store=store, log=log)
        return json_response(200, webhooks) if webhooks else task_not_found()
    if task_id is not None:
        found = read_task(
            task_id,
            tenant_id,
            store=store,
            requests=requests,
            videos=videos,
            queue=queue,
            recent=recent,
            known=entity_tags(event),
        )
        if found is None:
            return task_not_found()
        wait = found.retry_after_seconds
        return _tagged(found.task, found.tag, {} if wait is None else {"retry-after": str(wait)})
    query = event.get("queryStringParameters") or {}
    try:
        if event.get("routeKey") == "GET /v1/usage":
            usage = read_usage(tenant_id, query, ledger)
            usage["today"] = read_today(tenant_id, daily_cap_of(event), budget_of(event), quota)
            return json_response(200, usage)
        page = list_tasks(tenant_id, query, store=store, videos=videos, known=entity_tags(event))
    except InvalidRequestError as error:
        return invalid_request(error)
    shown = None if page.unchanged else {"tasks": page.tasks, "next_cursor": page.next_cursor}
    return _tagged(shown, page.tag, {})


def _tagged(body: Any, tag: str, headers: dict[str, str]) -> dict[str, Any]:
    """The answer with its entity tag; 304 where there is no body to send."""
    answer = json_response(304 if body is None else 200, body, {**headers, "etag": tag})
    return answer | {"body": ""} if body is None else answer
