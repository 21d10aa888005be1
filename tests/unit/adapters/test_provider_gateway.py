"""How the gateway's replies are read: every form that was seen, and anything else without a crash."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import NOW
from vidu_relay.adapters.provider_gateway import GatewayProvider, read_snapshot
from vidu_relay.domain.errors import (
    AccountRefusedError,
    ConfigurationError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError, Usage
from vidu_relay.outbound import provider_calls
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply
from vidu_relay.outbound.reply_fields import json_object

URL = "https://cdn.example/v.mp4?Signature=a%2Bb"
ID = "remote-1"
MARK = "vidu-relay:task:digest"


class Wire:
    """Takes the place of the exchange: answers with a reply or an error, and keeps what was asked."""

    def __init__(self, answer: Reply | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, method: str, url: str, **arguments: Any) -> Reply:
        self.asked.append((method, url, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def reply(status: int, body: Any = None, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return Reply(status, headers, content)


def create(monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception) -> ProviderSnapshot:
    monkeypatch.setattr(provider_calls, "exchange", Wire(answer))
    return GatewayProvider("https://p.example/v1", lambda: "key").create(
        "m", {"prompt": "x"}, "https://us.example/cb", mark=MARK
    )


def read(monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception) -> ProviderSnapshot:
    monkeypatch.setattr(provider_calls, "exchange", Wire(answer))
    return GatewayProvider("https://p.example/v1", lambda: "key").read(ID)


# --- the calls


def test_the_create_call_has_the_form_that_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"id": ID, "status": "pending"}))
    monkeypatch.setattr(provider_calls, "exchange", wire)
    provider = GatewayProvider("https://p.example/v1/", lambda: "key")
    provider.create("m", {"prompt": "é", "seed": 2**63 - 1}, "https://us.example/cb?token=k.x", mark=MARK)
    ((method, url, arguments),) = wire.asked
    assert (method, url) == ("POST", "https://p.example/v1/generation")
    assert json.loads(arguments["body"]) == {
        "model": "m",
        "input": [{"params": {"prompt": "é", "seed": 2**63 - 1, "callback_url": "https://us.example/cb?token=k.x"}}],
    }
    assert arguments["headers"]["Authorization"] == "Bearer key"
    assert arguments["headers"]["Connection"] == "close"
    assert arguments.get("session") is None, "a kept connection could not tell whether the call was sent"


def test_a_client_s_own_callback_url_never_takes_the_place_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(reply(200, {"id": ID}))
    monkeypatch.setattr(provider_calls, "exchange", wire)
    GatewayProvider("https://p.example", lambda: "k").create(
        "m", {"callback_url": "https://evil"}, "https://ours", mark=MARK
    )
    assert json.loads(wire.asked[0][2]["body"])["input"][0]["params"]["callback_url"] == "https://ours"


@pytest.mark.parametrize(
    ("remote_id", "path"), [("a-1_b", "a-1_b"), ("a/../b?c#d", "a%2F..%2Fb%3Fc%23d"), ("é x", "%C3%A9%20x")]
)
def test_an_id_cannot_lead_a_read_elsewhere(monkeypatch: pytest.MonkeyPatch, remote_id: str, path: str) -> None:
    """A callback names ids too."""
    wire = Wire(reply(200, {"id": ID}))
    monkeypatch.setattr(provider_calls, "exchange", wire)
    GatewayProvider("https://p.example/v1", lambda: "key").read(remote_id)
    assert wire.asked[0][:2] == ("GET", f"https://p.example/v1/generation/task/{path}")


@pytest.mark.parametrize("remote_id", [".", "..", "\ud800"])
def test_an_id_that_is_a_step_in_the_path_reads_no_other_address(
    monkeypatch: pytest.MonkeyPatch, remote_id: str
) -> None:
    wire = Wire(reply(404))
    monkeypatch.setattr(provider_calls, "exchange", wire)
    with pytest.raises(ProviderUnavailableError):
        GatewayProvider("https://p.example/v1", lambda: "key").read(remote_id)
    assert not any(url.endswith(("/.", "/..")) for _, url, _ in wire.asked)


def test_the_key_is_asked_for_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["old", "new"])
    wire = Wire(reply(200, {"id": ID}))
    monkeypatch.setattr(provider_calls, "exchange", wire)
    provider = GatewayProvider("https://p.example", lambda: next(keys))
    provider.read(ID)
    provider.read(ID)
    assert [a["headers"]["Authorization"] for _, _, a in wire.asked] == ["Bearer old", "Bearer new"]


def test_without_a_key_it_is_not_ready() -> None:
    def no_key() -> str:
        raise ConfigurationError("none")

    with pytest.raises(ConfigurationError):
        GatewayProvider("https://p.example", no_key).ready()


# --- what became of a create call


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (NotSentError("dns"), NotCreatedError),
        (BrokenExchangeError("reset"), CreateAmbiguousError),
        (reply(429), NotCreatedError),
        (reply(429, b"<html>"), NotCreatedError),
        (reply(400, {"error": {"code": "008017099", "message": "Task creation error"}}), CreateRejectedError),
        (reply(401), AccountRefusedError),
        (reply(402, b"not json"), AccountRefusedError),
        (reply(403, {}), AccountRefusedError),
        (reply(404, []), CreateRejectedError),
        (reply(422, None), CreateRejectedError),
        (reply(200, {"status": "pending"}), CreateRejectedError),
        (reply(200, {"id": ""}), CreateRejectedError),
        (reply(200, {"id": None, "error": "no"}), CreateRejectedError),
        (reply(408), CreateAmbiguousError),
        (reply(499), CreateAmbiguousError),
        (reply(500), CreateAmbiguousError),
        (reply(502, b"<html>"), CreateAmbiguousError),
        (reply(503, {"error": "try later"}), CreateAmbiguousError),
        (reply(504), CreateAmbiguousError),
        (reply(599), CreateAmbiguousError),
        (reply(302), CreateAmbiguousError),
        (reply(100), CreateAmbiguousError),
        (reply(200), CreateAmbiguousError),
        (reply(200, b"<html>"), CreateAmbiguousError),
        (reply(200, b'{"id": "r'), CreateAmbiguousError),
        (reply(200, b"\xff\xfe"), CreateAmbiguousError),
        (reply(200, b"[" * 100_000), CreateAmbiguousError),
        (reply(200, []), CreateAmbiguousError),
        (reply(200, "text"), CreateAmbiguousError),
        (reply(200, {"id": "x" * 513}), CreateAmbiguousError),
        (reply(200, {"id": ["x"]}), CreateAmbiguousError),
        (reply(200, {"id": {"value": "x"}}), CreateAmbiguousError),
    ],
    ids=lambda part: str(part)[:70],
)
def test_what_a_create_call_left_behind_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception, error: type[CreateError]
) -> None:
    with pytest.raises(error) as caught:
        create(monkeypatch, answer)
    assert caught.type is error
    assert caught.value.candidates == ()


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "remote-1", "usage": {"cost": 1e99999999999999999999}}',
        b'{"id": "remote-1", "created_at": 1e99999999999999999999}',
        b'{"id": "remote-1", "progress": NaN}',
        b'{"id": "remote-1", "progress": 0.1}',
        b'{"id": "remote-1", "created_at": "\xc2\xb2"}',
        b'{"id": "remote-1", "status": ["odd"], "output": "odd", "error": 5, "usage": "odd", "metadata": []}',
        b'{"data": {"id": "remote-1", "status": "pending"}}',
        b'{"id": "remote-1", "data": {"id": "other"}}',
    ],
)
def test_a_task_that_was_created_is_not_lost_over_an_odd_reply(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    assert create(monkeypatch, reply(201, body)).remote_id == ID


def test_a_number_for_an_id_is_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    assert create(monkeypatch, reply(200, {"id": 12345678901234567890})).remote_id == "12345678901234567890"


@pytest.mark.parametrize("digits", [5000])
def test_an_id_of_thousands_of_digits_is_not_taken_for_a_refusal(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    with pytest.raises(CreateAmbiguousError):
        create(monkeypatch, reply(200, b'{"id": ' + b"1" * digits + b"}"))


def test_an_immediate_end_is_read_from_the_create_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"id": ID, "status": "completed", "output": [{"results": [{"type": "video", "url": URL}]}]}
    assert create(monkeypatch, reply(200, body)).video_urls == (URL,)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("99999999", 86_400),
        ("9" * 400, 86_400),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("²", None),
        ("Tue, 06 May 2025 12:09:42 GMT", 0),
        ("Tue, 06 May 2025 99:09:42 GMT", None),
        ("Tue, 06 May 99999999999999999999 12:09:42 GMT", None),
        ("Tue, 06 May 2025 12:09:42 +999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
    ],
)
def test_the_wish_to_wait_is_read_in_both_forms_and_nonsense_is_none(
    monkeypatch: pytest.MonkeyPatch, header: str | None, seconds: float | None
) -> None:
    headers = {} if header is None else {"retry-after": header}
    with pytest.raises(NotCreatedError) as caught:
        create(monkeypatch, Reply(429, headers, b""))
    assert caught.value.retry_after_seconds == seconds


def test_a_date_to_wait_for_is_counted_from_now(monkeypatch: pytest.MonkeyPatch) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    with pytest.raises(NotCreatedError) as caught:
        create(monkeypatch, Reply(429, {"retry-after": at}, b""))
    assert caught.value.retry_after_seconds is not None
    assert 0 < caught.value.retry_after_seconds <= 3600


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"code": "008017003", "message": "m"}}, TaskError("008017003", "m")),
        ({"error": {"code": 8017003, "error_message": "m"}}, TaskError("008017003", "m")),
        ({"error": {"message": "m"}}, TaskError("provider_error", "m")),
        (
            {"error": {"code": "c"}},
            TaskError("c", 'The provider refused the request with HTTP 400: {"error": {"code": "c"}}'),
        ),
        ({"error": "m"}, TaskError("provider_error", "m")),
        ({"message": "m"}, TaskError("provider_error", "m")),
        ({"code": 7, "message": "m"}, TaskError("7", "m")),
        (
            {"status": {"code": 422, "message": "Too small", "error_code": 42201}, "data": None},
            TaskError("42201", "Too small"),
        ),
        ({"code": 400, "message": "too small", "data": {"trace": "t"}}, TaskError("400", "too small")),
        (
            {"error": "cannot reach https://r.example/v1/callbacks/x?token=k1.SECRET&a=b"},
            TaskError("provider_error", "cannot reach https://r.example/v1/callbacks/x?token=…&a=b"),
        ),
        (
            {"error": "cannot read https://b.s3.example/k?X-Amz-Signature=SECRET&X-Amz-Security-Token=SECRET&a=b"},
            TaskError(
                "provider_error", "cannot read https://b.s3.example/k?X-Amz-Signature=…&X-Amz-Security-Token=…&a=b"
            ),
        ),
        ({"message": "m" * 480 + " https://r.example/?token=k1.SECRET"}, None),
        ({"error": {"code": "c" * 99, "message": "m" * 999}}, TaskError("c" * 64, "m" * 500)),
        ({}, TaskError("http_400", "The provider refused the request with HTTP 400.")),
        (
            {"error": {"code": True, "message": {}}},
            TaskError(
                "http_400",
                'The provider refused the request with HTTP 400: {"error": {"code": true, "message": {}}}',
            ),
        ),
    ],
    ids=str,
)
def test_a_refusal_is_worded_as_the_provider_worded_it(
    monkeypatch: pytest.MonkeyPatch, body: Any, error: TaskError | None
) -> None:
    with pytest.raises(CreateRejectedError) as caught:
        create(monkeypatch, reply(400, body))
    assert "SECRET" not in caught.value.message
    if error is None:
        return
    assert (caught.value.code, caught.value.message) == (error.code, error.message)


# --- reads


@pytest.mark.parametrize(
    "answer",
    [
        BrokenExchangeError("reset"),
        NotSentError("dns"),
        *(reply(status, {"id": ID, "status": "failed"}) for status in (201, 302, 400, 401, 403, 404, 429, 500, 503)),
        reply(200),
        reply(200, b"<html>"),
        reply(200, []),
        reply(200, b"[" * 100_000),
    ],
    ids=str,
)
def test_a_read_that_failed_says_nothing_about_the_task(
    monkeypatch: pytest.MonkeyPatch, answer: Reply | Exception
) -> None:
    """A network error while polling was once taken for `failed`: a paid video lost."""
    with pytest.raises(ProviderUnavailableError):
        read(monkeypatch, answer)


@pytest.mark.parametrize(
    "body", [{}, {"message": "try later"}, {"error": "busy"}, {"data": None, "status": {"code": 1}}]
)
def test_a_200_that_describes_no_task_is_no_end(monkeypatch: pytest.MonkeyPatch, body: Any) -> None:
    assert read(monkeypatch, reply(200, body)).state is ProgressState.UNKNOWN


def test_the_id_of_a_reading_is_the_one_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, reply(200, {"id": "another", "status": "pending"})).remote_id == ID


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("pending", ProgressState.PENDING),
        ("in_progress", ProgressState.PROCESSING),
        ("processing", ProgressState.PROCESSING),
        ("completed", ProgressState.SUCCEEDED),
        ("failed", ProgressState.FAILED),
        ("COMPLETED", ProgressState.SUCCEEDED),
        ("cancelled", ProgressState.UNKNOWN),
        ("success", ProgressState.SUCCEEDED),
        ("", ProgressState.UNKNOWN),
        (None, ProgressState.UNKNOWN),
        (5, ProgressState.UNKNOWN),
        ({"code": 402}, ProgressState.UNKNOWN),
    ],
)
def test_a_status_that_no_document_names_is_not_an_end(word: Any, state: ProgressState) -> None:
    assert read_snapshot({"status": word}, ID).state is state


PAGE = {"task_id": "up", "task_status": "done", "results": [{"type": "video", "url": URL}]}
CLIENTS = {"content": [{"jobId": "up", "url": URL}]}


@pytest.mark.parametrize("output", [PAGE, [PAGE], CLIENTS, [CLIENTS], [None, "x", 5, PAGE], [{**CLIENTS, "extra": 1}]])
def test_the_video_is_found_in_every_form_of_output(output: Any) -> None:
    snapshot = read_snapshot({"status": "completed", "output": output}, ID)
    assert (snapshot.video_urls, snapshot.upstream_id) == ((URL,), "up")


@pytest.mark.parametrize(
    "output",
    [
        None,
        [],
        {},
        "x",
        [{"results": []}],
        [{"results": None}],
        [{"results": {"url": URL}}],
        [{"results": [{"type": "video"}]}],
        [{"results": [{"type": "video", "url": None}]}],
        [{"results": [{"type": "video", "url": ""}]}],
        [{"results": [{"type": "video", "url": ["x"]}]}],
        [{"results": [{"type": "cover", "url": URL}]}],
        [{"results": [{"type": "video", "url": "file:///etc/passwd"}]}],
        [{"results": [URL]}],
    ],
    ids=str,
)
def test_what_is_no_video_link_is_none(output: Any) -> None:
    assert read_snapshot({"status": "completed", "output": output}, ID).video_urls == ()


def test_several_videos_keep_their_order() -> None:
    outputs = [{"results": [{"url": f"{URL}1"}, {"url": f"{URL}2"}]}, {"content": [{"url": f"{URL}3"}]}]
    assert read_snapshot({"output": outputs}, ID).video_urls == (f"{URL}1", f"{URL}2", f"{URL}3")


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cost": "0.4000", "discount": 0.9}, Usage("0.4000", "0.9")),
        ({"cost": 0, "discount": 1}, Usage("0", "1.0")),
        ({"cost": "0.40"}, Usage("0.40", None)),
        ({"discount": "none"}, None),
        ({}, None),
        ([], None),
        (None, None),
        ({"cost": {}}, None),
        ({"cost": "1", "discount": "nan"}, Usage("1", None)),
        ({"cost": "1", "discount": "inf"}, Usage("1", None)),
        ({"cost": "1", "discount": "1e999"}, Usage("1", None)),
    ],
    ids=str,
)
def test_the_cost_is_kept_digit_for_digit_and_the_discount_is_a_number_json_can_hold(
    usage: Any, expected: Usage | None
) -> None:
    content = json_object(reply(200, {"usage": usage}).body)
    assert content is not None
    assert read_snapshot(content, ID).usage == expected


def test_a_price_is_not_rounded_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"id": "remote-1", "usage": {"cost": 0.123456789012345678901}}'
    assert read(monkeypatch, reply(200, body)).usage == Usage("0.123456789012345678901")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOW // 1000, NOW),
        (NOW, NOW),
        (str(NOW // 1000), NOW),
        ("2027-01-15T08:00:00Z", NOW),
        ("2027-01-15T08:00:00", NOW),
        ("2027-01-15T09:00:00+01:00", NOW),
        (0, None),
        (-5, None),
        (True, None),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("²", None),
        ("٣", 3000),
        (10**30, None),
        ("9" * 5000, None),
        ([], None),
    ],
    ids=lambda part: str(part)[:30],
)
def test_the_time_of_creation_is_read_in_every_unit_and_nonsense_is_none(value: Any, expected: int | None) -> None:
    assert read_snapshot({"created_at": value}, ID).created_at == expected


@pytest.mark.parametrize("field", ["cost", "upstream", "model", "output id", "output status", "outputs"])
def test_no_field_of_a_reply_makes_a_record_that_cannot_be_written(field: str) -> None:
    """A DynamoDB item has at most 400 KB, a reply may have 8 MiB: a task must not be stuck over one long word."""
    long = "x" * 500_000
    content: dict[str, Any] = {
        "status": "completed",
        "usage": {"cost": long if field == "cost" else "1"},
        "metadata": {
            "remote_task_id": long if field == "upstream" else "u",
            "model": long if field == "model" else "m",
        },
        "output": [
            {
                "task_id": long if field == "output id" else "u",
                "task_status": long if field == "output status" else "done",
                "results": [{"url": URL}],
            }
        ]
        * (20_000 if field == "outputs" else 1),
    }
    snapshot = read_snapshot(content, ID)
    kept = [
        snapshot.usage,
        snapshot.upstream_id,
        snapshot.model,
        *((o.task_id, o.task_status) for o in snapshot.outputs),
    ]
    assert len(repr(kept)) < 100_000


NAMES = [
    "id",
    "status",
    "output",
    "results",
    "content",
    "url",
    "jobId",
    "type",
    "task_id",
    "task_status",
    "usage",
    "cost",
    "discount",
    "error",
    "code",
    "message",
    "metadata",
    "remote_task_id",
    "created_at",
    "data",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([URL, "completed"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    content=st.dictionaries(
        st.sampled_from(["status", "output", "usage", "error", "metadata", "created_at"]), json_values
    )
)
@settings(max_examples=200, deadline=None)
def test_no_reply_breaks_the_reader(content: dict[str, Any]) -> None:
    body = json_object(json.dumps(content).encode())
    assert body is not None
    snapshot = read_snapshot(body, ID)
    assert snapshot.state is not ProgressState.FAILED or content.get("status") == "failed"


def test_a_video_listed_in_both_forms_is_one_video() -> None:
    link = {"type": "video", "url": "https://cdn.example/1.mp4?sig=a"}
    content = {"status": "completed", "output": [{"results": [link], "content": [link]}]}
    assert read_snapshot(content, ID).video_urls == (link["url"],)
