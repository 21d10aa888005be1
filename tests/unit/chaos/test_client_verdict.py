"""The judge of what clients were told: what is right passes, and every kind of wrong that it looks for is found."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from local.chaos.client_verdict import Heard, Told, judge_client, judge_clients, untold
from local.chaos.faults import Plan
from local.chaos.verdict import judge, judge_stack
from tests.unit.chaos.test_verdict import EVENTS, FIRST, ID, KEY, STATES, TIMES, event, healthy, submitted
from vidu_relay.domain.webhook_signature import signed_headers

NOW = 1_767_225_600.0
SECRET, OTHER_SECRET = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"a", b"b"))
ORIGIN = "http://127.0.0.1:1"
PLAN = Plan("row", "chaos-1.", {}, client="well")
GONE, BUSY = replace(PLAN, client="410"), replace(PLAN, client="500 twice")
LINK = f"https://videos.example.com/{KEY}?X-Amz-Signature=s"
HISTORY = [{"at": f"2026-01-01T00:00:0{n}.000Z", "status": s} for n, s in enumerate(("accepted", *STATES))]
SHOWN: dict[str, Any] = {
    "task_id": ID,
    "status": "completed",
    "version": FIRST + 4,
    "model": "m",
    "created_at": "2026-01-01T00:00:00.000Z",
    "request": {"prompt": "p"},
    "error": None,
    "usage": None,
    "videos": [{"key": KEY, "size": 3, "sha256": "aa"}],
    "output": [{"results": [{"url": LINK}]}],
    "history": HISTORY,
}
PROCESSING: dict[str, Any] = {
    **SHOWN, "status": "processing", "version": FIRST + 2, "videos": [], "output": [], "history": HISTORY[:3],
}  # fmt: skip
KILL = {"time": NOW - 5, "at": "stack-NotifyClient-1", "how": "kill", "what": "", "caller": ""}


def call(
    body: Any = SHOWN, answer: int | None = 204, secret: str = SECRET, stamp: float = NOW, **changed: Any
) -> Heard:
    """A call as it should be, but for what is changed."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    webhook_id = changed.pop("webhook_id", f"{ID}:{body['version']}" if isinstance(body, dict) else f"{ID}:{FIRST + 4}")
    message = f"{webhook_id}.{int(stamp)}.".encode() + content
    signature = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), message, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(stamp)),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    heard = Heard("well", "POST", PLAN.hook, {**headers, **changed.pop("headers", {})}, content, NOW, answer)
    return replace(heard, **changed)


def told(*heard: Heard, **changed: Any) -> Told:
    secrets = {"demo": SECRET, "guest": OTHER_SECRET}
    return replace(Told(heard, secrets, dict.fromkeys(("well", "410", "500 twice"), ORIGIN)), **changed)


def given_up(version: int = FIRST + 4, code: str = "http_410", **changed: Any) -> dict[str, Any]:
    return {
        "event_id": f"{ID}:{version}:notification",
        "tenant_id": "demo",
        "task_id": ID,
        "version": version,
        "url_origin": ORIGIN,
        "error": {"code": code},
        **changed,
    }


def letter(version: int = FIRST + 4) -> str:
    return json.dumps({"task_id": ID, "version": version})


def problems(plan: Plan, evidence: Told, *given: dict[str, Any], shown: dict[str, Any] = SHOWN) -> str:
    return "; ".join(judge_client(plan, ID, NOW - 10, shown, evidence, given))


WELL = (call(PROCESSING), call())


@pytest.mark.parametrize(
    ("plan", "evidence", "given"),
    (
        (PLAN, told(*WELL), []),
        (PLAN, told(*WELL, *WELL), []),  # at least once
        (PLAN, told(*reversed(WELL)), []),  # retries may change the order
        (PLAN, told(call()), [KILL]),  # `processing` is dropped after a try in vain, once the task has ended
        (BUSY, told(call(answer=500), call(answer=500), call()), []),
        (BUSY, told(call(PROCESSING, None), call()), []),
        (GONE, told(*(replace(c, answer=410) for c in WELL), given_up=[given_up(FIRST + 2), given_up()]), []),
        (GONE, told(call(answer=410), call(answer=410), given_up=[given_up(), given_up()]), [KILL]),
        (
            BUSY,
            told(
                call(answer=500), call(), given_up=[given_up(FIRST + 2, "http_500")], dead_letters=[letter(FIRST + 2)]
            ),
            [],
        ),
        (replace(PLAN, client=None), told(), []),
    ),
)
def test_what_is_right_passes(plan: Plan, evidence: Told, given: list[dict[str, Any]]) -> None:
    assert problems(plan, evidence, *given) == ""
    assert judge_clients({ID: plan}, evidence) == []


def test_nothing_is_owed_to_who_gave_no_address() -> None:
    assert list(untold(replace(PLAN, client=None), ID, NOW, SHOWN, told(), [])) == []
    assert list(untold(PLAN, ID, NOW, SHOWN, told(), [])) == [f"{ID}:{FIRST + 2}", f"{ID}:{FIRST + 4}"]


def test_the_judge_reads_signatures_as_the_relay_makes_them() -> None:
    body = json.dumps(SHOWN).encode()
    headers = signed_headers(f"{ID}:{FIRST + 4}", int(NOW * 1000), body, (OTHER_SECRET, SECRET))

    assert problems(PLAN, told(WELL[0], call(headers=headers))) == ""
    assert "no good signature" in problems(PLAN, told(WELL[0], call(SHOWN | {"model": "n"}, headers=headers)))


@pytest.mark.parametrize(
    ("heard", "words"),
    (
        ([], f"never told of {ID}:{FIRST + 4}"),
        ([WELL[0]], f"never told of {ID}:{FIRST + 4}"),
        ([WELL[1]], f"never told of {ID}:{FIRST + 2}"),
        ([WELL[0], call(answer=500)], f"never told of {ID}:{FIRST + 4}"),
        ([WELL[0], call(answer=302)], f"never told of {ID}:{FIRST + 4}"),
        ([WELL[0], call(answer=None)], f"never told of {ID}:{FIRST + 4}"),
        ([*WELL, call(secret=OTHER_SECRET)], "no good signature"),
        ([*WELL, call(stamp=NOW - 3600)], "no good signature"),
        ([*WELL, call(headers={"webhook-signature": ""})], "no good signature"),
        ([*WELL, call(headers={"webhook-timestamp": "soon"})], "no good signature"),
        ([*WELL, replace(call(), body=json.dumps(SHOWN | {"model": "n"}).encode())], "no good signature"),
        ([*WELL, call(webhook_id="another:5")], "as another:5"),
        ([*WELL, call(webhook_id=f"{ID}:{FIRST + 4}:2")], f"as {ID}:{FIRST + 4}:2"),  # another one at each retry
        ([*WELL, call(SHOWN | {"task_id": "another"})], "told of another"),
        ([*WELL, call(b"{}")], "what is no task"),
        ([*WELL, call(b"<html>")], "what is no task"),
        ([*WELL, call(SHOWN | {"version": FIRST + 5})], "none there ever was"),
        ([*WELL, call(PROCESSING | {"version": FIRST + 3})], "which is generated"),
        ([*WELL, call(PROCESSING | {"status": "completed"})], f"version {FIRST + 2} is completed"),
        ([*WELL, call(SHOWN | {"history": HISTORY[1:]})], f"a history of version {FIRST + 4}"),
        ([*WELL, call(PROCESSING | {"history": HISTORY})], f"a history of version {FIRST + 2}"),
        ([*WELL, call(SHOWN | {"videos": []})], "other videos"),
        ([*WELL, call(SHOWN | {"error": {"code": "x"}})], "other error"),
        ([*WELL, call(SHOWN | {"output": []})], "0 links for 1 videos"),
        ([*WELL, call(SHOWN | {"output": [{"results": [{"url": "https://x/2.mp4"}]}]})], "or to others"),
        ([*WELL, call(method="GET")], "called by GET"),
        ([*WELL, call(headers={"content-type": "text/plain"})], "text/plain"),
    ),
)
def test_what_is_wrong_with_what_a_client_heard_is_found(heard: list[Heard], words: str) -> None:
    assert words in problems(PLAN, told(*heard))


@pytest.mark.parametrize(
    ("evidence", "words"),
    (
        (told(call(answer=410)), "nobody of its 410"),
        (told(call(answer=410), given_up=[given_up(FIRST + 3)]), "nobody of its 410"),
        (told(call(answer=410), call(answer=410), given_up=[given_up()]), "after it answered 410"),
        (told(call(answer=410), given_up=[given_up(tenant_id="guest")]), "given up as"),
        (told(call(answer=410), given_up=[given_up(url_origin="http://x")]), "given up as"),
        (told(call(answer=410), given_up=[given_up(), given_up(FIRST + 2)]), f"{ID}:{FIRST + 2} was given up"),
        (told(call(answer=410), given_up=[given_up(code="timeout")]), "was given up for timeout"),
        (told(call(answer=410), given_up=[given_up()], dead_letters=[letter()]), "no event explains"),
        (told(call(answer=410), given_up=[given_up()], dead_letters=[letter(FIRST + 2)]), "no event explains"),
    ),
)
def test_what_is_wrong_with_what_was_given_up_is_found(evidence: Told, words: str) -> None:
    kept = told(replace(WELL[0], answer=410), *evidence.heard)
    evidence = replace(evidence, heard=kept.heard, given_up=[*evidence.given_up, given_up(FIRST + 2)])
    if f"{ID}:{FIRST + 2} was" in words:
        evidence = replace(evidence, heard=evidence.heard[1:])

    assert words in problems(GONE, evidence)


def test_a_410_that_a_fault_of_aws_kept_back_from_the_bus_is_asked_for_once_more_and_no_other() -> None:
    again = told(call(answer=410), call(answer=410), given_up=[given_up()])

    assert problems(GONE, again, KILL) == ""
    for other in ({**KILL, "at": "stack-ReadTasks-1"}, {**KILL, "time": NOW - 60}, {**KILL, "time": NOW + 60}):
        assert "after it answered 410" in problems(GONE, again, other)


@pytest.mark.parametrize(
    ("evidence", "words"),
    (
        (told(call(path="/elsewhere", method="GET")), "GET at /elsewhere"),
        (told(given_up=[given_up(task_id="another")]), "given up, which has no client"),
        (told(dead_letters=["not json"]), "a dead letter of no client"),
        (told(dead_letters=[letter().replace(ID, "another")]), "a dead letter of no client"),
    ),
)
def test_what_belongs_to_no_client_is_found(evidence: Told, words: str) -> None:
    assert words in "; ".join(judge_clients({ID: PLAN}, evidence))
    assert judge_clients({ID: replace(PLAN, client=None)}, told(call())) == [
        f"POST at {PLAN.hook}, where no client waits"
    ]


def test_one_tenants_client_is_not_told_of_anothers_task() -> None:
    theirs = SHOWN | {"task_id": "t2"}

    assert "told of t2" in problems(replace(PLAN, tenant="guest"), told(call(theirs, secret=OTHER_SECRET)))
    assert "no good signature" in problems(replace(PLAN, tenant="guest"), told(*WELL))


def test_client_is_told_of_a_copy_that_is_delayed() -> None:
    notice = {"at": "2026-01-01T00:00:03.500Z", "status": "generated", "source": "delivery_delayed"}
    history = [*HISTORY[:4], notice, HISTORY[4]]
    shown = {**SHOWN, "version": FIRST + 5, "history": history}
    delayed = {**SHOWN, "status": "generated", "version": FIRST + 4, "history": history[:5]}
    end = call(shown)

    def found(*heard: Heard) -> str:
        return "; ".join(judge_client(PLAN, ID, NOW, shown, told(*heard), ()))

    assert found(call(PROCESSING), call(delayed), end) == ""
    assert f"never told of t1:{FIRST + 4}" in found(call(PROCESSING), end)
    assert "which is generated" in found(call(PROCESSING), call(delayed), end, call({**delayed, "version": FIRST + 3}))


def test_it_is_part_of_the_whole_verdict() -> None:
    one = replace(submitted(), plan=PLAN)
    evidence = healthy(shown={ID: SHOWN}, events={ID: [event(n, k) for n, k in enumerate(EVENTS, FIRST)]})
    assert judge(one, replace(evidence, told=told(*WELL)), TIMES).problems == []
    assert judge(one, replace(evidence, told=told(*WELL)), TIMES).calls == 2
    assert "never told" in "; ".join(judge(one, evidence, TIMES).problems)
    assert "no client waits" in "; ".join(judge_stack([one], replace(evidence, told=told(call(path="/elsewhere")))))
