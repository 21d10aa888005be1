"""Which errors of the ledger the stream repeats, and which records are set aside so that the shard goes on."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from tests.unit.builders import new_task, submitting
from tests.unit.usecases.test_publish_events import Failures
from vidu_relay.adapters.failures_bucket import FailuresBucket
from vidu_relay.adapters.task_item import to_item
from vidu_relay.domain.errors import TransactionConflictError
from vidu_relay.usecases.record_spending import record_spending


class Ledger:
    """Fails at the first of the rows that it is given."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.rows = 0

    def record(self, _: Any, *, settles: bool) -> None:
        error, self.error = self.error, None
        if error:
            raise error
        assert not settles, "a new record differs from nothing"
        self.rows += 1


def refused(code: str, *reasons: str) -> ClientError:
    response: Any = {"Error": {"Code": code}, "CancellationReasons": [{"Code": reason} for reason in reasons]}
    return ClientError(response, "TransactWriteItems")


def inserted(number: str) -> dict[str, Any]:
    return {"dynamodb": {"SequenceNumber": number, "NewImage": to_item(new_task())}}


CANCELED = "TransactionCanceledException"


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (refused("ProvisionedThroughputExceededException"), True),
        (refused("AccessDeniedException"), True),
        (refused(CANCELED, "None", "ThrottlingError"), True),
        (TransactionConflictError("task"), True),
        (EndpointConnectionError(endpoint_url="https://…"), True),
        (refused("ValidationException"), False),
        (refused(CANCELED, "None", "ValidationError"), False),
        (ParamValidationError(report="…"), False),
        (ArithmeticError("…"), False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("broken", [False, True])
def test_error_is_repeated_or_its_record_set_aside(error: Exception, repeated: bool, broken: bool) -> None:
    ledger, failures = Ledger(error), Failures()
    failures.broken = broken
    bucket = FailuresBucket(failures, "relay-failures", "record_spending")  # type: ignore[arg-type]  # what it needs
    stopped = record_spending([inserted("1"), inserted("2")], ledger, bucket)  # type: ignore[arg-type]  # the same
    kept = [record["dynamodb"]["SequenceNumber"] for record in failures.records()]
    goes_on = not repeated and not broken
    assert (stopped, ledger.rows, kept) == ((None, 1, ["1"]) if goes_on else ("1", 0, []))


def test_write_that_changes_no_bill_calls_nothing() -> None:
    ledger = Ledger(AssertionError("called"))
    change = {"SequenceNumber": "1", "OldImage": to_item(new_task()), "NewImage": to_item(submitting())}
    began = submitting().created_at
    assert record_spending([{"dynamodb": change}], ledger, None, clock=lambda: began) is None  # type: ignore[arg-type]
    assert record_spending([{"dynamodb": {"SequenceNumber": "2"}}], ledger, None) is None  # type: ignore[arg-type]
