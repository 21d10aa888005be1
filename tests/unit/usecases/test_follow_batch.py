"""A batch is accepted, counted and completed, with one meaning of each event, wherever an execution dies."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local.description.json_schema import COMPONENTS
from local.description.schemas import schemas
from tests.event_schemas import closed, faults_of
from tests.simulation.effects import Fault, observed
from tests.simulation.memory_account import memory_account
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.account import SWEEP_FUNCTION
from tests.unit.builders import task_in
from vidu_relay.adapters.batch_queue import BatchQueue
from vidu_relay.adapters.batch_store import BatchStore
from vidu_relay.adapters.check_function import SweepFunction
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.video_links import VideoLinks
from vidu_relay.domain.batch import Batch, BatchState, batch_id_of
from vidu_relay.domain.batch_progress import next_count_at
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.states import Status
from vidu_relay.usecases.accept_batch import BatchDependencies
from vidu_relay.usecases.find_due_batches import find_due_batches
from vidu_relay.usecases.follow_batch import follow_batch
from vidu_relay.usecases.read_batch import read_batch

MINUTE = 60_000
BATCH_ID = batch_id_of(TENANT, "ab" * 32)
REQUEST = {"prompt": "a fox", "images": ["fox.png"], "external_id": "4711"}
ENDS = {2: "completed", 3: "failed", 4: "expired", 5: "canceled", 9: "completed"}
"""Lines that became tasks; 1 is the header, 6 empty, 7 and 8 are rejected."""
UNREACHABLE = {"code": "invalid_image", "errors": [{"loc": "images.0", "msg": "…", "code": "image_unreachable"}]}
PROBLEM = {"type": "about:blank", "title": "Unprocessable Content", "status": 422, "detail": "…"}


@dataclass
class Night:
    """A batch whose lines are tasks or rejections, the last of them still at the provider."""

    sim: Simulation
    deps: BatchDependencies

    @property
    def batch(self) -> Batch:
        """Reading it here is no effect."""
        found = BatchStore(self.sim.account.clients["dynamodb"], self.sim.account.table).get(BATCH_ID)
        assert found
        return found

    def follow(self, batch: Batch | None = None, time_left: int = 60_000) -> None:
        follow_batch(batch or self.batch, self.deps, time_left=lambda: time_left)

    def end(self, line: int, status: str) -> None:
        """The task of a line comes to its end."""
        store, task_id = (
            TaskStore(self.sim.account.clients["dynamodb"], self.sim.account.table),
            self.batch.task_id(line),
        )
        task = replace(task_in(Status(status)), task_id=task_id, batch_id=BATCH_ID, reserved_usd="0.5", revision=0)
        current = store.get(task_id)
        if current:
            store.save(replace(task, revision=current.revision))
        else:
            store.create(task)

    @property
    def events(self) -> list[tuple[str, Any]]:
        return [one for one in self.sim.published if one[0].startswith("VideoBatch")]

    def object(self, key: str) -> str:
        found: bytes = self.sim.account.clients["s3"].get_object(Bucket=self.sim.account.inbox, Key=key)["Body"].read()
        return found.decode()


def night(*, file_gone: bool = False) -> Night:
    sim = Simulation(memory_account())
    db, sqs, run = (observed(sim.account.clients[name], name, sim.effects) for name in ("dynamodb", "sqs", "lambda"))
    batches, inbox, s3 = BatchStore(db, sim.account.table), sim.intake.inbox, sim.account.clients["s3"]
    queue = BatchQueue(sqs, sim.account.requests_url)
    made = Night(sim, BatchDependencies(sim.intake, batches, queue, SweepFunction(run, SWEEP_FUNCTION)))
    lines = ['{"batch": {"name": "night"}}', *[json.dumps(REQUEST | {"seed": n}) for n in range(2, 6)]]
    lines += ["", "{}", json.dumps(REQUEST), json.dumps(REQUEST | {"images": ["https://h.example/a.png"]})]
    content = "\r\n".join(lines).encode()
    key = f"requests/{TENANT}/nights/1.jsonl"
    version = s3.put_object(Bucket=inbox.bucket, Key=key, Body=content)["VersionId"]
    batch = Batch(
        batch_id=BATCH_ID, tenant_id=TENANT, state=BatchState.ACCEPTED, sha256="ab" * 32, size=len(content),
        file=DroppedFile(inbox.bucket, key, "gone" if file_gone else version), created_at=sim.clock(), lines=7,
        bad_lines=1, last_line=9, reserved_usd="3", name="night", next_byte=len(content), tasks=5, rejected=2,
        expected_usd="2.5", parts=(7,), due_at=sim.clock(),
    )  # fmt: skip
    batches.save(batch)
    bad = {"line": 7, "error": {**PROBLEM, "code": "validation_error", "errors": [{"loc": "model", "msg": "missing"}]}}
    inbox.put_lines(batch.rejections_key(7), [bad, {"line": 8, "error": {**PROBLEM, **UNREACHABLE}}])
    for line, end in ENDS.items():
        made.end(line, "processing" if line == 9 else end)
    return made


def complete(made: Night) -> None:
    """Follow until nothing is left to do, each time when it is due, and the open task ends between."""
    for _ in range(20):
        if made.batch.accepted_published:
            made.end(9, "completed")
        if made.batch.due_at is None:
            return
        made.sim.clock.now = max(made.sim.clock.now, made.batch.due_at)
        batch = made.batch
        made.sim.survive(lambda: made.follow(batch))  # noqa: B023 - called at once
    raise AssertionError(made.batch)


def test_batch_is_counted_up_to_its_open_task_and_again_later() -> None:
    made = night()
    made.follow()
    assert [(kind, detail["batch"]["tasks"]) for kind, detail in made.events] == [("VideoBatchAccepted", 5)]
    assert (made.batch.cursor, made.batch.counts) == (
        9,
        dict.fromkeys(("completed", "failed", "expired", "canceled"), 1),
    )
    assert made.batch.due_at == made.sim.clock.now + MINUTE
    before = made.batch
    made.follow()  # not due: a message that came twice
    assert made.batch == before


def test_completed_batch_has_a_summary_a_retry_file_and_one_event() -> None:
    made = night()
    complete(made)
    assert [kind for kind, _ in made.events] == ["VideoBatchAccepted", "VideoBatchCompleted"]
    assert [faults_of(kind, detail) for kind, detail in made.events] == [[], []]
    shown = made.events[1][1]["batch"]
    assert shown["ended"] == {"completed": 2, "failed": 1, "expired": 1, "canceled": 1}
    assert (shown["expected_cost_usd"], shown["cost_usd"], shown["uncertain_usd"]) == ("2.5", "0.8", "1.5")
    summary = json.loads(made.object(shown["summary"]["key"]))
    assert list(validator("BatchSummary").iter_errors(summary)) == []
    assert [(one["line"], one["status"]) for one in summary["failures"]] == [
        (3, "failed"),
        (4, "expired"),
        (5, "canceled"),
    ]
    assert [one["line"] for one in summary["rejections"]] == [7, 8]
    assert {name: summary[name] for name in shown if name in summary} == {
        name: value for name, value in shown.items() if name not in ("summary", "retry")
    }
    header, *again = map(json.loads, made.object(shown["retry"]["key"]).splitlines())
    assert header == {"batch": {"name": "night", "retry_of": BATCH_ID, "attempt": 2}}
    whole = {**REQUEST, "images": [f"s3://{made.sim.account.inbox}/requests/{TENANT}/nights/fox.png"]}
    named = {name: value for name, value in whole.items() if name != "external_id"}
    assert again == [{**named, "seed": 3}, {**named, "seed": 4}, whole]  # a line without a task keeps its external id


@pytest.mark.parametrize("fault", [Fault.DIES_BEFORE, Fault.DIES_AFTER, Fault.REPLY_LOST])
def test_execution_that_dies_anywhere_loses_no_event_and_changes_none(fault: Fault) -> None:
    usual = night()
    complete(usual)
    for at in range(100):
        made = night()
        made.sim.effects.arm(at, fault)
        complete(made)
        assert {json.dumps(one) for one in made.events} == {json.dumps(one) for one in usual.events}, at
        assert same(made.batch) == same(usual.batch), at
        if not made.sim.effects.fault_injected:
            assert at > 10
            return
    raise AssertionError("the fault came at every effect")


def same(batch: Batch) -> Batch:
    """The batch without what a repetition may change."""
    return replace(batch, revision=0, failures=(), expires_at=None)


def test_execution_beside_a_faster_one_changes_nothing() -> None:
    made = night()
    stale = made.batch
    complete(made)
    after, events = made.batch, len(made.events)
    made.follow(stale)
    assert (made.batch, len(made.events)) == (after, events + 1)  # the same event once more


def test_long_batch_is_counted_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidu_relay.usecases.follow_batch.PAGE", 2)
    made = night()
    sent: list[str] = []
    monkeypatch.setattr(made.deps.queue, "follow", sent.append)
    cursors = []
    for _ in range(4):
        made.follow(time_left=1)
        cursors.append(made.batch.cursor)
    assert (cursors, sent) == ([3, 5, 7, 9], [BATCH_ID] * 4)
    made.end(9, "completed")
    complete(made)
    assert len(made.batch.failures) == 2
    assert len(json.loads(made.object(made.batch.summary_key))["failures"]) == 3


def test_batch_whose_file_is_gone_completes_without_a_retry_file() -> None:
    made = night(file_gone=True)
    complete(made)
    assert made.batch.retries == 0
    assert "retry" not in made.events[1][1]["batch"]
    assert len(json.loads(made.object(made.batch.summary_key))["failures"]) == 3


@pytest.mark.parametrize(("age", "wait"), [(0, 1), (30, 3), (10_000, 15)])
def test_open_batch_is_counted_after_a_tenth_of_its_age(age: int, wait: int) -> None:
    batch = night().batch
    now = batch.created_at + age * MINUTE
    assert next_count_at(batch, now) == now + wait * MINUTE


def test_sweep_asks_for_batches_that_are_due_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made = night()
    sent: list[str] = []
    monkeypatch.setattr(made.deps.queue, "follow", sent.append)
    for _ in range(2):
        find_due_batches(made.deps.batches, made.deps.queue, clock=made.sim.clock)
        made.follow()
    assert sent == [BATCH_ID]


def test_sweep_asks_for_so_many_batches_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    made = night()
    sent: list[str] = []
    monkeypatch.setattr(made.deps.queue, "follow", sent.append)
    monkeypatch.setattr(made.deps.batches, "find_due", lambda _: map(str, range(10_000)))
    assert find_due_batches(made.deps.batches, made.deps.queue) == len(sent) == 200


def test_batch_is_shown_to_its_tenant_with_links_once_it_is_completed() -> None:
    made = night()
    links = VideoLinks(made.sim.account.clients["s3"])

    def shown(tenant: str) -> Any:
        return read_batch(BATCH_ID, tenant, batches=made.deps.batches, inbox=made.deps.requests.inbox, links=links)

    opened = shown(TENANT)
    complete(made)
    for one in (opened, shown(TENANT)):
        assert list(validator("Batch").iter_errors(one)) == []
    assert {"summary_url", "retry_url"} == shown(TENANT).keys() - opened.keys()
    assert f"/{made.batch.retry_key}?" in shown(TENANT)["retry_url"]
    assert shown("globex") is None


def validator(name: str) -> Draft202012Validator:
    every = json.loads(json.dumps(schemas()).replace(COMPONENTS, "#/$defs/"))
    return Draft202012Validator(closed({**every[name], "$defs": every}))
