"""The main job on the deployed stack: what a client asks for, what it gets, what the bus carries."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
import requests

from local.chaos.backends import Backends
from local.client import RelayClient
from tests.e2e.attempts import listed, record
from tests.e2e.sweeps import make_overdue, without_sweeps
from tests.e2e.tenants import client_of_new_tenant, quota_slots_taken
from tests.e2e.waiting import events_until, wait_until

HEALTHY = [
    "VideoTaskAccepted",
    "VideoTaskSubmitted",
    "VideoTaskProcessing",
    "VideoTaskGenerated",
    "VideoTaskCompleted",
]

Body = dict[str, Any]


@pytest.fixture(scope="module")
def alone(relay: RelayClient) -> Iterator[RelayClient]:
    """A client of a tenant for which nothing comes in but by this client's calls."""
    client = client_of_new_tenant(relay, "alone")
    yield client
    client.close()


def digests(relay: RelayClient, prompt: str) -> list[str]:
    """The SHA-256 of each video that the provider made for the (only) task with this prompt."""
    (seen,) = relay.seen_by_provider(prompt)
    return [video["sha256"] for video in seen["videos"]]


def test_called_back_task_ends_as_the_providers_very_bytes_in_s3(relay: RelayClient, request_body: Body) -> None:
    with without_sweeps(relay):
        task = relay.wait(relay.submit(request_body)["task_id"], "completed")

    (video,) = task["videos"]
    assert [video["sha256"]] == digests(relay, request_body["prompt"])
    assert video["key"].startswith(f"videos/{relay.stack.tenant_id}/")
    assert video["key"].endswith(f"/{task['task_id']}/1.mp4")
    assert (video["duration_seconds"], video["width"], video["height"]) == (1.0, 1280, 720)
    stored = relay.aws("s3").head_object(Bucket=video["bucket"], Key=video["key"])
    assert (stored["ContentLength"], stored["ContentType"]) == (video["size"], "video/mp4")
    played = relay.download(task)
    saved = requests.get(
        task["output"][0]["results"][0]["download_url"], verify=relay.stack.aws_ca_bundle or True, timeout=30
    )
    assert (saved.content, played[4:8]) == (played, b"ftyp")
    assert saved.headers["Content-Disposition"] == f'attachment; filename="{task["task_id"]}-1.mp4"'
    assert (task["request"], task["usage"]["cost"]) == (request_body, "0.0450")
    history = [(entry["source"], entry["status"]) for entry in task["history"]]
    assert history[:2] == [("http", "accepted"), ("create", "submitted")]
    assert history[-1] == ("delivery", "completed")
    # on a busy machine the first callback's read may find the video already
    assert [status for _, status in history[2:-1]] in (["processing", "generated"], ["generated"])
    assert {source for source, _ in history[2:-1]} == {"callback"}


def test_each_published_version_is_one_event_without_anything_that_opens_anything(
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    request_body |= {"payload": "a secret of the client", "callback_url": backends.origins["well"] + "/each?key=secret"}
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
    relay: RelayClient, request_body: Body, backends: Backends
) -> None:
    """A body over a megabyte is submitted by a check: the client does not wait for it."""
    request_body |= {
        "callback_url": backends.origins["well"],
        "aspect_ratio": "4:3",
        "resolution": "1080p",
        "seed": 11,
        "watermark": True,
        "wm_position": 1,
        "meta_data": '{"Label": "x"}',
        "payload": "päyload-" * 131_072,
    }
    task = relay.submit(request_body)
    task_id = task["task_id"]
    assert task["status"] == "accepted"
    relay.wait(task_id, "submitted", "processing", "generated", "completed")

    (seen,) = relay.seen_by_provider(request_body["prompt"])
    params = dict(seen["request"]["params"])
    callback_url = params.pop("callback_url")
    assert params == {name: value for name, value in request_body.items() if name not in ("model", "callback_url")}
    assert callback_url.startswith(f"{relay.stack.api_url}/v1/callbacks/{task_id}?token=k1.")
    assert relay.task(task_id)["request"] == request_body
    assert sum(len(name) + len(str(value)) for name, value in record(relay, task_id).items()) < 2048


@pytest.mark.parametrize("off_peak", [False, True])
def test_lost_callbacks_are_made_good_by_sweep_and_poller(
    relay: RelayClient, request_body: Body, off_peak: bool
) -> None:
    relay.script(request_body["prompt"], {"callbacks": {"drop": True}})
    task_id = relay.submit({**request_body, "off_peak": off_peak})["task_id"]

    def next_minute() -> None:
        due_at = int(record(relay, task_id).get("due_at", {"N": "0"})["N"])
        if due_at > (time.time() + 1800) * 1000:  # a slow poll is made sooner
            make_overdue(relay, task_id)
        relay.sweep()

    task = relay.wait(task_id, "completed", meanwhile=next_minute)

    machine = {"stateMachineArn": relay.stack.state_machine_arn}
    names = [one["name"] for one in listed(relay, "stepfunctions", "list_executions", "executions", **machine)]
    assert any(name.startswith(f"{task_id}-") for name in names) is not off_peak
    assert "check" in [entry["source"] for entry in task["history"]]
    assert [video["sha256"] for video in task["videos"]] == digests(relay, request_body["prompt"])


def test_create_call_without_a_reply_is_not_repeated_and_its_task_is_reconciled(
    relay: RelayClient, request_body: Body
) -> None:
    relay.script(request_body["prompt"], {"create": {"lose_reply": {"how": "close"}}})
    submitted = relay.submit(request_body)
    assert submitted["status"] == "submitting"

    task = relay.wait(submitted["task_id"], "completed", meanwhile=relay.sweep)

    assert relay.create_calls(task["task_id"]) == 1
    assert [video["sha256"] for video in task["videos"]] == digests(relay, request_body["prompt"])


def test_create_call_answered_503_is_never_repeated(relay: RelayClient, request_body: Body) -> None:
    relay.script(request_body["prompt"], {"create": {"server_error": {"status": 503, "n": None}}})
    task_id = relay.submit(request_body)["task_id"]
    deadline = record(relay, task_id)["due_at"]
    for _ in range(2):
        make_overdue(relay, task_id)
        relay.sweep()
        wait_until(lambda: record(relay, task_id)["due_at"] == deadline, "the end of a check")

    assert relay.task(task_id)["status"] == "submitting"
    assert relay.create_calls(task_id) == 1


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ({"create": {"reject": {"code": "008017099", "message": "no more today"}}}, "008017099"),
        ({"outcome": {"fail": {"code": "008017095"}}}, "008017095"),
    ],
    ids=["refused", "failed"],
)
def test_refusal_or_failure_of_the_provider_fails_the_task_with_its_code(
    relay: RelayClient, request_body: Body, script: Body, code: str
) -> None:
    relay.script(request_body["prompt"], script)
    task = relay.wait(relay.submit(request_body)["task_id"], "failed")

    assert (task["error"]["code"], task["videos"]) == (code, [])
    assert events_until(relay, task["task_id"], "VideoTaskFailed")


FORMS: dict[str, Body] = {
    "done at once": {"create": {"immediate": "completed"}},
    "as clients saw it": {"reply": {"output": "clients", "running_status": "in_progress"}},
    "completed without a link": {"poll": {"completed_without_url": {"n": 2}}},
    "upstream's callback": {"callbacks": {"form": "upstream", "id": "upstream"}},
    "three videos": {"videos": {"count": 3}},
    "fragmented": {"videos": {"layout": "fragmented"}},
    "without length": {"videos": {"framing": "no_length", "size_bytes": 9_000_000}},
    "compressed": {"videos": {"framing": "gzip", "size_bytes": 9_000_000}},
    "create throttled": {"create": {"throttle": {"n": 1, "retry_after": 1}}},
    # a callback's read is shown the first link, a second one (of two callbacks at once) the next, a delivery the third
    "expired link": {"videos": {"expire_first": 3}},
    "truncated": {"videos": {"fault": {"kind": "truncate", "times": 1, "after_bytes": 20_000}}},
    "redirected inward": {"videos": {"fault": {"kind": "redirect", "times": 1, "to": "http://169.254.169.254/"}}},
}
"""Replies, videos and faults of the provider: a part of those that the chaos test injects, on a stack that is well."""


def test_every_form_of_the_provider_ends_in_the_video(relay: RelayClient, request_body: Body) -> None:
    tasks = {}
    for name, script in FORMS.items():
        prompt = f"{request_body['prompt']}, {name}"
        relay.script(prompt, script)
        tasks[prompt] = relay.submit(request_body | {"prompt": prompt})["task_id"]
    for prompt, task_id in tasks.items():
        task = relay.wait(task_id, "completed", meanwhile=relay.sweep)

        assert [video["sha256"] for video in task["videos"]] == digests(relay, prompt), prompt
        names = [video["key"].rpartition("/")[2] for video in task["videos"]]
        assert names == [f"{number}.mp4" for number in range(1, len(names) + 1)]
        assert len(task["output"][0]["results"]) == len(names) == (3 if "three" in prompt else 1)
        # sound may outlast the picture by a packet
        assert all(abs(v["duration_seconds"] - 1) < 0.1 and v["width"] == 1280 for v in task["videos"]), prompt


def test_twenty_submits_with_one_key_are_one_task_one_create_call_and_one_quota_slot(
    alone: RelayClient, request_body: Body
) -> None:
    slots = quota_slots_taken(alone)
    alone.call("GET", "/v1/tasks").raise_for_status()  # so that the authorizer need not start twenty times, too
    ready, key = threading.Barrier(20), {"Idempotency-Key": "one-key"}

    def submit(_: int) -> requests.Response:
        ready.wait()
        return alone.call("POST", "/v1/tasks", json=request_body, headers=key, timeout=180)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(submit, range(20)))
    other = alone.call("POST", "/v1/tasks", json=request_body | {"seed": 1}, headers=key)

    assert {reply.status_code for reply in replies} == {202}
    (task_id,) = {reply.json()["task_id"] for reply in replies}
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert alone.create_calls(task_id) == 1
    assert quota_slots_taken(alone) == slots + 1


def test_listing_pages_through_own_tasks_newest_first_and_takes_no_altered_cursor(
    alone: RelayClient, request_body: Body
) -> None:
    ids = [alone.submit(request_body)["task_id"] for _ in range(3)]
    first = alone.call("GET", "/v1/tasks", params={"limit": "2"}).json()
    second = alone.call("GET", "/v1/tasks", params={"limit": "2", "cursor": first["next_cursor"]}).json()
    altered = alone.call("GET", "/v1/tasks", params={"cursor": first["next_cursor"].swapcase()})

    assert [task["task_id"] for task in first["tasks"] + second["tasks"]][:3] == ids[::-1]
    assert (altered.status_code, altered.json()["code"]) == (400, "invalid_cursor")


def test_cancel_is_refused_for_a_task_at_a_provider_without_cancel_and_not_before_it_is_submitted(
    relay: RelayClient, request_body: Body
) -> None:
    relay.script(request_body["prompt"], {"outcome": {"never_finish": True}})
    task_id = relay.submit(request_body)["task_id"]
    waiting = request_body | {"prompt": "@fox waits for @robot"}
    relay.script(waiting["prompt"], {"create": {"throttle": {"n": None, "retry_after": 3600}}})
    waiting_id = relay.submit(waiting)["task_id"]
    refused, canceled = (relay.call("POST", f"/v1/tasks/{one}/cancel") for one in (task_id, waiting_id))

    assert (refused.status_code, refused.json()["code"]) == (409, "cancel_not_supported")
    assert "gateway" in refused.json()["detail"]
    relay.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
    assert relay.wait(task_id, "completed")["error"] is None
    assert (canceled.status_code, canceled.json()["status"]) == (202, "canceled")
    assert "due_at" not in record(relay, waiting_id)  # no sweep finds it
    assert relay.create_calls(waiting_id) == 1
    assert events_until(relay, waiting_id, "VideoTaskCanceled")


def test_external_id_and_labels_go_everywhere_but_to_the_provider(alone: RelayClient, request_body: Body) -> None:
    own = {"external_id": "Auftrag/4711 ä", "labels": {"Team": "blue + grün", "empty": ""}}
    alone.script(request_body["prompt"], {"outcome": {"never_finish": True}})
    task_id = alone.submit(request_body | own)["task_id"]
    taken = alone.call("POST", "/v1/tasks", json=request_body | own | {"seed": 7})
    assert (taken.status_code, taken.headers["location"]) == (409, f"/v1/tasks/{task_id}")
    assert int(alone.call("GET", f"/v1/tasks/{task_id}").headers["retry-after"]) >= 5
    alone.change_script(request_body["prompt"], {"outcome": {"never_finish": False}})
    events = events_until(alone, task_id, "VideoTaskCompleted")
    answer = alone.call("GET", f"/v1/tasks/{task_id}")
    assert "retry-after" not in answer.headers
    task = answer.json()
    for shown in (task, *(event["detail"]["task"] for event in events)):
        assert {name: shown[name] for name in own} == own
    stored = alone.aws("s3").head_object(Bucket=task["videos"][0]["bucket"], Key=task["videos"][0]["key"])["Metadata"]
    assert {name.lower(): value for name, value in stored.items()} == {
        "external-id": "Auftrag/4711%20%C3%A4",
        "label-team": "blue%20%2B%20gr%C3%BCn",
    }
    (seen,) = alone.seen_by_provider(request_body["prompt"])
    assert "4711" not in str(seen["request"])
    assert not own.keys() & seen["request"]["params"].keys()

    def found(**query: str) -> list[str]:
        return [one["task_id"] for one in alone.call("GET", "/v1/tasks", params=query).json()["tasks"]]

    assert found(external_id="Auftrag/4711 ä") == [task_id]
    assert found(model=request_body["model"], created_from=task["created_at"], status="completed") == [task_id]
    assert task_id not in found(created_to=task["created_at"])
