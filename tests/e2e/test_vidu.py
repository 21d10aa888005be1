"""The same stack with `ProviderName=vidu`: the upstream API, its signed callbacks, and its cancel."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from local.stack import LocalStack
from tests.e2e.attempts import record
from tests.e2e.conftest import GENERATION_SECONDS, PARAMETERS, request_of
from tests.e2e.sweeps import without_sweeps
from tests.e2e.waiting import wait_until
from tests.e2e.watched import WatchedClient

Body = dict[str, Any]
WAITS = {"generation_seconds": 600}
RUNS = {"generation_seconds": 0, "outcome": {"never_finish": True}}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a stack of its own, which takes signed callbacks only."""
    parameters = {**PARAMETERS, "ProviderName": "vidu", "CallbackSignature": "require"}
    folder = tmp_path_factory.mktemp("vidu")
    with LocalStack(folder, parameters=parameters, generation_seconds=GENERATION_SECONDS) as stack:
        client = WatchedClient(stack)
        yield client
        client.close()


@pytest.fixture
def request_body(relay: RelayClient, request: pytest.FixtureRequest) -> Body:
    return request_of(relay, request)


def cancel(relay: RelayClient, task_id: str) -> tuple[int, Body]:
    reply = relay.call("POST", f"/v1/tasks/{task_id}/cancel")
    return reply.status_code, reply.json()


def events_until(relay: RelayClient, task_id: str, last: str) -> list[str]:
    """The types of the task's events, up to and with `last`."""
    found: list[str] = []

    def ended() -> bool:
        found.extend(event["detail-type"] for event in relay.new_events(task_id))
        return last in found

    wait_until(ended, f"{last} of {task_id}")
    return found


def throttled(relay: RelayClient, body: Body) -> str:
    """A task that waits in `accepted`, for an hour."""
    relay.script(body["prompt"], {"create": {"throttle": {"n": None, "retry_after": 3600}}})
    task = relay.submit(body)
    assert task["status"] == "accepted"
    return str(task["task_id"])


def test_task_called_back_with_a_signature_ends_as_the_providers_very_bytes(
    relay: RelayClient, request_body: Body
) -> None:
    with without_sweeps(relay):
        task = relay.wait(relay.submit(request_body)["task_id"], "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]
    assert relay.download(task)[4:8] == b"ftyp"
    sources = [entry["source"] for entry in task["history"]]
    assert (sources[:2], set(sources[2:-1]), sources[-1]) == (["http", "create"], {"callback"}, "delivery")
    assert (task["metadata"]["remote_task_id"], task["usage"]) == (seen["id"], None)
    assert task["output"][0]["task_id"] == seen["id"]


def test_forged_callbacks_are_refused_and_change_nothing(relay: RelayClient, request_body: Body) -> None:
    forge = [{"kind": "wrong_state", "claim": "failed", "on": "created", "signed": False, "n": 2}]
    relay.script(request_body["prompt"], {"callbacks": {"forge": forge}})

    task = relay.wait(relay.submit(request_body)["task_id"], "completed")
    answers: list[int | None] = []

    def answered() -> bool:
        (seen,) = relay.seen_by_provider(request_body["prompt"])
        answers[:] = [call["http_status"] for call in seen["callbacks"] if call["kind"] == "forged"]
        return len(answers) == 2

    wait_until(answered, "the answers to the forged callbacks")
    assert answers == [403, 403]
    assert task["error"] is None


def test_unsigned_and_lost_callbacks_are_made_good_by_the_poller(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"signature": "none", "drop": ["processing"]}})

    task = relay.wait(relay.submit(request_body)["task_id"], "completed", meanwhile=relay.sweep)

    assert "check" in [entry["source"] for entry in task["history"]]


def test_everything_the_client_gave_reaches_the_provider_and_nothing_of_ours_comes_back(
    relay: RelayClient, request_body: Body
) -> None:
    request_body |= {"audio": True, "seed": 7, "aspect_ratio": "4:3", "meta_data": '{"Label": "x"}'}
    task_id = relay.submit({**request_body, "callback_url": relay.image("fox.png")})["task_id"]

    task = relay.wait(task_id, "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    params = dict(seen["request"]["params"])
    assert params.pop("callback_url").startswith(f"{relay.stack.api_url}/v1/callbacks/{task_id}?token=k1.")
    assert params.pop("payload").startswith(f"vidu-relay:{task_id}:")
    assert params == {name: value for name, value in request_body.items() if name != "model"}
    assert "payload" not in task["request"]
    assert "vidu-relay:" not in str(task)


def test_payload_of_the_client_is_carried_unchanged(relay: RelayClient, request_body: Body) -> None:
    request_body["payload"] = "päyload " * 1000
    task_id = relay.submit(request_body)["task_id"]

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert seen["request"]["params"]["payload"] == relay.task(task_id)["request"]["payload"] == request_body["payload"]


def test_lost_create_is_adopted_by_its_mark(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"lose_reply": {"how": "close"}}})
    task_id = relay.submit(request_body)["task_id"]

    relay.wait(task_id, "completed", meanwhile=relay.sweep)

    assert relay.create_calls(task_id) == 1


@pytest.mark.parametrize("code", ["CreationPolicyViolation", "TaskPromptPolicyViolation"])
def test_reason_of_a_failure_is_the_tasks_code(relay: RelayClient, request_body: Body, code: str) -> None:
    relay.script(request_body["prompt"], {"outcome": {"fail": {"code": code}}})

    assert relay.wait(relay.submit(request_body)["task_id"], "failed")["error"]["code"] == code


@pytest.mark.parametrize("reason", ["FieldInvalid", "ModelUnavailable", "OperationInProcess"])
def test_reason_of_a_refusal_is_the_tasks_code(relay: RelayClient, request_body: Body, reason: str) -> None:
    relay.script(request_body["prompt"], {"create": {"reject": {"status": 400, "code": reason, "message": "no"}}})

    task = relay.submit(request_body)

    assert (task["status"], task["error"]) == ("failed", {"code": reason, "message": "no"})


def test_task_that_waits_at_the_provider_is_called_off(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], WAITS)
    task_id = relay.submit(request_body)["task_id"]

    status, task = cancel(relay, task_id)

    assert (status, task["status"], task["error"]) == (202, "canceled", None)
    assert events_until(relay, task_id, "VideoTaskCanceled")[-1] == "VideoTaskCanceled"
    assert cancel(relay, task_id) == (202, relay.task(task_id))
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert (seen["state"], len(seen["cancels"])) == ("canceled", 1)


def test_cancel_that_is_not_shown_yet_settles_by_itself(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {**WAITS, "cancel": {"shown_after": 2}, "callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]

    status, task = cancel(relay, task_id)

    assert (status, task["status"]) == (202, "submitted")
    assert relay.wait(task_id, "canceled")["history"][-1]["source"] == "check"


def test_task_that_runs_is_not_called_off_and_says_why(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], RUNS)
    task_id = relay.submit(request_body)["task_id"]
    relay.wait(task_id, "processing")

    status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (409, "cancel_refused")
    assert "task state is scheduled, can not cancel" in problem["detail"]
    assert relay.task(task_id)["status"] == "processing"


def test_video_done_before_the_cancel_is_delivered(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"generation_seconds": 0, "callbacks": {"drop": True}})
    with without_sweeps(relay):
        task_id = relay.submit(request_body)["task_id"]
        status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (409, "task_already_settled")
    assert "generated" in problem["detail"]
    task = relay.wait(task_id, "completed")
    assert cancel(relay, task_id)[1]["detail"].startswith("The task is completed")
    assert relay.task(task_id)["version"] == task["version"]


def test_task_that_was_not_submitted_is_canceled_without_a_call(relay: RelayClient, request_body: Body) -> None:
    task_id = throttled(relay, request_body)
    assert "due_at" in record(relay, task_id)

    status, task = cancel(relay, task_id)

    assert (status, task["status"]) == (202, "canceled")
    assert "due_at" not in record(relay, task_id)  # no sweep ever finds it
    assert relay.create_calls(task_id) == 1
    assert relay.seen_by_provider(request_body["prompt"]) == []


def test_lost_create_cannot_be_called_off(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"server_error": {"status": 500}}})
    task_id = relay.submit(request_body)["task_id"]

    status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (409, "submission_underway")


def test_provider_that_gives_no_clear_answer_leaves_it_open(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {**WAITS, "cancel": {"server_error": {"status": 503}}})
    task_id = relay.submit(request_body)["task_id"]

    status, problem = cancel(relay, task_id)

    assert (status, problem["code"]) == (503, "cancel_unconfirmed")
    assert relay.task(task_id)["status"] == "submitted"
    assert cancel(relay, task_id)[1]["status"] == "canceled"


def test_unknown_task_is_404_and_no_key_is_401(relay: RelayClient) -> None:
    assert cancel(relay, "a" * 26)[0] == 404
    assert relay.call("POST", f"/v1/tasks/{'a' * 26}/cancel", headers={"Authorization": ""}).status_code == 401
