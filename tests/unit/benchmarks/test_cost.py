"""The cost model charges what AWS's own rules say, for changes whose price can be worked out by hand."""

from dataclasses import fields
from typing import Any

import pytest

from benchmarks.bill import NOTIFIED, Bill, add_call, is_measurement, is_queued, write_units
from benchmarks.cost import PAGE_POLL_SECONDS, PAGE_TASKS, Costs, naive, standing, targets
from benchmarks.prices import PRICES
from tests.unit.template import ROOT, TEMPLATE, of_type


def item(size: int, **keys: str) -> dict[str, Any]:
    """An item of so many bytes, its keys included."""
    plain: dict[str, Any] = {name: {"S": value} for name, value in keys.items()}
    used = sum(len(name) + len(value) for name, value in keys.items())
    return {**plain, "x": {"B": b"b" * (size - used - 1)}}


DUE = {"due_shard": "1", "due_at": "5"}
OWNED = {"owner": "acme", "created_at": "7"}


@pytest.mark.parametrize(
    ("change", "units"),
    [
        ({"NewImage": item(1024)}, 1),
        ({"NewImage": item(1025)}, 2),
        ({"OldImage": item(3000), "NewImage": item(100)}, 3),
        ({"NewImage": item(100, **DUE)}, 2),
        ({"NewImage": item(100, **DUE, **OWNED)}, 3),
        ({"OldImage": item(100, **DUE), "NewImage": item(200, **DUE)}, 1),
        ({"OldImage": item(100, **DUE), "NewImage": item(100, **{**DUE, "due_at": "6"})}, 3),
        ({"OldImage": item(100, **DUE), "NewImage": item(100)}, 2),
        ({"OldImage": item(100), "NewImage": item(100, waits_at="gateway", place="acme#1")}, 2),
    ],
    ids=[
        "a kilobyte", "a byte more", "the larger image counts", "into an index", "into two indexes",
        "keys that stay cost nothing", "a key that changes is taken out and put in", "out of an index",
        "into the queue",
    ],
)  # fmt: skip
def test_write_units_are_those_of_the_developer_guide(change: dict[str, Any], units: int) -> None:
    assert write_units(change) == units


@pytest.mark.parametrize(
    ("kind", "client_callback", "queued"),
    [
        ("VideoTaskGenerated", False, True),
        ("VideoTaskGenerated", True, True),
        ("VideoTaskProcessing", False, False),
        ("VideoTaskProcessing", True, True),
        ("VideoTaskSubmitted", True, False),
    ],
)
def test_events_are_queued_as_the_template_s_rules_say(kind: str, client_callback: bool, queued: bool) -> None:
    assert is_queued({"detail-type": kind, "detail": {"client_callback": client_callback}}) is queued


def test_clients_are_notified_of_the_events_of_the_template_s_rule() -> None:
    rules = [r["Properties"]["EventPattern"] for r in of_type("AWS::Events::Rule").values()]
    (kinds,) = [r["detail-type"] for r in rules if r.get("detail", {}).get("client_callback")]
    assert set(kinds) == NOTIFIED


def test_what_has_no_price_cannot_be_charged() -> None:
    with pytest.raises(KeyError):
        Bill("").add("DynamoDB sprite", 1)


def test_tasks_whose_callbacks_are_lost_are_not_charged_as_healthy_ones_besides() -> None:
    bills = dict.fromkeys([field.name for field in fields(Costs)[:-2]], Bill(""))
    bills |= {"healthy": _bill("S3 PUT", 1000), "lost": _bill("S3 PUT", 3000)}
    costs = Costs(**bills, writes_per_task=4, record_bytes=1024)

    whole, *_ = targets(costs)

    assert whole.middle == pytest.approx(980 * costs.healthy.dollars / 1000 + 20 * costs.lost.dollars / 1000)


def test_open_pages_poll_as_the_console_does() -> None:
    static = ROOT / "functions" / "serve_console" / "static"
    assert f"const POLL_SECONDS = {PAGE_POLL_SECONDS};" in (static / "tasks.js").read_text()
    assert f"const FIRST = {PAGE_TASKS};" in (static / "task_list.js").read_text()


def test_a_bill_is_the_sum_of_its_units() -> None:
    bill = Bill("").plus(_bill("S3 PUT", 1000), 1, "").plus(_bill("SQS request", 3000), 2, "")

    assert bill.dollars == pytest.approx(0.005 + 0.0024)
    assert [what for what, _, _ in bill.rows()] == ["S3 PUT", "SQS request"]


@pytest.mark.parametrize(
    ("service", "operation", "units"),
    [
        ("s3", "PUT", {"S3 PUT": 1}),
        ("s3", "POST uploads", {"S3 PUT": 1}),
        ("s3", "GET", {"S3 GET": 1}),
        ("s3", "HEAD", {"S3 GET": 1}),
        ("sqs", "SendMessage", {"SQS request": 3}),
        ("dynamodb", "GetItem", {"DynamoDB read unit": 1}),
        ("dynamodb", "Query", {"DynamoDB read unit": 0.5}),
        ("dynamodb", "PutItem", {}),
        ("secretsmanager", "GetSecretValue", {"Secrets Manager call": 1}),
    ],
)
def test_calls_are_charged_as_what_they_are(service: str, operation: str, units: dict[str, float]) -> None:
    bill = Bill("")
    add_call(bill, service, operation, 1)

    assert bill.units == units


def test_only_what_the_measurement_writes_is_left_out() -> None:
    assert is_measurement({"dynamodb": {"NewImage": {"due_at": {"N": "1"}}, "OldImage": {"due_at": {"N": "9"}}}})
    assert not is_measurement({"dynamodb": {"NewImage": {"due_at": {"N": "9"}}, "OldImage": {"due_at": {"N": "1"}}}})
    assert not is_measurement({"dynamodb": {"NewImage": {"pk": {"S": "remote#1"}}}})


def test_every_price_says_where_it_was_read() -> None:
    assert all(price > 0 and "aws.amazon.com/" in source for price, source in PRICES.values())


def test_the_first_design_costs_what_its_parts_add_up_to() -> None:
    assert 3.1 < naive().dollars < 3.4


def test_alarms_and_secrets_of_the_template_are_found() -> None:
    assert standing().units["secret"] >= 2
    assert standing().units["alarm metric"] >= 17


@pytest.mark.parametrize(("wanted", "dashboards"), [("false", 0), ("true", 1)])
def test_dashboard_is_paid_for_where_the_stack_has_one(
    monkeypatch: pytest.MonkeyPatch, wanted: str, dashboards: int
) -> None:
    monkeypatch.setitem(TEMPLATE["Parameters"]["CreateDashboard"], "Default", wanted)
    assert standing().units["dashboard"] == dashboards


def _bill(what: str, units: float) -> Bill:
    return Bill("", {what: units})
