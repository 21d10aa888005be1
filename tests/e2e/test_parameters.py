"""A stack with other parameters: a short deadline, off-peak tasks, image URLs that are left to the provider."""

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from local.simulator.images import image
from tests.e2e.watched import watched_stack

Body = dict[str, Any]


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a stack on which a task expires after three seconds."""
    parameters = {"FirstCheckSeconds": "1", "TaskDeadlineSeconds": "3"}
    images = {"OffPeakAvailable": "true", "ProbeImageUrls": "false"}
    with watched_stack(tmp_path_factory.mktemp("stack"), **parameters, **images) as client:
        yield client


def put(relay: RelayClient, name: str, content: bytes) -> str:
    key = f"uploads/{relay.stack.tenant_id}/{name}"
    relay.aws("s3").put_object(Bucket=relay.stack.inbox_bucket, Key=key, Body=content)
    return f"s3://{relay.stack.inbox_bucket}/{key}"


def test_video_that_comes_after_the_deadline_is_still_delivered(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}})
    task_id = relay.submit(request_body)["task_id"]

    expired = relay.wait(task_id, "expired", meanwhile=relay.sweep)
    assert expired["error"]["code"] == "deadline_exceeded"

    relay.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
    task = relay.wait(task_id, "completed")
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert (task["videos"][0]["sha256"], task["error"]) == (seen["videos"][0]["sha256"], None)
    assert [entry["status"] for entry in task["history"]][-3:] == ["expired", "generated", "completed"]


def test_create_call_without_any_answer_expires_as_unconfirmed(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"server_error": {"status": 500, "n": None}}})
    task_id = relay.submit(request_body)["task_id"]
    task = relay.wait(task_id, "expired", meanwhile=relay.sweep)

    assert task["error"]["code"] == "submission_unconfirmed"
    assert relay.create_calls(task_id) == 1


def test_off_peak_images_are_sent_inside_the_body_byte_for_byte(relay: RelayClient, request_body: Body) -> None:
    in_s3, inside = image("fox", "jpeg"), image("garden", "png")
    request_body["subjects"][0]["images"] = [put(relay, "fox", in_s3)]
    request_body["subjects"][1]["images"] = [f"data:image/png;base64,{base64.b64encode(inside).decode()}"]
    task = relay.submit(request_body | {"off_peak": True})

    assert task["status"] == "submitted", task["error"]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    read = relay.images_at_provider(seen["id"])
    assert [(one["form"], one["sha256"], one["fault"]) for one in read] == [
        ("data", hashlib.sha256(content).hexdigest(), None) for content in (in_s3, inside)
    ]
    assert "base64" not in str(relay.task(task["task_id"]))


def test_without_probing_the_provider_checks_image_urls_and_the_relay_other_images(
    relay: RelayClient, request_body: Body
) -> None:
    request_body["subjects"][0]["images"] = [relay.image("too_small.png")]
    assert relay.submit(request_body)["status"] == "submitted"
    request_body["subjects"][1]["images"] = [put(relay, "small.png", image("too_small", "png"))]
    refused = relay.call("POST", "/v1/tasks", json=request_body)
    assert [fault["loc"] for fault in refused.json()["errors"]] == ["subjects.1.images.0"]
