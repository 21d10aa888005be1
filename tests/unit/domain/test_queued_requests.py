"""Requests by file and by event: who they act for, what makes them the same, and the answer to a refused one."""

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain.queued_requests import DroppedFile, RequestEvent, own_key, rejection_detail

FILE = DroppedFile("inbox", "requests/acme/2026/order.json", "v1")
EVENT = RequestEvent("e-1", "acme.orders", {})


@pytest.mark.parametrize(
    ("key", "tenant"),
    [
        ("requests/acme/order.json", "acme"),
        ("requests/acme/2026/11/order.json", "acme"),
        ("requests/order.json", None),
        ("requests//order.json", None),
        ("requests/ACME/order.json", "ACME"),
        ("requests/acme /order.json", "acme "),
        ("requests/../requests/acme/order.json", ".."),
    ],
)
def test_a_file_acts_for_the_tenant_of_its_folder(key: str, tenant: str | None) -> None:
    assert DroppedFile("inbox", key, None).tenant_id == tenant


def test_a_file_is_answered_beside_its_folder() -> None:
    assert FILE.folder == "s3://inbox/requests/acme/2026/"
    assert FILE.rejected_key == "rejected/acme/2026/order.json"
    assert FILE.source == "s3://inbox/requests/acme/2026/order.json"


def test_each_upload_is_a_message_of_its_own_and_each_delivery_of_it_the_same() -> None:
    files = [
        FILE,
        DroppedFile("inbox", FILE.key, "v2"),
        DroppedFile("inbox", FILE.key, None),
        DroppedFile("other", FILE.key, "v1"),
        DroppedFile("inbox", "requests/acme/other.json", "v1"),
    ]
    assert DroppedFile("inbox", FILE.key, "v1").message_id == FILE.message_id
    assert all(one.message_id != other.message_id for one, other in combinations(files, 2))
    assert (EVENT.message_id, EVENT.rejection_id) == ("e-1", "e-1:rejected")


def test_no_client_can_send_a_key_of_our_making() -> None:
    """An idempotency key is printable."""
    keys = {own_key("s3", "a"), own_key("event", "a"), own_key("s3", "b"), own_key("s3a")}
    assert len(keys) == 4
    assert not any(key.isprintable() for key in keys)


def test_a_rejection_names_its_upload_and_carries_the_problem() -> None:
    problem = {"title": "Bad", "detail": "See.", "errors": [{"loc": "images"}]}
    assert rejection_detail(FILE, "acme", problem) == {
        "event_id": f"{FILE.message_id}:rejected",
        "tenant_id": "acme",
        "source": FILE.source,
        "error": problem,
    }


@given(count=st.integers(0, 2000), size=st.integers(1, 200))
def test_a_rejection_is_under_20_kb_and_tells_what_was_left_out(count: int, size: int) -> None:
    problem = {"detail": "See.", "errors": [{"loc": "x" * size}] * count}
    detail = rejection_detail(EVENT, None, problem)
    assert len(json.dumps(detail).encode()) < 20_000
    left = count - len(detail["error"]["errors"])
    assert (f"{left} more had no room" in detail["error"]["detail"]) is (left > 0)


def test_half_a_character_does_not_stop_a_rejection() -> None:
    event = RequestEvent("e-1", "acme.\ud83d", {})
    detail = rejection_detail(event, None, {"detail": "\ud83d", "errors": [{"\ud83d": "\udc00x"}]})
    assert json.loads(json.dumps(detail, ensure_ascii=False).encode()) == {
        "event_id": "e-1:rejected",
        "tenant_id": None,
        "source": "acme.\ufffd",
        "error": {"detail": "\ufffd", "errors": [{"\ufffd": "\ufffdx"}]},
    }
