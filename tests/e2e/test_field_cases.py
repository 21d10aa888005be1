"""Replies, videos and requests that were seen in the field, and outages: none of them loses a task, a video or money.

The provider is one of the module's own (`field_provider`): every case is submitted at once, and looked at case by case.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
from tests.e2e.waiting import wait_until
from tests.e2e.watched import WatchedClient
from tests.unit.builders import box
from tests.unit.domain.muxed import LAYOUTS, edited, muxed, top_boxes
from tests.unit.pictures import png

Body = dict[str, Any]

PARAMETERS = {"FirstCheckSeconds": "3", "CheckIntervalSeconds": "1"}
KEY = "the first key"
HALF = "a fox \ud83d"
WHOLE = "a fox \ufffd"
HOURS_MS = 3_600_000
LATE_WATCH_HOURS = 72
GOOD = muxed(LAYOUTS["H.264, moov first"])
MOOV_LAST = muxed(LAYOUTS["moov at the end, with sound"])


def within(kind: bytes, file: bytes) -> list[bytes]:
    """The boxes of one kind in a file or in the content of a box."""
    return [file[start:end] for found, start, end in top_boxes(file) if found == kind]


PICTURES, SOUND = within(b"trak", within(b"moov", MOOV_LAST)[0][8:])
UNDESCRIBED = edited((b"trak", b"mdia", b"minf", b"stbl", b"stsd"), lambda _: None, SOUND)


def with_track(track: bytes, in_place_of: bytes = b"") -> bytes:
    """A file with a further track, or one in another's place. Its media stay where they are."""
    return edited((b"moov",), lambda content: content.replace(in_place_of, b"") + track, MOOV_LAST)


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


def download(extra: str = "", status: str = "200 OK", before: str = "") -> bytes:
    head = f"{before}HTTP/1.1 {status}\r\nContent-Type: video/mp4\r\n{extra}Content-Length: {{LENGTH}}\r\n\r\n"
    return head.encode() + b"{FILE}"


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@dataclass(frozen=True)
class Played:
    """A case and how it must end."""

    case: Case
    status: str = "completed"
    message: str = ""
    """What the error says."""
    notes: tuple[str, ...] = ()
    creates: int = 1


def video(link: str) -> Case:
    return Case(poll=page(results=[{"type": "video", "url": link}]))


REPLIES: dict[str, Played] = {
    "F2-completed-half-character": Played(Case(poll=page(metadata={"remote_task_id": "up-{ID}", "model": HALF}))),
    "F2-failed-half-character": Played(
        Case(poll={"id": "{ID}", "status": "failed", "error": {"code": "risk", "message": HALF}}), "failed", WHOLE
    ),
    "F2-refused-half-character": Played(
        Case(creates=[Reply(400, {"error": {"code": "risk", "message": HALF}})]), "failed", WHOLE
    ),
    "F4-leading-blank": Played(video(" {ORIGIN}/videos/x")),
    "F4-unescaped": Played(video('{ORIGIN}/videos/x?disposition=attachment; filename="fox.mp4"')),
    "F4-space": Played(Case(link="/videos/{CASE}/my video.mp4")),
    "F4-utf8": Played(Case(link="/videos/{CASE}/视频.mp4")),
    "F4-pipe": Played(Case(link="/videos/{CASE}/x.mp4?x=a|b")),
    "F4-brace": Played(Case(link="/videos/{CASE}/x.mp4?x={a}")),
    "F4-quote": Played(Case(link='/videos/{CASE}/x.mp4?x="a"')),
    "F4-caret": Played(Case(link="/videos/{CASE}/x.mp4?x=a^b")),
    "F4-redirect-space": Played(Case(raw=moved("/videos/x/my video.mp4"))),
    "F4-redirect-utf8": Played(Case(raw=moved("/videos/x/视频.mp4"))),
    "F5-succeeded": Played(Case(poll=page(status="succeeded"))),
    "F5-upstream-shape": Played(
        Case(
            poll={
                "id": "{ID}",
                "state": "success",
                "err_code": "",
                "credits": 4,
                "creations": [{"id": "c1", "url": "{ORIGIN}/videos/x", "cover_url": "{ORIGIN}/images/x"}],
            }
        )
    ),
    "F5-type-upper": Played(Case(poll=page(results=[{"type": "VIDEO", "url": "{ORIGIN}/videos/x"}]))),
    "F9-base_resp": Played(
        Case(creates=[Reply(200, {"task_id": "", "base_resp": {"status_code": 1026, "status_msg": "new_sensitive"}})]),
        "failed",
        "new_sensitive",
    ),
    "F9-msg": Played(
        Case(creates=[Reply(200, {"code": "10003", "msg": "balance is used up"})]), "failed", "balance is used up"
    ),
    "F9-error_msg": Played(
        Case(creates=[Reply(400, {"error_code": 216100, "error_msg": "invalid param"})]), "failed", "invalid param"
    ),
    "F9-reason": Played(
        Case(creates=[Reply(400, {"code": 400, "reason": "FieldInvalid", "message": "images is invalid"})]),
        "failed",
        "images is invalid",
    ),
    "F9-rfc9457": Played(
        Case(creates=[Reply(400, {"type": "about:blank", "title": "Bad Request", "detail": "image 1 has no face"})]),
        "failed",
        "image 1 has no face",
    ),
    "F9-fastapi": Played(
        Case(
            creates=[
                Reply(422, {"detail": [{"loc": ["body", "prompt"], "msg": "too long", "type": "string_too_long"}]})
            ]
        ),
        "failed",
        "too long",
    ),
    "U3-task_id-alone": Played(
        Case(creates=[Reply(200, {"task_id": "{ID}", "state": "created", "model": "viduq2"})], makes=True)
    ),
    "U3-task_id-alone-and-no-time": Played(
        Case(creates=[Reply(200, {"task_id": "{ID}", "state": "created", "created_at": 0})], makes=True, poll=page())
    ),
    # the video is kept and shown, and what is no video is tried again: the task does not fail
    "U4-cover-beside-the-video": Played(
        Case(poll=page(results=[{"url": "{ORIGIN}/images/x"}, {"url": "{ORIGIN}/videos/x"}])), "generated"
    ),
}

VIDEOS: dict[str, Played] = {
    **{
        f"ce-{coding}": Played(Case(raw=download(f"Content-Encoding: {coding}\r\n")))
        for coding in ("aws-chunked", "base64", "utf-8", "binary", "none")
    },
    "102": Played(Case(raw=download(before="HTTP/1.1 102 Processing\r\n\r\n"))),
    "103": Played(Case(raw=download(before="HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"))),
    "206-whole": Played(
        Case(raw=download(f"Content-Range: bytes 0-{len(GOOD) - 1}/{len(GOOD)}\r\n", "206 Partial Content"))
    ),
    "203": Played(Case(raw=download(status="203 Non-Authoritative Information"))),
    "k-sound-without-stsd": Played(Case(file=with_track(UNDESCRIBED, SOUND)), notes=("track_incomplete",)),
    "k-bare-track": Played(
        Case(file=with_track(box(b"trak", within(b"tkhd", SOUND[8:])[0]))), notes=("track_incomplete",)
    ),
    "k-shared-samples": Played(Case(file=with_track(PICTURES)), notes=("shared_samples",)),
    # a file that is cut is never taken: the copy is tried again
    "h-media-too-long": Played(Case(file=too_long(GOOD)), "generated"),
}

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"
NOW_WELL: dict[str, Played] = {
    "cdn-404": Played(Case(downloads=[Reply(404)] * 3)),
    "cdn-403": Played(Case(downloads=[Reply(403)] * 3)),
    "interim-before-every-reply": Played(Case(interim=EARLY)),
    "429-with-an-id": Played(
        Case(creates=[Reply(429, {"id": "{ID}", "message": "busy"}, (("Retry-After", "1"),))], makes=True)
    ),
    "429-with-an-id-never-called-back": Played(
        Case(creates=[Reply(429, {"id": "{ID}", "message": "busy"})], makes=True, called_back=False)
    ),
    "400-with-an-id": Played(Case(creates=[Reply(400, {"id": "{ID}", "message": "odd"})], makes=True)),
    "429-without-an-id": Played(Case(creates=[Reply(429, {"message": "busy"}, (("Retry-After", "1"),))]), creates=2),
    "callbacks-lost": Played(Case(called_back=False)),
}

PLAYED = {**REPLIES, **VIDEOS, **NOW_WELL}
LONG = {
    "cdn-long": Case(downloads=[Reply(404)] * 5),
    "cdn-for-days": Case(downloads=[Reply(404)] * 6),
}
OTHERS = {
    **LONG,
    "F9-detail": Case(creates=[Reply(403, {"detail": "User is locked. Reason: balance."})] * 9),
    "refused-for-now": Case(creates=[Reply(429, {"message": "busy"}, (("Retry-After", "3600"),))] * 9),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[FieldProvider]:
    cases = {name: played.case for name, played in PLAYED.items()} | OTHERS
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
    """Every case that is looked at by itself, submitted: the task of each."""
    names = [*LONG, *PLAYED]
    with ThreadPoolExecutor(3) as pool:
        tasks = pool.map(lambda name: relay.submit(request(provider, name)), names)
        return {name: task["task_id"] for name, task in zip(names, tasks, strict=True)}


def request(provider: FieldProvider, case: str, **changed: Any) -> Body:
    return {
        "model": "viduq2_pro_fast_reference2video",
        "subjects": [{"id": "1", "images": [f"{provider.origin}/images/good.png"]}],
        "prompt": f"a fox case:{case}",
        **changed,
    }


@pytest.mark.parametrize("name", PLAYED)
def test_what_was_met_in_the_field_ends_as_it_should(
    relay: RelayClient, provider: FieldProvider, submitted: Mapping[str, str], name: str
) -> None:
    played, task_id = PLAYED[name], submitted[name]
    task = relay.wait(task_id, played.status, *(() if played.status == "generated" else ("failed", "expired")))

    assert task["status"] == played.status, task["error"]
    assert played.message in ((task["error"] or {}).get("message", ""))
    assert len(provider.creates(name)) == played.creates
    if played.status == "completed":
        (stored,) = task["videos"]
        served = (played.case.file or GOOD) if "{CASE}" in played.case.link else GOOD
        assert relay.download(task) == served
        assert set(played.notes) <= set(stored["notes"])


def test_the_good_video_beside_a_bad_one_is_kept_and_nothing_fails(
    relay: RelayClient, submitted: Mapping[str, str]
) -> None:
    task_id = submitted["U4-cover-beside-the-video"]
    wait_until(lambda: bool(relay.task(task_id)["delivery"]), "the first attempt")

    task = relay.task(task_id)
    assert (task["status"], len(task["videos"]), task["error"]) == ("generated", 1, None)


def test_a_cut_video_is_tried_again_and_never_shown(relay: RelayClient, submitted: Mapping[str, str]) -> None:
    task_id = submitted["h-media-too-long"]
    wait_until(lambda: bool(relay.task(task_id)["delivery"]), "the first attempt")

    task = relay.task(task_id)
    assert (task["status"], task["videos"]) == ("generated", [])
    assert task["delivery"]["last_error"]["code"] == "truncated"


# --- requests


NULLS = dict.fromkeys(
    ("audio", "duration", "seed", "aspect_ratio", "resolution", "off_peak", "watermark", "wm_position")
)


@pytest.mark.parametrize("door", ["http", "file", "event"])
def test_what_is_null_was_not_given(relay: RelayClient, provider: FieldProvider, door: str) -> None:
    name = f"F1-{door}"
    provider.cases[name] = Case()
    body = request(provider, name, **NULLS)
    match door:
        case "http":
            relay.submit(body)
        case "file":
            relay.drop(f"{name}.json", body)
        case _:
            relay.put_event({"request": body})
    wait_until(lambda: bool(provider.creates(name)), "the create call")

    (seen,) = provider.creates(name)
    assert set(seen.params) == {"subjects", "prompt", "callback_url"}


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("F1-one-null", b'"seed": null', {}),
        ("F6-empty-urls", b'"wm_url": "", "callback_url": ""', {}),
        ("F7-zero-fraction", b'"duration": 5.0, "seed": 1e3', {"duration": 5, "seed": 1000}),
    ],
)
def test_what_generated_clients_write_is_taken(
    relay: RelayClient, provider: FieldProvider, name: str, given: bytes, sent: Body
) -> None:
    provider.cases[name] = Case()
    body = json.dumps(request(provider, name)).encode()[:-1] + b", " + given + b"}"
    reply = relay.call("POST", "/v1/tasks", data=body, headers={"Content-Type": "application/json"})

    assert reply.status_code == 202, reply.text
    (seen,) = provider.creates(name)
    params = {name: value for name, value in seen.params.items() if name not in ("subjects", "prompt", "callback_url")}
    assert params == sent
    assert [type(value) for value in params.values()] == [int] * len(sent)


def test_a_mention_in_other_code_points_than_its_id_is_refused_with_the_reason(
    relay: RelayClient, provider: FieldProvider
) -> None:
    body = request(provider, "U1", prompt="@caf\u00e9 runs")
    body["subjects"][0]["id"] = "cafe\u0301"
    reply = relay.call("POST", "/v1/tasks", json=body)

    assert reply.status_code == 422
    assert "other characters" in reply.text or "NFC" in reply.text


# --- outages


def test_a_source_that_is_away_for_long_delays_the_video_and_loses_nothing(
    relay: RelayClient, submitted: Mapping[str, str], tmp_path: Path
) -> None:
    """Five failures publish the delay; then the source is well, and the operator does not wait for the hour."""
    task_id = submitted["cdn-long"]
    delayed = relay.event(lambda event: _is_delay_of(event, task_id))
    assert delayed["detail"]["task"]["delivery"]["attempts"] == 5
    assert relay.task(task_id)["status"] == "generated"

    operate(relay, tmp_path, "task", "deliver", task_id)
    task = relay.wait(task_id, "completed")
    assert relay.download(task) == GOOD
    assert [entry["source"] for entry in task["history"]].count("delivery_delayed") == 1


def test_a_source_that_is_away_for_days_expires_the_task_and_the_operator_still_gets_the_video(
    relay: RelayClient, submitted: Mapping[str, str], tmp_path: Path
) -> None:
    """The record is set back by three days, which no test can wait for."""
    task_id = submitted["cdn-for-days"]
    relay.event(lambda event: _is_delay_of(event, task_id))
    _set_back(relay, task_id, LATE_WATCH_HOURS * HOURS_MS)

    expired = relay.wait(task_id, "expired", "failed")
    assert (expired["status"], expired["error"]["code"]) == ("expired", "video_unavailable")

    operate(relay, tmp_path, "task", "deliver", task_id)
    task = relay.wait(task_id, "completed")
    assert (relay.download(task), task["error"]) == (GOOD, None)


def test_disabling_a_tenant_cancels_what_was_not_submitted(
    relay: RelayClient, provider: FieldProvider, tmp_path: Path
) -> None:
    guest = client_of_new_tenant(relay, tmp_path, "leaver")
    task_id = guest.submit(request(provider, "refused-for-now"))["task_id"]
    calls = len(provider.creates("refused-for-now"))
    operate(relay, tmp_path, "tenants", "disable", "leaver")
    make_overdue(relay, task_id)  # the provider wished for an hour

    relay.event(lambda event: _is(event, "VideoTaskCanceled", task_id))
    assert record(relay, task_id)["error"]["M"]["code"]["S"] == "tenant_disabled"
    assert len(provider.creates("refused-for-now")) == calls
    guest.close()


def test_events_come_once_eventbridge_takes_them_again(relay: RelayClient, provider: FieldProvider) -> None:
    switch = FaultSwitch(relay.stack.aws_endpoint_url, relay.stack.aws_ca_bundle or "", relay.stack.region)
    switch.order([{"at": "events", "how": "refuse"}], 1)
    try:
        task_id = relay.submit(request(provider, "plain"))["task_id"]
        relay.wait(task_id, "generated")  # the copy is asked for by an event
        wait_until(lambda: len(switch.given()) > 5, "a few refusals")
        assert not relay.new_events(task_id)
    finally:
        switch.end()

    task, found = relay.wait(task_id, "completed"), list[int]()

    def complete() -> bool:
        found.extend(event["detail"]["task"]["version"] for event in relay.new_events(task_id))
        return task["version"] in found

    wait_until(complete, "the last event")
    first = task["version"] - len(task["history"]) + 1
    assert list(dict.fromkeys(found)) == list(range(first, task["version"] + 1)), "each, and in order"


def test_a_refusal_of_the_account_that_is_about_one_request_fails_this_one_with_its_reason(
    relay: RelayClient, provider: FieldProvider
) -> None:
    task_id = relay.submit(request(provider, "F9-detail"))["task_id"]
    assert relay.task(task_id)["status"] in ("accepted", "submitting")
    relay.wait(relay.submit(request(provider, "plain"))["task_id"], "completed")
    make_overdue(relay, task_id)  # no test waits for the minute

    task = relay.wait(task_id, "failed", "completed")
    assert task["error"]["message"] == "User is locked. Reason: balance."


def test_while_the_account_has_no_balance_tasks_wait_and_one_call_a_minute_asks(
    relay: RelayClient, provider: FieldProvider
) -> None:
    before = len(provider.creates())
    provider.balance = False
    began = time.monotonic()
    tasks = [relay.submit(request(provider, "plain")) for _ in range(4)]
    assert [task["status"] for task in tasks] == ["accepted"] * 4
    time.sleep(max(0.0, began + 45 - time.monotonic()))
    assert [relay.task(task["task_id"])["status"] for task in tasks] == ["accepted"] * 4
    assert [seen.status for seen in provider.creates()[before:]] == [402], "a second one only after a minute"

    provider.balance = True
    wait_until(lambda: len(provider.creates()) > before + 1, "the call that asks again")
    for task in tasks:
        with suppress(ClientError):  # it may be submitted, and even done
            make_overdue(relay, task["task_id"])  # no test waits for one more minute
        assert relay.wait(task["task_id"], "completed", "failed")["status"] == "completed"
    calls = provider.creates()[before:]
    assert [seen.status for seen in calls] == [402, 200, 200, 200, 200]
    assert calls[1].at - calls[0].at > 55


def test_a_key_that_was_rotated_is_picked_up_by_creates_and_reads(
    relay: RelayClient, provider: FieldProvider, tmp_path: Path
) -> None:
    relay.wait(relay.submit(request(provider, "plain"))["task_id"], "completed")  # every function has read the old key
    _put_key(relay, "the second key")
    provider.keys = {"the second key"}

    task = relay.wait(relay.submit(request(provider, "plain"))["task_id"], "completed", "failed")
    assert task["status"] == "completed", task["error"]


def _is(event: Body, kind: str, task_id: str) -> bool:
    return bool(event["detail-type"] == kind and event["detail"]["task"]["task_id"] == task_id)


def _is_delay_of(event: Body, task_id: str) -> bool:
    return _is(event, "VideoTaskDeliveryDelayed", task_id)


def _put_key(relay: RelayClient, key: str) -> None:
    secrets = relay.aws("secretsmanager").list_secrets()["SecretList"]
    (name,) = [secret["Name"] for secret in secrets if "Provider" in secret["Name"]]
    relay.aws("secretsmanager").put_secret_value(SecretId=name, SecretString=json.dumps({"api_key": key}))


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
