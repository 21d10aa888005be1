"""The daily cap: no submit passes it, and a slot that did not count is returned. Uploads have a bound of their own."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError

from tests.unit.account import ENVIRONMENT
from tests.unit.adapters.conftest import TABLE
from vidu_relay import aws
from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.domain.errors import DailyCapReachedError, DailyUploadsReachedError

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
    assert NOON // 1000 + 86_400 < int(item["expires_at"]["N"]) < NOON // 1000 + 4 * 86_400
