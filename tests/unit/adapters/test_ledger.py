"""The ledger table: a row is only replaced by a later state, and each difference reaches the counters once."""

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.adapters.conftest import TABLE, TABLE_FIELDS
from tests.unit.builders import NOW, task_in
from tests.unit.template import properties
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain.errors import TransactionConflictError
from vidu_relay.domain.ledger import LedgerRow, ledger_row
from vidu_relay.domain.states import Status

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DAY = "cap#acme#2027-01-15"
OPEN = ledger_row(replace(task_in(Status.SUBMITTED), reserved_usd="0.3", revision=1), NOW)
BILLED = ledger_row(replace(task_in(Status.COMPLETED), reserved_usd="0.3", revision=5), NOW)


@pytest.fixture
def ledger(dynamodb: "DynamoDBClient") -> Ledger:
    definition: Any = {name: value for name, value in properties("LedgerTable").items() if name in TABLE_FIELDS}
    dynamodb.create_table(TableName="ledger", **definition)
    return Ledger(dynamodb, "ledger", TABLE)


def committed(dynamodb: "DynamoDBClient", pk: str) -> Decimal | None:
    item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": pk}}).get("Item")
    return Decimal(item["committed"]["N"]) if item else None


def put(dynamodb: "DynamoDBClient", *counters: str) -> None:
    for pk in counters:
        dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": pk}, "committed": {"N": "10.3"}})


@pytest.mark.parametrize("counters", [(), (DAY,)])
@pytest.mark.parametrize(
    ("records", "last", "added"),
    [
        ([OPEN, OPEN], OPEN, "0"),
        ([OPEN, BILLED, BILLED, OPEN], BILLED, "0.1"),
        ([BILLED, OPEN], BILLED, "0.1"),
        ([OPEN, BILLED, replace(BILLED, revision=6, cost=None, counted=Decimal("0.3"))], None, "0"),
        ([replace(OPEN, version=OPEN.version + 9), BILLED], replace(OPEN, version=OPEN.version + 9), "0"),
    ],
)
def test_later_state_wins_and_the_difference_is_counted_once(
    ledger: Ledger, dynamodb: "DynamoDBClient", counters: tuple[str, ...],
    records: list[LedgerRow], last: LedgerRow | None, added: str,
) -> None:  # fmt: skip
    put(dynamodb, *counters)
    for record in records:
        ledger.record(record)
    assert list(ledger.rows("acme", "2027-01-15")) == [last or records[-1]]
    assert committed(dynamodb, DAY) == (Decimal("10.3") + Decimal(added) if counters else None)


def test_rows_are_one_day_s_and_one_tenant_s_unless_all_are_wanted(ledger: Ledger) -> None:
    other = replace(OPEN, tenant_id="acme-2", task_id="b" * 26)
    later = replace(OPEN, created_at=NOW + 86_400_000)
    for record in (OPEN, other, later):
        assert ledger.record(record) is True
    assert list(ledger.rows("acme", "2027-01-15")) == [OPEN]
    assert list(ledger.rows(None, "2027-01-15")) == [OPEN, other]
    assert list(ledger.rows("acme", "2027-01-16")) == [later]


class Busy:
    """A client whose transactions always meet another one."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **_: Any) -> Any:
        reasons: Any = [{"Code": "None"}, {"Code": "TransactionConflict"}]
        error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
        raise ClientError(error, "TransactWriteItems")


def test_counter_that_is_always_busy_leaves_the_record_to_the_stream(
    ledger: Ledger, dynamodb: "DynamoDBClient"
) -> None:
    put(dynamodb, DAY)
    with pytest.raises(TransactionConflictError):
        Ledger(Busy(dynamodb), "ledger", TABLE).record(BILLED)  # type: ignore[arg-type]
    assert (list(ledger.rows("acme", "2027-01-15")), committed(dynamodb, DAY)) == ([], Decimal("10.3"))
