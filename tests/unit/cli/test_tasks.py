"""One task: shown, and each step of it repeated."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli.answer import RefusedError
from cli.connection import Connection, connect_local, now
from cli.publisher import publish_again
from tests.unit.builders import NOW, POLICY, TASK_ID, new_task, task_in
from tests.unit.cli.conftest import STACK, Ask, Deployment, Refused, Run, Stacks
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.delivery import expire_delivery
from vidu_relay.domain.polling import LEASE_MS
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Delivery, Task

HOOK = "https://client.example.com/hook"


def recorded(deployment: Deployment, task: Task) -> Task:
    return TaskStore(deployment.client("dynamodb"), deployment.account.table).create(task)[0]


def stored(deployment: Deployment) -> Task:
    task = TaskStore(deployment.client("dynamodb"), deployment.account.table).get(TASK_ID)
    assert task is not None
    return task


def queued(deployment: Deployment, url: str) -> list[Any]:
    reply = deployment.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(message["Body"]) for message in reply.get("Messages", [])]


@pytest.mark.parametrize("status", Status)
def test_task_in_every_state_is_shown_without_secrets(
    relay: Run, ask: Ask, deployment: Deployment, status: Status
) -> None:
    recorded(deployment, task_in(status))
    shown, text = ask("task", "show", TASK_ID), relay("task", "show", TASK_ID)[1]
    assert (shown["status"], f"is {status.value} (version" in text) == (status.value, True)
    assert [secret for secret in ("secret", "token-1") if secret in text + json.dumps(shown)] == []
    passed = [entry["seconds_since_creation"] for entry in shown["history"]]
    assert passed == sorted(passed)


@pytest.mark.parametrize(
    ("due_in", "words"),
    [
        (None, "never: it needs no more checks"),
        (90_500, "in 1 min 30 s"),
        (-61_000, "overdue for 1 min 1 s"),
        (26 * 3_600_000 + 1000, "in 1 d 2 h"),
        (-7_260_000, "overdue for 2 h 1 min"),
    ],
)
def test_next_check_is_shown_in_words(
    ask: Ask, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, due_in: int | None, words: str
) -> None:
    at = now()
    monkeypatch.setattr("cli.tasks.now", lambda: at)
    recorded(deployment, new_task(due_at=None if due_in is None else at + due_in))
    assert ask("task", "show", TASK_ID)["due"] == words


class _Logs:
    """The log of `notify_client`: its lines, or a refusal."""

    def __init__(self, *lines: dict[str, Any], refused: bool = False) -> None:
        self._lines, self._refused = lines, refused

    def get_function_configuration(self, **_: str) -> dict[str, Any]:
        return {"LoggingConfig": {"LogGroup": "log"}}

    def get_paginator(self, _: str) -> "_Logs":
        return self

    def paginate(self, **arguments: Any) -> list[Any]:
        if self._refused:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "FilterLogEvents")
        assert (arguments["logGroupName"], arguments["filterPattern"]) == ("log", f'"{TASK_ID}"')
        return [{"events": []}, {"events": [{"message": "START"}, *({"message": json.dumps(x)} for x in self._lines)]}]


FAULT = {"message": "notification_failed", "timestamp": "T1", "code": "http_500", "origin": "https://a", "receives": 1}


ERROR = "http_500 at T1 from https://a, try 1"
UNSORTED = (
    {**FAULT, "message": "client_notified", "timestamp": "T2"}, FAULT, {**FAULT, "code": "timeout", "timestamp": "T0"}
)  # fmt: skip


@pytest.mark.parametrize(
    ("logs", "webhook"),
    [
        (_Logs(), {}),
        (_Logs(FAULT), {"last_error": ERROR}),
        (_Logs(*UNSORTED), {"last_error": ERROR, "sent_at": "T2"}),
        (_Logs({**FAULT, "message": "notification_given_up"}), {"last_error": f"{ERROR}, given up"}),
        (_Logs(refused=True), {"unknown": "AccessDenied: FilterLogEvents"}),
    ],
)
def test_last_errors_of_delivery_and_webhook_are_shown(
    relay: Run, ask: Ask, deployment: Deployment, stacks: Stacks, monkeypatch: pytest.MonkeyPatch,
    logs: _Logs, webhook: dict[str, str],
) -> None:  # fmt: skip
    task = task_in(Status.GENERATED)
    failed = Delivery(attempts=2, last_error=TaskError("link_refused", "HTTP 403\x1b[2J"))
    recorded(deployment, replace(task, request={**task.request, "callback_url": HOOK}, delivery=failed))
    stacks[STACK]["NotifyClient"] = "notify"
    client = Connection.client
    monkeypatch.setattr(
        Connection, "client", lambda self, name: logs if name in ("lambda", "logs") else client(self, name)
    )
    shown, text = ask("task", "show", TASK_ID), relay("task", "show", TASK_ID)[1]
    assert shown["webhook"] == webhook
    assert shown["delivery_error"] == {"code": "link_refused", "message": "HTTP 403\x1b[2J"}
    assert "last error link_refused: HTTP 403?[2J" in text
    assert all(f"{name} {value}" in text for name, value in webhook.items())


def test_overdue_tasks_are_listed_the_longest_overdue_first(relay: Run, ask: Ask, deployment: Deployment) -> None:
    assert relay("task", "overdue")[1] == "No task is overdue.\n"
    at = now()
    for character, overdue in (("b", 60_000), ("c", 600_000), ("d", -60_000)):
        recorded(deployment, new_task(task_id=character * 26, due_at=at - overdue))
    found = ask("task", "overdue")
    assert ([task["task_id"][0] for task in found["tasks"]], found["overdue"]) == (["c", "b"], 2)
    assert found["tasks"][0]["overdue_seconds"] >= 600


def test_newest_tasks_of_all_tenants_are_listed_with_what_is_wrong(
    relay: Run, ask: Ask, deployment: Deployment
) -> None:
    assert relay("task", "list")[1] == "No tasks.\n"
    at, hour = now(), 3_600_000
    for tenant in ("acme", "other"):
        ask("tenants", "create", tenant)
    copied = replace(task_in(Status.GENERATED), due_at=None)
    *earlier, last = copied.history
    for character, tenant, age, task in (
        ("b", "acme", 4, new_task(due_at=at + hour)),
        ("c", "other", 3, new_task(due_at=at - 61_000)),
        ("d", "acme", 2, new_task(due_at=at + hour, paused_since=at - 2 * hour)),
        ("e", "other", 1, replace(copied, history=(*earlier, replace(last, at=at - 2 * hour)))),
        ("f", "other", 0, new_task(due_at=at - 1000)),
    ):  # fmt: skip
        recorded(deployment, replace(task, task_id=character * 26, tenant_id=tenant, created_at=at - age * hour))
    found = {one["task_id"][0]: one["wrong"] for one in ask("task", "list")["tasks"]}
    assert list(found) == ["f", "e", "d", "c", "b"]
    assert [(found[name] or "").rpartition(" for ")[0] for name in "fedcb"] == [
        "", "video not copied", "waits 2 h 0 min", "check overdue", ""
    ]  # fmt: skip
    assert [one["task_id"][0] for one in ask("task", "list", "--tenant", "other", "--limit", "2")["tasks"]] == [
        "f",
        "e",
    ]


def test_check_takes_the_lease_and_starts_its_poller(ask: Ask, deployment: Deployment) -> None:
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


def test_check_that_loses_the_race_starts_nothing(
    ask: Ask, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(deployment, new_task())
    monkeypatch.setattr(TaskStore, "take_lease", lambda *_: None)
    assert ask("task", "check", TASK_ID)["started"] is False


@pytest.mark.parametrize("status", Status)
def test_only_a_generated_task_is_delivered(ask: Ask, deployment: Deployment, status: Status) -> None:
    before, generated = recorded(deployment, task_in(status)), status is Status.GENERATED
    answer = ask("task", "deliver", TASK_ID)
    assert (answer["asked"], "reason" in answer) == (generated, not generated)
    assert queued(deployment, deployment.account.queue_url) == ([{"task_id": TASK_ID}] if generated else [])
    assert stored(deployment) == before or (generated and stored(deployment).delivery == Delivery(requests=1))


def test_task_whose_video_was_unavailable_is_delivered(ask: Ask, deployment: Deployment) -> None:
    before = recorded(deployment, expire_delivery(task_in(Status.GENERATED), now=NOW, policy=POLICY))
    answer = ask("task", "deliver", TASK_ID)
    assert (answer["asked"], answer["status"]) == (True, "generated")
    assert queued(deployment, deployment.account.queue_url) == [{"task_id": TASK_ID}]
    after = stored(deployment)
    assert (after.status, after.error, after.version) == (Status.GENERATED, None, before.version + 1)
    assert after.history[-1].source == "operator"


@pytest.mark.parametrize(
    ("status", "url", "asked"),
    [(Status.COMPLETED, HOOK, True), (Status.COMPLETED, None, False), (Status.SUBMITTED, HOOK, False)],
)
def test_latest_change_is_sent_again_if_there_is_one_and_an_address(
    ask: Ask, deployment: Deployment, status: Status, url: str | None, asked: bool
) -> None:
    task = task_in(status)
    task = recorded(deployment, replace(task, request={**task.request, **({"callback_url": url} if url else {})}))
    assert ask("task", "notify", TASK_ID)["asked"] is asked
    sent = queued(deployment, deployment.account.notifications_url)
    assert sent == ([{"task_id": TASK_ID, "version": task.version, "replay": True}] if asked else [])


@pytest.mark.parametrize("command", ["show", "check", "deliver", "notify", "publish"])
@pytest.mark.parametrize(("task_id", "rule"), [("a" * 26, "there is no task"), ("../x", "26 of a-z")])
def test_unknown_task_is_refused(refused: Refused, command: str, task_id: str, rule: str) -> None:
    assert rule in refused("task", command, task_id)


class _Lambda:
    """A function that cannot publish some records: a call ends at the first of them."""

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
def test_record_that_cannot_be_published_holds_up_no_other(
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


def test_failed_function_is_reported_with_where_to_look(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.connection.Connection.client", lambda *_: _Lambda(set(), "boom"))
    connection = replace(connect_local(deployment.file), known=deployment.resources)
    with pytest.raises(RefusedError, match=r"boom.*sam logs"):
        publish_again(records("1"), connection)
