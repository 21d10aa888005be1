"""Why a provider refused or failed, in each shape that was seen."""

from typing import Any

import pytest
from hypothesis import given

from tests.unit.outbound.replies import bodies, json_values, reply
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.outbound.create_replies import refusal
from vidu_relay.outbound.reply_reasons import error_codes, quoted_body, task_failure

SHAPES: list[tuple[Any, str | None, str]] = [
    ({"error": {"code": "c", "message": "m"}}, "c", "m"),
    ({"error": {"code": "c"}, "message": "m"}, "c", "m"),
    ({"error": {"code": None, "type": "t", "message": "m"}}, None, "m"),
    ({"error": "m"}, None, "m"),
    ({"error": "cut inside an emoji \ud83d"}, None, "cut inside an emoji \ufffd"),
    ({"error": "Bad Request", "message": "m", "status": 400}, None, "m"),
    ({"status": {"code": 422, "message": "m", "error_code": 42201}}, "42201", "m"),
    ({"detail": "User is locked."}, None, "User is locked."),
    ({"detail": [{"loc": ["body", "prompt"], "msg": "too long"}]}, None, "body.prompt: too long"),
    ({"detail": [{"msg": "too long"}, {"msg": "too old"}]}, None, "too long; too old"),
    ({"detail": {"msg": "m"}}, None, "m"),
    ({"type": "about:blank", "title": "Bad Request", "detail": "no face", "status": 400}, None, "no face"),
    ({"title": "Bad Request"}, None, "Bad Request"),
    ({"code": "10003", "msg": "balance is used up"}, "10003", "balance is used up"),
    ({"error_code": 216100, "error_msg": "invalid param"}, "216100", "invalid param"),
    ({"err_code": "x", "err_msg": "m"}, "x", "m"),
    ({"error": {"code": "c" * 99, "message": "m" * 999}}, "c" * 64, "m" * 500),
    (
        {"error": "see https://h/?X-Amz-Signature=SECRET&token=k1.SECRET"},
        None,
        "see https://h/?X-Amz-Signature=…&token=…",
    ),
    ({"message": "m" * 480 + " https://r.example/?token=k1.SECRET"}, None, "m" * 480 + " https://r.example/?"),
    ({"code": 400, "reason": "FieldInvalid", "message": "m"}, "FieldInvalid", "m"),
    ({"code": 400, "reason": "the prompt is too long"}, "400", "the prompt is too long"),
    ({"base_resp": {"status_code": 1026, "status_msg": "sensitive"}, "task_id": ""}, "1026", "sensitive"),
    ({"message": "SUCCEED", "code": 0, "task_status_msg": "risk control"}, None, "risk control"),
    ({"code": 1, "fail_reason": "m"}, "1", "m"),
    ({"errors": [{"code": "c", "message": "m"}, {"message": "other"}]}, "c", "m"),
    ({"errors": ["m"]}, None, "m"),
    ({"Code": "c", "Message": "m"}, "c", "m"),
    ({"message": ["m", "n"]}, None, "m; n"),
    ({"code": 500, "data": {"msg": "m"}}, "500", "m"),
    ({"data": {"code": "c", "msg": "m"}}, "c", "m"),
]


@pytest.mark.parametrize(("body", "code", "message"), SHAPES, ids=[str(body)[:60] for body, _, _ in SHAPES])
def test_the_reason_of_a_refusal_is_found(body: Any, code: str | None, message: str) -> None:
    assert refusal(reply(400, body)) == TaskError(code or "provider_error", message)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"code": 7, "odd": "x"}, "7", 'The provider refused the request with HTTP 400: {"code": 7, "odd": "x"}'),
        ({"odd": "x"}, "http_400", 'The provider refused the request with HTTP 400: {"odd": "x"}'),
        (b"busy", "http_400", "The provider refused the request with HTTP 400: busy"),
        (None, "http_400", "The provider refused the request with HTTP 400."),
    ],
    ids=str,
)
def test_without_a_message_the_body_is_quoted(body: Any, code: str, message: str) -> None:
    assert refusal(reply(400, body)) == TaskError(code, message)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"message": "SUCCEED"}, None),
        ({"code": 0, "message": "ok"}, None),
        ({"err_code": "", "error": None, "errors": []}, None),
        (
            {"error": {"message": "see https://h/?token=k1.SECRET"}},
            TaskError("provider_error", "see https://h/?token=…"),
        ),
        ({"detail": "x" * 999}, TaskError("provider_error", "x" * 500)),
    ],
    ids=lambda part: str(part)[:60],
)
def test_a_success_is_no_reason_and_a_reason_is_redacted_and_cut(content: Any, error: TaskError | None) -> None:
    assert task_failure(content) == error


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        (b"quota used up\nstack trace", "quota used up"),
        (b"\n\n  quota   used\tup  \n", "quota used up"),
        (b"<html><head><title>403 Forbidden</title></head>\n<body>nginx</body>", "403 Forbidden"),
        (b'"quota used up"', "quota used up"),
        (b'{"odd": "shape"}', '{"odd": "shape"}'),
        (b'{\n "odd": 1\n}', '{ "odd": 1 }'),
        (b"caf\xe9 \x1b[31m", "caf\ufffd [31m"),
        (b"see https://h/?token=k1.SECRET", "see https://h/?token=…"),
        (b"x" * 999, "x" * 300),
        (b"", None),
        (b" \n", None),
        (b"{}", None),
        (b"[]", None),
        (b"<html></html>", None),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_body_without_a_known_reason_is_quoted(body: bytes, quoted: str | None) -> None:
    assert quoted_body(body) == quoted


@pytest.mark.parametrize("unit", (b"<", b"<a", b"<>", b"a\n", b"\n", b" ", b"\xff"))
def test_a_body_of_megabytes_is_quoted_at_once(unit: bytes) -> None:
    assert len(quoted_body(unit * (2**22 // len(unit))) or "") <= 300


@given(bodies)
def test_no_body_breaks_the_reader(body: bytes) -> None:
    error = refusal(reply(400, body))
    f"{error.code} {error.message}".encode()
    assert error.code
    assert error.message
    assert len(error.code) <= 64
    assert len(error.message) <= 500


@given(json_values)
def test_codes_are_looked_for_in_anything(content: Any) -> None:
    assert all(code == code.lower() for code in error_codes(content))
