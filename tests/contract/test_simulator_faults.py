"""Each misbehaviour of the simulator's create, poll and download calls, seen from the socket."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.simulator import BadRequestError, Simulator
from tests.contract.simulator_client import (
    TIMEOUT,
    Answer,
    bearer,
    call,
    create,
    created,
    observed,
    poll,
    request_body,
    video_link,
    wait_for,
)

# --- create


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
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"server_error": {"status": 503}}, 503),
        ({"html": {"status": 200}}, 200),
        ({"hang": {"seconds": 0.2}}, None),
    ],
    ids=str,
)
def test_a_create_call_that_goes_wrong_may_have_created(
    provider: Simulator, fault: dict[str, Any], status: int | None, was_created: bool
) -> None:
    ((name, fields),) = fault.items()
    provider.script({"create": {name: {**fields, "created": was_created}}}, times=1)
    began = time.monotonic()
    answer = create(provider)
    assert answer.status == (status or (200 if was_created else 504))
    assert time.monotonic() - began >= fields.get("seconds", 0)
    assert len(provider.tasks()) == was_created
    if name == "html":
        assert answer.headers["Content-Type"] == "text/html"
        with pytest.raises(json.JSONDecodeError):
            answer.json()


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
    with pytest.raises(error) as caught:
        create(provider)
    assert type(caught.value) is error
    (task,) = provider.tasks()
    with pytest.raises(error) as caught:
        poll(provider, task["id"])
    assert type(caught.value) is error
    assert poll(provider, task["id"]).json()["status"] == "completed"
    assert [entry["fault"] for entry in observed(provider, task["id"])["polls"]] == [f"poll {how}", None]


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("object", b'{"error": {"code": 40201, "message": "no"}}'),
        ("flat", b'{"message": "no"}'),
        ("string", b'{"error": "no"}'),
        ("envelope", b'{"status": {"code": 402, "message": "no", "error_code": 40201}, "data": null}'),
        ("text", b"no"),
        ("empty", b""),
        ("html", b"<html><head><title>402"),
    ],
)
def test_a_refusal_has_every_form_that_was_seen(provider: Simulator, form: str, body: bytes) -> None:
    provider.script({"create": {"reject": {"status": 402, "form": form, "code": 40201, "message": "no"}}})
    answer = create(provider)
    assert answer.status == 402
    if body.startswith(b"{"):
        assert answer.json() == json.loads(body)
    else:
        assert answer.body.startswith(body)
        assert bool(answer.body) == bool(body)
    assert provider.tasks() == []


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_task_can_be_over_at_once(provider: Simulator, end: str) -> None:
    provider.script({"generation_seconds": 60, "create": {"immediate": end}})
    reply = create(provider).json()
    assert (reply["status"], "output" in reply, "error" in reply) == (end, end == "completed", end == "failed")


def test_a_reply_can_lack_its_id_or_lie_about_the_time_and_an_invalid_request_creates_nothing(
    provider: Simulator,
) -> None:
    provider.script({"create": {"reply_without_id": True}}, times=1)
    answer = create(provider)
    assert (answer.status, "id" in answer.json(), provider.tasks()) == (200, False, [])
    provider.script({"create": {"lose_reply": {}}}, times=1)
    assert create(provider, duration=9).status == 400
    assert provider.tasks() == []
    provider.reset()
    provider.script({"create": {"created_at_skew_seconds": -3600}})
    before = time.time()
    assert before - 3601 < create(provider).json()["created_at"] < time.time() - 3599


def test_a_reply_shows_the_state_a_task_was_made_in_however_late_it_is(provider: Simulator) -> None:
    for seconds, shown in ((0, "completed"), (0.05, "pending")):
        provider.reset()
        script = {"generation_seconds": seconds, "create": {"hang": {"seconds": 0.2, "created": True}}}
        provider.script(script)
        answer = create(provider).json()
        assert (answer["status"], poll(provider, answer["id"]).json()["status"]) == (shown, "completed")


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


# --- poll


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


def test_a_task_can_finish_late_or_never(provider: Simulator) -> None:
    provider.script({"outcome": {"finish_late": 0.3}}, prompt_contains="late")
    provider.script({"outcome": {"never_finish": True}}, prompt_contains="never")
    late, never = created(provider, prompt="late"), created(provider, prompt="never")
    wait_for(lambda: bool(poll(provider, late).json()["status"] == "completed"))
    history = provider.task(late)["history"]
    assert [entry["state"] for entry in history] == ["pending", "processing", "succeeded"]
    assert history[-1]["at"] - history[0]["at"] >= 0.29
    assert poll(provider, never).json()["status"] == "processing"


# --- scripts


def test_a_script_serves_its_times_and_the_first_that_matches_wins(provider: Simulator) -> None:
    first = provider.script({"outcome": {"fail": {"code": "1"}}}, times=1, prompt_contains="storm")
    second = provider.script({"outcome": {"fail": {"code": "2"}}})

    def code(prompt: str) -> str | None:
        reply = poll(provider, created(provider, prompt=prompt)).json()
        return str(reply["error"]["code"]) if reply["status"] == "failed" else None

    assert [code(prompt) for prompt in ("calm", "a storm", "a storm")] == ["2", "1", "2"]
    assert provider.remove_script(second)
    assert not provider.remove_script(second)
    assert (first, code("calm")) == (first, None)


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
    assert answer.status == 400
    assert where in answer.json()["message"]


# --- downloads


def task_under(provider: Simulator, videos: dict[str, Any]) -> str:
    provider.script({"videos": videos})
    return created(provider)


Seen = Callable[[Answer, bytes], bool]
SERVED: dict[str, tuple[dict[str, Any], Seen]] = {
    "half of it with a length that fits": (
        {"kind": "short"},
        lambda answer, whole: int(answer.headers["Content-Length"]) == len(answer.body) == len(whole) // 2,
    ),
    "one byte changed": (
        {"kind": "corrupt"},
        lambda answer, whole: sum(a != b for a, b in zip(answer.body, whole, strict=True)) == 1,
    ),
    "an error page": ({"kind": "html_200"}, lambda answer, _: answer.headers["Content-Type"] == "text/html"),
    "nothing": ({"kind": "zero_length"}, lambda answer, _: answer.body == b""),
}


@pytest.mark.parametrize(("fault", "seen"), SERVED.values(), ids=SERVED)
def test_what_is_served_in_place_of_the_video(provider: Simulator, fault: dict[str, Any], seen: Seen) -> None:
    task_id = task_under(provider, {"fault": fault})
    answer = call("GET", video_link(provider, task_id))
    assert answer.status == 200
    assert seen(answer, provider.video(task_id))


@pytest.mark.parametrize("kind", ["truncate", "reset"])
def test_a_download_can_break_off(provider: Simulator, kind: str) -> None:
    task_id = task_under(provider, {"size_bytes": 30_000_000, "fault": {"kind": kind, "after_bytes": 20_000_000}})
    with pytest.raises(ConnectionResetError if kind == "reset" else http.client.IncompleteRead) as caught:
        call("GET", video_link(provider, task_id))
    if isinstance(caught.value, http.client.IncompleteRead):
        assert caught.value.partial == provider.video(task_id)[:20_000_000]


@pytest.mark.parametrize("kind", ["endless", "stall"])
def test_a_download_can_go_on_for_ever_or_stand_still(provider: Simulator, kind: str) -> None:
    task_id = task_under(provider, {"fault": {"kind": kind, "after_bytes": 500}})
    parts = urlsplit(video_link(provider, task_id))
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    connection.request("GET", f"{parts.path}?{parts.query}")
    with connection.getresponse() as response:
        if kind == "endless":
            assert (response.length, len(response.read(20_000_000))) == (None, 20_000_000)
        else:
            assert len(response.read(500)) == 500
            connection.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                response.read(1)
    connection.close()


def test_a_download_can_be_slow(provider: Simulator) -> None:
    task_id = created(provider)
    size = len(provider.video(task_id))
    provider.patch(task_id, {"videos": {"slow_bytes_per_second": size * 4}})
    began = time.monotonic()
    assert call("GET", video_link(provider, task_id)).body == provider.video(task_id)
    assert time.monotonic() - began > 0.15


def test_the_first_downloads_can_fail_and_a_live_task_s_fault_be_taken_away(provider: Simulator) -> None:
    task_id = task_under(provider, {"fault": {"kind": "status", "status": 500, "times": 2}})
    assert [call("GET", video_link(provider, task_id)).status for _ in range(3)] == [500, 500, 200]
    provider.patch(task_id, {"videos": {"fault": {"status": 404, "times": None}}})
    assert call("GET", video_link(provider, task_id)).status == 404
    provider.patch(task_id, {"videos": {"fault": None}})
    assert call("GET", video_link(provider, task_id)).status == 200


@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("hops", None),
        ("inward", "http://169.254.169.254/latest/meta-data/iam/security-credentials/"),
        ("loop", None),
        ("http://[::1]:22/", "http://[::1]:22/"),
    ],
)
def test_a_link_can_redirect(provider: Simulator, to: str, location: str | None) -> None:
    task_id = task_under(provider, {"fault": {"kind": "redirect", "to": to, "hops": 3}})
    link = video_link(provider, task_id)
    answer, followed = call("GET", link), 0
    if to == "hops":
        while answer.status == 302:
            answer, followed = call("GET", answer.headers["Location"]), followed + 1
        assert (followed, answer.body) == (3, provider.video(task_id))
    else:
        assert (answer.status, answer.headers["Location"]) == (302, location or link)
