"""The record of a notification's attempts, in a real table: bounded, in order, and never in the way of a webhook."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.unit.adapters.conftest import TABLE
from vidu_relay.adapters.notification_log import DROPPED_AT_ONCE, MOST_ATTEMPTS, NotificationLog
from vidu_relay.domain.notification import Notification, NotificationAttempt, NotificationRecord

ASKED = Notification("myswlg5gzefra7xdps2scd42jm", 7)


def attempt(at: int, **fields: Any) -> NotificationAttempt:
    return NotificationAttempt(**{"at": at, "latency_ms": 5, "status": 503, "answer": "müde \ufffd", **fields})


def test_latest_attempts_are_kept_in_order(dynamodb: Any) -> None:
    log = NotificationLog(dynamodb, TABLE)
    for at in range(MOST_ATTEMPTS + 1):
        assert log.record(ASKED, attempt(at), next_at=at + 9, expires_at=99)
    kept = tuple(attempt(at) for at in range(DROPPED_AT_ONCE, MOST_ATTEMPTS + 1))
    record = NotificationRecord(kept, delivered=False, next_at=MOST_ATTEMPTS + 9)
    assert log.find(ASKED.task_id, [6, 7]) == {7: record}

    assert log.record(ASKED, attempt(50, status=None, fault="timeout"), delivered_at=55, expires_at=99)
    found = log.find(ASKED.task_id, [7])[7]
    assert found.attempts[-1] == attempt(50, status=None, fault="timeout")
    assert (found.delivered, found.next_at) == (True, None)


def test_end_without_another_attempt_takes_the_next_one_away(dynamodb: Any) -> None:
    log = NotificationLog(dynamodb, TABLE)
    log.record(ASKED, attempt(1), next_at=9, expires_at=99)
    assert log.record(ASKED, None, expires_at=99)
    assert log.find(ASKED.task_id, [7])[7] == NotificationRecord((attempt(1),), delivered=False, next_at=None)


def test_an_end_and_a_second_worker_that_makes_room_drop_no_attempt(dynamodb: Any) -> None:
    """Both workers find the record full; the second one drops after the first has written."""

    class Raced(NotificationLog):
        def _update(self, key: Any, change: str, *rest: Any) -> bool:
            if change.startswith("REMOVE attempts"):
                assert log.record(ASKED, attempt(100), expires_at=99)
            return super()._update(key, change, *rest)

    log = NotificationLog(dynamodb, TABLE)
    for at in range(MOST_ATTEMPTS):
        log.record(ASKED, attempt(at), expires_at=99)
    log.record(ASKED, None, expires_at=99)
    assert len(log.find(ASKED.task_id, [7])[7].attempts) == MOST_ATTEMPTS
    assert Raced(dynamodb, TABLE).record(ASKED, attempt(101), expires_at=99)
    kept = [one.at for one in log.find(ASKED.task_id, [7])[7].attempts]
    assert kept == [*range(DROPPED_AT_ONCE, MOST_ATTEMPTS), 100, 101]


def test_what_is_erased_stays_so_though_an_attempt_was_under_way(dynamodb: Any) -> None:
    log, other = NotificationLog(dynamodb, TABLE), Notification(ASKED.task_id, 8)
    log.record(ASKED, attempt(1, answer="secret"), expires_at=50)
    log.erase(ASKED.task_id, [7, 8], 99)
    for late in (ASKED, other):
        assert not log.record(late, attempt(2, answer="secret"), delivered_at=3, expires_at=200)
        assert not log.record(late, None, expires_at=200)
    assert log.find(ASKED.task_id, [7, 8]) == {}
    items = dynamodb.scan(TableName=TABLE)["Items"]
    assert [item["expires_at"] for item in items] == [{"N": "99"}] * 2
    assert "secret" not in str(items)


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "UpdateItem"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
    ids=["refused", "unreachable"],
)
def test_trouble_of_aws_is_returned_and_not_raised(trouble: Exception) -> None:
    class Table:
        def update_item(self, **_: Any) -> None:
            raise trouble

    client: Any = Table()
    assert not NotificationLog(client, "table").record(ASKED, attempt(1), expires_at=99)
