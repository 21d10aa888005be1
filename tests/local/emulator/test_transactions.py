"""DynamoDB's transactions as the relay needs them: all or nothing, once for each token, by single permissions."""

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator.test_streams import batches, catch_up
from tests.local.probe import Emulator, eventually

MISSING = "attribute_not_exists(pk)"


def put(emulator: Emulator, key: str, value: str = "", **more: Any) -> dict[str, Any]:
    item = {"pk": {"S": key}, "value": {"S": value}}
    return {"Put": {"TableName": emulator.outputs["Table"], "Item": item, "ConditionExpression": MISSING, **more}}


def value_of(emulator: Emulator, key: str) -> str | None:
    table = emulator.outputs["Table"]
    found = emulator.client("dynamodb").get_item(TableName=table, Key={"pk": {"S": key}}, ConsistentRead=True)
    return str(found["Item"]["value"]["S"]) if "Item" in found else None


@pytest.fixture
def run(emulator: Emulator) -> str:
    catch_up(emulator)
    return uuid.uuid4().hex[:8]


def test_one_token_is_one_write_and_another_request_under_it_is_refused(emulator: Emulator, run: str) -> None:
    dynamodb, token = emulator.client("dynamodb"), uuid.uuid4().hex
    for _ in range(2):  # as the SDK repeats a call whose reply was lost
        dynamodb.transact_write_items(TransactItems=[put(emulator, f"one-{run}", "1")], ClientRequestToken=token)
    with pytest.raises(ClientError) as refusal:
        dynamodb.transact_write_items(TransactItems=[put(emulator, f"two-{run}", "2")], ClientRequestToken=token)
    assert refusal.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"
    assert (value_of(emulator, f"one-{run}"), value_of(emulator, f"two-{run}")) == ("1", None)


def test_a_condition_that_fails_cancels_all_and_shows_what_is_there(emulator: Emulator, run: str) -> None:
    dynamodb = emulator.client("dynamodb")
    dynamodb.transact_write_items(TransactItems=[put(emulator, f"there-{run}", "before")])
    writes = [
        put(emulator, f"new-{run}"),
        put(emulator, f"there-{run}", "after", ReturnValuesOnConditionCheckFailure="ALL_OLD"),
    ]
    with pytest.raises(ClientError) as refusal:
        dynamodb.transact_write_items(TransactItems=writes, ClientRequestToken=uuid.uuid4().hex)
    assert refusal.value.response["Error"]["Code"] == "TransactionCanceledException"
    first, second = refusal.value.response["CancellationReasons"]
    assert (first["Code"], second["Code"]) == ("None", "ConditionalCheckFailed")
    assert second["Item"]["value"] == {"S": "before"}
    assert (value_of(emulator, f"new-{run}"), value_of(emulator, f"there-{run}")) == (None, "before")


def test_a_transaction_needs_the_permissions_of_its_parts(emulator: Emulator, run: str) -> None:
    """The role may put items, and neither update nor delete them."""
    reply = emulator.client("lambda").invoke(FunctionName=emulator.outputs["Probe"], Payload=b"{}")
    dynamodb = emulator.session_of(_environment(reply))("dynamodb")
    key = {"TableName": emulator.outputs["Table"], "Key": {"pk": {"S": f"put-{run}"}}}
    dynamodb.transact_write_items(TransactItems=[put(emulator, f"put-{run}", "1")])
    for forbidden in ({"Update": {**key, "UpdateExpression": "REMOVE x"}}, {"Delete": key}):
        with pytest.raises(ClientError) as refusal:
            dynamodb.transact_write_items(TransactItems=[put(emulator, f"other-{run}"), forbidden])
        assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
    assert value_of(emulator, f"other-{run}") is None


def test_each_item_of_a_transaction_is_in_the_stream(emulator: Emulator, run: str) -> None:
    writes = [put(emulator, f"first-{run}"), put(emulator, f"second-{run}")]
    emulator.client("dynamodb").transact_write_items(TransactItems=writes)
    expected = {f"first-{run}", f"second-{run}"}
    assert eventually(lambda: {key for batch in batches(emulator, run) for key in batch} == expected)


def _environment(reply: Any) -> dict[str, str]:
    environment: dict[str, str] = json.loads(reply["Payload"].read())["environment"]
    return environment
