"""The main job on the deployed stack: what a client asks for, what it gets, what the bus says."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import requests

from local.client import RelayClient
from tests.e2e.attempts import record
from tests.e2e.conftest import Receiver
from tests.e2e.sweeps import make_overdue, without_sweeps
from tests.e2e.tenants import client_of_new_tenant, places_taken
from tests.e2e.waiting import wait_until

HEALTHY = [
    "VideoTaskAccepted",
    "VideoTaskSubmitted",
    "VideoTaskProcessing",
    "VideoTaskGenerated",
    "VideoTaskCompleted",
]

Body = dict[str, Any]


@pytest.fixture(scope="module")
def alone(relay: RelayClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayClient]:
    """A client of a tenant for which nothing comes in but by this client's calls."""
    client = client_of_new_tenant(relay, tmp_path_factory.mktemp("alone"), "alone")
    yield client
    client.close()


def events_until(relay: RelayClient, task_id: str, last: str) -> list[dict[str, Any]]:
    """The task's events, up to and with the one of type `last`."""
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        found.extend(relay.new_events(task_id))
        return any(event["detail-type"] == last for event in found)

    wait_until(ended, f"{last} of {task_id}")
    return found


def test_called_back_task_ends_as_the_providers_very_bytes_in_s3(relay: RelayClient, request_body: Body) -> None:
    with without_sweeps(relay):
        task = relay.wait(relay.submit(request_body)["task_id"], "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    (video,) = task["videos"]
    assert video["sha256"] == seen["videos"][0]["sha256"]
    assert video["key"].endswith(f"/{task['task_id']}/1.mp4")
    assert (video["duration_seconds"], video["width"], video["height"]) == (1.0, 1280, 720)
    assert video["key"].startswith(f"videos/{relay.stack.tenant_id}/")
    stored = relay.aws("s3").head_object(Bucket=video["bucket"], Key=video["key"])
    assert (stored["ContentLength"], stored["ContentType"]) == (video["size"], "video/mp4")
    assert relay.download(task)[4:8] == b"ftyp"
    assert task["request"] == request_body
    assert task["usage"]["cost"] == "0.0450"
    history = [(entry["source"], entry["status"]) for entry in task["history"]]
    assert (history[:2], history[-1]) == (
        [("http", "accepted"), ("create", "submitted")],
        ("delivery", "completed"),
    )
    # on a busy machine the first read-back may find the video already
    assert [status for _, status in history[2:-1]] in (["processing", "generated"], ["generated"])
    assert {source for source, _ in history[2:-1]} == {"callback"}


def test_each_published_version_is_one_event_without_anything_that_opens_anything(
    relay: RelayClient, request_body: Body, receiver: Receiver
) -> None:
    request_body |= {"payload": "a secret of the client", "callback_url": f"{receiver.origin}/each?key=secret"}
    task_id = relay.submit(request_body)["task_id"]

    events = events_until(relay, task_id, "VideoTaskCompleted")

    by_version = {event["detail"]["task"]["version"]: event for event in events}
    kinds = [by_version[version]["detail-type"] for version in sorted(by_version)]
    assert kinds in (HEALTHY, [kind for kind in HEALTHY if kind != "VideoTaskProcessing"])  # not seen by a late reader
    first = int(datetime.fromisoformat(relay.task(task_id)["created_at"]).timestamp())
    assert sorted(by_version) == list(range(first, first + len(kinds)))
    assert all(event["source"] == "vidu-relay" for event in events)
    assert all(event["detail"]["event_id"] == f"{task_id}:{version}" for version, event in by_version.items())
    assert all(event["detail"]["tenant_id"] == relay.stack.tenant_id for event in events)
    text = str(events)
    for secret in ("Signature", "token=", "a secret of the client", "key=secret", "X-Amz"):
        assert secret not in text
    assert by_version[max(by_version)]["detail"]["task"]["videos"][0]["key"]


def test_the_provider_gets_exactly_what_the_client_gave_and_our_own_callback_url(
    relay: RelayClient, request_body: Body, receiver: Receiver
) -> None:
    request_body |= {
        "callback_url": f"{receiver.origin}/exactly",
        "aspect_ratio": "4:3",
        "resolution": "1080p",
        "seed": 11,
        "watermark": True,
        "wm_position": 1,
        "meta_data": '{"Label": "x"}',
    }
    task_id = relay.submit(request_body)["task_id"]

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    params = dict(seen["request"]["params"])
    callback_url = params.pop("callback_url")
    assert params == {name: value for name, value in request_body.items() if name not in ("model", "callback_url")}
    assert callback_url.startswith(f"{relay.stack.api_url}/v1/callbacks/{task_id}?token=k1.")


def test_payload_of_a_mebibyte_goes_to_the_provider_and_back_unchanged(relay: RelayClient, request_body: Body) -> None:
    request_body["payload"] = "päyload-" * 131_072
    task = relay.submit(request_body)
    task_id = task["task_id"]
    assert task["status"] == "accepted", "a client does not wait for a body of this size: a check submits it at once"
    relay.wait(task_id, "submitted", "processing", "generated", "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert seen["request"]["params"]["payload"] == request_body["payload"]
    assert relay.task(task_id)["request"]["payload"] == request_body["payload"]
    item = relay.aws("dynamodb").get_item(TableName=relay.stack.table, Key={"pk": {"S": f"task#{task_id}"}})["Item"]
    assert sum(len(name) + len(str(value)) for name, value in item.items()) < 2048


def test_lost_callbacks_are_made_good_by_sweep_and_poller(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})
    task_id = relay.submit(request_body)["task_id"]

    task = relay.wait(task_id, "completed", meanwhile=relay.sweep)

    assert "check" in [entry["source"] for entry in task["history"]]
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]


def test_duplicated_and_reordered_callbacks_leave_the_honest_sequence(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"duplicate": 3, "reorder": True}})
    task_id = relay.submit(request_body)["task_id"]
    events = events_until(relay, task_id, "VideoTaskCompleted")

    task = relay.task(task_id)
    versions = [event["detail"]["task"]["version"] for event in events]
    assert sorted(set(versions)) == list(range(min(versions), task["version"] + 1))
    kinds = [event["detail-type"] for event in events]
    assert kinds == [kind for kind in HEALTHY if kind in kinds]


def test_create_call_without_a_reply_is_not_repeated_and_its_task_is_adopted(
    relay: RelayClient, request_body: Body
) -> None:
    relay.script(request_body["prompt"], {"create": {"lose_reply": {"how": "close"}}})
    submitted = relay.submit(request_body)
    assert submitted["status"] == "submitting"

    task = relay.wait(submitted["task_id"], "completed", meanwhile=relay.sweep)

    assert relay.create_calls(task["task_id"]) == 1
    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]


def test_create_call_answered_503_is_never_repeated(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"server_error": {"status": 503, "n": None}}})
    task_id = relay.submit(request_body)["task_id"]
    deadline = record(relay, task_id)["due_at"]
    for _ in range(3):
        make_overdue(relay, task_id)
        relay.sweep()
        wait_until(lambda: record(relay, task_id)["due_at"] == deadline, "the end of a check")

    assert relay.task(task_id)["status"] == "submitting"
    assert relay.create_calls(task_id) == 1


def test_throttled_create_call_is_made_again_later(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"throttle": {"n": 1, "retry_after": 1}}})
    submitted = relay.submit(request_body)
    assert submitted["status"] == "accepted"

    relay.wait(submitted["task_id"], "completed", meanwhile=relay.sweep)

    assert len(relay.seen_by_provider(request_body["prompt"])) == 1


def test_refusal_of_the_provider_fails_the_task_with_its_code(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"reject": {"code": "008017099", "message": "no more today"}}})
    task = relay.submit(request_body)

    assert (task["status"], task["error"]) == ("failed", {"code": "008017099", "message": "no more today"})
    assert events_until(relay, task["task_id"], "VideoTaskFailed")


def test_failed_generation_fails_the_task_with_the_providers_code(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"fail": {"code": "008017095"}}})
    task = relay.wait(relay.submit(request_body)["task_id"], "failed")

    assert task["error"]["code"] == "008017095"
    assert task["videos"] == []


@pytest.mark.parametrize(
    "script",
    (
        # a read-back is shown the first link, a second one (of two callbacks at once) the next, a delivery the third
        pytest.param({"expire_first": 3}, id="expired-link"),
        pytest.param({"fault": {"kind": "truncate", "times": 1, "after_bytes": 20_000}}, id="truncated"),
        pytest.param({"fault": {"kind": "html_200", "times": 1}}, id="error-page"),
        pytest.param({"fault": {"kind": "redirect", "times": 1, "to": "http://169.254.169.254/"}}, id="inward"),
        pytest.param({"fault": {"kind": "redirect", "times": 1, "to": "loop"}}, id="redirect-loop"),
        pytest.param({"fault": {"kind": "zero_length", "times": 1}}, id="no-bytes"),
        pytest.param({"fault": {"kind": "corrupt", "times": 1}, "layout": "moov_first"}, id="bent-box"),
        pytest.param({"fault": {"kind": "reset", "times": 1}, "size_bytes": 9_000_000}, id="reset"),
    ),
)
def test_bad_download_is_made_good_with_a_fresh_link(relay: RelayClient, request_body: Body, script: Body) -> None:
    relay.script(request_body["prompt"], {"videos": script})
    task_id = relay.submit(request_body)["task_id"]
    relay.wait(task_id, "generated", "completed")  # a sweep of the schedule may have been quicker

    task = relay.wait(task_id, "completed", meanwhile=relay.sweep)

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]
    assert len(seen["downloads"]) >= 2


@pytest.mark.parametrize(
    "script",
    (
        pytest.param({"create": {"immediate": "completed"}}, id="done-at-once"),
        pytest.param({"reply": {"output": "clients", "running_status": "in_progress"}}, id="as-clients-saw-it"),
        pytest.param({"reply": {"output_single": True, "unknown_fields": True}}, id="single-output"),
        pytest.param({"poll": {"completed_without_url": {"n": 2}}}, id="completed-without-url"),
        pytest.param({"poll": {"unknown_status": {"n": 1}}}, id="unknown-status"),
        pytest.param({"poll": {"flap": {"kind": "html", "n": 2}}}, id="poll-flaps"),
        pytest.param({"callbacks": {"form": "upstream", "id": "upstream"}}, id="upstream-callback"),
    ),
)
def test_every_form_of_the_provider_ends_in_the_video(relay: RelayClient, request_body: Body, script: Body) -> None:
    relay.script(request_body["prompt"], script)

    task = relay.wait(relay.submit(request_body)["task_id"], "completed", meanwhile=relay.sweep)

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert [video["sha256"] for video in task["videos"]] == [video["sha256"] for video in seen["videos"]]


def test_every_video_of_a_task_is_delivered_in_order(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"videos": {"count": 3}})

    task = relay.wait(relay.submit(request_body)["task_id"], "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert [video["sha256"] for video in task["videos"]] == [video["sha256"] for video in seen["videos"]]
    assert [video["key"].rpartition("/")[2] for video in task["videos"]] == ["1.mp4", "2.mp4", "3.mp4"]
    assert len(task["output"][0]["results"]) == 3


@pytest.mark.parametrize("layout", ("moov_first", "fragmented"))
def test_every_layout_is_delivered_with_what_it_says_of_itself(
    relay: RelayClient, request_body: Body, layout: str
) -> None:
    relay.script(request_body["prompt"], {"videos": {"layout": layout}})
    (video,) = relay.wait(relay.submit(request_body)["task_id"], "completed")["videos"]

    assert abs(video["duration_seconds"] - 1.0) < 0.1  # sound may outlast the picture by a packet
    assert (video["width"], video["height"]) == (1280, 720)


@pytest.mark.parametrize("framing", ("no_length", "chunked", "gzip"))
def test_video_of_unknown_length_arrives_whole(relay: RelayClient, request_body: Body, framing: str) -> None:
    relay.script(request_body["prompt"], {"videos": {"framing": framing, "size_bytes": 9_000_000}})
    task = relay.wait(relay.submit(request_body)["task_id"], "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    assert task["videos"][0]["sha256"] == seen["videos"][0]["sha256"]
    assert task["videos"][0]["size"] == seen["videos"][0]["size"] >= 9_000_000


def test_fifty_submits_with_one_key_are_one_task_one_create_call_and_one_place_of_the_cap(
    alone: RelayClient, request_body: Body
) -> None:
    """All in flight at the same moment. Their functions start as the processors of the machine let them."""
    places = places_taken(alone)
    alone.call("GET", "/v1/tasks").raise_for_status()  # so that the authorizer need not start fifty times, too
    ready = threading.Barrier(50)

    def submit(_: int) -> requests.Response:
        ready.wait()
        return alone.call("POST", "/v1/tasks", json=request_body, headers={"Idempotency-Key": "one-key"}, timeout=180)

    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(submit, range(50)))

    assert {reply.status_code for reply in replies} == {202}
    (task_id,) = {reply.json()["task_id"] for reply in replies}
    assert alone.create_calls(task_id) == 1
    assert places_taken(alone) == places + 1


def test_other_request_under_a_used_key_is_refused(relay: RelayClient, request_body: Body) -> None:
    relay.submit(request_body, "used-key")
    reply = relay.call("POST", "/v1/tasks", json={**request_body, "seed": 1}, headers={"Idempotency-Key": "used-key"})

    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")


def test_listing_pages_through_own_tasks_newest_first(alone: RelayClient, request_body: Body) -> None:
    ids = [alone.submit(request_body)["task_id"] for _ in range(3)]
    listed: list[str] = []
    cursor = None
    while len(listed) < 3:
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = alone.call("GET", "/v1/tasks", params=query).json()
        listed += [task["task_id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert listed[:3] == ids[::-1]


@pytest.mark.parametrize("tampered", [lambda cursor: cursor[:-1], lambda cursor: cursor + "A", str.swapcase])
def test_cursor_that_was_tampered_with_is_400(
    relay: RelayClient, request_body: Body, tampered: Callable[[str], str]
) -> None:
    for _ in range(2):
        relay.submit(request_body)
    cursor = relay.call("GET", "/v1/tasks", params={"limit": "1"}).json()["next_cursor"]
    reply = relay.call("GET", "/v1/tasks", params={"cursor": tampered(cursor)})

    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_cursor")


def test_provider_without_cancel_says_so_and_its_task_goes_on(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}})
    task_id = relay.submit(request_body)["task_id"]
    reply = relay.call("POST", f"/v1/tasks/{task_id}/cancel")

    assert (reply.status_code, reply.json()["code"]) == (409, "cancel_not_supported")
    assert "gateway" in reply.json()["detail"]
    relay.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
    assert relay.wait(task_id, "completed")["error"] is None


def test_task_that_was_not_submitted_is_canceled_at_any_provider(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"throttle": {"n": None, "retry_after": 3600}}})
    task_id = relay.submit(request_body)["task_id"]
    reply = relay.call("POST", f"/v1/tasks/{task_id}/cancel")

    assert (reply.status_code, reply.json()["status"]) == (202, "canceled")
    assert events_until(relay, task_id, "VideoTaskCanceled")
