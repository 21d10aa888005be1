"""The daily cap: nobody gets past it, and what did not count is given back."""

from typing import TYPE_CHECKING

import pytest

from tests.unit.adapters.conftest import TABLE
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.domain.errors import DailyCapReachedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOON = 1_800_014_400_000  # 2027-01-15T12:00:00Z
DAY = 86_400_000


@pytest.fixture
def quota(dynamodb: "DynamoDBClient") -> DailyQuota:
    return DailyQuota(dynamodb, TABLE)


def test_as_many_as_the_cap_and_not_one_more(quota: DailyQuota) -> None:
    for _ in range(3):
        quota.take("acme", 3, NOON)
    with pytest.raises(DailyCapReachedError) as caught:
        quota.take("acme", 3, NOON)
    assert caught.value.code == "daily_cap_reached"


def test_wait_is_until_midnight_utc(quota: DailyQuota) -> None:
    with pytest.raises(DailyCapReachedError) as caught:
        quota.take("acme", 0, NOON)
    assert caught.value.retry_after_seconds == 12 * 3600 + 1


@pytest.mark.parametrize("cap", [0, -1])
def test_cap_of_nothing_takes_nothing(quota: DailyQuota, cap: int) -> None:
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", cap, NOON)


def test_each_tenant_and_each_day_has_its_own(quota: DailyQuota) -> None:
    quota.take("acme", 1, NOON)
    quota.take("globex", 1, NOON)
    quota.take("acme", 1, NOON + DAY // 2)


def test_what_is_given_back_can_be_taken_again(quota: DailyQuota) -> None:
    quota.take("acme", 1, NOON)
    quota.give_back("acme", NOON)
    quota.take("acme", 1, NOON)


def test_a_return_whose_reply_was_lost_gives_back_one_place(dynamodb: "DynamoDBClient") -> None:
    quota = DailyQuota(dynamodb, TABLE, mark=lambda: "the same request, sent again by the SDK")
    for _ in range(3):
        quota.take("acme", 3, NOON)
    quota.give_back("acme", NOON)
    quota.give_back("acme", NOON)
    quota.take("acme", 3, NOON)
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", 3, NOON)


def test_nothing_is_given_back_that_was_not_taken(quota: DailyQuota) -> None:
    quota.give_back("acme", NOON)
    quota.take("acme", 1, NOON)
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", 1, NOON)


def test_a_raised_cap_holds_at_once_and_a_lowered_one_too(quota: DailyQuota) -> None:
    quota.take("acme", 1, NOON)
    quota.take("acme", 2, NOON)
    with pytest.raises(DailyCapReachedError):
        quota.take("acme", 1, NOON)


def test_counters_are_forgotten_by_themselves(quota: DailyQuota, dynamodb: "DynamoDBClient") -> None:
    quota.take("acme", 5, NOON)
    quota.take("acme", 5, NOON)
    (item,) = dynamodb.scan(TableName=TABLE)["Items"]
    assert item["accepted"] == {"N": "2"}
    assert NOON // 1000 + 86_400 < int(item["expires_at"]["N"]) < NOON // 1000 + 4 * 86_400
