"""`relay doctor`: what each reply is taken for, and what becomes of checks that hang or break off."""

import json
import threading
from argparse import Namespace
from contextlib import nullcontext
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from cli.api import NoAnswerError
from cli.connection import Connection
from cli.doctor import running, spending
from cli.doctor.account import QUOTAS, different, judge_concurrency, judge_quotas
from cli.doctor.findings import Check, Context, Finding, State, fault_of
from cli.doctor.outside import judge_callback, judge_provider
from cli.doctor.parts import judge_bucket_policy, judge_schedule, judge_source
from cli.doctor.spending import judge_spent
from cli.screen import Screen
from tests.documents import ROOT

OK, NOT, UNKNOWN = State
LINK = "https://bucket.s3.amazonaws.com/code?X-Amz-Signature=secret"


@pytest.mark.parametrize(
    ("own", "made_up", "state"),
    [
        (404, 401, OK),
        (404, 403, OK),
        (401, 401, NOT),
        (403, 401, NOT),
        (402, 401, NOT),
        (404, 404, UNKNOWN),  # a wrong address answers so, too
        (404, None, UNKNOWN),
        (200, 401, UNKNOWN),
        (400, 400, UNKNOWN),  # an id that the provider takes for no id proves nothing about the key
        (503, 401, UNKNOWN),
        (None, None, UNKNOWN),
    ],
)
def test_only_a_difference_to_a_made_up_key_proves_the_providers_key(
    own: int | None, made_up: int | None, state: State
) -> None:
    assert judge_provider(own, made_up).state is state


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (403, "callback_refused", OK),
        (403, None, NOT),
        (200, None, NOT),
        (202, "callback_refused", NOT),
        (404, None, NOT),
        (301, None, NOT),
        (503, None, NOT),
        (429, None, UNKNOWN),
    ],
)
def test_only_the_relays_refusal_proves_the_callback_address(status: int, code: str | None, state: State) -> None:
    assert judge_callback(status, code).state is state


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ({"State": "Enabled", "LastProcessingResult": "OK"}, None),
        ({"State": "Enabled", "LastProcessingResult": "PROBLEM: Function call failed"}, NOT),
        ({"State": "Enabling"}, UNKNOWN),
        ({"State": "Disabled", "UUID": "x"}, NOT),
        (None, NOT),
    ],
)
def test_source_must_be_enabled_and_work(source: dict[str, str] | None, state: State | None) -> None:
    problem = judge_source("PublishEvents", source)
    assert (problem and problem.state) is state


@pytest.mark.parametrize(
    ("schedule", "swept", "young", "state"),
    [
        ("ENABLED", True, False, OK),
        ("ENABLED", False, True, UNKNOWN),
        ("ENABLED", False, False, NOT),
        ("DISABLED", True, False, NOT),
        (None, False, False, NOT),
    ],
)
def test_schedule_is_alive_if_it_is_on_and_sweeps_end(
    schedule: str | None, swept: bool, young: bool, state: State
) -> None:
    assert judge_schedule(schedule, swept=swept, young=young).state is state


TLS_ONLY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


@pytest.mark.parametrize(
    ("statement", "states"),
    [
        (TLS_ONLY, []),
        ({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}, []),
        ({"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject"}, [NOT]),
        ({"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::1:role/other"}, "Action": "s3:*"}, [UNKNOWN]),
        ({**TLS_ONLY, "Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, [UNKNOWN]),
    ],
)
def test_bucket_policy_may_deny_plain_http_alone(statement: dict[str, Any], states: list[State]) -> None:
    assert [problem.state for problem in judge_bucket_policy(json.dumps({"Statement": [statement]}))] == states


@pytest.mark.parametrize(("number", "state"), [(10, NOT), (99, NOT), (100, OK), (1000, OK)])
def test_a_new_accounts_concurrency_is_too_small(number: int, state: State) -> None:
    assert judge_concurrency(number).state is state


@pytest.mark.parametrize(
    ("values", "state"),
    [((1e4, 1e4, 1e4), OK), ((99, 1e4, 1e4), NOT), ((1e4, None, 1e4), UNKNOWN), ((99, None, 1), NOT)],
)
def test_quotas_are_held_against_what_the_stack_takes(values: tuple[float | None, ...], state: State) -> None:
    assert judge_quotas(dict(zip(QUOTAS, values, strict=True))).state is state


def test_code_differs_by_content_and_by_what_is_in_one_place_only() -> None:
    assert different({"a": b"1", "b": b"1", "c": b"1"}, {"a": b"1", "b": b"2", "d": b"1"}) == ["b", "c", "d"]


VIDEO = {"bucket": "videos", "key": "1.mp4", "size": 10, "sha256": "00"}
DONE: dict[str, Any] = {"task_id": "x", "status": "completed", "videos": [VIDEO], "error": None, "usage": None}


@pytest.mark.parametrize(
    ("task", "faults", "state", "said"),
    [
        ({**DONE, "usage": {"cost": "0.0450", "discount": None}}, [], OK, "cost US$ 0.0450"),
        (DONE, [], OK, "states no price"),
        (DONE, ["s3://videos/1.mp4 is not what was recorded"], NOT, "not what was recorded"),
        ({**DONE, "videos": []}, [], NOT, "is completed"),
        ({**DONE, "status": "failed", "error": {"code": "E1"}, "videos": []}, [], NOT, "E1"),
        ({**DONE, "status": "processing", "videos": []}, [], UNKNOWN, "goes on"),
    ],
)
def test_money_is_well_spent_if_the_video_is_what_was_recorded(
    task: dict[str, Any], faults: list[str], state: State, said: str
) -> None:
    finding = judge_spent(task, faults)
    assert (finding.state, said in finding.found) == (state, True)


@pytest.mark.parametrize(("lost", "state"), [(1, OK), (99, UNKNOWN)])
def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    lost: int, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    class LossyApi:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.upload = lambda *_: "s3://inbox/uploads/x"

        def submit(self, _: bytes, key: str) -> dict[str, Any]:
            keys.append(key)
            if len(keys) <= lost:
                raise NoAnswerError("HTTP 503")
            return DONE

    class Directory:
        def set_daily_cap(self, *_: object) -> None:
            """It may submit."""

    for name, stand_in in {
        "Api": LossyApi,
        "tenant": lambda _: None,
        "directory_of": lambda _: Directory(),
        "temporary_key": lambda _: nullcontext("key"),
        "_taken_today": lambda _: 0,
        "_fault_in_s3": lambda *_: None,
    }.items():
        monkeypatch.setattr(spending, name, stand_in)
    monkeypatch.setattr("cli.submission.time.sleep", lambda _: None)
    finding = spending.spend(Context(Deployed()), Screen(as_json=True))
    assert (finding.state, len(set(keys)), len(keys) > 1) == (state, 1, True)


def aws_error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "PutRule")


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (
            aws_error("AccessDenied", "User: x is not authorized to perform: events:PutRule on"),
            UNKNOWN,
            "events:PutRule",
        ),
        (aws_error("403"), UNKNOWN, "PutRule"),
        (aws_error("ResourceNotFoundException"), NOT, "not there"),
        (aws_error("ThrottlingException"), UNKNOWN, "ThrottlingException"),
        (requests.ConnectionError(LINK), UNKNOWN, "ConnectionError"),
        (ZeroDivisionError(LINK), UNKNOWN, "ZeroDivisionError"),
    ],
)
def test_a_check_that_breaks_off_says_why_and_tells_no_link(error: Exception, state: State, said: str) -> None:
    finding = fault_of(error)
    assert (finding.state, said in finding.found, "secret" in finding.found) == (state, True, False)


class Deployed(Connection):
    """A stack whose outputs are known."""

    def __init__(self) -> None:
        super().__init__(session=None, stack_name="relay", known={"ApiUrl": "https://api"})  # type: ignore[arg-type]


def answer(state: State) -> Check:
    return Check(state.value, "trying", lambda _: Finding(state, "seen"))


def hang(_: Any) -> Finding:
    threading.Event().wait(30)
    raise AssertionError("the answer comes too late")


def fail(_: Any) -> Finding:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("checks", "status", "states"),
    [
        ([answer(OK)], 0, ["ok"]),
        ([answer(OK), answer(NOT), answer(UNKNOWN)], 1, ["ok", "not", "unknown"]),
        ([answer(UNKNOWN), answer(OK)], 3, ["unknown", "ok"]),
        ([Check("hangs", "waiting", hang), answer(OK)], 3, ["unknown", "ok"]),
        ([Check("fails", "failing", fail), answer(NOT)], 1, ["unknown", "not"]),
    ],
)
def test_lines_come_in_order_and_within_the_time_whatever_becomes_of_a_check(
    checks: list[Check], status: int, states: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(running, "CHECKS", checks)
    monkeypatch.setattr(running, "TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(running, "CLEAN_UP_SECONDS", 0.1)
    assert running.doctor(Namespace(json=True, check=[], spend=False), Deployed()) == status
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["check"], line["state"]) for line in lines] == [
        (check.name, state) for check, state in zip(checks, states, strict=True)
    ]


@pytest.mark.parametrize(("name", "paid"), [("provider", False), ("concurrency", True)])
def test_nothing_is_paid_where_what_every_task_needs_is_not_in_order(
    name: str, paid: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "CHECKS", [Check(name, "trying", lambda _: Finding(NOT, "seen"))])
    monkeypatch.setattr(running, "spend", lambda *_: Finding(OK, "paid"))
    assert running.doctor(Namespace(json=False, check=[], spend=True), Deployed()) == 1
    assert ("paid" in capsys.readouterr().out) == paid


def test_every_check_is_on_the_page_of_the_operator() -> None:
    section = (ROOT / "docs" / "runbook.md").read_text().partition("## Is everything in order")[2].partition("\n## ")[0]
    assert [check.name for check in running.CHECKS if f"`{check.name}`" not in section] == []
