"""The chaos test's check: what is right passes, and every kind of wrong that it looks for is found."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from local.chaos.expectation import Evidence, Submitted, check_stack, evaluate, possible_ends
from local.chaos.faults import Plan, Times
from local.chaos.oracle import DELAYED, EVENT_OF, Booked, Call, End

TIMES = Times(deadline=60, hold=1, hand=1, settling=1)
ID, FIRST = "t1", 1_767_225_600
"""The version of the acceptance is the second of creation."""
KEY = f"videos/demo/2026/01/01/{ID}/1.mp4"
CREATED_AT = "2026-01-01T00:00:00.000Z"
CALL = {"at": 1000.1, "fault": None, "task": "r1"}
THROTTLED = {**CALL, "fault": "throttle", "task": None}
LOST_REPLY = {**CALL, "fault": "lose_reply"}
KILL = {"time": 1001.0, "at": "stack-SubmitTask-1", "how": "kill", "what": "", "caller": ""}
SLOT = {"time": 1.0, "at": "dynamodb", "how": "lose_reply", "what": "UpdateItem", "caller": ""}
UNCONFIRMED, LATE = End("expired", "submission_unconfirmed"), End("expired", "deadline_exceeded")
SECRET, OTHER = (f"whsec_{base64.b64encode(byte * 32).decode()}" for byte in (b"a", b"b"))
ORIGIN = "http://127.0.0.1:1"
V = [FIRST + number for number in range(-1, 7)]
"""The version of a task's n-th published change."""


def submitted(script: dict[str, Any] | None = None, client: str | None = None, **more: Any) -> Submitted:
    return Submitted(Plan("row", "chaos-1.", script or {}, client=client), ID, 1000.0, **more)


def made(*answers: int | None, polls: tuple[tuple[float, str], ...] = (), **more: Any) -> dict[str, Any]:
    """A task of the provider's whose callbacks were answered like this."""
    return {
        "callbacks": [{"kind": "true", "http_status": answer} for answer in answers],
        "polls": [{"at": at, "said": said, "http_status": 200} for at, said in polls],
        "videos": [{"size": 3, "sha256": "aa"}],
        **more,
    }


def shown(*changes: str, **fields: Any) -> dict[str, Any]:
    """A task as the API shows it after these published changes."""
    history = [
        {"at": f"2026-01-01T00:00:0{n}.000Z", "status": "generated" if c == DELAYED else c, "source": c}
        for n, c in enumerate(("accepted", *changes))
    ]
    done = changes[-1] == "completed"
    return {
        "task_id": ID,
        "status": history[-1]["status"],
        "version": FIRST + len(changes),
        "model": "m",
        "created_at": CREATED_AT,
        "request": {"prompt": "p"},
        "error": None,
        "usage": None,
        "videos": [{"key": KEY, "size": 3, "sha256": "aa"}] if done else [],
        "output": [{"results": [{"url": f"https://videos.example.com/{KEY}?X-Amz-Signature=s"}]}] if done else [],
        "history": history,
        **fields,
    }


def event(number: int, kind: str) -> dict[str, Any]:
    """The event of a task's `number`-th published change."""
    detail = {"event_id": f"{ID}:{V[number]}", "task": {"task_id": ID, "version": V[number]}}
    return {"detail-type": kind, "detail": detail}


def evidence(*changes: str, **changed: Any) -> Evidence:
    """Of one task, by default one that went well, but for what is changed."""
    task = shown(*changes or ("submitted", "processing", "generated", "completed"))
    changes = changes or ("submitted", "processing", "generated", "completed")
    return replace(
        Evidence(
            records={ID: {"status": task["status"], "due_at": None, "remote_id": "r1"}},
            shown={ID: task},
            events={ID: [event(n, EVENT_OF[change]) for n, change in enumerate(("accepted", *changes), 1)]},
            creates={ID: [CALL]},
            remote={ID: [made(200)]},
            objects={KEY: (3, "aa")} if task["videos"] else {},
            injected=[],
            slots_taken=1,
            origins=dict.fromkeys(("well", "410", "500 twice"), ORIGIN),
            secret=SECRET,
        ),
        **changed,
    )


GOOD, FINAL = evidence(), shown("submitted", "processing", "generated", "completed")
EVENTS = GOOD.events[ID]


def problems(one: Submitted, found: Evidence) -> str:
    return "; ".join(evaluate(one, found, TIMES).problems)


def test_task_that_went_well_is_right() -> None:
    result = evaluate(submitted(), GOOD, TIMES)

    assert (result.problems, result.extra_creates, result.settled, result.seconds) == ([], 0, True, 4)
    assert check_stack([submitted()], GOOD) == []
    assert problems(submitted(), replace(GOOD, events={ID: [*EVENTS, EVENTS[2]]})) == ""
    assert problems(submitted(), evidence("submitted", "processing", "generated", DELAYED, "completed")) == ""


@pytest.mark.parametrize(
    ("wrong", "words"),
    (
        ({"remote": {ID: [made(200), made(200)]}}, "created 2 times"),
        ({"creates": {ID: [{**CALL, "fault": "server_error"}, CALL]}}, "created again"),
        ({"objects": {}}, "stored [None]"),
        ({"objects": {KEY: (3, "bb")}}, "bb"),
        ({"objects": {KEY: (3, "aa"), KEY.replace("1.mp4", "2.mp4"): (1, "cc")}}, "stored"),
        ({"events": {ID: EVENTS[:4]}}, f"versions [{FIRST + 4}] were never published"),
        ({"events": {ID: [*EVENTS, event(6, "VideoTaskCompleted")]}}, f"{ID}:{V[6]}"),
        ({"records": {ID: {"status": "completed", "due_at": 7, "remote_id": "r1"}}}, "still due"),
        ({"records": {ID: {"status": "generated", "due_at": None, "remote_id": "r1"}}}, "the table has generated"),
        ({"records": {}}, "the task is gone"),
        ({"shown": {}}, "the task is gone"),
    ),
)
def test_what_is_wrong_with_a_task_is_found(wrong: dict[str, Any], words: str) -> None:
    assert words in problems(submitted(), replace(GOOD, **wrong))


def spent(state: str, cost: str | None, counted: str, **more: Any) -> Evidence:
    """Of a task that reserved 1 USD and whose row of the ledger says this, by default one that cost 0.045 USD."""
    known = evidence(*more.pop("changes", ()), **{"remote": {ID: [made(200, bill={"usd": "0.045"})]}, **more})
    row = Booked(state, None if cost is None else Decimal(cost), Decimal(counted))
    billed = {ID: {**known.shown[ID], "billing": {"reserved_usd": "1"}}}
    return replace(known, shown=billed, ledger={ID: row}, committed=Decimal(counted))


IN_CREDITS = {"remote": {ID: [made(200, bill={"credits": "4"})]}, "credit_usd": Decimal("0.005")}
THROUGHOUT = {"changes": ("expired",), "creates": {ID: [THROTTLED]}, "remote": {}}
"""It was throttled until its deadline."""


@pytest.mark.parametrize(
    ("found", "words"),
    (
        (spent("settled", "0.045", "0.045"), ""),
        (spent("settled", "0.02", "0.02", **IN_CREDITS), ""),
        (spent("settled", None, "1", remote={ID: [made(200)]}), ""),
        (replace(spent("settled", "0.045", "0.045"), ledger={}), "None, expected settled, 0.045, 0.045"),
        (spent("settled", "0.046", "0.046"), "expected settled, 0.045, 0.045"),
        (spent("settled", "0.045", "1"), "expected settled, 0.045, 0.045"),
        (spent("uncertain", None, "1"), "expected settled, 0.045, 0.045"),
        (spent("settled", None, "0", remote={ID: [made(200)]}), "expected settled, None, 1"),
        (spent("none", None, "0", changes=("submitted", "expired")), "expected uncertain, None, 1"),
        (spent("uncertain", None, "1", **THROUGHOUT), "expected none, None, 0"),
    ),
)  # fmt: skip
def test_bill_that_is_not_the_simulators_is_found(found: Evidence, words: str) -> None:
    said = [str(one) for one in evaluate(submitted(), found, TIMES).problems if "SPENDING" in one]
    assert (bool(said), words in "".join(said)) == (bool(words), True)


@pytest.mark.parametrize(("committed", "slots"), (("0.044", 1), ("1.045", 1), ("1.046", 2)))
def test_counter_that_is_not_what_tasks_count_is_found(committed: str, slots: int) -> None:
    right = spent("settled", "0.045", "0.045", slots_taken=slots)
    assert "SPENDING" not in "".join(check_stack([submitted()], right))
    wrong = replace(right, committed=Decimal(committed))
    assert f"{committed} USD are committed" in "".join(check_stack([submitted()], wrong))


def test_rejected_task_must_fail_and_leave_nothing_in_the_bucket() -> None:
    rejected = evidence("failed", creates={ID: [{"at": 1000.1, "fault": "reject"}]}, remote={})
    rejected = replace(rejected, shown={ID: {**rejected.shown[ID], "error": {"code": "x"}}})

    assert problems(submitted({"create": {"reject": {"code": "x"}}}), rejected) == ""
    assert "expected failed (y)" in problems(submitted({"create": {"reject": {"code": "y"}}}), rejected)
    stored = replace(rejected, objects={KEY: (3, "aa")})
    assert "WHOLE_VIDEOS" in problems(submitted({"create": {"reject": {"code": "x"}}}), stored)


@pytest.mark.parametrize(
    ("wrong", "words"),
    (
        ({"slots_taken": 0}, "0 slots"),
        ({"slots_taken": 2}, "2 slots"),
        ({"slots_taken": 3, "injected": [SLOT]}, "3 slots"),
        ({"open_uploads": ["k"]}, "1 uploads are open"),
        ({"dead_letters": ["m"]}, "a DLQ message: m"),
        ({"unrouted_events": 1}, "not routed"),
        ({"unpublished": 1}, "unpublished"),
        ({"records": {"stranger": {}}}, "stranger: no client submitted it"),
        ({"events": {"": []}}, "no client submitted it"),
        ({"calls": [Call("GET", f"{ORIGIN}/elsewhere", {}, b"", 0)]}, "which is no client's"),
        ({"given_up": [{"task_id": "another"}]}, "which has no client"),
        ({"undelivered": ["not json"]}, "a DLQ message of no client"),
    ),
)
def test_what_is_wrong_with_the_stack_is_found(wrong: dict[str, Any], words: str) -> None:
    assert words in "; ".join(check_stack([submitted()], replace(GOOD, **wrong)))


def test_slots_may_stay_taken_only_where_something_went_wrong_around_them() -> None:
    assert check_stack([submitted(refused=1)], replace(GOOD, slots_taken=2)) == []
    assert check_stack([submitted()], replace(GOOD, slots_taken=2, injected=[SLOT])) == []


LOSES: dict[str, Any] = {"create": {"lose_reply": {}}}
FAILS: dict[str, Any] = {"outcome": {"fail": {"code": "7"}}}


@pytest.mark.parametrize(
    ("script", "creates", "remote", "ends"),
    (
        ({}, [CALL], [made()], {End("completed")}),
        ({}, [THROTTLED], [], {LATE}),
        ({}, [{**CALL, "fault": "server_error", "task": None}], [], {UNCONFIRMED}),
        (LOSES, [LOST_REPLY], [made()], {UNCONFIRMED}),
        (LOSES, [LOST_REPLY], [made(403, None, 429, 500)], {UNCONFIRMED}),
        (LOSES, [LOST_REPLY], [made(503, 200)], {End("completed")}),
        (LOSES, [LOST_REPLY], [made(503)], {UNCONFIRMED, End("completed")}),
        ({"create": {"hang": {"seconds": 20}}}, [{**CALL, "fault": "hang"}], [made()], {UNCONFIRMED}),
        ({"create": {"hang": {"seconds": 5}}}, [{**CALL, "fault": "hang"}], [made()], {End("completed")}),
        ({"outcome": {"never_finish": True}}, [CALL], [made()], {LATE}),
        (FAILS, [CALL], [made(polls=((1005.0, "failed"),))], {End("failed", "7")}),
        (FAILS, [CALL], [made(polls=((1070.0, "failed"),))], {End("failed", "7"), LATE}),
        (FAILS, [CALL], [made(polls=((1005.0, "processing"),))], {LATE}),
        ({}, [CALL], [made(state="canceled")], {End("canceled")}),
        ({}, [], [], set()),
    ),
)
def test_end_follows_from_the_script_and_what_the_provider_saw(
    script: dict[str, Any], creates: list[dict[str, Any]], remote: list[dict[str, Any]], ends: set[End]
) -> None:
    assert possible_ends(submitted(script), creates, remote, [], TIMES) == ends


def test_task_canceled_before_it_was_created_is_canceled_and_nothing_else() -> None:
    for answer, end in ((202, End("canceled")), (409, LATE)):
        assert possible_ends(submitted(canceled=answer), [THROTTLED], [], [], TIMES) == {end}


def test_fault_of_aws_around_the_create_call_and_nothing_else_leaves_two_ends_open() -> None:
    of_s3 = {**KILL, "at": "s3", "how": "break", "caller": "assumed-role/stack-SubmitTaskRole-1"}
    harmless = [{**KILL, "time": 10.0}, {**KILL, "how": "throttle"}, {**KILL, "at": "stack-ReadTasks-1"}, of_s3]

    for harm in (KILL, {**of_s3, "at": "dynamodb"}):
        assert possible_ends(submitted(), [CALL], [made()], [harm], TIMES) == {End("completed"), UNCONFIRMED}
    assert possible_ends(submitted(), [CALL], [made()], harmless, TIMES) == {End("completed")}
    assert possible_ends(submitted(), [CALL], [made(200)], [KILL], TIMES) == {End("completed")}, "the callback said so"
    assert possible_ends(submitted(), [], [], [KILL], TIMES) == {UNCONFIRMED, LATE}, "before or after the token's write"


def call(body: Any = FINAL, answer: int | None = 204, secret: str = SECRET, stamp: float = 995, **changed: Any) -> Call:
    """A call as it should be, but for what is changed."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    name = changed.pop("webhook_id", f"{ID}:{body['version'] if isinstance(body, dict) else V[5]}")
    message = f"{name}.{int(stamp)}.".encode() + content
    signature = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), message, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(stamp)),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        **changed.pop("headers", {}),
    }
    return replace(Call("POST", f"{ORIGIN}/hooks/chaos-1.", headers, content, 1005, answer), **changed)


def given_up(version: int = V[5], code: str = "http_410", **changed: Any) -> dict[str, Any]:
    detail = {"event_id": f"{ID}:{version}:notification", "tenant_id": "demo", "task_id": ID, "version": version}
    return {**detail, "url_origin": ORIGIN, "error": {"code": code}, **changed}


def queued(version: int = V[5]) -> str:
    return json.dumps({"task_id": ID, "version": version})


PROCESSING = {**FINAL, "status": "processing", "version": V[3], "videos": [], "output": []}
PROCESSING["history"] = FINAL["history"][:3]
WELL = [call(PROCESSING), call()]
GONE = [replace(one, answer=410) for one in WELL]
NOTIFIER_KILLED = {"time": 1002, "at": "stack-NotifyClient-1", "how": "kill", "what": "", "caller": ""}


@pytest.mark.parametrize(
    ("client", "changed"),
    (
        ("well", {"calls": WELL}),
        ("well", {"calls": [*WELL, *WELL]}),  # at least once
        ("well", {"calls": WELL[::-1]}),  # retries may change the order
        ("well", {"calls": WELL[1:], "injected": [NOTIFIER_KILLED]}),  # `processing` is dropped once the task has ended
        ("500 twice", {"calls": [call(answer=500), call(PROCESSING, None), call()]}),
        ("500 twice", {"calls": WELL[1:], "given_up": [given_up(V[3], "http_500")], "undelivered": [queued(V[3])]}),
        ("410", {"calls": GONE, "given_up": [given_up(V[3]), given_up()]}),
        ("410", {"calls": [*GONE, GONE[1]], "given_up": [given_up(V[3]), given_up()], "injected": [NOTIFIER_KILLED]}),
        (None, {}),
    ),
)
def test_client_that_was_notified_rightly_passes(client: str | None, changed: dict[str, Any]) -> None:
    found = replace(GOOD, **changed)

    assert problems(submitted(client=client), found) == ""
    assert check_stack([submitted(client=client)], found) == []


@pytest.mark.parametrize(
    ("calls", "words"),
    (
        ([], f"never notified of {ID}:{V[5]}"),
        (WELL[1:], f"never notified of {ID}:{V[3]}"),
        ([*WELL, call(secret=OTHER)], "no good signature"),
        ([*WELL, call(stamp=-2600)], "no good signature"),
        ([*WELL, call(headers={"webhook-timestamp": "soon"})], "no good signature"),
        ([*WELL, replace(call(), body=json.dumps(FINAL | {"model": "n"}).encode())], "no good signature"),
        ([*WELL, call(FINAL | {"task_id": "another"})], "another"),
        ([*WELL, call(b"<html>")], "the body is no task"),
        ([*WELL, call(PROCESSING | {"version": V[4]})], "published was generated"),
        ([*WELL, call(PROCESSING | {"history": FINAL["history"]})], "a history that was not so"),
        ([*WELL, call(FINAL | {"videos": []})], "other videos"),
        ([*WELL, call(FINAL | {"output": []})], "0 links for 1 videos"),
        ([*WELL, call(FINAL | {"output": [{"results": [{"url": "https://x/2.mp4"}]}]})], "or to others"),
        ([*WELL, call(method="GET")], "GET"),
        ([*WELL, call(headers={"content-type": "text/plain"})], "text/plain"),
    ),
)
def test_what_is_wrong_with_a_notification_is_found(calls: list[Call], words: str) -> None:
    assert words in problems(submitted(client="well"), replace(GOOD, calls=calls))


@pytest.mark.parametrize(
    ("changed", "words"),
    (
        ({"given_up": []}, "never notified"),
        ({"given_up": [given_up()], "calls": [*GONE, GONE[1]]}, "after it answered 410"),
        ({"given_up": [given_up(tenant_id="guest")]}, "given up as"),
        ({"given_up": [given_up(url_origin="http://x")]}, "given up as"),
        ({"given_up": [given_up()], "undelivered": [queued()]}, "no event says why"),
    ),
)
def test_what_is_wrong_with_what_was_given_up_is_found(changed: dict[str, Any], words: str) -> None:
    found = replace(GOOD, **{"calls": GONE, **changed})

    assert words in problems(submitted(client="410"), replace(found, given_up=[*found.given_up, given_up(V[3])]))
