"""One task under the operator's hands, where the deployed stack is not easily brought to the point."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from cli.answer import RefusedError
from cli.connection import connect_local, now
from cli.publisher import publish_again
from tests.unit.builders import NOW, POLICY, TASK_ID, new_task, task_in
from tests.unit.cli.conftest import Deployment, Run
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.delivery import expire_delivery
from vidu_relay.domain.polling import LEASE_MS
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Delivery, Task


def recorded(deployment: Deployment, task: Task) -> Task:
    return TaskStore(deployment.client("dynamodb"), deployment.account.table).create(task)[0]


def stored(deployment: Deployment) -> Task:
    task = TaskStore(deployment.client("dynamodb"), deployment.account.table).get(TASK_ID)
    assert task is not None
    return task


def deliveries(deployment: Deployment) -> list[Any]:
    reply = deployment.client("sqs").receive_message(QueueUrl=deployment.account.queue_url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


@pytest.mark.parametrize("status", Status)
def test_every_state_can_be_shown_and_nothing_secret_is(
    relay: Run, ask: Any, deployment: Deployment, status: Status
) -> None:
    recorded(deployment, task_in(status))
    shown, text = ask("task", "show", TASK_ID), relay("task", "show", TASK_ID)[1]
    assert shown["status"] == status.value
    assert f"is {status.value} (version" in text
    for secret in ("secret", "token-1"):
        assert secret not in text
        assert secret not in json.dumps(shown)
    entered = shown["history"]
    assert [entry["seconds_since_creation"] for entry in entered] == sorted(
        entry["seconds_since_creation"] for entry in entered
    )


@pytest.mark.parametrize(
    ("due_in", "words"),
    [
        (None, "never: nobody need look at it again"),
        (90_500, "in 1 min 30 s"),
        (-61_000, "overdue for 1 min 1 s"),
        (26 * 3_600_000 + 1000, "in 1 d 2 h"),
        (-7_260_000, "overdue for 2 h 1 min"),
    ],
)
def test_next_look_is_told_in_words(
    ask: Any, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, due_in: int | None, words: str
) -> None:
    at = now()
    monkeypatch.setattr("cli.tasks.now", lambda: at)
    recorded(deployment, new_task(due_at=None if due_in is None else at + due_in))
    assert ask("task", "show", TASK_ID)["due"] == words


def test_overdue_tasks_are_listed_the_longest_overdue_first(relay: Run, ask: Any, deployment: Deployment) -> None:
    assert relay("task", "overdue")[1] == "No task is overdue.\n"
    at = now()
    for letter, overdue in (("b", 60_000), ("c", 600_000), ("d", -60_000)):
        recorded(deployment, new_task(task_id=letter * 26, due_at=at - overdue))
    found = ask("task", "overdue")
    assert [task["task_id"][0] for task in found["tasks"]] == ["c", "b"]
    assert found["overdue"] == 2
    assert found["tasks"][0]["overdue_seconds"] >= 600


def test_check_takes_the_lease_and_starts_its_poller(ask: Any, deployment: Deployment) -> None:
    before = recorded(deployment, new_task(due_at=now() + 3_600_000))
    assert ask("task", "show", TASK_ID)["poller"] is None
    checked = ask("task", "check", TASK_ID)
    after = stored(deployment)
    assert checked["lease"] == after.lease == before.lease + 1
    assert after.due_at is not None
    assert now() < after.due_at <= now() + LEASE_MS
    executions = deployment.client("stepfunctions").list_executions(
        stateMachineArn=deployment.account.state_machine_arn
    )["executions"]
    assert [execution["name"] for execution in executions] == [f"{TASK_ID}-{after.lease}"]
    assert ask("task", "show", TASK_ID)["poller"] is not None
    assert after.version == before.version


def test_check_that_comes_second_starts_nothing(
    ask: Any, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(deployment, new_task())
    monkeypatch.setattr(TaskStore, "take_lease", lambda *_: None)
    assert ask("task", "check", TASK_ID)["started"] is False


@pytest.mark.parametrize("status", Status)
def test_only_a_generated_task_is_delivered(ask: Any, deployment: Deployment, status: Status) -> None:
    before = recorded(deployment, task_in(status))
    answer = ask("task", "deliver", TASK_ID)
    assert answer["asked"] == (status is Status.GENERATED)
    if status is Status.GENERATED:
        assert deliveries(deployment) == [{"task_id": TASK_ID}]
        assert stored(deployment).delivery == Delivery(requests=1)
    else:
        assert deliveries(deployment) == []
        assert stored(deployment) == before
        assert answer["reason"]


def test_task_whose_video_was_unavailable_is_delivered_after_all(ask: Any, deployment: Deployment) -> None:
    expired = expire_delivery(task_in(Status.GENERATED), now=NOW, policy=POLICY)
    before = recorded(deployment, expired)
    answer = ask("task", "deliver", TASK_ID)
    assert (answer["asked"], answer["status"]) == (True, "generated")
    assert deliveries(deployment) == [{"task_id": TASK_ID}]
    after = stored(deployment)
    assert (after.status, after.error, after.version) == (Status.GENERATED, None, before.version + 1)
    assert after.history[-1].source == "operator"


class _Lambda:
    """A function that cannot publish some records: what lies behind the first of them in a call waits."""

    def __init__(self, bad: set[str], error: str | None = None) -> None:
        self._bad, self._error = bad, error
        self.published: list[str] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> Mapping[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == "publish-events"
        assert len(Payload) <= 6 * 1024 * 1024  # what Lambda takes
        if self._error:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "boom"}')}
        failures = []
        for record in json.loads(Payload)["Records"]:
            if (number := record["dynamodb"]["SequenceNumber"]) in self._bad:
                failures = [{"itemIdentifier": number}]
                break
            self.published.append(number)
        return {"Payload": io.BytesIO(json.dumps({"batchItemFailures": failures}).encode())}


def records(*numbers: str) -> list[dict[str, Any]]:
    return [{"dynamodb": {"SequenceNumber": number}} for number in numbers]


@pytest.mark.parametrize(
    "bad", [set(), {"1"}, {"3"}, {"1", "2"}, {"1", "2", "3"}], ids=lambda bad: "".join(sorted(bad)) or "none"
)
def test_record_that_cannot_be_published_keeps_back_no_other(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, bad: set[str]
) -> None:
    function = _Lambda(bad)
    monkeypatch.setattr("cli.connection.Connection.client", lambda *_: function)
    failed = publish_again(records("1", "2", "3"), replace(connect_local(deployment.file), known=deployment.resources))
    assert set(failed) == bad
    assert set(function.published) == {"1", "2", "3"} - bad


def test_records_that_are_too_large_for_one_call_are_published_in_several(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, large = _Lambda({"2"}), records("1", "2", "3", "4")
    for record in large:
        record["dynamodb"]["NewImage"] = {"prompt": {"S": "影" * 700_000}}  # 2.1 MB each in UTF-8, 4.2 MB escaped
    monkeypatch.setattr("cli.connection.Connection.client", lambda *_: function)
    failed = publish_again(large, replace(connect_local(deployment.file), known=deployment.resources))
    assert (failed, function.published) == (["2"], ["1", "3", "4"])


def test_function_that_fails_is_said_with_where_to_look(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.connection.Connection.client", lambda *_: _Lambda(set(), "boom"))
    connection = replace(connect_local(deployment.file), known=deployment.resources)
    with pytest.raises(RefusedError, match=r"boom.*sam logs"):
        publish_again(records("1"), connection)
