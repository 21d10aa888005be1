"""Each misbehaviour of create and poll, seen from the socket."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.simulator import BadRequestError, Simulator
from tests.contract.simulator_client import (
    TIMEOUT,
    bearer,
    call,
    create,
    created,
    observed,
    poll,
    request_body,
    wait_for,
)


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with Simulator(generation_seconds=0) as simulator:
        yield simulator


def test_throttled_twice_with_retry_after_then_taken(provider: Simulator) -> None:
    provider.script({"create": {"throttle": {"n": 2, "retry_after": 3}}}, times=1)
    answers = [create(provider) for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
    assert len(provider.tasks()) == 1


def test_attempts_of_two_requests_do_not_share_their_faults(provider: Simulator) -> None:
    provider.script({"create": {"throttle": {"n": 1}}}, times=2)
    one = {"callback_url": "http://127.0.0.1:9/one", "prompt": "one"}
    two = {"callback_url": "http://127.0.0.1:9/two", "prompt": "two"}
    assert [create(provider, **params).status for params in (one, two, one, two)] == [429, 429, 200, 200]
    assert create(provider, prompt="three").status == 200


@pytest.mark.parametrize("was_created", [False, True])
@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_error_created_or_not(provider: Simulator, status: int, was_created: bool) -> None:
    provider.script({"create": {"server_error": {"status": status, "created": was_created}}}, times=1)
    assert create(provider).status == status
    assert len(provider.tasks()) == was_created


@pytest.mark.parametrize(("was_created", "status"), [(True, 200), (False, 504)])
def test_hanging_create(provider: Simulator, was_created: bool, status: int) -> None:
    provider.script({"create": {"hang": {"seconds": 0.3, "created": was_created}}})
    began = time.monotonic()
    assert create(provider).status == status
    assert time.monotonic() - began >= 0.3
    assert len(provider.tasks()) == was_created


@pytest.mark.parametrize(("seconds", "shown"), [(0, "completed"), (0.05, "pending")])
def test_reply_shows_the_state_a_task_was_made_in_however_late_it_is(seconds: float, shown: str) -> None:
    with Simulator(generation_seconds=seconds) as provider:
        provider.script({"create": {"hang": {"seconds": 0.3, "created": True}}})
        answer = create(provider).json()
        assert poll(provider, answer["id"]).json()["status"] == "completed"
    assert answer["status"] == shown


def test_a_hanging_call_does_not_keep_the_simulator_from_stopping() -> None:
    provider = Simulator()
    provider.script({"create": {"hang": {"seconds": 600, "created": True}}})
    connection = http.client.HTTPConnection("127.0.0.1", int(provider.origin.rpartition(":")[2]), timeout=TIMEOUT)
    connection.request("POST", "/model/v1/generation", request_body(), bearer(provider))
    wait_for(lambda: bool(provider.tasks()))
    stopping = threading.Thread(target=provider.close, daemon=True)
    stopping.start()
    stopping.join(TIMEOUT)
    assert not stopping.is_alive()
    with pytest.raises(ConnectionError):
        connection.getresponse()
    connection.close()


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("close", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ("half_body", http.client.IncompleteRead),
    ],
)
def test_lost_reply_of_a_created_task(provider: Simulator, how: str, error: type[Exception]) -> None:
    provider.script({"create": {"lose_reply": {"how": how}}}, times=1)
    with pytest.raises(error) as caught:
        create(provider)
    assert type(caught.value) is error
    (task,) = provider.tasks()
    assert poll(provider, task["id"]).json()["status"] == "completed"


@pytest.mark.parametrize("was_created", [False, True])
def test_html_in_place_of_json(provider: Simulator, was_created: bool) -> None:
    provider.script({"create": {"html": {"status": 200, "created": was_created}}}, times=1)
    answer = create(provider)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html")
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert len(provider.tasks()) == was_created


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("object", {"error": {"code": 40201, "message": "Insufficient credits"}}),
        ("flat", {"message": "Insufficient credits"}),
        ("string", {"error": "Insufficient credits"}),
        (
            "envelope",
            {"status": {"code": 402, "message": "Insufficient credits", "error_code": 40201}, "data": None},
        ),
    ],
)
def test_rejections_in_every_body_form(provider: Simulator, form: str, body: dict[str, Any]) -> None:
    provider.script(
        {"create": {"reject": {"status": 402, "form": form, "code": 40201, "message": "Insufficient credits"}}}
    )
    answer = create(provider)
    assert (answer.status, answer.json()) == (402, body)
    assert provider.tasks() == []


@pytest.mark.parametrize(
    ("form", "body"), [("text", b"no"), ("empty", b""), ("html", b"<html><head><title>403</title>")]
)
def test_rejections_that_are_not_json(provider: Simulator, form: str, body: bytes) -> None:
    provider.script({"create": {"reject": {"status": 403, "form": form, "message": "no"}}})
    answer = create(provider)
    assert answer.status == 403
    assert answer.body.startswith(body)
    assert bool(answer.body) == bool(body)


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_task_can_be_over_at_once(end: str) -> None:
    with Simulator(generation_seconds=60) as provider:
        provider.script({"create": {"immediate": end}})
        reply = create(provider).json()
        assert reply["status"] == end
        assert ("output" in reply, "error" in reply) == (end == "completed", end == "failed")


def test_a_reply_without_id_created_nothing(provider: Simulator) -> None:
    provider.script({"create": {"reply_without_id": True}})
    answer = create(provider)
    assert answer.status == 200
    assert "id" not in answer.json()
    assert provider.tasks() == []


def test_created_at_can_be_shifted(provider: Simulator) -> None:
    provider.script({"create": {"created_at_skew_seconds": -3600}})
    before = time.time()
    told = create(provider).json()["created_at"]
    assert before - 3601 < told < time.time() - 3599


def test_an_invalid_request_creates_nothing_whatever_the_script_says(provider: Simulator) -> None:
    provider.script({"create": {"lose_reply": {}}})
    assert create(provider, duration=9).status == 400
    assert provider.tasks() == []


def test_poll_faults_come_in_order_and_end(provider: Simulator) -> None:
    flaps = [
        {"kind": "status", "status": 502, "n": 2, "after": 1},
        {"kind": "status", "status": 404},
        {"kind": "html"},
        {"kind": "hang", "seconds": 0.2},
    ]
    provider.script({"poll": {"flap": flaps}})
    task_id = created(provider)
    # The first poll is before `after`: what follows in the list comes first.
    assert [poll(provider, task_id).status for _ in range(4)] == [404, 502, 502, 200]
    began = time.monotonic()
    assert poll(provider, task_id).json()["status"] == "completed"
    assert time.monotonic() - began >= 0.2
    assert poll(provider, task_id).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("close", http.client.RemoteDisconnected),
        ("reset", ConnectionResetError),
        ("half_body", http.client.IncompleteRead),
    ],
)
def test_broken_polls(provider: Simulator, kind: str, error: type[Exception]) -> None:
    provider.script({"poll": {"flap": {"kind": kind}}})
    task_id = created(provider)
    with pytest.raises(error) as caught:
        poll(provider, task_id)
    assert type(caught.value) is error
    assert poll(provider, task_id).status == 200
    assert [entry["fault"] for entry in observed(provider, task_id)["polls"]] == [f"poll {kind}", None]


def test_finish_late_and_never() -> None:
    with Simulator(generation_seconds=0.1) as provider:
        provider.script({"outcome": {"finish_late": 0.4}}, prompt_contains="late")
        provider.script({"outcome": {"never_finish": True}}, prompt_contains="never")
        late, never = created(provider, prompt="late"), created(provider, prompt="never")
        wait_for(lambda: bool(poll(provider, late).json()["status"] == "completed"))
        history = provider.task(late)["history"]
        assert [entry["state"] for entry in history] == ["pending", "processing", "succeeded"]
        assert history[-1]["at"] - history[0]["at"] >= 0.49
        assert poll(provider, never).json()["status"] == "processing"


def test_a_script_serves_its_times_and_only_what_it_matches(provider: Simulator) -> None:
    provider.script({"outcome": {"fail": {}}}, times=1, prompt_contains="storm")
    prompts = ("calm", "a storm", "a storm")
    states = [poll(provider, created(provider, prompt=prompt)).json()["status"] for prompt in prompts]
    assert states == ["completed", "failed", "completed"]


def test_the_first_script_that_matches_wins_and_can_be_removed(provider: Simulator) -> None:
    first = provider.script({"outcome": {"fail": {"code": "008017096"}}})
    provider.script({"outcome": {"fail": {"code": "008017097"}}})
    assert poll(provider, created(provider)).json()["error"]["code"] == "008017096"
    assert provider.remove_script(first)
    assert not provider.remove_script(first)
    assert poll(provider, created(provider)).json()["error"]["code"] == "008017097"


@pytest.mark.parametrize(
    ("script", "where"),
    [
        ({"nonsense": 1}, "script.nonsense"),
        ({"create": {"throttle": {"times": 1}}}, "script.create.throttle.times"),
        ({"create": {"immediate": "done"}}, "script.create.immediate"),
        ({"generation_seconds": -1}, "script.generation_seconds"),
        ({"generation_seconds": "6"}, "script.generation_seconds"),
        ({"videos": {"fault": {"kind": "explode"}}}, "script.videos.fault.kind"),
    ],
)
def test_a_script_with_a_fault_is_refused_by_place(provider: Simulator, script: dict[str, Any], where: str) -> None:
    with pytest.raises(BadRequestError, match=where.replace(".", r"\.")):
        provider.script(script)
    answer = call("POST", f"{provider.control_url}/scripts", json.dumps({"script": script}).encode())
    assert answer.status == 400
    assert where in answer.json()["message"]
