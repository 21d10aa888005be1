"""What the API answers to requests that cannot be taken: problem documents, and which."""

import base64
import gzip
import importlib
import json
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from tests.functions.conftest import LINK, REMOTE_ID, TASK_ID, Context, Relay
from tests.unit.template import properties, sample
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError
from vidu_relay.domain.states import Status
from vidu_relay.http import MAX_BODY_BYTES
from vidu_relay.outbound.exchange import Reply
from vidu_relay.outbound.provider_calls import create_seconds
from vidu_relay.usecases.begin_submission import MAX_WAITING_BODY_BYTES, WRITES_MS
from vidu_relay.usecases.ports import clock


def problem_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The problem document of an answer, held to RFC 9457."""
    assert answer["headers"]["content-type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(answer["body"])
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert body["status"] == answer["statusCode"]
    assert body["type"] == "about:blank"
    return body


def submit(relay: Relay, body: Any, **changed: Any) -> dict[str, Any]:
    event = sample("submit_task__two_subjects")
    event.update(changed)
    event["body"] = body if isinstance(body, str) else json.dumps(body)
    return relay.invoke("submit_task", event)


def test_validation_lists_every_fault_by_its_place(relay: Relay) -> None:
    answer = submit(
        relay,
        {"model": "viduq2_pro_fast_reference2video", "images": [], "prompt": "", "duration": 9, "colour": "red"},
    )
    shown = problem_of(answer)
    assert answer["statusCode"] == 422
    assert shown["code"] == "008017003"
    assert shown["title"].startswith("Unprocessable")
    faults = {fault["loc"]: fault for fault in shown["errors"]}
    assert {"images", "prompt", "duration", "colour"} <= set(faults)
    assert faults["images"]["code"] == "008017003"
    assert all(fault["msg"] for fault in shown["errors"])
    assert "red" not in answer["body"].replace("required", ""), "what was sent is not repeated"
    assert relay.gateway.requests == []


@pytest.mark.parametrize("name", ["images", "subjects", "names", "a long name", "mentions"])
def test_answer_stays_small_however_much_is_wrong_and_counts_what_it_does_not_list(relay: Relay, name: str) -> None:
    image = "https://images.example.com/f.png"
    subjects = [{"id": str(number) * 100, "images": [image]} for number in range(1, 8)]
    bodies: dict[str, dict[str, Any]] = {
        "images": {"images": [1] * 100_000},
        "subjects": {"subjects": [{"id": 1, "images": [1] * 100_000}] * 7},
        "names": {str(number): 1 for number in range(20_000)},
        "a long name": {"x" * 1_000_000: 1, "images": [image]},
        "mentions": {"prompt": "@a " * 600, "model": "viduq2_pro_fast_reference2video", "subjects": subjects},
    }
    answer = submit(relay, bodies[name])
    assert answer["statusCode"] == 422
    assert problem_of(answer)["errors"]
    assert len(answer["body"]) < 100_000
    if name == "mentions":
        assert len(problem_of(answer)["errors"]) == 100
        assert "500 more are not listed" in problem_of(answer)["detail"]


def test_taken_external_id_is_409_and_leads_to_its_task(relay: Relay) -> None:
    body = json.loads(sample("submit_task__two_subjects")["body"]) | {"external_id": "4711", "labels": {"a": "ä"}}
    first = submit(relay, body)
    task = json.loads(first["body"])
    assert (first["statusCode"], task["external_id"], task["labels"]) == (202, "4711", {"a": "ä"})
    answer = submit(relay, body | {"prompt": "@anna alone"})
    shown = problem_of(answer)
    assert (answer["statusCode"], shown["code"], shown["task_id"]) == (409, "external_id_taken", task["task_id"])
    assert answer["headers"]["location"] == first["headers"]["location"]
    (call,) = [request for request in relay.gateway.requests if request[0] == "POST"]
    assert "4711" not in str(call)


@pytest.mark.parametrize(("status", "wait"), [(Status.SUBMITTED, True), (Status.COMPLETED, False)])
def test_open_task_says_when_to_look_again(relay: Relay, status: Status, wait: bool) -> None:
    relay.submitted()
    relay.store().save(replace(relay.task(), status=status, created_at=clock()))
    answer = relay.invoke("read_tasks", sample("read_tasks__one"))
    assert answer["statusCode"] == 200
    assert ("retry-after" in answer["headers"]) is wait
    assert not wait or 100 < int(answer["headers"]["retry-after"]) <= 120


def test_estimate_is_refused_with_the_same_problems_and_after_an_hours_estimates_says_when_to_return(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = sample("submit_task__estimate")
    for body, status, code in (("{", 400, "malformed_json"), ('{"model": "sora"}', 422, "validation_error")):
        answer = relay.invoke("submit_task", {**event, "body": body})
        assert (answer["statusCode"], problem_of(answer)["code"]) == (status, code)
    monkeypatch.setattr("vidu_relay.usecases.estimate_task.HOURLY_ESTIMATES", 1)
    assert relay.invoke("submit_task", event)["statusCode"] == 200
    answer = relay.invoke("submit_task", event)
    assert (answer["statusCode"], problem_of(answer)["code"]) == (429, "hourly_limit_reached")
    assert 1 <= int(answer["headers"]["retry-after"]) <= 3601
    assert relay.gateway.requests == []


@pytest.mark.parametrize("function", ["submit_task", "accept_request", "create_upload"])
def test_quota_slot_is_given_back_by_a_client_that_sends_once(relay: Relay, function: str) -> None:
    module = relay.load(function)
    quotas = {
        "submit_task": lambda: module.deps.quota,
        "accept_request": lambda: module.deps.acceptance.quota,
        "create_upload": lambda: module.quota,
    }
    quota = quotas[function]()
    assert quota._once.meta.config.retries["total_max_attempts"] == 1


def test_attempt_is_recorded_by_a_client_that_sends_once(relay: Relay) -> None:
    """Repeated, it could stand twice in the record, and take the time in which the message must be reported as done."""
    log = relay.load("notify_client").deps.log
    assert log._client.meta.config.retries["total_max_attempts"] == 1


def test_test_message_beyond_the_hours_bound_is_429_and_says_until_when(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidu_relay.usecases.send_webhook.HOURLY_TESTS", 0)
    answer = relay.play("send_webhook__test")
    assert (answer["statusCode"], problem_of(answer)["code"]) == (429, "hourly_limit_reached")
    assert 0 < int(answer["headers"]["retry-after"]) <= 3_601
    assert relay.webhook.received == []


def test_upload_beyond_the_days_bound_is_429_and_says_until_when(relay: Relay) -> None:
    event = sample("create_upload__png")
    event["requestContext"]["authorizer"]["lambda"]["daily_cap"] = "0"
    answer = relay.invoke("create_upload", event)
    assert answer["statusCode"] == 429
    assert problem_of(answer)["code"] == "daily_uploads_reached"
    assert 0 < int(answer["headers"]["retry-after"]) <= 86_401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        *((body, 400, "malformed_json") for body in ("", "[1", "\ufeff")),
        *((body, 422, "validation_error") for body in ("[]", "7")),
        *((body, 400, "malformed_body") for body in ("%%%", "AAA", "é")),
    ],
)
def test_body_that_is_no_request_is_refused_as_what_it_is(relay: Relay, body: str, status: int, code: str) -> None:
    answer = submit(relay, body, isBase64Encoded=code == "malformed_body")
    assert answer["statusCode"] == status
    assert problem_of(answer)["code"] == code


@pytest.mark.parametrize("function", ["submit_task__two_subjects", "create_upload__png"])
def test_compressed_body_is_415_and_says_so(relay: Relay, function: str) -> None:
    event, name = sample(function), function.partition("__")[0]
    for coding in ("identity", "", "utf-8"):  # changes no byte
        event["headers"]["content-encoding"] = coding
        assert relay.invoke(name, event)["statusCode"] in (201, 202)
    event["body"] = base64.b64encode(gzip.compress(event["body"].encode())).decode()
    event["isBase64Encoded"] = True
    for coding in ("GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip"):
        event["headers"]["content-encoding"] = coding
        answer = relay.invoke(name, event)
        assert (answer["statusCode"], problem_of(answer)["code"]) == (415, "unsupported_encoding")
        assert "compressed" in problem_of(answer)["detail"]


@pytest.mark.parametrize("encoded", [True, False])
def test_body_over_the_limit_is_413_and_one_at_the_limit_is_not(relay: Relay, encoded: bool) -> None:
    def answer(size: int) -> dict[str, Any]:
        text = " " * size
        return submit(relay, base64.b64encode(text.encode()).decode() if encoded else text, isBase64Encoded=encoded)

    over = answer(MAX_BODY_BYTES + 1)
    assert over["statusCode"] == 413
    assert problem_of(over)["code"] == "body_too_large"
    assert answer(MAX_BODY_BYTES)["statusCode"] == 400


def test_unusable_idempotency_key_is_422_even_if_the_body_is_bad_too(relay: Relay) -> None:
    event = sample("submit_task__malformed_json")
    event["headers"]["idempotency-key"] = ""
    answer = relay.invoke("submit_task", event)
    assert answer["statusCode"] == 422
    assert problem_of(answer)["code"] == "invalid_idempotency_key"


@pytest.mark.parametrize("context", [{}, {"authorizer": {"lambda": {}}}, {"authorizer": {"lambda": {"tenant_id": ""}}}])
@pytest.mark.parametrize(
    "name", ["submit_task__two_subjects", "read_tasks__one", "read_tasks__list", "cancel_task__waiting"]
)
def test_request_that_passed_no_authorizer_is_never_served(relay: Relay, name: str, context: dict[str, Any]) -> None:
    event = sample(name)
    del event["requestContext"]["authorizer"]
    event["requestContext"].update(context)
    with pytest.raises(KeyError):
        relay.invoke(name.partition("__")[0], event)
    assert relay.gateway.requests == []


def test_callback_during_the_create_call_gets_503_and_retry_after(
    relay: Relay, capsys: pytest.CaptureFixture[str]
) -> None:
    class DiedError(BaseException):
        pass

    module = relay.load("submit_task")
    module.deps.submission.providers("gateway").create = Mock(side_effect=DiedError)
    with pytest.raises(DiedError):
        module.handler(sample("submit_task__idempotency_key"), Context())
    answer = relay.play("receive_callback__success")
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "30")
    assert problem_of(answer)["code"] == "try_again"
    assert '"CallbackTooEarly":' in capsys.readouterr().out  # `FunctionErrorsAlarm` leaves it out


def test_cancel_without_a_clear_answer_is_503_and_can_be_repeated(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.submitted()
    module = relay.load("cancel_task")

    silent = Mock(side_effect=ProviderUnavailableError("read time-out"))
    monkeypatch.setattr(module.deps.providers("gateway"), "cancel", silent)
    answer = module.handler(sample("cancel_task__waiting"), Context())
    assert (answer["statusCode"], problem_of(answer)["code"]) == (503, "cancel_unconfirmed")
    assert answer["headers"]["retry-after"] == "10"
    assert relay.task().status is Status.SUBMITTED


HUGE = "x" * 50_000
RESULT = {"type": "video", "url": LINK}
ABSURD = {
    "created_at": "1" * 5000,
    "usage": {"cost": HUGE, "discount": 1},
    "metadata": {"remote_task_id": HUGE, "model": HUGE},
    "output": [{"task_id": HUGE, "task_status": HUGE, "results": [RESULT] * 40}] * 40,
}


def absurd(status: str, **fields: Any) -> Reply:
    """A reply with fields of a size, and numbers of an exponent, that no record can hold."""
    text = json.dumps({"id": REMOTE_ID, "status": status, **ABSURD, **fields})
    return Reply(200, {}, text.replace('"discount": 1', '"discount": 1e999999999999999999999').encode())


@pytest.mark.parametrize(
    ("create", "read", "status"),
    [
        (None, absurd("completed"), Status.GENERATED),
        (None, absurd("failed", error={"code": HUGE, "message": HUGE}), Status.FAILED),
        (absurd("pending"), None, Status.SUBMITTED),
        (Reply(400, {}, json.dumps({"error": {"code": HUGE, "message": HUGE}}).encode()), None, Status.FAILED),
        (Reply(502, {}, b"<html>bad gateway</html>"), None, Status.SUBMITTING),
    ],
    ids=["success", "failure", "created", "refused", "no answer"],
)
def test_huge_fields_and_nonsense_of_the_provider_keep_nothing_from_being_recorded(
    relay: Relay, create: Reply | None, read: Reply | None, status: Status
) -> None:
    relay.gateway.create, relay.gateway.read = create, read
    assert relay.play("submit_task__idempotency_key")["statusCode"] == 202
    if read:
        assert relay.play("receive_callback__success")["statusCode"] == 200
    task = relay.task()
    assert task.status is status
    assert len(f"{task}") < 20_000
    assert task.error is None or len(task.error.code) + len(task.error.message) <= 1000
    assert task.remote_id == (REMOTE_ID if read or status is Status.SUBMITTED else None)


def test_submission_begins_no_create_call_that_its_function_might_not_live_to_see_answered(relay: Relay) -> None:
    """Slow images and AWS eat the time; cut off in the call, it would be unknown whether a video was made."""
    event = sample("submit_task__idempotency_key")
    short = relay.invoke("submit_task", event, remaining_ms=19_000)
    assert (short["statusCode"], json.loads(short["body"])["status"]) == (202, "accepted")
    relay.drop_order()
    relay.invoke("accept_request", sample("accept_request__file"), remaining_ms=19_000)
    items = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
    assert [item["status"]["S"] for item in items if item["pk"]["S"].startswith("task#")] == ["accepted"] * 2
    assert relay.gateway.requests == []
    machine = relay.account.state_machine_arn
    runs = relay.account.clients["stepfunctions"].list_executions(stateMachineArn=machine)["executions"]
    assert f"{TASK_ID}-{relay.task().lease}" in [run["name"] for run in runs], "a check begins the call at once"

    again = relay.invoke("submit_task", event)  # the same key, in a function that has the time
    assert (json.loads(again["body"])["task_id"], json.loads(again["body"])["status"]) == (TASK_ID, "submitted")
    assert [method for method, _ in relay.gateway.requests] == ["POST"]

    timeout = properties("SubmitTask")["Timeout"]
    assert create_seconds(MAX_WAITING_BODY_BYTES) * 1000 + WRITES_MS < timeout * 1000


def test_sweep_that_has_no_time_left_stops(relay: Relay) -> None:
    relay.overdue()
    assert relay.invoke("find_overdue_tasks", {}, remaining_ms=4000)["started"] == 1  # at least one, or it never ends


def test_without_a_provider_key_a_client_gets_503_and_a_file_waits(relay: Relay) -> None:
    empty = relay.account.clients["secretsmanager"].create_secret(Name="empty")["ARN"]
    relay.account = replace(relay.account, provider_secret=empty)
    relay.drop_order()

    def kept() -> dict[str, Any]:
        items = relay.account.clients["dynamodb"].scan(TableName=relay.account.table)["Items"]
        return {item["pk"]["S"]: item for item in items}

    before = kept()
    answer = submit(relay, sample("submit_task__two_subjects")["body"])
    assert (answer["statusCode"], problem_of(answer)["code"]) == (503, "not_configured")
    assert int(answer["headers"]["retry-after"]) > 0
    assert empty not in answer["body"]
    assert kept() == before
    relay.play("accept_request__file")
    assert [item["status"]["S"] for key, item in kept().items() if key.startswith("task#")] == ["accepted"]
    said = [json.loads(line) for line in relay.log.getvalue().splitlines() if '"not_configured"' in line]
    assert [line["level"] for line in said if line["message"] == "not_configured"] == ["ERROR", "ERROR"]
    assert relay.gateway.requests == []


def test_without_a_webhook_secret_a_test_message_is_answered_503(relay: Relay) -> None:
    secrets = relay.account.clients["secretsmanager"]
    relay.account = replace(relay.account, webhook_secret=secrets.create_secret(Name="e", SecretString="{}")["ARN"])
    answer = relay.play("send_webhook__test")
    assert (answer["statusCode"], problem_of(answer)["code"]) == (503, "not_configured")
    assert relay.webhook.received == []


def test_missing_variable_stops_a_function_at_its_start(relay: Relay) -> None:
    sys.modules.pop("functions.submit_task.handler", None)
    with pytest.raises(ConfigurationError, match="TABLE_NAME is not set"):
        importlib.import_module("functions.submit_task.handler")
