"""What a create call's reply means: the status decides the error, the ids that the reply names ride along."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings

from tests.unit.outbound.replies import AnyProvider, Wire, replies, reply
from vidu_relay.adapters import provider_gateway, provider_vidu
from vidu_relay.domain.errors import (
    AccountRefusedError,
    CreateAmbiguousError,
    CreateError,
    CreateRejectedError,
    NotCreatedError,
    ThrottledError,
)
from vidu_relay.outbound.create_replies import CreateReplies, created_task
from vidu_relay.outbound.exchange import BrokenExchangeError, NotSentError, Reply

GATEWAY = provider_gateway.CREATE_REPLIES
VIDU = provider_vidu.CREATE_REPLIES


def _name(part: object) -> str:
    """The name of a case: the same in every process."""
    return {id(GATEWAY): "gateway", id(VIDU): "vidu"}.get(id(part), str(part)[:60])


PROVIDERS = pytest.mark.parametrize("provider", [GATEWAY, VIDU], ids=["gateway", "vidu"])


def error_of(provider: CreateReplies, answer: Reply) -> CreateError:
    with pytest.raises(CreateError) as caught:
        created_task(answer, provider)
    return caught.value


NAMING: list[tuple[Any, tuple[str, ...]]] = [
    ({"id": "a"}, ("a",)),
    ({"task_id": "a"}, ("a",)),
    ({"id": 7}, ("7",)),
    ({"task_id": "b", "id": "a"}, ("a", "b")),
    ({"id": "a", "task_id": "a"}, ("a",)),
    ({"data": {"id": "a"}}, ("a",)),
    ({"data": {"task_id": "a"}}, ("a",)),
    ({"data": [{"id": "a"}]}, ("a",)),
    ({"data": [{"id": "a"}, {"task_id": "b"}, "x", None]}, ("a", "b")),
    ({"id": "a", "data": {"id": "b"}, "error": {"id": "c"}}, ("a", "b")),
    ([{"id": "a"}], ("a",)),
    ({"data": [{"id": f"t{n}"} for n in range(9)]}, ("t0", "t1", "t2", "t3")),
    ({"error": {"code": "x", "message": "m"}, "task_id": "a"}, ("a",)),
    # no ids of a task
    ({"error": {"id": "e", "task_id": "e"}}, ()),
    ({"data": {"error": {"id": "e"}}}, ()),
    ({"request_id": "r", "trace_id": "t", "requestId": "r"}, ()),
    ({"data": {"request_id": "r"}, "metadata": {"trace_id": "t", "id": "m"}}, ()),
    ({"errors": [{"id": "e"}], "status": {"id": "s"}, "base_resp": {"id": "b"}}, ()),
    ({"output": [{"id": "o", "task_id": "o"}], "creations": [{"id": "c"}]}, ()),
    ({"id": ""}, ()),
    ({"id": None, "task_id": 0}, ()),
    ({"id": True}, ()),
    # none that could be asked for
    ({"id": ["a"]}, ()),
    ({"id": {"value": "a"}}, ()),
    ({"id": "half \ud83d"}, ()),
    ({"id": ".."}, ()),
    ({"id": "x" * 513}, ()),
]
STATUSES: list[tuple[int, type[CreateError]]] = [
    (400, CreateRejectedError),
    (404, CreateRejectedError),
    (422, CreateRejectedError),
    (401, AccountRefusedError),
    (402, AccountRefusedError),
    (403, AccountRefusedError),
    (429, ThrottledError),
    (302, CreateAmbiguousError),
    (100, CreateAmbiguousError),
    (408, CreateAmbiguousError),
    (499, CreateAmbiguousError),
    (500, CreateAmbiguousError),
    (599, CreateAmbiguousError),
]


@PROVIDERS
@pytest.mark.parametrize(("body", "candidates"), NAMING, ids=[str(body)[:60] for body, _ in NAMING])
def test_a_reply_that_is_no_success_keeps_the_ids_it_names(
    provider: CreateReplies, body: Any, candidates: tuple[str, ...]
) -> None:
    caught = error_of(provider, reply(500, body))
    assert (type(caught), caught.candidates) == (CreateAmbiguousError, candidates)


@PROVIDERS
@pytest.mark.parametrize(("status", "error"), STATUSES)
@pytest.mark.parametrize("body", [{"id": "a"}, b"<html>", None, []], ids=str)
def test_the_status_of_a_reply_that_is_no_success_tells_what_it_left_behind(
    provider: CreateReplies, status: int, error: type[CreateError], body: Any
) -> None:
    caught = error_of(provider, reply(status, body))
    assert (type(caught), caught.candidates) == (error, ("a",) if body == {"id": "a"} else ())


def test_a_conflict_is_a_refusal_at_the_gateway_and_may_have_created_at_vidu() -> None:
    assert type(error_of(GATEWAY, reply(409, {"id": "a"}))) is CreateRejectedError
    assert type(error_of(VIDU, reply(409, {"id": "a"}))) is CreateAmbiguousError


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        (" 7 ", 7),
        *((far, 86_400) for far in ("99999999", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT")),
        *((odd, None) for odd in ("-1", "1.5", "", "soon", "²", "Tue, 06 May 2025 99:09:42 GMT")),
        *((f"Tue, 06 May {odd}", None) for odd in ("99999999999999999999 12:09:42 GMT", "2025 12:09:42 +9999999999")),
        ("Tue, 06 May 2025 12:09:42 GMT", 0),
    ],
)
def test_retry_after_is_read_in_both_forms_and_nonsense_is_none(header: str | None, seconds: float | None) -> None:
    caught = error_of(GATEWAY, reply(429, {"id": "a"}, **({} if header is None else {"retry-after": header})))
    assert isinstance(caught, NotCreatedError)
    assert (caught.retry_after_seconds, caught.candidates) == (seconds, ("a",))


def test_a_date_to_wait_for_is_counted_from_now() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    caught = error_of(GATEWAY, reply(429, **{"retry-after": at}))
    assert isinstance(caught, NotCreatedError)
    assert 0 < (caught.retry_after_seconds or 0) <= 3600


@pytest.mark.parametrize(
    ("failure", "error"), [(NotSentError("dns"), NotCreatedError), (BrokenExchangeError("reset"), CreateAmbiguousError)]
)
@pytest.mark.parametrize("kind", [provider_gateway.GatewayProvider, provider_vidu.ViduProvider])
def test_a_call_that_was_not_sent_created_nothing_and_one_that_broke_off_may_have(
    kind: type[AnyProvider], failure: Exception, error: type[CreateError], monkeypatch: pytest.MonkeyPatch
) -> None:
    Wire(failure, monkeypatch)
    with pytest.raises(CreateError) as caught:
        kind(lambda: ("https://p.example", "key")).create("m", {}, "https://ours", tag="m")
    assert caught.type is error


@PROVIDERS
@pytest.mark.parametrize(
    ("body", "candidates"),
    [
        ({"data": [{"id": "a"}]}, ("a",)),
        ({"data": [{"id": "a"}, {"id": "b"}]}, ("a", "b")),
        ([{"id": "a"}], ("a",)),
        ({"id": ["a"], "task_id": ["b"]}, ()),
        ({"id": "half \ud83d", "task_id": "half \ud83d"}, ()),
        ({"data": [{"id": "x" * 513}]}, ()),
        (b"<html>", ()),
        (b'{"id": "a', ()),
        (b"", ()),
        (b"\xff\xfe", ()),
        (b"[" * 100_000, ()),
        (b'{"id": ' + b"1" * 5000 + b', "task_id": ' + b"1" * 5000 + b"}", ()),
        ([], ()),
        ("text", ()),
    ],
    ids=lambda part: str(part)[:40],
)
def test_a_success_in_an_unknown_shape_may_have_created(
    provider: CreateReplies, body: Any, candidates: tuple[str, ...]
) -> None:
    caught = error_of(provider, reply(200, body))
    assert (type(caught), caught.candidates) == (CreateAmbiguousError, candidates)


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        (GATEWAY, {"task_id": "a", "state": "created", "model": "m", "created_at": 0}),
        (GATEWAY, {"data": {"task_id": "a"}}),
        (GATEWAY, {"task_id": "a", "error": "no"}),
        (GATEWAY, {"task_id": "a", "status": {"code": 402, "error_code": 40201}}),
        (VIDU, {"id": "a"}),
        (VIDU, {"data": {"id": "a"}}),
        (VIDU, {"task_id": "", "data": {"task_id": "a"}}),
    ],
    ids=_name,
)
def test_the_other_provider_s_id_is_a_candidate_for_a_read_to_prove(provider: CreateReplies, body: Any) -> None:
    caught = error_of(provider, reply(200, body))
    assert (type(caught), caught.candidates) == (CreateAmbiguousError, ("a",))


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        (GATEWAY, {"id": "a"}),
        (GATEWAY, {"data": {"id": "a", "status": "pending"}}),
        (GATEWAY, {"id": "a", "task_id": "b", "data": {"id": "c"}}),
        (GATEWAY, {"data": {"id": "a", "task_id": "b"}}),
        (GATEWAY, {"id": "a", "status": "failed", "error": {"code": 40201}}),
        (VIDU, {"task_id": "a", "id": "b"}),
        (VIDU, {"data": {"task_id": "a"}}),
    ],
    ids=_name,
)
def test_the_documented_id_of_a_success_is_the_task(provider: CreateReplies, body: Any) -> None:
    assert created_task(reply(200, body), provider)[1] == "a"


BALANCE = {"status": {"code": 402, "message": "Insufficient credits", "error_code": 40201}, "data": None}


@PROVIDERS
@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (BALANCE, "40201", "Insufficient credits"),
        ({"code": 400, "reason": "CreditInsufficient", "message": "m"}, "CreditInsufficient", "m"),
        ({"error": {"code": "40201", "message": "m"}}, "40201", "m"),
        ({"error_code": 40201, "error_msg": "m"}, "40201", "m"),
        ({"code": 1, "data": {"error_code": 40201, "message": "m"}}, "1", "m"),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [200, 400, 422, 429])
def test_an_empty_balance_refuses_the_account_under_any_status(
    provider: CreateReplies, status: int, body: Any, code: str, message: str
) -> None:
    caught = error_of(provider, reply(status, body))
    assert isinstance(caught, AccountRefusedError)
    assert (caught.status, caught.code, caught.message, caught.candidates) == (status, code, message, ())


@pytest.mark.parametrize("status", [500, 502, 408, 499])
def test_an_empty_balance_in_a_server_error_proves_nothing(status: int) -> None:
    assert type(error_of(GATEWAY, reply(status, BALANCE))) is CreateAmbiguousError


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    ("provider", "body"),
    [
        *((each, {"code": 403, "reason": "TaskPromptPolicyViolation", "message": "m"}) for each in (GATEWAY, VIDU)),
        (GATEWAY, {"error": {"code": "008017001", "message": "m"}}),
        (GATEWAY, {"error": {"code": 8017001, "message": "m"}}),
    ],
    ids=_name,
)
def test_a_refused_prompt_never_counts_against_the_account(provider: CreateReplies, status: int, body: Any) -> None:
    """Every other task would wait for it."""
    assert type(error_of(provider, reply(status, body))) is CreateRejectedError


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"code": "10003", "msg": "balance is used up"}, "10003", "balance is used up"),
        ({"task_id": "", "base_resp": {"status_code": 1026, "status_msg": "sensitive"}}, "1026", "sensitive"),
        ({"id": "", "task_id": "", "error": "no"}, "provider_error", "no"),
        ({"status": "odd"}, "provider_rejected", 'The provider answered without a task id: {"status": "odd"}'),
        ({}, "provider_rejected", "The provider answered without a task id."),
    ],
    ids=str,
)
def test_a_success_without_an_id_is_a_refusal_at_the_gateway_and_open_at_vidu(
    body: Any, code: str, message: str
) -> None:
    caught = error_of(GATEWAY, reply(200, body))
    assert isinstance(caught, CreateRejectedError)
    assert (caught.code, caught.message) == (code, message)
    assert type(error_of(VIDU, reply(200, body))) is CreateAmbiguousError


@PROVIDERS
@given(answer=replies)
@settings(max_examples=300, deadline=None)
def test_no_reply_raises_anything_else_and_every_word_of_it_can_be_encoded(
    provider: CreateReplies, answer: Reply
) -> None:
    try:
        _, remote_id = created_task(answer, provider)
    except CreateError as error:
        words = [str(error), *error.candidates, getattr(error, "code", ""), getattr(error, "message", "")]
    else:
        assert 200 <= answer.status < 300
        words = [remote_id]
    "".join(words).encode()
    assert not any("\ufffd" in word for word in words[1:-2])
