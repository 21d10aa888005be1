import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.builders import (
    LINK,
    NOW,
    OFFERING,
    POLICY,
    TASK_ID,
    copied,
    copy_failed,
    done,
    new_task,
    reading,
    submitting,
    task_in,
    video,
)
from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.catalogue import DEFAULT_MODEL as MODEL
from vidu_relay.domain.notification import notification_body
from vidu_relay.domain.representation import event_detail, event_type, represent, timestamp
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.snapshot import ProgressState, ProviderOutput, TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Output, Task, Video

SECRET = "hunter2"
MAX_EVENT_BYTES = 20_000


def sign(of: Video) -> str:
    return f"https://signed.example/{of.key}"


def wire(detail: object) -> str:
    return json.dumps(detail, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


# --- the API


def test_a_completed_task_reads_like_the_provider_s_own_response() -> None:
    task = replace(task_in(Status.COMPLETED), upstream_id="upstream-1")
    shown = represent(task, sign=sign)
    assert shown["output"] == [
        {
            "task_id": "upstream-1",
            "task_status": "done",
            "results": [{"type": "video", "url": sign(task.videos[0])}],
        }
    ]
    assert shown["usage"] == {"cost": "0.4000", "discount": 0.9}
    assert shown["metadata"] == {"remote_task_id": "upstream-1", "model": MODEL}
    assert shown["error"] is None


def test_external_id_and_labels_are_shown_where_they_were_given() -> None:
    given = {"external_id": "4711", "labels": {"team": "blue"}}
    plain = task_in(Status.COMPLETED)
    task = replace(plain, external_id="4711", labels={"team": "blue"})
    for shown in (represent(task), event_detail(task)["task"], notification_body(task, task.version - 1, sign)):
        assert {name: shown.get(name) for name in given} == given
    assert not given.keys() & {*represent(plain), *event_detail(plain)["task"]}
    large = event_detail(replace(task, request={"prompt": "x", "images": ["https://a.example/" + "p" * 500] * 60}))
    assert large["task"]["request"] == {}
    assert large["task"].get("labels") == given["labels"], "kept in the reduced form"


@pytest.mark.parametrize("status", Status)
def test_no_link_but_a_signed_one_to_our_copy_is_shown(status: Status) -> None:
    task = task_in(status)
    shown = wire(represent(task, sign=sign)) + wire(event_detail(task))
    assert LINK not in shown
    assert "cdn.example" not in shown
    assert ('"url"' in wire(represent(task, sign=sign)["output"])) is (status is Status.COMPLETED)
    assert '"url"' not in wire(represent(task)["output"])


def test_each_result_links_to_its_own_copy() -> None:
    outputs = (ProviderOutput("a", None, ("https://x/1", "https://x/2")), ProviderOutput("b", "done", ("https://x/3",)))
    snapshot = reading(ProgressState.SUCCEEDED, outputs=outputs)
    generated = lifecycle.apply_snapshot(task_in(Status.SUBMITTED), snapshot, now=NOW, source="check", policy=POLICY)
    videos = tuple(video(key=f"{n}.mp4", number=n, notes=("odd",) * (n - 1)) for n in (1, 2, 3))
    assert [one["notes"] for one in represent(copied(generated, *videos))["videos"]] == [[], ["odd"], ["odd", "odd"]]
    shown = represent(copied(generated, *videos), sign=sign)
    links = [[result["url"][-5:] for result in output["results"]] for output in shown["output"]]
    assert links == [["1.mp4", "2.mp4"], ["3.mp4"]]
    assert [output["task_status"] for output in shown["output"]] == ["done", "done"]
    partial = represent(copied(generated, *videos[1:]), sign=sign)
    links = [[result.get("url", "-")[-5:] for result in output["results"]] for output in partial["output"]]
    assert links == [["-", "2.mp4"], ["3.mp4"]]


def delayed(failures: int, at: int = NOW) -> Task:
    """A generated task whose copy failed this often."""
    task = task_in(Status.GENERATED)
    for _ in range(failures):
        task = copy_failed(task, now=at)
    return task


def test_a_copy_that_failed_shows_how_often_why_and_when_it_is_tried_again() -> None:
    assert represent(task_in(Status.GENERATED))["delivery"] is None
    asked = delivery.record_delivery_request(task_in(Status.GENERATED), now=NOW, wait_ms=1)
    assert represent(asked)["delivery"] is None, "a request is no failure"
    assert represent(delayed(5))["delivery"] == {
        "attempts": 5,
        "last_error": {"code": "not_mp4", "message": "The file is a web page."},
        "next_try_at": timestamp(NOW + 3_600_000),
    }
    ended: Any = represent(delayed(5, at=POLICY.copied_until(NOW)))
    assert (ended["status"], ended["delivery"]["next_try_at"]) == ("expired", None)


def test_a_delay_is_an_event_of_its_own() -> None:
    assert event_type(delayed(4)) == "VideoTaskGenerated"
    assert event_type(delayed(5)) == "VideoTaskDeliveryDelayed"
    assert event_detail(delayed(5))["task"]["status"] == "generated"


@pytest.mark.parametrize(("text", "number"), [("1.0", 1), ("0.9", 0.9), ("0", 0), (None, None)])
def test_a_discount_is_a_number(text: str | None, number: float | None) -> None:
    shown = represent(replace(task_in(Status.COMPLETED), usage=Usage(None, text)))
    assert shown["usage"] == {"cost": None, "discount": number}


def test_times_are_utc_to_the_millisecond() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_767_225_599_999) == "2025-12-31T23:59:59.999Z"


# --- events


def test_an_event_is_named_after_the_state_that_was_entered_and_known_by_task_and_version() -> None:
    for status in Status:
        entered = "Accepted" if status is Status.SUBMITTING else status.value.capitalize()
        assert event_type(task_in(status)) == f"VideoTask{entered}"
    assert event_type(new_task()) == "VideoTaskAccepted"
    detail = event_detail(task_in(Status.GENERATED))
    assert (detail["event_id"], detail["tenant_id"]) == (f"{TASK_ID}:{NOW // 1000 + 2}", "acme")


def test_an_event_carries_nothing_that_opens_anything() -> None:
    request = {
        "model": MODEL,
        "prompt": "x",
        "subjects": [{"id": "1", "images": [f"https://u:{SECRET}@a.example/p?sig={SECRET}#{SECRET}"]}],
        "images": [f"https://a.example/p?sig={SECRET}", "ni:///sha-256;abc?ct=image/png"],
        "wm_url": f"https://{SECRET}@a.example/wm?sig={SECRET}",
        "payload": SECRET,
        "meta_data": json.dumps({"Label": SECRET}),
        "callback_url": f"https://client.example/{SECRET}",
    }
    task = replace(task_in(Status.COMPLETED), request=request)
    before = json.dumps(request)
    detail = event_detail(task)
    assert json.dumps(dict(task.request)) == before, "the task stays as it is"
    assert SECRET not in wire(detail)
    shown = detail["task"]["request"]
    assert shown["images"] == ["https://a.example/p", "ni:///sha-256;abc?ct=image/png"]
    assert shown["subjects"][0]["images"] == ["https://a.example/p"]
    assert shown["wm_url"] == "https://a.example/wm"
    assert shown.keys().isdisjoint({"payload", "meta_data", "callback_url"})
    assert "history" not in detail["task"]
    assert "url" not in detail["task"]["output"][0]["results"][0]


def test_a_long_prompt_is_cut_in_events_only() -> None:
    task = new_task(request={"model": MODEL, "prompt": "p" * 2000, "images": ["https://a.example/i"]})
    assert len(event_detail(task)["task"]["request"]["prompt"]) == 500
    assert len(represent(task)["request"]["prompt"]) == 2000
    silent = {"model": "viduq3_pro_img2video", "images": ["https://a.example/i"]}
    assert event_detail(new_task(request=silent))["task"]["request"] == silent
    assert represent(task, request={"prompt": "whole"})["request"] == {"prompt": "whole"}


def test_parameters_given_as_null_do_not_stop_the_stream() -> None:
    request = {"model": MODEL, "prompt": "x", "images": ["https://a.example/i"], "subjects": None, "wm_url": None}
    shown = event_detail(new_task(request=request))["task"]["request"]
    assert shown == request


def largest_task(character: str) -> Task:
    """A task with every field as long as the request model and the provider's adapter let it be."""
    url = "https://a.example/" + character * ((2048 - 18) // len(character.encode()))
    subjects = [{"id": f"{n}" + character * 99, "images": [url], "voice_id": character * 200} for n in range(7)]
    params = {
        "model": MODEL,
        "subjects": subjects,
        "prompt": character * 2000,
        "audio": True,
        "duration": 8,
        "seed": -(2**63),
        "aspect_ratio": "99999:99999",
        "resolution": "1080p",
        "payload": character * 256,
        "off_peak": False,
        "watermark": True,
        "wm_position": 4,
        "wm_url": url,
        "callback_url": url,
    }
    record, _ = parse_request(json.dumps(params), OFFERING).for_record()
    generated = lifecycle.apply_snapshot(
        submission.record_created(submitting(request=record), reading(), now=NOW, source="create", policy=POLICY),
        done(LINK, upstream_id="u" * 64),
        now=NOW,
        source="callback",
        policy=POLICY,
    )
    return replace(generated, status=Status.FAILED, error=TaskError("c" * 64, character * 500), videos=(video(),))


@pytest.mark.parametrize("character", ["x", "é", "🐈"], ids=["ascii", "latin", "emoji"])
def test_the_largest_task_makes_an_event_under_20_kb(character: str) -> None:
    assert len(wire(event_detail(largest_task(character))).encode()) < MAX_EVENT_BYTES


@pytest.mark.parametrize(("count", "large"), [(20, True), (63, False), (64, False), (65, True), (300, True)])
def test_the_event_of_a_task_with_many_videos_keeps_as_many_as_fit(count: int, large: bool) -> None:
    task = largest_task("x") if large else task_in(Status.COMPLETED)
    outputs = tuple(Output("u" * 64, "done", ("d" * 16,) * 16) for _ in range(-(-count // 16)))
    task = replace(task, outputs=outputs, videos=tuple(video(duration_seconds=n) for n in range(count)))
    shown = event_detail(task)["task"]
    assert len(wire(event_detail(task)).encode()) <= 19_500
    kept = len(shown["videos"])
    assert shown["videos"] == represent(task)["videos"][:kept]
    assert kept > 50 or kept == count
    assert shown.get("videos_total") == (None if kept == count else count)
