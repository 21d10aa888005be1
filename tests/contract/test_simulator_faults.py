"""The simulator's misbehaviour that a test of the relay could not tell apart: what was created, how calls break off."""

import http.client
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.simulator import BadRequestError, Simulator
from tests.contract.simulator_client import TIMEOUT, call, create, observed, poll, task_under, video_link, wait_for


@pytest.mark.parametrize("was_created", [False, True])
@pytest.mark.parametrize(
    ("name", "fields", "status"),
    [("server_error", {"status": 503}, 503), ("html", {"status": 200}, 200), ("hang", {"seconds": 0.2}, None)],
)
def test_a_create_call_that_goes_wrong_may_have_created(
    provider: Simulator, name: str, fields: dict[str, Any], status: int | None, was_created: bool
) -> None:
    provider.script({"create": {name: {**fields, "created": was_created}}}, times=1)
    began = time.monotonic()
    answer = create(provider)
    assert answer.status == (status or (200 if was_created else 504))
    assert time.monotonic() - began >= fields.get("seconds", 0)
    assert len(provider.tasks()) == was_created
    assert name != "html" or answer.headers["Content-Type"] == "text/html"


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("close", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ("half_body", http.client.IncompleteRead),
    ],
)
def test_a_create_call_or_a_poll_can_break_off(provider: Simulator, how: str, error: type[Exception]) -> None:
    provider.script({"create": {"lose_reply": {"how": how}}, "poll": {"flap": {"kind": how}}}, times=1)
    with pytest.raises(error) as at_create:
        create(provider)
    (task,) = provider.tasks()
    with pytest.raises(error) as at_poll:
        poll(provider, task["id"])
    assert type(at_create.value) is type(at_poll.value) is error
    assert poll(provider, task["id"]).json()["status"] == "completed"
    assert [entry["fault"] for entry in observed(provider, task["id"])["polls"]] == [f"poll {how}", None]


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("object", {"error": {"code": 40201, "message": "no"}}),
        ("flat", {"message": "no"}),
        ("string", {"error": "no"}),
        ("envelope", {"status": {"code": 402, "message": "no", "error_code": 40201}, "data": None}),
        ("text", "no"),
        ("empty", ""),
        ("html", "<html>"),
    ],
)
def test_a_refusal_has_every_form_that_was_seen(provider: Simulator, form: str, body: object) -> None:
    provider.script({"create": {"reject": {"status": 402, "form": form, "code": 40201, "message": "no"}}})
    answer = create(provider)
    assert (answer.status, provider.tasks()) == (402, [])
    assert (answer.body.decode()[:6] if isinstance(body, str) else answer.json()) == body


def test_a_hanging_call_does_not_keep_the_simulator_from_stopping() -> None:
    provider = Simulator()
    provider.script({"create": {"hang": {"seconds": 600, "created": True}}})
    with ThreadPoolExecutor() as threads:
        hanging = threads.submit(create, provider)
        wait_for(lambda: bool(provider.tasks()))
        threads.submit(provider.close).result(TIMEOUT)
        with pytest.raises(ConnectionError):
            hanging.result(TIMEOUT)


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ({"nonsense": 1}, "script.nonsense"),
        ({"create": {"throttle": {"times": 1}}}, "script.create.throttle.times"),
        ({"create": {"immediate": "done"}}, "script.create.immediate"),
        ({"generation_seconds": "6"}, "script.generation_seconds"),
        ({"videos": {"fault": {"kind": "explode"}}}, "script.videos.fault.kind"),
    ],
)
def test_a_script_with_a_fault_is_refused_by_place(provider: Simulator, script: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequestError, match=where.replace(".", r"\.")):
        provider.script(script)
    answer = call("POST", f"{provider.control_url}/scripts", json.dumps({"script": script}).encode())
    assert (answer.status, where in answer.json()["message"]) == (400, True)


SERVED: dict[str, Callable[[Any, bytes], bool]] = {
    "short": lambda answer, whole: int(answer.headers["Content-Length"]) == len(answer.body) == len(whole) // 2,
    "corrupt": lambda answer, whole: sum(a != b for a, b in zip(answer.body, whole, strict=True)) == 1,
    "html_200": lambda answer, _: answer.headers["Content-Type"] == "text/html",
    "zero_length": lambda answer, _: answer.body == b"",
}


@pytest.mark.parametrize("kind", SERVED)
def test_what_is_served_in_place_of_the_video(provider: Simulator, kind: str) -> None:
    task_id = task_under(provider, {"fault": {"kind": kind}})
    answer = call("GET", video_link(provider, task_id))
    assert answer.status == 200
    assert SERVED[kind](answer, provider.video(task_id))


@pytest.mark.parametrize("kind", ["truncate", "reset"])
def test_a_download_can_break_off(provider: Simulator, kind: str) -> None:
    task_id = task_under(provider, {"size_bytes": 30_000_000, "fault": {"kind": kind, "after_bytes": 20_000_000}})
    with pytest.raises(ConnectionResetError if kind == "reset" else http.client.IncompleteRead) as caught:
        call("GET", video_link(provider, task_id))
    if isinstance(caught.value, http.client.IncompleteRead):
        assert caught.value.partial == provider.video(task_id)[:20_000_000]


def test_the_first_downloads_can_fail_and_a_live_task_s_fault_be_taken_away(provider: Simulator) -> None:
    task_id = task_under(provider, {"fault": {"kind": "status", "status": 500, "times": 2}})
    assert [call("GET", video_link(provider, task_id)).status for _ in range(3)] == [500, 500, 200]
    for fault, status in (({"status": 404, "times": None}, 404), (None, 200)):
        provider.patch(task_id, {"videos": {"fault": fault}})
        assert call("GET", video_link(provider, task_id)).status == status
