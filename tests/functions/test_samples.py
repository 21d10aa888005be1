"""Every sample in events/ does what its name says when its function is called with it."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functions.conftest import LINK, TASK_ID, Relay
from tests.unit.account import CALLBACK_SECRET, PROVIDER_KEY
from tests.unit.template import EVENTS, FUNCTIONS, sample
from vidu_relay.adapters.task_item import task_from_image, to_item
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.states import Status

Answer = dict[str, Any]
NAMES = sorted(path.stem for path in EVENTS.glob("*.json"))


def http(status: int, /, **body: Any) -> Callable[[Answer], bool]:
    """An HTTP answer with this status and at least these members."""

    def fits(answer: Answer) -> bool:
        shown = json.loads(answer["body"])
        kind = "application/problem+json" if status >= 400 else "application/json"
        return bool(
            answer["statusCode"] == status
            and answer["headers"]["content-type"] == kind
            and answer["headers"]["cache-control"] == "no-store"
            and shown == {**shown, **body}
        )

    return fits


def is_(expected: Any) -> Callable[[Answer], bool]:
    return lambda answer: answer == expected


@dataclass(frozen=True)
class Case:
    """`given` prepares the state, `answer` checks what the function returns; `error` is what it raises instead."""

    good: bool
    answer: Callable[[Answer], bool] = lambda _: False
    given: Callable[[Relay], None] = lambda _: None
    error: type[Exception] | None = None


REFUSED = http(403, type="about:blank", title="Forbidden", code="callback_refused")
UPLOAD = {"url", "fields", "uri", "expires_at"}
OFFERED = Offering(("gateway",)).model_ids()
PUBLISHED = is_({"batchItemFailures": []})

CASES = {
    "accept_request__batch": Case(True, PUBLISHED, Relay.drop_batch),
    "accept_request__batch_lines": Case(True, PUBLISHED, Relay.batch_recorded),
    "accept_request__event": Case(True, PUBLISHED, Relay.map_tenants),
    "accept_request__file": Case(True, PUBLISHED, Relay.drop_order),
    "accept_request__unmapped_source": Case(False, PUBLISHED, Relay.map_tenants),
    "accept_request__unreadable": Case(False, error=ValueError),
    "authorize_request__good_key": Case(
        True, lambda a: a["isAuthorized"] is True and a["context"]["tenant_id"] == "acme", Relay.add_key
    ),
    "authorize_request__unknown_key": Case(False, is_({"isAuthorized": False}), Relay.add_key),
    "authorize_request__not_bearer": Case(False, is_({"isAuthorized": False}), Relay.add_key),
    "cancel_task__waiting": Case(True, http(202, task_id=TASK_ID, status="canceled", error=None), Relay.waiting),
    "cancel_task__unknown_task": Case(False, http(404, title="Not Found", code="task_not_found"), Relay.waiting),
    "check_task__overdue": Case(True, lambda a: a["settled"] is False and 8 <= a["wait_seconds"] <= 12, Relay.leased),
    "check_task__unknown_task": Case(False, is_({"settled": True, "wait_seconds": 0})),
    "create_upload__batch": Case(True, http(201, batch_id="bhlkwrkbcdq6fyohtovxkfbcwny")),
    "create_upload__png": Case(True, lambda a: a["statusCode"] == 201 and set(json.loads(a["body"])) == UPLOAD),
    "create_upload__unknown_type": Case(False, http(422, code="validation_error")),
    "deliver_videos__generated": Case(True, PUBLISHED, Relay.generated),
    "deliver_videos__unknown_task": Case(False, PUBLISHED),
    "deliver_videos__unreadable": Case(False, error=ValueError),
    "delete_task__canceled": Case(True, is_({"statusCode": 204}), Relay.canceled),
    "delete_task__open_task": Case(False, http(409, code="task_not_settled"), Relay.submitted),
    "describe_api__document": Case(True, lambda a: json.loads(a["body"])["openapi"].startswith("3.1")),
    "describe_api__page": Case(True, lambda a: a["body"].startswith("<!doctype html>")),
    "describe_api__unknown_route": Case(False, error=KeyError),
    "find_overdue_tasks__minute": Case(True, lambda a: (a["started"], a["failed"]) == (1, 0), Relay.overdue),
    "find_overdue_tasks__unexpected_input": Case(False, lambda a: a["started"] == 1, Relay.overdue),
    "list_models__all": Case(True, lambda a: [one["id"] for one in json.loads(a["body"])["models"]] == OFFERED),
    "list_models__one": Case(True, lambda a: json.loads(a["body"])["id"] == "viduq2_text2video"),
    "list_models__unknown_model": Case(False, http(404, title="Not Found", code="model_not_found")),
    "notify_client__processing": Case(True, PUBLISHED, Relay.processing_with_callback),
    "notify_client__unknown_task": Case(False, PUBLISHED),
    "notify_client__unreadable": Case(False, PUBLISHED),
    "publish_events__generated": Case(True, PUBLISHED),
    "publish_events__insert": Case(True, PUBLISHED),
    "publish_events__lease_taken": Case(True, PUBLISHED),
    "publish_events__whole_life": Case(True, PUBLISHED),
    "publish_events__unreadable": Case(False, PUBLISHED),
    "read_tasks__batch": Case(True, http(200, state="accepting", tasks=None, lines=2), Relay.batch_recorded),
    "read_tasks__unknown_batch": Case(False, http(404, title="Not Found", code="batch_not_found")),
    "read_tasks__list": Case(True, http(200, tasks=[], next_cursor=None), Relay.submitted),
    "read_tasks__list_bad_cursor": Case(False, http(400, title="Bad Request", code="invalid_cursor")),
    "read_tasks__notifications": Case(
        True,
        lambda a: [one["state"] for one in json.loads(a["body"])["notifications"]] == ["delivered"],
        Relay.notified,
    ),
    "read_tasks__one": Case(True, http(200, task_id=TASK_ID, status="submitted"), Relay.submitted),
    "read_tasks__usage": Case(True, http(200, group_by="model", groups=[])),
    "read_tasks__usage_bad_period": Case(False, http(400, title="Bad Request", code="invalid_query")),
    "read_tasks__unknown_task": Case(False, http(404, title="Not Found", code="task_not_found"), Relay.submitted),
    "reconcile_spending__half_hour": Case(True, lambda a: a["reservations"]["left"] == 0, Relay.submitted),
    "reconcile_spending__unexpected_input": Case(False, lambda a: a["reservations"]["left"] == 0, Relay.submitted),
    "record_spending__accepted": Case(True, PUBLISHED),
    "record_spending__unreadable": Case(False, PUBLISHED),
    "receive_callback__success": Case(True, http(200, status="ok"), Relay.submitted),
    "receive_callback__processing": Case(True, http(200, status="ok"), Relay.submitted),
    "receive_callback__unreadable_body": Case(False, http(200, status="ok"), Relay.submitted),
    "receive_callback__forged_token": Case(False, REFUSED, Relay.submitted),
    "receive_callback__no_token": Case(False, REFUSED, Relay.submitted),
    "send_webhook__replay": Case(True, http(202, webhook_id=f"{TASK_ID}:1795424402"), Relay.processing_with_callback),
    "send_webhook__unknown_version": Case(
        False, http(404, code="notification_not_found"), Relay.processing_with_callback
    ),
    "send_webhook__test": Case(True, http(200, status=204, fault=None, answer="thanks")),
    "send_webhook__test_no_address": Case(False, http(422, code="validation_error")),
    "serve_console__page": Case(True, lambda a: a["body"].startswith("<!doctype html>")),
    "serve_console__unknown_file": Case(False, lambda a: json.loads(a["body"])["code"] == "file_not_found"),
    "submit_task__two_subjects": Case(True, http(202, status="submitted", delivery=None)),
    "submit_task__idempotency_key": Case(True, http(202, task_id=TASK_ID, status="submitted")),
    "submit_task__base64_body": Case(True, http(202, status="submitted")),
    "submit_task__audio_without_subjects": Case(False, http(422, status=422, code="008017001")),
    "submit_task__estimate": Case(True, http(200, usd=None, reserved_usd="1", basis="unknown")),
    "submit_task__malformed_json": Case(False, http(400, status=400, code="malformed_json")),
    "submit_task__no_body": Case(False, http(400, status=400, code="malformed_json")),
    "submit_task__prompt_too_long": Case(False, http(422, code="validation_error")),
}


@pytest.mark.parametrize("name", NAMES)
def test_sample_gets_the_answer_it_is_there_for(relay: Relay, name: str) -> None:
    case = CASES[name]  # a sample without an expectation is not a test
    case.given(relay)
    if case.error:
        with pytest.raises(case.error):
            relay.play(name)
    else:
        answer = relay.play(name)
        assert case.answer(answer), answer


def test_every_function_has_a_good_and_a_bad_sample_and_every_sample_an_expectation() -> None:
    assert sorted(CASES) == NAMES
    kinds = {(name.partition("__")[0], case.good) for name, case in CASES.items()}
    assert kinds == {(folder, good) for folder in FUNCTIONS for good in (True, False)}


def test_submitted_sample_sends_the_client_to_its_task(relay: Relay) -> None:
    answer = relay.play("submit_task__idempotency_key")
    assert answer["headers"]["location"] == f"/v1/tasks/{TASK_ID}"
    assert relay.gateway.requests == [("POST", "https://provider.example.com/model/v1/generation")]
    assert relay.play("submit_task__idempotency_key") == answer
    assert len(relay.gateway.requests) == 1


def test_samples_are_about_the_task_that_the_others_make(relay: Relay) -> None:
    relay.leased()
    assert sample("check_task__overdue") == {"task_id": TASK_ID, "lease": relay.task().lease}
    relay.gateway.status = "completed"
    relay.play("receive_callback__success")
    relay.play("deliver_videos__generated")
    task = relay.task()
    assert (task.status, task.videos[0].key.split("/")[-2:]) == (Status.COMPLETED, [TASK_ID, "1.mp4"])


@pytest.mark.parametrize("name", ["insert", "lease_taken", "generated", "whole_life"])
def test_stream_samples_are_records_as_the_store_writes_them(name: str) -> None:
    for record in sample(f"publish_events__{name}")["Records"]:
        task = task_from_image(record["dynamodb"]["NewImage"])
        assert task.lease >= task.created_at // 1000
        assert (task.attempt is not None) == (task.status is Status.SUBMITTING)
        assert (task.remote_id is not None) == (task.status not in (Status.ACCEPTED, Status.SUBMITTING))
        assert task.version == task.first_version + len(task.history) - 1
        image = record["dynamodb"]["NewImage"]
        assert to_item(task) == {name: image[name] for name in image.keys() - {"stamp", "due_since"}}


def test_unreadable_sample_is_set_aside_and_the_operators_tool_gets_it_back_as_failed(relay: Relay) -> None:
    records = sample("publish_events__unreadable")["Records"]
    assert relay.play("publish_events__unreadable") == {"batchItemFailures": []}
    s3, bucket = relay.account.clients["s3"], relay.account.failures
    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    kept = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    (record,) = json.loads(kept["payload"])["Records"]
    assert record in records

    s3.delete_object(Bucket=bucket, Key=found["Key"])
    answer = relay.invoke("publish_events", {"Records": [record], "set_aside": False})
    assert answer == {"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


WITHOUT_A_TASK = {
    "key_refused",  # no tenant is known
    "sweep_done",  # about all of them
    "spending_reconciled",  # likewise
    "request_rejected",  # no task came of it
    "batch_unknown",
    "dropped_file_gone",  # nor of this
    "request_refused",  # no task came of it
    "delivery_of_unknown_task",  # names the id, which is no tenant's
    "notification_of_unknown_task",  # likewise
    "notification_unreadable",  # names nothing
    "webhook_tested",  # about none
    "record_unreadable",  # names the record
    "record_set_aside",  # likewise
}
"""Log lines that are not about one tenant's task."""

BEFORE_THE_TASK_IS_KNOWN = {"callback_refused", "callback_body_ignored"}


def test_no_line_holds_a_secret_and_every_line_about_a_task_names_it_and_its_tenant(
    relay: Relay, capsys: pytest.CaptureFixture[str]
) -> None:
    relay.add_key()
    relay.generated()
    for name, case in CASES.items():
        if not case.error:
            relay.play(name)
    written = relay.log.getvalue() + capsys.readouterr().out
    body = json.loads(sample("submit_task__two_subjects")["body"])
    image = body["subjects"][1]["images"][0].partition("base64,")[2]
    assert base64.b64decode(image)
    token = sample("receive_callback__success")["queryStringParameters"]["token"].partition(".")[2]
    secrets = ["sample-api-key-of-acme", CALLBACK_SECRET["k1"], PROVIDER_KEY, token, LINK.partition("?")[2]]
    assert [secret for secret in (*secrets, image[:60], body["prompt"]) if secret in written] == []

    lines = [json.loads(line) for line in relay.log.getvalue().splitlines() if line.startswith("{")]
    assert "callback_refused" in {line.get("message") for line in lines}
    about_tasks = [line for line in lines if line.get("message") not in WITHOUT_A_TASK and "_aws" not in line]
    assert {"remote_id_known", "VideoTaskGenerated", "task_repeated"} <= {line["message"] for line in about_tasks}
    for line in about_tasks:
        assert line.get("task_id"), line
        assert line.get("tenant_id") or line["message"] in BEFORE_THE_TASK_IS_KNOWN, line
