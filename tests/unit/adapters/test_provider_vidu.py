"""How the upstream API's replies are read: every form that is documented, and anything else without a crash."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import NOW
from vidu_relay.adapters.provider_vidu import ViduProvider, read_snapshot
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CancelRefusedError,
    ConfigurationError,
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply
from vidu_relay.outbound.reply_fields import json_object

URL = "https://cdn.example/v.mp4?Signature=a%2Bb"
ID = "812345678901234567"
MARK = "vidu-relay:task:digest"


class Wire:
    """Takes the place of the exchange: answers with a reply or an error, and keeps what was asked."""

    def __init__(self, answer: Reply | Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        monkeypatch.setattr(provider_calls, "exchange", self)

    def __call__(self, method: str, url: str, **arguments: Any) -> Reply:
        self.asked.append((method, url, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.asked[0][2]["body"])
        return found


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Reply(status, headers, content)


def refusal(status: int, reason: str, message: str = "m") -> Reply:
    return reply(status, {"code": status, "reason": reason, "message": message, "metadata": {"trace_id": "t"}})


def provider() -> ViduProvider:
    return ViduProvider("https://p.example/", lambda: "key")


def create(**params: Any) -> ProviderSnapshot:
    return provider().create("m", {"prompt": "é", **params}, "https://us.example/cb?token=k.x", mark=MARK)


# --- the calls


def test_the_create_call_has_the_form_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"task_id": ID, "state": "created"}), monkeypatch)
    create(seed=2**63 - 1)
    ((method, url, arguments),) = wire.asked
    assert (method, url) == ("POST", "https://p.example/ent/v2/reference2video")
    assert arguments["headers"]["Authorization"] == "Token key"
    assert arguments.get("session") is None, "a kept connection could not tell whether the call was sent"
    assert wire.body == {
        "model": "m",
        "prompt": "é",
        "seed": 2**63 - 1,
        "payload": MARK,
        "callback_url": "https://us.example/cb?token=k.x",
    }


@pytest.mark.parametrize("payload", ["the client's own", " ", MARK])
def test_a_client_s_payload_is_never_replaced(monkeypatch: pytest.MonkeyPatch, payload: str) -> None:
    wire = Wire(reply(200, {"task_id": ID}), monkeypatch)
    create(payload=payload)
    assert wire.body["payload"] == payload


def test_a_client_s_own_callback_url_never_takes_the_place_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"task_id": ID}), monkeypatch)
    create(callback_url="https://evil", model="other")
    assert (wire.body["callback_url"], wire.body["model"]) == ("https://us.example/cb?token=k.x", "m")


@pytest.mark.parametrize(("remote_id", "path"), [("a-1_b", "a-1_b"), ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d")])
def test_an_id_cannot_lead_a_call_elsewhere(monkeypatch: pytest.MonkeyPatch, remote_id: str, path: str) -> None:
    wire = Wire(reply(200, {}), monkeypatch)
    provider().read(remote_id)
    provider().cancel(remote_id)
    assert [asked[:2] for asked in wire.asked] == [
        ("GET", f"https://p.example/ent/v2/tasks/{path}/creations"),
        ("POST", f"https://p.example/ent/v2/tasks/{path}/cancel"),
    ]
    assert json.loads(wire.asked[1][2]["body"]) == {"id": remote_id}


@pytest.mark.parametrize("remote_id", ["", ".", "..", "\ud800\n"])
def test_what_cannot_be_an_id_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, remote_id: str) -> None:
    wire = Wire(reply(200, {"state": "success"}), monkeypatch)
    with pytest.raises(ProviderUnavailableError):
        provider().read(remote_id)
    assert wire.asked == []


def test_without_a_key_it_is_not_ready() -> None:
    def no_key() -> str:
        raise ConfigurationError("none")

    with pytest.raises(ConfigurationError):
        ViduProvider("https://p.example", no_key).ready()


# --- what became of a create call


REJECTED = [
    "BadRequest",
    "FieldLacking",
    "FieldUnwanted",
    "FieldInvalid",
    "FieldItemCountOutOfRange",
    "ImageDownloadFailure",
    "ImageFormatInvalid",
    "OperationInProcess",
    "AuditSubmitIllegal",
    "TaskPromptPolicyViolation",
    "CreationPolicyViolation",
    "ModelUnavailable",
    "UserCancelled",
]


@pytest.mark.parametrize("reason", REJECTED)
def test_a_clear_refusal_is_final_under_the_provider_s_reason(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    Wire(refusal(400, reason), monkeypatch)
    with pytest.raises(CreateRejectedError) as caught:
        create()
    assert (caught.value.code, caught.value.message) == (reason, "m")


@pytest.mark.parametrize("reason", ["QuotaExceeded", "TooManyRequests", "SystemThrottling"])
def test_a_throttled_call_created_nothing(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    Wire(Reply(429, {"retry-after": "7"}, refusal(429, reason).body), monkeypatch)
    with pytest.raises(NotCreatedError) as caught:
        create()
    assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NotSentError("dns"), NotCreatedError),
        (BrokenExchangeError("reset"), CreateAmbiguousError),
        (refusal(401, "Unauthorized"), AccountRefusedError),
        (refusal(403, "Forbidden"), AccountRefusedError),
        (refusal(400, "CreditInsufficient"), AccountRefusedError),
        (refusal(404, "TaskNotFound"), CreateRejectedError),
        (reply(400, b"<html>"), CreateRejectedError),
        (refusal(408, "Timeout"), CreateAmbiguousError),
        (refusal(409, "Conflict"), CreateAmbiguousError),
        (refusal(499, "ClientClosedRequest"), CreateAmbiguousError),
        (refusal(500, "Internal"), CreateAmbiguousError),
        (reply(502, b"<html>"), CreateAmbiguousError),
        (reply(302), CreateAmbiguousError),
        (reply(200), CreateAmbiguousError),
        (reply(200, []), CreateAmbiguousError),
        (reply(200, {}), CreateAmbiguousError),
        (reply(200, {"task_id": "", "state": "created"}), CreateAmbiguousError),
        (reply(200, {"task_id": None, "state": "failed", "err_code": "x"}), CreateAmbiguousError),
        (reply(200, {"task_id": ["x"]}), CreateAmbiguousError),
        (reply(200, {"task_id": "x" * 513}), CreateAmbiguousError),
    ],
    ids=lambda part: str(part)[:70],
)
def test_what_a_create_call_left_behind_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception, error: type[Exception]
) -> None:
    Wire(answer, monkeypatch)
    with pytest.raises(error) as caught:
        create()
    assert caught.type is error


@pytest.mark.parametrize(
    "body",
    [
        {"task_id": ID, "state": ["odd"], "credits": "odd", "creations": {"url": 5}},
        {"task_id": int(ID), "state": "created"},
        {"task_id": ID, "id": "other"},
        {"data": {"task_id": ID}},
        {"task_id": ID, "data": {"id": "other"}},
    ],
)
def test_a_task_that_was_created_is_not_lost_over_an_odd_reply(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    Wire(reply(201, body), monkeypatch)
    assert create().remote_id == ID


# --- cancels


@pytest.mark.parametrize("answer", [reply(200, {}), reply(200), reply(204), reply(200, b"<html>")], ids=str)
def test_a_cancel_that_is_taken_says_no_more(monkeypatch: pytest.MonkeyPatch, answer: Reply) -> None:
    Wire(answer, monkeypatch)
    provider().cancel(ID)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (
            refusal(400, "BadRequest", "task state is scheduled, can not cancel"),
            "BadRequest",
            "task state is scheduled",
        ),
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
    "answer",
    [
        BrokenExchangeError("reset"),
        *(reply(status, {"id": ID, "state": "failed"}) for status in (201, 302, 400, 401, 404, 429, 500)),
        reply(200, b"<html>"),
        reply(200, []),
    ],
    ids=str,
)
def test_a_read_that_failed_says_nothing_about_the_task(
    monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception
) -> None:
    Wire(answer, monkeypatch)
    with pytest.raises(ProviderUnavailableError):
        provider().read(ID)


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({"state": "created"}, ProgressState.PENDING),
        ({"state": "queueing"}, ProgressState.PENDING),
        ({"state": "processing"}, ProgressState.PROCESSING),
        ({"state": "success"}, ProgressState.SUCCEEDED),
        ({"status": "success"}, ProgressState.SUCCEEDED),
        ({"state": "Failed", "err_code": ""}, ProgressState.FAILED),
        ({"state": "failed", "err_code": "CreationPolicyViolation"}, ProgressState.FAILED),
        ({"state": "failed", "err_code": "UserCancelled"}, ProgressState.CANCELED),
        ({"state": "cancelled"}, ProgressState.CANCELED),
        ({"state": "processing", "err_code": "UserCancelled"}, ProgressState.PROCESSING),
        ({"state": "scheduled"}, ProgressState.UNKNOWN),
        ({"state": "completed"}, ProgressState.SUCCEEDED),
        ({"state": None}, ProgressState.UNKNOWN),
        ({"code": 400, "reason": "BadRequest"}, ProgressState.UNKNOWN),
        ({}, ProgressState.UNKNOWN),
    ],
    ids=str,
)
def test_states_are_ours_and_a_word_nobody_documented_is_no_end(content: dict[str, Any], state: ProgressState) -> None:
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
    "creations", [None, [], {}, "x", [None, 5, "x"], [{}], [{"url": None}], [{"url": ["x"]}], [{"url": "file:///etc"}]]
)
def test_what_is_no_video_link_is_none(creations: Any) -> None:
    assert read_snapshot({"state": "success", "creations": creations}, ID).outputs == ()


@pytest.mark.parametrize(("payload", "mark"), [(MARK, MARK), ("", None), ("vidu", None), (None, None), ([MARK], None)])
def test_only_a_mark_of_ours_is_a_mark(payload: Any, mark: str | None) -> None:
    assert read_snapshot({"payload": payload}, ID).mark == mark


def test_credits_are_no_price() -> None:
    assert read_snapshot({"state": "success", "credits": 4}, ID).usage is None


def test_the_time_of_creation_is_read_where_it_is_given() -> None:
    assert read_snapshot({"created_at": "2027-01-15T08:00:00.000Z"}, ID).created_at == NOW


def test_no_field_of_a_reply_makes_a_record_that_cannot_be_written() -> None:
    long = "x" * 500_000
    content = {
        "state": "failed",
        "err_code": long,
        "err_msg": long,
        "model": long,
        "creations": [{"url": URL}] * 20_000,
    }
    snapshot = read_snapshot(content, ID)
    assert len(repr([snapshot.error, snapshot.model, snapshot.outputs])) < 10_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([URL, "success"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "url", "code"]), inner),
    max_leaves=12,
)
NAMES = ["state", "status", "creations", "err_code", "err_msg", "payload", "created_at", "credits", "model"]


@given(content=st.dictionaries(st.sampled_from(NAMES), json_values))
@settings(max_examples=200, deadline=None)
def test_no_reply_breaks_the_reader(content: dict[str, Any]) -> None:
    body = json_object(json.dumps(content).encode())
    assert body is not None
    snapshot = read_snapshot(body, ID)
    assert snapshot.state is not ProgressState.FAILED or "failed" in (content.get("state"), content.get("status"))
