"""`relay doctor`: what each reply means, and what happens to checks that hang or fail."""

import json
import threading
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from cli.answer import NoAnswerError
from cli.command import Relay
from cli.connection import Connection
from cli.doctor import running, spending
from cli.doctor.account import QUOTAS, assess_concurrency, assess_quotas, different
from cli.doctor.findings import Check, Context, Finding, State, fault_of
from cli.doctor.outside import assess_callback, assess_provider
from cli.doctor.parts import assess_bucket_policy, assess_models, assess_schedule, assess_source
from cli.doctor.spending import assess_spent
from cli.main import main
from cli.screen import Screen
from tests.documents import ROOT

OK, NOT, UNKNOWN = State
LINK = "https://bucket.s3.amazonaws.com/code?X-Amz-Signature=secret"


VIDEO = {"bucket": "videos", "key": "1.mp4", "size": 10, "sha256": "00"}
DONE: dict[str, Any] = {"task_id": "x", "status": "completed", "videos": [VIDEO], "error": None, "usage": None}
FAILED = {**DONE, "status": "failed", "error": {"code": "E1"}, "videos": []}
MANY = 1e4


@pytest.mark.parametrize(
    ("assess", "replies", "state"),
    [
        # with the stored key and with a made-up one: only a difference proves the stored key
        *((assess_provider, (404, made_up), OK) for made_up in (401, 403)),
        *((assess_provider, (own, 401), NOT) for own in (401, 403, 402)),
        *((assess_provider, replies, UNKNOWN)
          for replies in ((404, 404), (404, None), (200, 401), (400, 400), (503, 401), (None, None))),
        # only the relay's own refusal proves the callback address
        (assess_callback, (403, "callback_refused"), OK),
        *((assess_callback, replies, NOT)
          for replies in ((403, None), (200, None), (202, "callback_refused"), (404, None), (301, None), (503, None))),
        (assess_callback, (429, None), UNKNOWN),
        *((assess_models, (chosen, ("gateway",)), state) for chosen, state in (
            ([], OK), (["viduq2_text2video"], OK), (["viduq2_text2video", "vidu9"], NOT), (["viduq1_img2video"], NOT))),
        (assess_source, ("F", {"State": "Enabled", "LastProcessingResult": "PROBLEM: Function call failed"}), NOT),
        (assess_source, ("F", {"State": "Enabling"}), UNKNOWN),
        (assess_source, ("F", {"State": "Disabled", "UUID": "x"}), NOT),
        (assess_source, ("F", None), NOT),
        *((partial(assess_schedule, swept=swept, young=young), (value,), state) for value, swept, young, state in (
            ("ENABLED", True, False, OK), ("ENABLED", False, True, UNKNOWN), ("ENABLED", False, False, NOT),
            ("DISABLED", True, False, NOT), (None, False, False, NOT))),
        *((assess_concurrency, (number,), state) for number, state in ((10, NOT), (99, NOT), (100, OK), (1000, OK))),
        *((assess_quotas, (dict(zip(QUOTAS, values, strict=True)),), state) for values, state in (
            ((MANY, MANY, MANY), OK), ((99, MANY, MANY), NOT), ((MANY, None, MANY), UNKNOWN), ((99, None, 1), NOT))),
        *((assess_spent, (task, faults), state) for task, faults, state in (
            ({**DONE, "usage": {"cost": "0.0450", "discount": None}}, [], OK), (DONE, [], OK),
            (DONE, ["s3://videos/1.mp4 differs"], NOT), ({**DONE, "videos": []}, [], NOT), (FAILED, [], NOT),
            ({**DONE, "status": "processing", "videos": []}, [], UNKNOWN))),
    ],
)  # fmt: skip
def test_reply_means_a_state(assess: Any, replies: tuple[Any, ...], state: State) -> None:
    assert assess(*replies).state is state


def test_enabled_source_that_works_is_no_problem() -> None:
    assert assess_source("PublishEvents", {"State": "Enabled", "LastProcessingResult": "OK"}) is None


@pytest.mark.parametrize(
    ("task", "faults", "words"),
    [
        ({**DONE, "usage": {"cost": "0.0450", "discount": None}}, [], "cost US$ 0.0450"),
        (DONE, [], "states no price"),
        (DONE, ["s3://videos/1.mp4 differs"], "1.mp4 differs"),
        (FAILED, [], "E1"),
        ({**DONE, "status": "processing"}, [], "not settled yet"),
    ],
)
def test_paid_task_is_reported(task: dict[str, Any], faults: list[str], words: str) -> None:
    assert words in assess_spent(task, faults).found


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
    assert [problem.state for problem in assess_bucket_policy(json.dumps({"Statement": [statement]}))] == states


def test_code_differs_by_content_and_by_what_is_in_one_place_only() -> None:
    assert different({"a": b"1", "b": b"1", "c": b"1"}, {"a": b"1", "b": b"2", "d": b"1"}) == ["b", "c", "d"]


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
        (aws_error("ResourceNotFoundException"), NOT, "is missing"),
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
    monkeypatch.setattr(Relay, "connection", Deployed())
    assert main(["--local", "--json", "doctor"]) == status
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
    monkeypatch.setattr(Relay, "connection", Deployed())
    assert main(["--local", "doctor", "--spend"]) == 1
    assert ("paid" in capsys.readouterr().out) == paid


def test_every_check_is_on_the_page_of_the_operator() -> None:
    section = (ROOT / "docs" / "runbook.md").read_text().partition("## Is everything in order")[2].partition("\n## ")[0]
    assert [check.name for check in running.CHECKS if f"`{check.name}`" not in section] == []
