"""Create and poll, as the provider's page and the notes about its gateway describe them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.simulator import Simulator
from tests.contract.simulator_client import (
    MODEL,
    bearer,
    call,
    create,
    created,
    poll,
    request_body,
    wait_for,
)


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0) as simulator:
        yield simulator


def test_create_answers_with_the_pages_envelope(provider: Simulator) -> None:
    provider.script({"generation_seconds": 60})
    reply = create(provider).json()
    assert reply["status"] == "pending"
    assert reply["model"] == MODEL
    assert isinstance(reply["created_at"], int)
    assert 0 <= reply["progress"] <= 1
    assert reply["metadata"]["remote_task_id"] not in ("", reply["id"])
    assert "output" not in reply
    assert "usage" not in reply


def test_a_task_is_pending_then_processing_then_completed(provider: Simulator) -> None:
    provider.script({"generation_seconds": 3600, "outcome": {"never_finish": True}})
    task_id = created(provider)
    seen = [poll(provider, task_id).json()["status"]]
    for sooner in ({"generation_seconds": 0}, {"outcome": {"never_finish": False}}):
        provider.patch(task_id, sooner)
        seen.append(poll(provider, task_id).json()["status"])
    assert seen == ["pending", "processing", "completed"]


def test_time_alone_completes_a_task(provider: Simulator) -> None:
    provider.script({"generation_seconds": 0.1})
    task_id = created(provider)
    wait_for(lambda: bool(poll(provider, task_id).json()["status"] == "completed"))


def test_completed_carries_the_pages_output_and_usage(provider: Simulator) -> None:
    reply = poll(provider, created(provider)).json()
    assert reply["status"] == "completed"
    (item,) = reply["output"]
    assert item["task_id"] == reply["metadata"]["remote_task_id"]
    assert item["task_status"] == "done"
    assert [result["type"] for result in item["results"]] == ["video"]
    assert isinstance(reply["usage"]["cost"], str)
    assert isinstance(reply["usage"]["discount"], float)


def test_output_as_seen_in_clients(provider: Simulator) -> None:
    provider.script({"reply": {"output": "clients"}})
    reply = poll(provider, created(provider)).json()
    (content,) = reply["output"][0]["content"]
    assert content["jobId"] == reply["metadata"]["remote_task_id"]
    assert content["url"].startswith(provider.origin)


def test_output_as_a_single_object_and_other_forms(provider: Simulator) -> None:
    form = {"output_single": True, "inner_status": "processing", "progress": False, "usage": False, "metadata": False}
    provider.script({"reply": {**form, "unknown_fields": True}})
    reply = poll(provider, created(provider)).json()
    assert reply["output"]["task_status"] == "processing"
    assert reply.keys().isdisjoint({"progress", "usage", "metadata"})
    assert "x_internal" in reply


def test_running_status_can_be_the_other_word(provider: Simulator) -> None:
    provider.script({"reply": {"running_status": "in_progress"}, "outcome": {"never_finish": True}})
    assert poll(provider, created(provider)).json()["status"] == "in_progress"


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ({}, {"code": "008017095", "message": "Internal generation error"}),
        ({"code": "008017096", "message": "m", "code_type": "number"}, {"code": 8017096, "message": "m"}),
        (
            {"code": "008017099", "message_key": "error_message", "message": "m"},
            {"code": "008017099", "error_message": "m"},
        ),
        ({"form": "string", "code": "008017097", "message": "m"}, "008017097: m"),
        ({"form": "absent"}, None),
    ],
)
def test_failed_tasks_word_their_error_as_asked(provider: Simulator, failure: dict[str, Any], error: object) -> None:
    provider.script({"outcome": {"fail": failure}})
    reply = poll(provider, created(provider)).json()
    assert (reply["status"], reply.get("error")) == ("failed", error)
    assert "output" not in reply


def test_unknown_status_then_the_truth(provider: Simulator) -> None:
    provider.script({"poll": {"unknown_status": {"value": "reviewing", "n": 2}}})
    task_id = created(provider)
    replies = [poll(provider, task_id).json() for _ in range(3)]
    assert [reply["status"] for reply in replies] == ["reviewing", "reviewing", "completed"]
    assert "output" not in replies[0]


@pytest.mark.parametrize(
    ("how", "output"), [("no_output", None), ("empty_results", []), ("null_url", [{"type": "video", "url": None}])]
)
def test_completed_without_url_then_with(provider: Simulator, how: str, output: object) -> None:
    provider.script({"poll": {"completed_without_url": {"n": 1, "how": how}}})
    task_id = created(provider)
    first, second = poll(provider, task_id).json(), poll(provider, task_id).json()
    assert first["status"] == second["status"] == "completed"
    assert (first["output"][0]["results"] if "output" in first else None) == output
    assert second["output"][0]["results"][0]["url"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Token {key}", "Bearer", "{key}", "Bearer {key}x"])
def test_no_call_without_the_right_key(provider: Simulator, header: str) -> None:
    headers = {"Authorization": header.format(key=provider.api_key)} if header else {}
    for method, path in (("POST", "/generation"), ("GET", "/generation/task/x")):
        answer = call(method, provider.url + path, request_body() if method == "POST" else None, headers)
        assert answer.status == 401
        assert answer.json()["status"]["code"] == 401
    assert provider.tasks() == []


def test_a_task_is_invisible_to_another_key() -> None:
    with Simulator(api_keys=["one", "two"], generation_seconds=0) as provider:
        task_id = created(provider)
        url = f"{provider.url}/generation/task/{task_id}"
        assert call("GET", url, headers={"Authorization": "Bearer one"}).status == 200
        assert call("GET", url, headers={"Authorization": "Bearer two"}).status == 404


def test_neither_an_unknown_nor_an_upstream_id_can_be_polled(provider: Simulator) -> None:
    remote_id = create(provider).json()["metadata"]["remote_task_id"]
    assert poll(provider, remote_id).status == 404
    assert poll(provider, "nobody").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/generation", 405), ("POST", "/generation/task/x", 405), ("GET", "/elsewhere", 404)],
)
def test_other_calls_are_refused(provider: Simulator, method: str, path: str, status: int) -> None:
    assert call(method, provider.url + path, headers=bearer(provider)).status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"model": "viduq2_pro_fast_reference2video"}',
        b'{"model": "another", "input": [{"params": {}}]}',
        b'{"model": "viduq2_pro_fast_reference2video", "input": []}',
        b'{"model": "viduq2_pro_fast_reference2video", "input": [{"params": {}}, {"params": {}}]}',
        b'{"model": "viduq2_pro_fast_reference2video", "input": [{"params": 7}]}',
    ],
)
def test_a_body_of_another_shape_creates_nothing(provider: Simulator, body: bytes) -> None:
    assert call("POST", f"{provider.url}/generation", body, bearer(provider)).status == 400
    assert provider.tasks() == []


def test_a_body_over_20_mb_is_refused_and_one_under_is_not(provider: Simulator) -> None:
    limit = 20 * 1024 * 1024
    small = request_body()
    exact = small + b" " * (limit - len(small))
    assert call("POST", f"{provider.url}/generation", exact, bearer(provider)).status == 200
    assert call("POST", f"{provider.url}/generation", exact + b" ", bearer(provider)).status == 413


def test_a_chunked_request_body_is_read(provider: Simulator) -> None:
    headers = bearer(provider) | {"Transfer-Encoding": "chunked"}
    body = request_body()
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:50], body[50:])) + b"0\r\n\r\n"
    answer = call("POST", f"{provider.url}/generation", chunked, headers)
    assert answer.status == 200
    (task,) = provider.tasks()
    assert json.loads(task["request"]["body"]) == json.loads(body)
