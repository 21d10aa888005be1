"""The daily cap: no submit passes it, and a slot that did not count is returned. Uploads have a bound of their own."""

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError

from tests.unit.account import ENVIRONMENT
from tests.unit.adapters.conftest import TABLE
from vidu_relay import aws
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.limit_errors import BudgetReachedError, DailyCapReachedError, DailyUploadsReachedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOON = 1_800_014_400_000  # 2027-01-15T12:00:00Z
DAY = 86_400_000


@pytest.fixture
def quota(dynamodb: "DynamoDBClient") -> DailyQuota:
    return DailyQuota(dynamodb, TABLE, once=dynamodb)


def test_as_many_as_the_cap_and_not_one_more(quota: DailyQuota) -> None:
    for _ in range(3):
        quota.take("acme", 3, NOON)
    with pytest.raises(DailyCapReachedError) as caught:
        quota.take("acme", 3, NOON)
    assert caught.value.code == "daily_cap_reached"
    assert caught.value.retry_after_seconds == 12 * 3600 + 1, "until midnight UTC"
    quota.take("globex", 3, NOON)
    quota.take("acme", 3, NOON + DAY // 2)
    quota.take("acme", 4, NOON)  # a raised cap holds at once, and a lowered one too
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", 2, NOON)


@pytest.mark.parametrize("cap", [0, -1])
def test_cap_of_nothing_takes_nothing(quota: DailyQuota, cap: int) -> None:
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", cap, NOON)
    with pytest.raises(DailyUploadsReachedError):
        quota.take_upload("acme", cap, NOON)


def test_what_is_given_back_can_be_taken_again_and_nothing_else(quota: DailyQuota) -> None:
    quota.give_back("acme", NOON)
    quota.take("acme", 1, NOON)
    quota.give_back("acme", NOON)
    quota.take("acme", 1, NOON)
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", 1, NOON)


def test_return_whose_reply_was_lost_is_not_sent_again(
    dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent twice, it would return two slots, whatever return marker it carries: another return may come in between."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    aws.client.cache_clear()
    once, sent = aws.client("dynamodb", single_try=True), []

    def lose_the_reply(request: AWSPreparedRequest, **_: Any) -> None:
        sent.append(request)
        assert isinstance(request.body, bytes)
        dynamodb.update_item(**json.loads(request.body))
        raise ReadTimeoutError(endpoint_url=request.url)

    once.meta.events.register_first("before-send.dynamodb.UpdateItem", lose_the_reply)
    quota = DailyQuota(dynamodb, TABLE, once=once)
    for _ in range(5):
        quota.take("acme", 5, NOON)
    with pytest.raises(ReadTimeoutError):
        quota.give_back("acme", NOON)
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert (len(sent), item["accepted"]) == (1, {"N": "4"})


def test_uploads_are_counted_apart_from_tasks_ten_for_each(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    quota.take("acme", 2, NOON)
    for _ in range(20):
        quota.take_upload("acme", 2, NOON)
    with pytest.raises(DailyUploadsReachedError) as caught:
        quota.take_upload("acme", 2, NOON)
    assert (caught.value.code, caught.value.retry_after_seconds) == ("daily_uploads_reached", 12 * 3600 + 1)
    quota.take("acme", 2, NOON)
    quota.take_upload("acme", 2, NOON + DAY)
    quota.take_upload("globex", 2, NOON)


def test_counters_are_forgotten_by_themselves(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    quota.take("acme", 5, NOON)
    quota.take("acme", 5, NOON)
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert item["accepted"] == {"N": "2"}
    assert NOON // 1000 + 86_400 < int(item["expires_at"]["N"]) < NOON // 1000 + 41 * 86_400


def spend(quota: DailyQuota, price: str, now: int = NOON, **budget: str) -> int:
    bounds = Budget(**{name: Decimal(amount) for name, amount in budget.items()})
    return quota.take("acme", 1000, now, price=Decimal(price), budget=bounds)


def refusal(quota: DailyQuota, price: str, now: int = NOON, **budget: str) -> BudgetReachedError:
    with pytest.raises(BudgetReachedError) as caught:
        spend(quota, price, now, **budget)
    return caught.value


def test_day_s_budget_is_spent_to_the_last_cent_and_no_further(quota: DailyQuota) -> None:
    for _ in range(3):
        spend(quota, "0.1", daily="0.3")
    error = refusal(quota, "0.000000001", daily="0.3")
    assert (error.code, error.retry_after_seconds) == ("budget_reached", 12 * 3600 + 1)
    assert "0 are left of the day's budget of 0.3" in error.detail
    spend(quota, "0.2", daily="0.5")  # a raised budget holds at once
    spend(quota, "0.3", NOON + DAY, daily="0.3")
    quota.take("globex", 1, NOON, price=Decimal(5))  # without a budget: the cap alone


def test_budget_of_nothing_accepts_nothing_and_a_refusal_takes_no_slot(quota: DailyQuota) -> None:
    refusal(quota, "0.1", daily="0")
    refusal(quota, "0.4", daily="0.3")
    refusal(quota, "0.4", daily="1", monthly="0.3")
    quota.take("acme", 1, NOON)


def test_functions_that_know_nothing_of_each_other_do_not_pass_the_budget(dynamodb: "DynamoDBClient") -> None:
    """Each has its own memory of the month's earlier days; the day's item decides."""
    functions = [DailyQuota(dynamodb, TABLE, once=dynamodb) for _ in range(4)]
    spend(functions[0], "1", NOON - DAY)
    for quota in functions[:3]:
        spend(quota, "0.3", monthly="2")
    for quota in functions:
        refusal(quota, "0.3", monthly="2")


def test_month_s_budget_counts_its_earlier_days(quota: DailyQuota) -> None:
    for day in (14, 2, 1):
        spend(quota, "1", NOON - day * DAY, monthly="9")
    spend(quota, "4", NOON - 15 * DAY, daily="9")  # the month before
    error = refusal(quota, "0.6", monthly="3.5")
    assert "0.5 are left of the month's budget of 3.5" in error.detail
    assert error.retry_after_seconds == 16 * 86_400 + 12 * 3600 + 1, "until the first"
    spend(quota, "0.5", monthly="3.5")
    assert "0 are left" in refusal(quota, "0.1", monthly="3.5").detail


def test_task_that_is_late_for_its_day_counts_for_the_next_one(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    """Once the sum of a month's earlier days was read, nothing may be added to them."""
    late, midnight = NOON + DAY // 2 - 1, NOON + DAY // 2
    spend(quota, "1", late, monthly="9")
    spend(quota, "1", midnight, monthly="9")
    assert spend(quota, "1", late, monthly="9") == midnight
    items = dynamodb.scan(TableName=TABLE)["Items"]
    spent = {item["pk"]["S"][-2:]: item["committed"]["N"] for item in items if "committed" in item}
    assert spent == {"15": "1", "16": "2"}


def test_reservation_that_is_given_back_frees_the_budget(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    spend(quota, "0.3", daily="0.3")
    quota.give_back("acme", NOON, Decimal("0.3"))
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert Decimal(item["committed"]["N"]) == Decimal(item["taken_24"]["N"]) == 0
    spend(quota, "0.3", daily="0.3")


def batch_put(moment: int, batch_id: str = "b") -> dict[str, Any]:
    item = {"pk": {"S": f"batch#{batch_id}"}, "created_at": {"N": str(moment)}}
    return {"TableName": TABLE, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}


def take_batch(quota: DailyQuota, tasks: int, price: str, batch_id: str = "b", **budget: str) -> Any:
    bounds = Budget(**{name: Decimal(amount) for name, amount in budget.items()})
    return quota.take_batch(
        lambda moment: batch_put(moment, batch_id), "acme", 5, NOON, tasks=tasks, price=Decimal(price), budget=bounds
    )


def test_batch_is_recorded_and_reserved_as_a_whole_or_not_at_all(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    spend(quota, "1", NOON - DAY)
    spend(quota, "0.2")
    for tasks, price, budget, left in (
        (
            5,
            "0.1",
            {"daily": "9"},
            "asks for 5 tasks, and 4 are left of the daily cap of 5: .* or the file again after",
        ),
        (6, "0.1", {"daily": "9"}, "asks for 6 tasks, and 4 are left of the daily cap of 5: .* Send fewer lines.$"),
        (2, "0.9", {"daily": "1"}, "The file's 2 tasks reserve 0.9 US dollars, and 0.8 are left of the day's"),
        (2, "0.9", {"monthly": "2"}, "The file's 2 tasks reserve 0.9 US dollars, and 0.8 are left of the month's"),
        (2, "9", {"daily": "1"}, "The file's 2 tasks reserve 9 US dollars, and 0.8 are left of the day's"),
    ):
        with pytest.raises((DailyCapReachedError, BudgetReachedError), match=left):
            take_batch(quota, tasks, price, **budget)
    assert not [item for item in dynamodb.scan(TableName=TABLE)["Items"] if item["pk"]["S"].startswith("batch#")]

    assert take_batch(quota, 4, "0.8", daily="1", monthly="2") is None
    assert take_batch(quota, 4, "0.8")["created_at"] == {"N": str(NOON)}, "the same again"
    (day,) = [i for i in dynamodb.scan(TableName=TABLE)["Items"] if i["pk"]["S"] == "cap#acme#2027-01-15"]
    assert (int(day["accepted"]["N"]), Decimal(day["committed"]["N"])) == (5, Decimal(1))

    assert quota.settle_batch(batch_put(NOON), "acme", NOON, tasks=3, price=Decimal("0.5")), "it stands"
    assert quota.settle_batch(batch_put(NOON, "other"), "acme", NOON, tasks=3, price=Decimal("0.5")) is None
    assert take_batch(quota, 3, "0.5", "third", daily="1") is None


def test_batch_counts_for_the_next_day_once_its_own_is_closed(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    spend(quota, "0.1")
    spend(quota, "0.1", NOON + DAY, monthly="5")  # the sum of the month's earlier days is taken
    assert take_batch(quota, 4, "1") is None
    item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": "batch#b"}})["Item"]
    assert int(item["created_at"]["N"]) == (NOON // DAY + 1) * DAY
