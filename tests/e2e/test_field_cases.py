"""Replies and videos that were seen in the field, and outages: none of them loses a task, a video or money.

The provider is one of the module's own (`field_provider`). All cases are submitted at once.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.chaos.switch import FaultSwitch
from local.client import RelayClient
from local.stack import LocalStack
from tests.e2e.attempts import operate, record
from tests.e2e.field_provider import Case, FieldProvider, Reply
from tests.e2e.sweeps import make_overdue
from tests.e2e.tenants import client_of_new_tenant
from tests.e2e.waiting import events_until, wait_until
from tests.e2e.watched import WatchedClient
from tests.unit.domain.muxed import LAYOUTS, muxed, top_boxes
from tests.unit.domain.test_odd_videos import FIRST, odd
from tests.unit.pictures import png

Body = dict[str, Any]

PARAMETERS = {"FirstCheckSeconds": "3", "CheckIntervalSeconds": "1"}
KEY = "the first key"
HALF = "a fox \ud83d"
WHOLE = "a fox \ufffd"
HOURS_MS = 3_600_000
LATE_WATCH_HOURS = 72
GOOD = muxed(LAYOUTS["H.264, moov first"])


def too_long(file: bytes) -> bytes:
    """The file, its media box claiming more than there is: so does one that was cut."""
    start = next(start for kind, start, _ in top_boxes(file) if kind == b"mdat")
    return file[:start] + (int.from_bytes(file[start : start + 4]) + 1000).to_bytes(4) + file[start + 4 :]


def page(**changed: Any) -> Body:
    """A poll's reply in the gateway's shape."""
    results = changed.pop("results", [{"type": "video", "url": "{ORIGIN}/videos/x"}])
    return {
        "id": "{ID}",
        "status": "completed",
        "created_at": 0,
        "output": [{"task_id": "up-{ID}", "task_status": "done", "results": results}],
        "usage": {"cost": "0.21", "discount": 1},
        "metadata": {"model": "viduq2"},
        **changed,
    }


def download(extra: str = "", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: video/mp4\r\n{extra}Content-Length: {{LENGTH}}\r\n\r\n"
    return head.encode() + b"{FILE}"


@dataclass(frozen=True)
class Met:
    """A case and how it must end."""

    case: Case
    status: str = "completed"
    message: str = ""
    """What the error says."""
    notes: tuple[str, ...] = ()
    creates: int = 1


def refused(status: int, body: Body) -> Case:
    """The first create call is answered so."""
    return Case(creates=[Reply(status, body)])


UPSTREAM = {
    "id": "{ID}",
    "state": "success",
    "err_code": "",
    "credits": 4,
    "creations": [{"id": "c1", "url": "{ORIGIN}/videos/x", "cover_url": "{ORIGIN}/images/x"}],
}
BUSY = {"id": "{ID}", "message": "busy"}
TOO_LONG = [{"loc": ["body", "prompt"], "msg": "too long", "type": "string_too_long"}]
MOVED = "HTTP/1.1 302 Found\r\nLocation: /videos/x/my 视频.mp4\r\nContent-Length: 0\r\n\r\n"
MET: dict[str, Met] = {
    "half-a-character-completed": Met(Case(poll=page(metadata={"remote_task_id": "up-{ID}", "model": HALF}))),
    "half-a-character-failed": Met(
        Case(poll={"id": "{ID}", "status": "failed", "error": {"code": "risk", "message": HALF}}), "failed", WHOLE
    ),
    "half-a-character-refused": Met(refused(400, {"error": {"code": "risk", "message": HALF}}), "failed", WHOLE),
    "link-unescaped": Met(Case(link='/videos/{CASE}/my 视频.mp4?x="a"|{b}^')),
    "link-redirected": Met(Case(raw=MOVED.encode())),
    "upstream-shape": Met(Case(poll=UPSTREAM)),
    "reason-base_resp": Met(
        refused(200, {"task_id": "", "base_resp": {"status_code": 1026, "status_msg": "sensitive"}}),
        "failed",
        "sensitive",
    ),
    "reason-fastapi": Met(refused(422, {"detail": TOO_LONG}), "failed", "too long"),
    "task_id-alone": Met(
        Case(creates=[Reply(200, {"task_id": "{ID}", "state": "created", "created_at": 0})], makes=True, poll=page())
    ),
    "coding-that-is-none": Met(Case(raw=download("Content-Encoding: aws-chunked\r\n"))),
    "206-whole": Met(
        Case(raw=download(f"Content-Range: bytes 0-{len(GOOD) - 1}/{len(GOOD)}\r\n", "206 Partial Content"))
    ),
    "interim-before-every-reply": Met(Case(interim=b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")),
    "shared-samples": Met(Case(file=odd("the video track twice")), notes=("shared_samples",)),
    "cdn-404": Met(Case(downloads=[Reply(404)] * 3)),
    "429-with-an-id": Met(Case(creates=[Reply(429, BUSY, (("Retry-After", "1"),))], makes=True)),
    "429-with-an-id-never-called-back": Met(Case(creates=[Reply(429, BUSY)], makes=True, called_back=False)),
    "429-without-an-id": Met(Case(creates=[Reply(429, {"message": "busy"}, (("Retry-After", "1"),))]), creates=2),
    "callbacks-lost": Met(Case(called_back=False)),
    # the video is kept and shown, and what is no video is tried again: the task does not fail
    "cover-beside-the-video": Met(
        Case(poll=page(results=[{"url": "{ORIGIN}/images/x"}, {"url": "{ORIGIN}/videos/x"}])), "generated"
    ),
    # a file that is cut is never taken: the copy is tried again
    "cut": Met(Case(file=too_long(FIRST)), "generated"),
}
LONG = {"cdn-long": Case(downloads=[Reply(404)] * 5), "cdn-for-days": Case(downloads=[Reply(404)] * 6)}
OTHERS = {
    **LONG,
    "account-reason": Case(creates=[Reply(403, {"detail": "User is locked. Reason: balance."})] * 9),
    "refused-for-now": Case(creates=[Reply(429, {"message": "busy"}, (("Retry-After", "3600"),))] * 9),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FieldProvider]:
    cases = {name: met.case for name, met in MET.items()} | OTHERS
    with FieldProvider(cases, GOOD, png(), KEY) as provider:
        yield provider


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory, provider: FieldProvider) -> Iterator[RelayClient]:
    """A client of a stack of the module's own, swept every second."""
    stack = LocalStack(
        tmp_path_factory.mktemp("stack"), parameters=PARAMETERS, provider_url=provider.url, provider_key=KEY
    )
    with stack as running:
        client, sweeper, over = WatchedClient(running), RelayClient(running), threading.Event()

        def sweep() -> None:
            while not over.wait(1):
                with suppress(RuntimeError, ClientError):
                    sweeper.sweep()

        sweeping = threading.Thread(target=sweep)
        sweeping.start()
        yield client
        over.set()
        sweeping.join()
        sweeper.close()
        client.close()


@pytest.fixture(scope="module")
def submitted(relay: RelayClient, provider: FieldProvider) -> Mapping[str, str]:
    """The task of each case that changes no other one."""
    return {name: relay.submit(request(provider, name))["task_id"] for name in (*LONG, *MET)}


def request(provider: FieldProvider, case: str = "plain") -> Body:
    return {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [{"id": "1", "images": [f"{provider.origin}/images/good.png"]}],
        "prompt": f"a fox case:{case}",
    }


@pytest.mark.parametrize("name", MET)
def test_what_was_met_in_the_field_ends_as_it_should(
    relay: RelayClient, provider: FieldProvider, submitted: Mapping[str, str], name: str
) -> None:
    met, task_id = MET[name], submitted[name]
    task = relay.wait(task_id, met.status, *(() if met.status == "generated" else ("failed", "expired")))

    assert task["status"] == met.status, task["error"]
    assert met.message in ((task["error"] or {}).get("message", ""))
    assert len(provider.creates(name)) == met.creates
    if met.status == "completed":
        (stored,) = task["videos"]
        assert relay.download(task) == (met.case.file or GOOD)
        assert set(met.notes) <= set(stored["notes"])


@pytest.mark.parametrize(("name", "videos"), [("cover-beside-the-video", 1), ("cut", 0)])
def test_a_good_video_is_kept_and_a_bad_one_is_tried_again_and_never_shown(
    relay: RelayClient, submitted: Mapping[str, str], name: str, videos: int
) -> None:
    task = wait_until(lambda: _if_tried(relay.task(submitted[name])), "the first attempt")

    assert (task["status"], len(task["videos"]), task["error"]) == ("generated", videos, None)
    if name == "cut":
        assert task["delivery"]["last_error"]["code"] == "truncated"


def _if_tried(task: Body) -> Body | None:
    return task if task["delivery"] else None


def test_request_as_generated_clients_write_it_is_taken(relay: RelayClient, provider: FieldProvider) -> None:
    """Null and empty values were not given; a whole number may have a point."""
    provider.cases["written"] = Case()
    more = ', "duration": 5.0, "seed": 1e3, "audio": null, "aspect_ratio": null, "wm_url": "", "callback_url": ""}'
    body = json.dumps(request(provider, "written"))[:-1] + more
    reply = relay.call("POST", "/v1/tasks", data=body, headers={"Content-Type": "application/json"})

    assert reply.status_code == 202, reply.text
    (seen,) = provider.creates("written")
    params = {name: value for name, value in seen.params.items() if name not in ("subjects", "prompt", "callback_url")}
    assert str(params) == str({"duration": 5, "seed": 1000})


def test_a_source_that_is_away_for_long_delays_the_video_and_loses_nothing(
    relay: RelayClient, submitted: Mapping[str, str]
) -> None:
    """Five failures publish the delay; then the source is well, and the operator does not wait for the hour."""
    task_id = submitted["cdn-long"]
    delayed = relay.event(_of("VideoTaskDeliveryDelayed", task_id))
    assert delayed["detail"]["task"]["delivery"]["attempts"] == 5
    assert relay.task(task_id)["status"] == "generated"

    operate(relay, "task", "deliver", task_id)
    task = relay.wait(task_id, "completed")
    assert relay.download(task) == GOOD
    assert [entry["source"] for entry in task["history"]].count("delivery_delayed") == 1


def test_a_source_that_is_away_for_days_expires_the_task_and_the_operator_still_gets_the_video(
    relay: RelayClient, submitted: Mapping[str, str]
) -> None:
    """The record is set back by three days, which no test can wait for."""
    task_id = submitted["cdn-for-days"]
    relay.event(_of("VideoTaskDeliveryDelayed", task_id))
    _set_back(relay, task_id, LATE_WATCH_HOURS * HOURS_MS)

    expired = relay.wait(task_id, "expired", "failed")
    assert (expired["status"], expired["error"]["code"]) == ("expired", "video_unavailable")

    operate(relay, "task", "deliver", task_id)
    task = relay.wait(task_id, "completed")
    assert (relay.download(task), task["error"]) == (GOOD, None)


def test_disabling_a_tenant_cancels_what_was_not_submitted(relay: RelayClient, provider: FieldProvider) -> None:
    guest = client_of_new_tenant(relay, "leaver")
    task_id = guest.submit(request(provider, "refused-for-now"))["task_id"]
    calls = len(provider.creates("refused-for-now"))
    operate(relay, "tenants", "disable", "leaver")
    make_overdue(relay, task_id)  # the provider's Retry-After is an hour

    relay.event(_of("VideoTaskCanceled", task_id))
    assert record(relay, task_id)["error"]["M"]["code"]["S"] == "tenant_disabled"
    assert len(provider.creates("refused-for-now")) == calls
    guest.close()


def test_events_come_once_eventbridge_takes_them_again(relay: RelayClient, provider: FieldProvider) -> None:
    switch = FaultSwitch(relay.stack.aws_endpoint_url, relay.stack.aws_ca_bundle or "", relay.stack.region)
    switch.order([{"at": "events", "how": "refuse"}], 1)
    try:
        task_id = relay.submit(request(provider))["task_id"]
        relay.wait(task_id, "generated")  # the copy is asked for by an event
        wait_until(lambda: len(switch.given()) > 5, "a few refusals")
        assert not relay.new_events(task_id)
    finally:
        switch.end()

    versions = [event["detail"]["task"]["version"] for event in events_until(relay, task_id, "VideoTaskCompleted")]
    task = relay.task(task_id)
    first = task["version"] - len(task["history"]) + 1
    assert list(dict.fromkeys(versions)) == list(range(first, task["version"] + 1)), "each, and in order"


def test_a_refusal_of_the_account_that_is_about_one_request_fails_this_one_with_its_reason(
    relay: RelayClient, provider: FieldProvider
) -> None:
    task_id = relay.submit(request(provider, "account-reason"))["task_id"]
    assert relay.task(task_id)["status"] in ("accepted", "submitting")
    relay.wait(relay.submit(request(provider))["task_id"], "completed")
    make_overdue(relay, task_id)  # no test waits for the minute

    task = relay.wait(task_id, "failed", "completed")
    assert task["error"]["message"] == "User is locked. Reason: balance."


def test_while_the_account_has_no_balance_tasks_wait_for_the_one_call_that_may_be_made(
    relay: RelayClient, provider: FieldProvider
) -> None:
    before = len(provider.creates())
    provider.balance = False
    tasks = [relay.submit(request(provider))["task_id"] for _ in range(4)]
    assert {relay.task(task_id)["status"] for task_id in tasks} == {"accepted"}
    assert [seen.status for seen in provider.creates()[before:]] == [402]

    provider.balance = True
    relay.aws("dynamodb").update_item(  # no test waits for the minute
        TableName=relay.stack.table,
        Key={"pk": {"S": "pause#gateway"}},
        UpdateExpression="SET probe_at = :long_ago",
        ConditionExpression="attribute_exists(paused_since)",
        ExpressionAttributeValues={":long_ago": {"N": "1"}},
    )
    for task_id in tasks:
        with suppress(ClientError):  # it may be submitted, and even done
            make_overdue(relay, task_id)
        assert relay.wait(task_id, "completed", "failed")["status"] == "completed"
    assert [seen.status for seen in provider.creates()[before:]] == [402, 200, 200, 200, 200]


def test_a_key_that_was_rotated_is_used_by_creates_and_reads(relay: RelayClient, provider: FieldProvider) -> None:
    relay.wait(relay.submit(request(provider))["task_id"], "completed")  # every function has read the old key
    new_key = {"SecretId": relay.resources()["ProviderSecret"], "SecretString": json.dumps({"api_key": "the second"})}
    relay.aws("secretsmanager").put_secret_value(**new_key)
    provider.keys = {"the second"}

    task = relay.wait(relay.submit(request(provider))["task_id"], "completed", "failed")
    assert task["status"] == "completed", task["error"]


def _of(kind: str, task_id: str) -> Callable[[Body], bool]:
    """Whether an event of the bus has this type and is about this task."""
    return lambda event: event["detail-type"] == kind and event["detail"]["task"]["task_id"] == task_id


def _set_back(relay: RelayClient, task_id: str, milliseconds: int) -> None:
    """A generated task as if it had become so this much earlier, and due now."""
    item = record(relay, task_id)
    history = item["history"]["L"]
    for entry in history:
        entry["M"]["at"]["N"] = str(int(entry["M"]["at"]["N"]) - milliseconds)
    relay.aws("dynamodb").update_item(
        TableName=relay.stack.table,
        Key={"pk": {"S": f"task#{task_id}"}},
        UpdateExpression="SET history = :history, due_at = :now ADD revision :one",
        ExpressionAttributeValues={
            ":history": {"L": history},
            ":now": {"N": str(int(time.time() * 1000))},
            ":one": {"N": "1"},
        },
    )
