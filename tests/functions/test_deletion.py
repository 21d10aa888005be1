"""`DELETE /v1/tasks/{task_id}` and the ledger: what goes, what stays, and what a repetition finishes."""

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.functions.conftest import TASK_ID, Relay
from tests.simulation.test_ledger import stream
from tests.unit.template import sample
from vidu_relay.domain.identifiers import video_folder
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task, Video

DELETE = sample("delete_task__canceled")
UPLOAD, OTHERS = "uploads/acme/face.png", ["uploads/globex/face.png", f"tasks/acme/{TASK_ID[:-1]}a/x.json"]


def keys(relay: Relay) -> list[str]:
    """Every version in the inbox bucket and every object in the videos bucket."""
    s3 = relay.account.clients["s3"]
    listed = s3.list_object_versions(Bucket=relay.account.inbox)
    found = [one["Key"] for kind in ("Versions", "DeleteMarkers") for one in listed.get(kind, [])]
    return sorted(found + [one["Key"] for one in s3.list_objects_v2(Bucket=relay.account.videos).get("Contents", [])])


@pytest.fixture
def task(relay: Relay) -> Task:
    """A task that completed long ago, with something in every place that content can be in."""
    s3, account = relay.account.clients["s3"], relay.account
    s3.put_bucket_versioning(Bucket=account.inbox, VersioningConfiguration={"Status": "Enabled"})
    relay.generated()
    generated, long_ago = relay.task(), relay.task().created_at - 3_600_000
    folder = f"tasks/acme/{TASK_ID}/"
    whole = {**generated.request, "images": [f"s3://{account.inbox}/{UPLOAD}", f"s3://{account.inbox}/{OTHERS[0]}"]}
    for key in (f"{folder}r.json", f"{folder}r.json", f"{folder}ni-image.png", UPLOAD, UPLOAD, *OTHERS):
        s3.put_object(Bucket=account.inbox, Key=key, Body=json.dumps(whole).encode())
    s3.delete_object(Bucket=account.inbox, Key=UPLOAD)
    path = f"videos/acme/{generated.created_at}/1.mp4"
    done = replace(
        generated, status=Status.COMPLETED, updated_at=long_ago, request_key=f"{folder}r.json", due_at=None,
        videos=(Video(account.videos, path, 7, "ab" * 32, "video/mp4"),),
    )  # fmt: skip
    for key in (f"{video_folder('acme', TASK_ID, generated.created_at)}1.mp4", "videos/other/1.mp4"):
        s3.put_object(Bucket=account.videos, Key=key, Body=b"video")
    return relay.store().save(done)


def test_deletion_removes_every_version_of_the_content_and_keeps_the_bill(relay: Relay, task: Task) -> None:
    assert relay.invoke("delete_task", DELETE) == {"statusCode": 204}
    assert keys(relay) == sorted([*OTHERS, "videos/other/1.mp4"])
    shown = json.loads(relay.play("read_tasks__one")["body"])
    assert (shown["status"], shown["billing"]["cost_usd"], shown["videos"][0]["size"]) == ("completed", "0.2", 7)
    assert set(shown["request"]) <= {"model", "duration", "resolution"}
    assert "content_deleted_at" in shown
    assert "url" not in json.dumps(shown["output"])
    assert relay.invoke("delete_task", DELETE) == {"statusCode": 204}, "a repetition"


@pytest.mark.parametrize("operation", ["delete_objects", "list_object_versions", "list_objects_v2", "put_item"])
@pytest.mark.parametrize("nth", [1, 2])
def test_deletion_that_broke_off_is_finished_by_a_repetition(
    relay: Relay, task: Task, operation: str, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = relay.load("delete_task")
    client: Any = module.deps.store._client if operation == "put_item" else module.deps.content._client
    calls = []

    def breaks(name: str, kwargs: Any, original: Any = client._make_api_call) -> Any:
        if name == client.meta.method_to_api_mapping[operation]:
            calls.append(name)
            if len(calls) == nth:
                raise ClientError({"Error": {"Code": "SlowDown", "Message": "…"}}, name)
        return original(name, kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(client, "_make_api_call", breaks)
        try:
            relay.invoke("delete_task", DELETE)
        except ClientError:
            assert len(calls) == nth
    relay.invoke("delete_task", DELETE)
    assert keys(relay) == sorted([*OTHERS, "videos/other/1.mp4"])
    assert "prompt" not in relay.task().request


def test_objects_that_s3_keeps_are_said_and_leave_the_record_as_it_is(
    relay: Relay, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3 = relay.load("delete_task").deps.content._client
    monkeypatch.setattr(s3, "delete_objects", lambda **_: {"Errors": [{"Code": "InternalError"}]})
    answer = relay.invoke("delete_task", DELETE)
    assert (answer["statusCode"], json.loads(answer["body"])["code"]) == (503, "deletion_incomplete")
    assert relay.task().request["prompt"] == task.request["prompt"]


def test_task_of_another_tenant_is_not_found(relay: Relay, task: Task) -> None:
    stranger = json.loads(json.dumps(DELETE).replace('"acme"', '"globex"'))
    assert relay.invoke("delete_task", stranger)["statusCode"] == 404
    assert relay.task() == task


def test_ledger_forgets_the_prompt_and_usage_keeps_the_bill(relay: Relay, task: Task) -> None:
    before = relay.first()
    relay.invoke("delete_task", DELETE)
    records = stream([replace(before, created_at=task.created_at), task, relay.task()])
    assert relay.invoke("record_spending", {"Records": records}) == {"batchItemFailures": []}
    (row,) = relay.account.clients["dynamodb"].scan(TableName=relay.account.ledger)["Items"]
    assert "prompt" not in row
    answer = json.loads(relay.play("read_tasks__usage")["body"])
    assert answer["total"] == {
        "tasks": 1, "billing": {"none": 0, "reserved": 0, "uncertain": 0, "settled": 1},
        "cost_usd": "0.2", "reserved_usd": "0", "uncertain_usd": "0", "unstated_usd": "0",
    }  # fmt: skip


def test_poison_record_is_set_aside_whole_and_those_behind_it_are_recorded(relay: Relay) -> None:
    good, bad = (sample(f"record_spending__{name}")["Records"][0] for name in ("accepted", "unreadable"))
    assert relay.invoke("record_spending", {"Records": [bad, good]}) == {"batchItemFailures": []}
    (kept,) = relay.account.clients["s3"].list_objects_v2(Bucket=relay.account.failures)["Contents"]
    assert kept["Key"].startswith("record_spending/")
    assert len(relay.account.clients["dynamodb"].scan(TableName=relay.account.ledger)["Items"]) == 1
    number = bad["dynamodb"]["SequenceNumber"]
    again = relay.invoke("record_spending", {"Records": [bad], "set_aside": False})
    assert again == {"batchItemFailures": [{"itemIdentifier": number}]}
