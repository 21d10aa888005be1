"""What only the upstream API has: its calls, cancels, tags, and the forms in which it shows a task."""

from typing import Any

import pytest

from tests.unit.builders import NOW
from tests.unit.outbound.replies import Wire, reply
from vidu_relay.adapters.provider_vidu import ViduProvider, read_snapshot
from vidu_relay.domain.errors import CancelRefusedError, CreateRejectedError, ProviderUnavailableError
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError, Usage
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply

URL = "https://cdn.example/v.mp4?Signature=a%2Bb"
ID = "812345678901234567"
TAG = "vidu-relay:task:digest"


def refusal(status: int, reason: str, message: str = "m") -> Reply:
    return reply(status, {"code": status, "reason": reason, "message": message, "metadata": {"trace_id": "t"}})


def provider() -> ViduProvider:
    return ViduProvider(lambda: ("https://p.example/", "key"))


def create(**params: Any) -> ProviderSnapshot:
    return provider().create("m", {"prompt": "é", **params}, "https://us.example/cb?token=k.x", tag=TAG)


# --- the calls


def test_the_create_call_has_the_form_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"task_id": ID, "state": "created"}), monkeypatch)
    create(seed=2**63 - 1, callback_url="https://evil", model="other")
    ((method, url, arguments),) = wire.asked
    assert (method, url) == ("POST", "https://p.example/ent/v2/reference2video")
    assert arguments["headers"]["Authorization"] == "Token key"
    assert arguments.get("session") is None, "a kept connection could not tell whether the call was sent"
    assert wire.body == {
        "model": "m",
        "prompt": "é",
        "seed": 2**63 - 1,
        "payload": TAG,
        "callback_url": "https://us.example/cb?token=k.x",
    }
    for payload in ("the client's own", " ", TAG):
        create(payload=payload)
        assert wire.body["payload"] == payload, "a client's payload is never replaced"


@pytest.mark.parametrize(("remote_id", "path"), [("a-1_b", "a-1_b"), ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d")])
def test_an_id_cannot_lead_a_call_elsewhere(monkeypatch: pytest.MonkeyPatch, remote_id: str, path: str) -> None:
    wire = Wire(reply(200, {}), monkeypatch)
    provider().read(remote_id)
    provider().cancel(remote_id)
    assert [asked[:2] for asked in wire.asked] == [
        ("GET", f"https://p.example/ent/v2/tasks/{path}/creations"),
        ("POST", f"https://p.example/ent/v2/tasks/{path}/cancel"),
    ]
    assert wire.body == {"id": remote_id}
    for step in ("", ".", "..", "\ud800\n"):
        with pytest.raises(ProviderUnavailableError):
            provider().read(step)
    assert len(wire.asked) == 2


@pytest.mark.parametrize(
    "reason", ["BadRequest", "FieldInvalid", "OperationInProcess", "TaskPromptPolicyViolation", "UserCancelled"]
)
def test_a_clear_refusal_is_final_under_the_provider_s_reason(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    Wire(refusal(400, reason), monkeypatch)
    with pytest.raises(CreateRejectedError) as caught:
        create()
    assert (caught.value.code, caught.value.message) == (reason, "m")


@pytest.mark.parametrize(
    "body",
    [
        {"task_id": ID, "state": ["odd"], "credits": "odd", "creations": {"url": 5}},
        {"task_id": int(ID), "state": "created"},
    ],
)
def test_a_task_that_was_created_is_not_lost_over_an_odd_reply(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    Wire(reply(201, body), monkeypatch)
    assert create().remote_id == ID


# --- cancels


@pytest.mark.parametrize("answer", [reply(200, {}), reply(204), reply(200, b"<html>")], ids=str)
def test_a_cancel_that_is_taken_says_no_more(monkeypatch: pytest.MonkeyPatch, answer: Reply) -> None:
    Wire(answer, monkeypatch)
    provider().cancel(ID)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refusal(400, "BadRequest", "task state is scheduled"), "BadRequest", "task state is scheduled"),
        (refusal(404, "TaskNotFound"), "TaskNotFound", "m"),
        (refusal(409, "Conflict"), "Conflict", "m"),
        (reply(400, b"<html>"), "http_400", "HTTP 400"),
    ],
    ids=str,
)
def test_a_refused_cancel_says_why(monkeypatch: pytest.MonkeyPatch, answer: Reply, code: str, message: str) -> None:
    Wire(answer, monkeypatch)
    with pytest.raises(CancelRefusedError, match=message) as caught:
        provider().cancel(ID)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "answer",
    [NotSentError("dns"), BrokenExchangeError("reset"), *(reply(n) for n in (302, 401, 403, 408, 429, 499, 500, 503))],
    ids=str,
)
def test_a_cancel_without_a_clear_answer_is_neither_yes_nor_no(
    monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception
) -> None:
    Wire(answer, monkeypatch)
    with pytest.raises(ProviderUnavailableError):
        provider().cancel(ID)


# --- reads


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({"state": "failed", "err_code": "CreationPolicyViolation"}, ProgressState.FAILED),
        ({"state": "failed", "err_code": "UserCancelled"}, ProgressState.CANCELED),
        ({"state": "processing", "err_code": "UserCancelled"}, ProgressState.PROCESSING),
        ({"code": 400, "reason": "BadRequest"}, ProgressState.UNKNOWN),
    ],
    ids=str,
)
def test_a_failure_that_says_canceled_is_one(content: dict[str, Any], state: ProgressState) -> None:
    assert read_snapshot(content, ID).state is state


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"err_code": "AuditSubmitIllegal"}, TaskError("AuditSubmitIllegal", "The provider gives no reason.")),
        ({"err_code": "x", "err_msg": "why"}, TaskError("x", "why")),
        ({"err_code": ""}, None),
        ({"err_code": "c" * 99, "message": "?token=k1.SECRET"}, TaskError("c" * 64, "?token=…")),
    ],
    ids=str,
)
def test_a_failure_has_the_provider_s_code(content: dict[str, Any], error: TaskError | None) -> None:
    assert read_snapshot({"state": "failed", **content}, ID).error == error


def test_only_the_video_that_was_ordered_is_a_video() -> None:
    creations = [
        {"id": "1", "url": URL, "cover_url": f"{URL}c", "watermarked_url": f"{URL}w"},
        {"id": "2", "url": "", "cover_url": f"{URL}c", "watermarked_url": f"{URL}w"},
        {"id": "3", "url": f"{URL}3"},
    ]
    snapshot = read_snapshot({"state": "success", "creations": creations}, ID)
    assert snapshot.video_urls == (URL, f"{URL}3")
    assert [output.task_id for output in snapshot.outputs] == [ID]


@pytest.mark.parametrize(
    ("reply", "billed"),
    [
        ({"state": "success", "creations": [{"url": URL}], "credits": 4}, "4"),
        ({"state": "success", "creations": [{"url": URL}], "credits": "4.50"}, "4.50"),
        ({"state": "success", "creations": [{"url": URL}]}, None),
        ({"state": "success", "credits": 4}, None),  # without a video it is no end
        ({"state": "processing", "credits": 4}, None),
        ({"state": "failed", "err_code": "CreationPolicyViolation", "credits": 4}, "0"),
        ({"state": "failed", "err_code": "UserCancelled", "credits": 4}, None),
        ({"state": "failed", "err_code": "UserCancelled", "credits": 0}, "0"),
        ({"state": "canceled"}, None),
    ],
)
def test_bill_is_in_credits_and_only_what_a_document_says(reply: dict[str, Any], billed: str | None) -> None:
    assert read_snapshot(reply, ID).usage == (Usage(credits=billed) if billed is not None else None)


@pytest.mark.parametrize(
    "creations", [None, [], {}, "x", [None, 5, "x"], [{}], [{"url": None}], [{"url": ["x"]}], [{"url": "file:///etc"}]]
)
def test_what_is_no_video_link_is_none(creations: Any) -> None:
    assert read_snapshot({"state": "success", "creations": creations}, ID).outputs == ()


@pytest.mark.parametrize(("payload", "tag"), [(TAG, TAG), ("", None), ("vidu", None), (None, None), ([TAG], None)])
def test_only_our_correlation_tag_is_read(payload: Any, tag: str | None) -> None:
    snapshot = read_snapshot({"payload": payload, "created_at": "2027-01-15T08:00:00.000Z"}, ID)
    assert (snapshot.tag, snapshot.created_at) == (tag, NOW)


def test_no_field_of_a_reply_makes_a_record_that_cannot_be_written() -> None:
    words = dict.fromkeys(("err_code", "err_msg", "model"), "x" * 500_000)
    snapshot = read_snapshot({"state": "failed", **words, "creations": [{"url": URL}] * 20_000}, ID)
    assert len(repr([snapshot.error, snapshot.model, snapshot.outputs])) < 10_000
