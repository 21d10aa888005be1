"""The same stack with `ProviderName=vidu`: the upstream API, its signed callbacks, and its cancel."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from tests.e2e.sweeps import without_sweeps
from tests.e2e.waiting import events_until, wait_until
from tests.e2e.watched import watched_stack

Body = dict[str, Any]
WAITS = {"generation_seconds": 600}
RUNS = {"generation_seconds": 0, "outcome": {"never_finish": True}}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a stack of its own, which takes signed callbacks only."""
    chosen = {"ProviderName": "vidu", "AllowUnlistedModels": "true", "CallbackSignature": "require"}
    with watched_stack(tmp_path_factory.mktemp("vidu"), **chosen) as client:
        yield client


def submit(relay: RelayClient, request: Body, script: Body) -> str:
    relay.script(request["prompt"], script)
    return str(relay.submit(request)["task_id"])


def cancel(relay: RelayClient, task_id: str) -> tuple[int, Body]:
    reply = relay.call("POST", f"/v1/tasks/{task_id}/cancel")
    return reply.status_code, reply.json()


def test_task_called_back_with_a_signature_ends_as_the_providers_very_bytes(
    relay: RelayClient, request_body: Body
) -> None:
    """Everything that the client gave reaches the provider, and nothing that the relay added comes back."""
    request_body |= {"audio": True, "seed": 7, "aspect_ratio": "4:3", "meta_data": '{"Label": "x"}'}
    with without_sweeps(relay):
        task_id = relay.submit({**request_body, "callback_url": relay.image("fox.png")})["task_id"]
        task = relay.wait(task_id, "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]
    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], set(sources[2:-1]), sources[-1]) == (["http", "create"], {"callback"}, "delivery")
    assert (task["metadata"]["remote_task_id"], task["output"][0]["task_id"]) == (seen["id"], seen["id"])
    params = dict(seen["request"]["params"])
    assert params.pop("callback_url").startswith(f"{relay.stack.api_url}/v1/callbacks/{task_id}?token=k1.")
    assert params.pop("payload").startswith(f"vidu-relay:{task_id}:")
    for subject in request_body["subjects"]:
        subject["name"] = subject.pop("id")  # this API's word
    assert params == {name: value for name, value in request_body.items() if name != "model"}
    assert "vidu-relay:" not in str(task)


@pytest.mark.parametrize(
    ("callbacks", "source"),
    [
        ({"forge": [{"kind": "wrong_state", "claim": "failed", "on": "created", "signed": False, "n": 2}]}, "callback"),
        ({"signature": "none", "drop": ["processing"]}, "check"),
    ],
    ids=["forged", "all unsigned"],
)
def test_callback_without_a_good_signature_is_refused_and_the_task_ends_all_the_same(
    relay: RelayClient, request_body: Body, callbacks: Body, source: str
) -> None:
    task_id = submit(relay, request_body, {"callbacks": callbacks})
    task = relay.wait(task_id, "completed", meanwhile=relay.sweep if source == "check" else None)

    def refused() -> bool:
        (seen,) = relay.seen_by_provider(request_body["prompt"])
        sent = [call for call in seen["callbacks"] if "http_status" in call]  # some were dropped
        return {call["http_status"] for call in sent if call["kind"] == "forged" or source == "check"} == {403}

    wait_until(refused, "the refusal of each unsigned callback")
    assert task["error"] is None
    assert source in [entry["source"] for entry in task["history"]]


def test_unconfirmed_create_is_reconciled_by_its_correlation_tag(relay: RelayClient, request_body: Body) -> None:
    task_id = submit(relay, request_body, {"create": {"lose_reply": {"how": "close"}}})
    relay.wait(task_id, "completed", meanwhile=relay.sweep)
    assert relay.create_calls(task_id) == 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"outcome": {"fail": {"code": "TaskPromptPolicyViolation"}}}, "TaskPromptPolicyViolation"),
        ({"create": {"reject": {"status": 400, "code": "FieldInvalid", "message": "no"}}}, "FieldInvalid"),
    ],
    ids=["failed", "refused"],
)
def test_reason_of_a_failure_or_a_refusal_is_the_tasks_code(
    relay: RelayClient, request_body: Body, script: Body, code: str
) -> None:
    assert relay.wait(submit(relay, request_body, script), "failed")["error"]["code"] == code


def test_task_that_waits_at_the_provider_is_canceled(relay: RelayClient, request_body: Body) -> None:
    task_id = submit(relay, request_body, WAITS)
    status, task = cancel(relay, task_id)

    assert (status, task["status"], task["error"]) == (202, "canceled", None)
    assert events_until(relay, task_id, "VideoTaskCanceled")[-1]["detail-type"] == "VideoTaskCanceled"
    assert cancel(relay, task_id) == (202, relay.task(task_id))
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert (seen["state"], len(seen["cancels"])) == ("canceled", 1)


def test_cancel_that_is_not_shown_yet_settles_by_itself(relay: RelayClient, request_body: Body) -> None:
    task_id = submit(relay, request_body, {**WAITS, "cancel": {"shown_after": 2}, "callbacks": {"drop": True}})
    status, task = cancel(relay, task_id)

    assert (status, task["status"]) == (202, "submitted")
    assert relay.wait(task_id, "canceled")["history"][-1]["source"] == "check"


def test_task_that_runs_is_not_canceled_and_the_answer_says_why(relay: RelayClient, request_body: Body) -> None:
    task_id = submit(relay, request_body, RUNS)
    relay.wait(task_id, "processing")
    status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (409, "cancel_refused")
    assert "task state is scheduled, can not cancel" in problem["detail"]
    assert relay.task(task_id)["status"] == "processing"


def test_video_done_before_the_cancel_is_delivered(relay: RelayClient, request_body: Body) -> None:
    with without_sweeps(relay):
        task_id = submit(relay, request_body, {"generation_seconds": 0, "callbacks": {"drop": True}})
        status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (409, "task_already_settled")
    assert "generated" in problem["detail"]
    assert relay.wait(task_id, "completed")["videos"]


def test_books_of_the_provider_are_compared_by_the_deployed_function(relay: RelayClient, request_body: Body) -> None:
    """With its own role: every part of the run is allowed what it needs."""
    relay.wait(relay.submit(request_body)["task_id"], "completed")
    invoke = relay.aws("lambda").invoke
    for _ in range(2):
        reply = invoke(FunctionName=relay.stack.functions["reconcile_spending"], Payload=b'{"now": true}')
        answer = json.loads(reply["Payload"].read())
        assert "FunctionError" not in reply, answer
        assert (answer["books_vidu"], answer["reservations"]["left"]) == ("compared", 0)
    item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key={"pk": {"S": "books#vidu"}})["Item"]
    assert int(json.loads(item["document"]["S"])["books"]["credits"]) > 0
