"""The table's stream → rows of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.observability import observed
from vidu_relay.settings import RecordSpendingSettings, load
from vidu_relay.usecases.record_spending import record_spending

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(RecordSpendingSettings)
ledger = Ledger(aws.client("dynamodb"), settings.ledger_table, settings.table_name)
failures = FailuresBucket(aws.lazy_s3(), settings.failures_bucket, "record_spending")


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    # the operator's tool sends records again, and itself keeps those that fail
    failed = record_spending(event["Records"], ledger, failures if event.get("set_aside", True) else None)
    return {"batchItemFailures": [{"itemIdentifier": failed}] if failed else []}
