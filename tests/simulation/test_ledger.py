"""The ledger ends at the truth: whatever comes twice, late, in another order, or to a function that dies.

Each mutant breaks one rule of it, and must be caught by the same law.
"""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from functools import partialmethod
from typing import Any

import pytest

from tests.simulation.effects import Effects, Fault, ProcessDeathError, observed
from tests.simulation.memory_account import memory_account
from tests.unit.builders import NOW, POLICY, copied, done, failed, new_task, reading
from vidu_relay.adapters.ledger import Ledger, row_item
from vidu_relay.adapters.task_item import to_item
from vidu_relay.domain import billing, erasure, lifecycle, submission
from vidu_relay.domain.ledger import LedgerRow, ledger_row
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS
from vidu_relay.domain.snapshot import Usage
from vidu_relay.domain.task import Task
from vidu_relay.usecases import record_spending

LATER = NOW + ATTEMPT_LIMIT_MS + 1
RESERVED = Decimal("0.3")


def histories() -> Iterator[list[Task]]:
    """The writes of a task's record, for each way that its bill goes."""
    accepted = new_task(reserved_usd=str(RESERVED), credit_usd="0.005")
    begun = submission.begin_attempt(accepted, token="token.1", now=NOW)
    created = submission.record_created(begun, reading(), now=NOW, source="create", policy=POLICY)
    generated = lifecycle.apply_snapshot(created, done(), now=NOW, source="callback", policy=POLICY)
    yield [accepted, begun, created, replace(created, checks=1), generated, copied(generated)]
    unpriced = lifecycle.apply_snapshot(created, replace(done(), usage=None), now=NOW, source="check", policy=POLICY)
    yield [accepted, begun, created, unpriced, copied(unpriced)]
    free = replace(failed(), usage=Usage(credits="0"))
    yield [accepted, begun, created, lifecycle.apply_snapshot(created, free, now=NOW, source="check", policy=POLICY)]
    lost = replace(begun, attempt=None, checks=1)  # the reply was lost: uncertain, then found again
    yield [accepted, begun, lost, created, generated, copied(generated)]
    given_up = lifecycle.expire(lost, now=LATER, source="check", policy=POLICY)
    yield [accepted, begun, lost, given_up]
    expired = lifecycle.expire(created, now=LATER, source="check", policy=POLICY)
    late = lifecycle.apply_snapshot(expired, done(), now=LATER, source="callback", policy=POLICY)
    yield [accepted, begun, created, expired, late, copied(late)]
    deleted = erasure.begin_deletion(expired, now=LATER)
    billed = lifecycle.apply_snapshot(deleted, done(), now=LATER, source="check", policy=POLICY)
    yield [accepted, begun, created, expired, deleted, erasure.without_content(deleted), billed]
    canceled = lifecycle.cancel_unsubmitted(accepted, now=NOW, policy=POLICY)
    yield [accepted, canceled]


def stream(tasks: list[Task]) -> list[dict[str, Any]]:
    written = [replace(task, revision=number) for number, task in enumerate(tasks, 1)]
    images = [to_item(task) for task in written]
    return [
        {"dynamodb": {"SequenceNumber": str(number), "NewImage": image, **({"OldImage": old} if old else {})}}
        for number, (old, image) in enumerate(zip([None, *images], images, strict=False))
    ]


def law(seed: int) -> None:
    """However the records come, the row is the last state's, and the counters hold exactly what it counts."""
    rng, account, effects = random.Random(seed), memory_account(), Effects()  # noqa: S311 - repeatable
    client, tasks = account.clients["dynamodb"], rng.choice(list(histories()))
    counters = rng.choice([("cap#acme#2027-01-15",), ("cap#acme#2027-01-15", "spend#acme#2027-01"), ()])
    for pk in counters:
        client.put_item(TableName="tasks", Item={"pk": {"S": pk}, "committed": {"N": str(7 + RESERVED)}})
    book = Ledger(observed(client, "dynamodb", effects, None), "ledger", "tasks")
    records, position = stream(tasks), 0
    while position < len(records):
        effects.disarm()
        if rng.random() < 0.6:
            effects.arm(rng.randrange(4), rng.choice(list(Fault)))
        batch = records[position : position + rng.randint(1, 4)]
        with suppress(ProcessDeathError):
            stopped = record_spending.record_spending(batch, book, None, clock=lambda: LATER)
            number = len(batch) if stopped is None else [r["dynamodb"]["SequenceNumber"] for r in batch].index(stopped)
            position += number
    effects.disarm()
    for record in rng.sample(records, rng.randrange(len(records))):  # sent again by the operator, in any order
        assert record_spending.record_spending([record], book, None, clock=lambda: LATER) is None
    last = replace(tasks[-1], revision=len(tasks))
    shown = client.get_item(TableName="ledger", Key=key_of(ledger_row(last, LATER))).get("Item")
    assert shown is not None, "there is no row"
    truth = billing.billing_of(last)
    counted = truth.cost if truth.cost is not None else RESERVED
    counted = Decimal(0) if truth.state is billing.BillingState.NONE else counted
    assert (shown["state"], shown["status"]["S"]) == ({"S": truth.state.value}, last.status.value)
    assert ("prompt" in shown) is (last.content_deleted_at is None)
    for pk in counters:
        assert (
            Decimal(client.get_item(TableName="tasks", Key={"pk": {"S": pk}})["Item"]["committed"]["N"]) == 7 + counted
        )
    others = [name for name in client.items if name.startswith(("cap#", "spend#")) and name not in counters]
    assert others == [], "a counter that was gone came back"


def laws() -> None:
    for seed in range(120):
        law(seed)


def test_row_and_counters_end_at_the_truth() -> None:
    laws()


def key_of(row: LedgerRow) -> dict[str, Any]:
    return {name: row_item(row)[name] for name in ("pk", "sk")}


def apart(settle: Any, book: Any, row: LedgerRow, before: Any) -> Any:
    """The counters first, then the row."""
    writes = [write["Update"] for write in book._additions(row, row.counted - counted_in(before, row))]
    for write in writes:
        book._client.update_item(**write)
    book._client.put_item(TableName="ledger", Item=row_item(row))
    return True


def counted_in(before: Any, row: LedgerRow) -> Decimal:
    return Decimal(before["counted"]["S"]) if before else row.first_counted


def overwrite(record: Any, book: Any, row: LedgerRow, **_: Any) -> bool:
    """Whichever state the row is at."""
    before = book._client.get_item(TableName="ledger", Key=key_of(row)).get("Item", {})
    return bool(book._settle(row, before))


def unconditional(additions: Any, book: Any, row: LedgerRow, difference: Decimal) -> Iterator[Any]:
    key = {"pk": {"S": f"cap#{row.tenant_id}#{row.day}"}}
    add = {"UpdateExpression": "ADD committed :d", "ExpressionAttributeValues": {":d": {"N": str(difference)}}}
    yield {"Update": {"TableName": "tasks", "Key": key, **add}}


MUTANTS: dict[str, tuple[Any, str, Any]] = {
    "settle twice, where a call between row and counters dies": (Ledger, "_settle", apart),
    "settle an older version": (Ledger, "record", overwrite),
    "bring a counter back": (Ledger, "_additions", unconditional),
    "treat unknown as zero": (billing.Billing, "counted", lambda bill: bill.cost or Decimal(0)),
    "count no reservation before the first row": (LedgerRow, "first_counted", lambda _: Decimal(0)),
    "write a row at completion only": (record_spending, "bill_changed", lambda _, task, __: task.videos),
    "keep the prompt of deleted content": (
        record_spending,
        "ledger_row",
        lambda task, now: ledger_row(replace(task, content_deleted_at=None), now),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, attribute, mutated = MUTANTS[name]
    original = vars(place)[attribute]
    if isinstance(original, property):
        mutated = property(mutated)
    elif place is Ledger:
        mutated = partialmethod(lambda book, *given, **named: MUTANTS[name][2](original, book, *given, **named))
    monkeypatch.setattr(place, attribute, mutated)
    with pytest.raises(AssertionError):
        laws()
