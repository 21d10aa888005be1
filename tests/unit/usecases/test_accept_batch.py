"""A file with a request a line: every line is a task or a rejection, and the whole is reserved or refused."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.simulation.effects import Fault
from tests.simulation.invariants import check_at_rest
from tests.simulation.simulation import TENANT, Simulation
from tests.simulation.wiring import PRICE
from vidu_relay.adapters import request_inbox
from vidu_relay.domain.batch import Batch, BatchState
from vidu_relay.domain.queued_requests import BatchMessage, DroppedFile
from vidu_relay.usecases import accept_batch, accept_batch_lines
from vidu_relay.usecases.accept_batch_lines import SLICE_MS

DAY_MS = 86_400_000


@pytest.fixture
def sim(sim: Simulation) -> Simulation:
    sim.map_source()
    return sim


def good(number: int = 1, **fields: Any) -> str:
    return json.dumps(Simulation.body(seed=number, **fields))


def the_batch(sim: Simulation) -> Batch:
    (item,) = sim.batches()
    found = sim.batching.batches.get(item["pk"]["S"].removeprefix("batch#"))
    assert found is not None
    return found


def seeds(sim: Simulation) -> list[int]:
    """Of the tasks, oldest first: in the order of their lines."""
    tasks = [sim.task(item["pk"]["S"].removeprefix("task#")) for item in sim.items() if "batch_id" in item]
    return [task.request["seed"] for task in sorted(tasks, key=lambda task: task.created_at)]


def rejected(sim: Simulation, batch: Batch) -> list[tuple[int, str]]:
    """Line and code of the rejections in S3."""
    found = []
    for part in batch.parts:
        reply = sim.account.clients["s3"].get_object(Bucket=sim.account.inbox, Key=batch.rejections_key(part))
        found += [json.loads(line) for line in reply["Body"].read().splitlines()]
    return [(one["line"], one["error"]["code"]) for one in found]


def counters(sim: Simulation) -> tuple[int, Decimal]:
    """Slots and US dollars that the tenant's days have taken."""
    days = [item for item in sim.items() if item["pk"]["S"].startswith(f"cap#{TENANT}#")]
    return sum(int(day["accepted"]["N"]) for day in days), sum((Decimal(d["committed"]["N"]) for d in days), Decimal())


FIVE_MB = '{"prompt": "' + "x" * 5_000_000 + '"}'
LINES: dict[str, tuple[bytes, list[int], list[tuple[int, str]]]] = {
    "plain": (f"{good(1)}\n{good(2)}\n".encode(), [1, 2], []),
    "byte order mark": (f"\ufeff{good(1)}\n{good(2)}\n".encode(), [1, 2], []),
    "CRLF": (f"{good(1)}\r\n{good(2)}\r\n".encode(), [1, 2], []),
    "no end of the last line": (f"{good(1)}\n{good(2)}".encode(), [1, 2], []),
    "empty lines": (f"\n\n{good(1)}\n \t\r\n\n{good(2)}\n\n".encode(), [1, 2], []),
    "header": (f'{{"batch": {{"name": "night"}}}}\n{good(1)}\n{good(2)}'.encode(), [1, 2], []),
    "one bad line": (f"{good(1)}\n{{]\n{good(2)}\n".encode(), [1, 2], [(2, "malformed_json")]),
    "5 MB": (f"{good(1)}\n{FIVE_MB}\n{good(2)}\n".encode(), [1, 2], [(2, "line_too_long")]),
    "5 MB at the end": (f"{good(1)}\n{FIVE_MB}".encode(), [1], [(2, "line_too_long")]),
    "NUL": (b"\0\n" + good(1).encode(), [1], [(1, "malformed_json")]),
    "half a character": (b'{"prompt": "\\ud83d"}\n' + good(1).encode(), [1], [(1, "malformed_json")]),
    "an image that is missing": (f"{good(1, images=['no.png'])}\n{good(2)}".encode(), [2], [(1, "invalid_image")]),
    "one external id twice": (
        f"{good(1, external_id='a')}\n{good(2, external_id='a')}".encode(),
        [1],
        [(2, "external_id_taken")],
    ),
    "nothing good": (b"{}\n[]\n", [], [(1, "validation_error"), (2, "validation_error")]),
    "header in the middle": (f'{good(1)}\n{{"batch": {{}}}}\n'.encode(), [1], [(2, "validation_error")]),
}


@pytest.mark.parametrize("slices", [1, 9])
@pytest.mark.parametrize("name", LINES)
def test_each_line_is_a_task_or_a_rejection(
    sim: Simulation, name: str, slices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, tasks, rejections = LINES[name]
    monkeypatch.setattr(accept_batch_lines, "SLICE_MS", SLICE_MS if slices == 1 else 0)
    sim.drop_batch(content.removesuffix(b"\n"))
    sim.work()

    batch = the_batch(sim)
    assert (seeds(sim), rejected(sim, batch)) == (tasks, rejections)
    assert batch.state is (BatchState.ACCEPTED if tasks else BatchState.COMPLETED)
    assert (batch.tasks, batch.rejected) == (len(tasks), len(rejections))
    assert (batch.lines, batch.name) == (len(tasks) + len(rejections), "night" if name == "header" else None)
    assert counters(sim) == (len(tasks), len(tasks) * PRICE)
    assert Decimal(batch.expected_usd) == len(tasks) * PRICE
    sim.provider.finishes_at_once = True
    sim.run()
    check_at_rest(sim)
    assert len(sim.provider.calls) == len(tasks)


def test_file_that_takes_too_long_to_check_is_refused(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_inbox, "PIECE_BYTES", 100)
    left = iter([60_000, 11_000, 9_000])
    file = sim.drop_batch(*map(good, range(9)))
    accept_batch.accept_batch(file, sim.batching, time_left=lambda: next(left))
    assert (sim.answer(file)["code"], sim.batches(), counters(sim)) == ("file_too_large", [], (0, Decimal()))


def too_large(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accept_batch, "MAX_FILE_BYTES", 10)


REFUSED: dict[str, tuple[bytes, str]] = {
    "gzip": (b"\x1f\x8b\x08\0", "file_compressed"),
    "not UTF-8": (good().encode() + b"\n\xe9", "file_not_utf8"),
    "empty": (b"", "file_empty"),
    "too many": (b"{}\n" * 10_001, "too_many_lines"),
    "too large": (good().encode(), "file_too_large"),
    "bad header": (b'{"batch": 1}\n{}', "validation_error"),
    "two names": (b'{"batch": {"name": "a", "name": "b"}}\n{}', "validation_error"),
    "disabled": (good().encode(), "tenant_disabled"),
    "cap": (f"{good(1)}\n{good(2)}\n{{}}\n{good(3)}".encode(), "daily_cap_reached"),
    "budget": (f"{good(1)}\n{good(2)}\n{{}}\n{good(3)}".encode(), "budget_reached"),
}
TENANTS: dict[str, dict[str, Any]] = {
    "disabled": {"disabled": {"BOOL": True}},
    "cap": {"daily_cap": {"N": "2"}},
    "budget": {"daily_budget_usd": {"S": "4.4"}},
}
EXPLAINED = {
    "cap": "The file asks for 3 tasks, and 2 are left of the daily cap of 2: nothing",
    "budget": "The file's 3 tasks reserve 4.5 US dollars, and 4.4 are left of the day's budget of 4.4.",
}


def make_tenant(sim: Simulation, **fields: Any) -> None:
    item = {"pk": {"S": f"tenant#{TENANT}"}, "owner": {"S": "#tenants"}, "created_at": {"N": "1"}, **fields}
    sim.account.clients["dynamodb"].put_item(TableName=sim.account.table, Item=item)


@pytest.mark.parametrize("name", REFUSED)
def test_file_is_refused_as_a_whole(sim: Simulation, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, code = REFUSED[name]
    make_tenant(sim, **TENANTS.get(name, {}))
    if name == "too large":
        too_large(monkeypatch)
    file = sim.drop_batch(content)
    sim.batch_messages *= 2  # received twice
    sim.work()

    assert (sim.answer(file)["code"], sim.batches(), seeds(sim)) == (code, [], [])
    assert {(detail["source"], detail["error"]["code"]) for detail in sim.rejections()} == {(file.source, code)}
    assert len({detail["event_id"] for detail in sim.rejections()}) == 1
    assert sim.answer(file)["detail"].startswith(EXPLAINED.get(name, "The "))
    assert counters(sim) == (0, Decimal())


@pytest.mark.parametrize("name", ["cap", "budget"])
def test_file_that_was_refused_is_accepted_once_there_is_room(sim: Simulation, name: str) -> None:
    make_tenant(sim, **TENANTS[name])
    sim.drop_batch(good(1), good(2), good(3))
    sim.work()
    make_tenant(sim, daily_cap={"N": "3"}, daily_budget_usd={"S": "4.5"})
    sim.drop_batch(good(1), good(2), good(3))
    sim.work()
    assert (seeds(sim), counters(sim)) == ([1, 2, 3], (3, 3 * PRICE))


def test_same_bytes_are_the_same_batch(sim: Simulation) -> None:
    for name in ("one.jsonl", "two.jsonl", "one.jsonl"):
        sim.drop_batch(good(1), good(2), name=name)
        sim.work()
    assert (seeds(sim), counters(sim)) == ([1, 2], (2, 2 * PRICE))
    sim.drop_batch('{"batch": {"name": "again"}}', good(1), good(2))
    sim.work()
    assert counters(sim) == (4, 4 * PRICE)


def delete(sim: Simulation, file: DroppedFile) -> None:
    sim.account.clients["s3"].delete_object(Bucket=file.bucket, Key=file.key, VersionId=file.version_id)


def replace(sim: Simulation, file: DroppedFile) -> None:
    sim.account.clients["s3"].put_object(Bucket=file.bucket, Key=file.key, Body=f"{good(7)}\n".encode() * 4)


@pytest.mark.parametrize(
    ("change", "tasks", "rejections"), [(delete, [1, 2], [(3, "file_gone")]), (replace, [1, 2, 3, 4], [])]
)
def test_file_is_read_as_it_was_dropped(
    sim: Simulation,
    change: Callable[[Simulation, DroppedFile], None],
    tasks: list[int],
    rejections: list[tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept_batch_lines, "SLICE_MS", 0)
    file = sim.drop_batch(*map(good, (1, 2, 3, 4)))
    for _ in range(3):  # the file, and two lines
        sim.receive_batch(sim.batch_messages[0])
    change(sim, file)
    sim.work()

    batch = the_batch(sim)
    assert (seeds(sim), rejected(sim, batch)) == (tasks, rejections)
    assert (batch.tasks, batch.rejected, batch.state) == (len(tasks), 4 - len(tasks), BatchState.ACCEPTED)
    assert counters(sim) == (len(tasks), len(tasks) * PRICE)


def test_file_that_is_gone_before_it_is_read_is_no_batch(sim: Simulation) -> None:
    delete(sim, sim.drop_batch(good()))
    sim.work()
    assert (sim.batches(), sim.rejections(), sim.batch_messages) == ([], [], [])


def test_lines_behind_one_that_aws_fails_go_on_with_it(sim: Simulation) -> None:
    sim.drop_batch(*map(good, (1, 2, 3)))
    sim.receive_batch(sim.batch_messages[0])
    sim.effects.arm_name("dynamodb.put_item", Fault.REFUSED, nth=4)  # the lease, and two tasks come before
    assert sim.receive_batch(sim.batch_messages[0])
    sim.effects.disarm()
    batch = the_batch(sim)
    assert (batch.tasks, batch.next_line, batch.state, seeds(sim)) == (2, 3, BatchState.ACCEPTING, [1, 2])
    sim.work()
    assert (seeds(sim), counters(sim)) == ([1, 2, 3], (3, 3 * PRICE))


def test_lines_are_accepted_in_the_turn_of_their_tenant_only(sim: Simulation) -> None:
    sim.drop_batch(good(1))
    sim.receive_batch(sim.batch_messages[0])
    batch_id, lost = the_batch(sim).batch_id, sim.batch_messages.pop()
    for seconds in (0, 61, 0):  # before it is due, and received twice
        sim.clock.advance(seconds)
        sim.ask_about_batch(BatchMessage(batch_id))  # the sweep's, which does not know the tenant
        sim.receive_batch(sim.batch_messages[-1])
    assert (seeds(sim), [message.asked for message in sim.batch_messages]) == ([], [lost.asked])
    sim.work()
    assert seeds(sim) == [1]


def test_message_for_what_is_accepted_already_changes_nothing(sim: Simulation) -> None:
    sim.drop_batch(good(1))
    sim.work()
    before = the_batch(sim)
    for first_byte in (0, 5, None):
        sim.ask_about_batch(BatchMessage(before.batch_id, first_byte))
    sim.ask_about_batch(BatchMessage("b" + "a" * 26))
    sim.work()
    assert the_batch(sim) == before


def test_batch_across_midnight_counts_for_the_day_of_its_reservation(sim: Simulation) -> None:
    sim.clock.now = (sim.clock.now // DAY_MS + 1) * DAY_MS - 2
    sim.drop_batch(*map(good, (1, 2, 3)))
    sim.receive_batch(sim.batch_messages[0])
    sim.clock.advance(3600)
    sim.work()
    (day,) = [item["pk"]["S"] for item in sim.items() if item["pk"]["S"].startswith(f"cap#{TENANT}#")]
    assert (seeds(sim), counters(sim)) == ([1, 2, 3], (3, 3 * PRICE))
    sim.provider.finishes_at_once = True
    sim.run()
    check_at_rest(sim)
    assert {row["pk"]["S"] for row in sim.items(ledger=True)} == {day.rpartition("#")[2]}


def test_comparison_of_half_hours_leaves_the_reservation_of_a_batch(sim: Simulation) -> None:
    sim.drop_batch(*map(good, (1, 2)))
    sim.submit(key="single")
    sim.work()
    sim.clock.advance(3600)
    sim.compare()
    assert counters(sim) == (3, 3 * PRICE)
    assert set(sim.freed) == {Decimal(0)}


def test_task_of_a_slice_that_died_stays_a_task_where_the_file_is_gone(sim: Simulation) -> None:
    file = sim.drop_batch(*map(good, (1, 2, 3, 4)))
    sim.receive_batch(sim.batch_messages[0])
    sim.effects.arm_name("dynamodb.put_item", Fault.DIES_BEFORE, nth=4)  # the lease, and two tasks come before
    sim.receive_batch(sim.batch_messages[0])
    sim.effects.disarm()
    delete(sim, file)
    sim.clock.advance(3600)
    sim.work()

    batch = the_batch(sim)
    assert (seeds(sim), counters(sim), batch.tasks, batch.rejected) == ([1, 2], (2, 2 * PRICE), 2, 2)
    sim.provider.finishes_at_once = True
    sim.run()
    check_at_rest(sim)


def test_rejections_of_short_slices_share_an_object(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept_batch_lines, "SLICE_MS", 0)
    monkeypatch.setattr(accept_batch_lines, "SLICE_REJECTIONS", 3)
    file = sim.drop_batch(*["{}"] * 5, good(), *["{}"] * 2)
    sim.effects.arm_name("dynamodb.put_item", Fault.DIES_BEFORE, nth=4)  # the second slice dies before its record
    for _ in range(3):
        sim.receive_batch(sim.batch_messages[0])
    sim.effects.disarm()
    sim.clock.advance(3600)
    sim.work()
    assert [line for line, _ in rejected(sim, the_batch(sim))] == [1, 2, 3, 4, 5, 7, 8]
    assert the_batch(sim).parts == (1, 4, 8), file
