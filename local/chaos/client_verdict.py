"""What each client must have been told, by what its backend heard and answered and what the API shows in the end.

Nothing of the relay is used: signatures are computed here as https://www.standardwebhooks.com has it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from local.chaos.faults import Plan

__all__ = ["DELAYED", "Heard", "Told", "judge_client", "judge_clients", "untold", "was_met"]

TOLERANCE_SECONDS = 60
"""Between the moment that a call names and the one at which it arrives."""

NOTIFIED = ("processing", "completed", "failed", "expired", "canceled")
DELAYED = "delivery_delayed"
"""The source of the entry of a history that says that a copy is delayed: of that the client is told, too."""
PROMPT = ("well", "410")
"""Moods in which a client answers at the first try, and at once: nothing can be left out."""
TELLERS = ("NotifyClient", "PublishEvents")
"""The functions that stand between a change and its client, as their names and their roles' names have it."""
SAME = ("task_id", "status", "version", "model", "created_at", "request", "error", "usage", "videos")
"""What a notification of the state that is shown must have as it is shown."""


@dataclass
class Heard:
    """A call of a client's backend, `at` (seconds since the epoch) it came, and the status it was answered with."""

    mood: str
    method: str
    path: str
    headers: Mapping[str, str]
    """Names are lower case."""
    body: bytes
    at: float
    answer: int | None = None
    """None where there was no answer that could count."""

    @property
    def webhook_id(self) -> str:
        return self.headers.get("webhook-id", "")

    @property
    def taken(self) -> bool:
        return self.answer is not None and 200 <= self.answer < 300


@dataclass(frozen=True)
class Told:
    """Everything about telling clients that can be seen from outside."""

    heard: Sequence[Heard] = ()
    """In the order in which it came."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """What each tenant's receivers verify with, as the operator hands it out."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where the backends of each mood are."""
    given_up: Sequence[Mapping[str, Any]] = ()
    """The detail of each `VideoTaskNotificationFailed`."""
    dead_letters: Sequence[str] = ()
    """What lies in the notifications' dead letters."""

    def of(self, plan: Plan) -> list[Heard]:
        """What came to the address of this plan's client."""
        return [one for one in self.heard if one.path == plan.hook]


def untold(
    plan: Plan,
    task_id: str,
    at: float,
    shown: Mapping[str, Any],
    told: Told,
    given: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """The notifications (`webhook-id`) that a client has not had yet, or that ended at a 410 which no event tells of.

    The last one is always owed. An earlier one is dropped once the task has ended if it was tried in vain before:
    it is owed where the client answers at the first try, and no fault of AWS's met who tells it.
    """
    if plan.client is None:
        return
    owed = [(version, entry["status"]) for version, entry in _versions(shown).items() if _is_notified(entry)]
    calls = told.of(plan)
    explained = {detail["event_id"] for detail in told.given_up}
    for version, status in owed:
        webhook_id, last = f"{task_id}:{version}", version == owed[-1][0]
        tries = [one for one in calls if one.webhook_id == webhook_id]
        if any(one.taken for one in tries):
            continue
        refused = any(one.answer == 410 for one in tries)
        if refused and f"{webhook_id}:notification" in explained:
            continue
        sure = status in ("processing", "generated") and plan.client in PROMPT and not was_met(given, at)
        if last or sure:
            yield webhook_id


def judge_client(
    plan: Plan,
    task_id: str,
    at: float,
    shown: Mapping[str, Any],
    told: Told,
    given: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    """What is wrong with what a task's client was told. `at` is when the task was submitted."""
    calls = told.of(plan)
    if plan.client is None:
        return
    for missing in untold(plan, task_id, at, shown, told, given):
        yield f"the client was never told of {missing}, or nobody of its 410"
    for call in calls:
        yield from _said_wrongly(call, task_id, shown, told.secrets.get(plan.tenant, ""))
    for number, call in enumerate(calls):
        before = [one for one in calls[:number] if one.webhook_id == call.webhook_id and one.answer == 410]
        if before and not was_met(given, at, call.at):
            yield f"told again of {call.webhook_id} after it answered 410"
    yield from _given_up_wrongly(plan, task_id, calls, told)


def _versions(shown: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """The entries of a task's history by their version. The first is its acceptance."""
    return dict(enumerate(shown["history"], shown["version"] - len(shown["history"]) + 1))


def _is_notified(entry: Mapping[str, Any]) -> bool:
    """Whether clients are notified of a change."""
    return entry["status"] in NOTIFIED or entry.get("source") == DELAYED


def _said_wrongly(call: Heard, task_id: str, shown: Mapping[str, Any], secret: str) -> Iterator[str]:
    """One call against the task as it is shown."""
    if call.method != "POST" or call.headers.get("content-type") != "application/json":
        yield f"called by {call.method}, {call.headers.get('content-type')}"
    if not _signed(call, secret):
        yield f"the call of {call.webhook_id} has no good signature of its tenant's"
    try:
        body = json.loads(call.body)
        version = body["version"]
        ours = body["task_id"] == task_id
    except (ValueError, KeyError, TypeError):
        yield f"told what is no task: {call.body[:80]!r}"
        return
    if not ours or call.webhook_id != f"{task_id}:{version}":
        yield f"told of {body['task_id']} version {version} as {call.webhook_id}"
        return
    entry = _versions(shown).get(version)
    if entry is None or not _is_notified(entry) or body["status"] != entry["status"]:
        status = entry["status"] if entry else "none there ever was"
        yield f"told that version {version} is {body['status']}, which is {status}"
    if body["history"] != shown["history"][: len(body["history"])] or body["history"][-1]["status"] != body["status"]:
        yield f"told a history of version {version} that was not so"
    if version == shown["version"]:
        differing = [name for name in SAME if body[name] != shown[name]]
        if differing:
            yield f"told other {', '.join(differing)} than are shown"
        links = [result.get("url", "") for output in body["output"] for result in output["results"]]
        places = [
            urlsplit(link).path.endswith(video["key"]) for link, video in zip(links, shown["videos"], strict=False)
        ]
        if body["status"] == "completed" and (len(links) != len(shown["videos"]) or not all(places)):
            yield f"told {len(links)} links for {len(shown['videos'])} videos, or to others"


def _signed(call: Heard, secret: str) -> bool:
    """Whether one of the call's signatures is good, and made for about now."""
    stamp = call.headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(int(stamp) - call.at) > TOLERANCE_SECONDS or not secret.startswith("whsec_"):
        return False
    content = f"{call.webhook_id}.{stamp}.".encode() + call.body
    good = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(good).decode()}" in call.headers.get("webhook-signature", "").split()


def _given_up_wrongly(plan: Plan, task_id: str, calls: Sequence[Heard], told: Told) -> Iterator[str]:
    """Each event has its 410 or its dead letter, each dead letter its event."""
    left = [_letter(text) for text in told.dead_letters]
    letters = {f"{one[0]}:{one[1]}" for one in left if one and one[0] == task_id}
    events: dict[str, set[str]] = {}
    for detail in told.given_up:
        if detail["task_id"] != task_id:
            continue
        webhook_id = f"{task_id}:{detail['version']}"
        events.setdefault(webhook_id, set()).add(detail["error"]["code"])
        mine = (detail["event_id"], detail["tenant_id"], detail["url_origin"])
        if mine != (f"{webhook_id}:notification", plan.tenant, told.origins.get(plan.client or "")):
            yield f"given up as {', '.join(mine)}"
    refused = {one.webhook_id for one in calls if one.answer == 410}
    for webhook_id, codes in sorted(events.items()):
        if not (codes == {"http_410"} and webhook_id in refused) and webhook_id not in letters:
            yield f"{webhook_id} was given up for {', '.join(sorted(codes))}, without a 410 and without a dead letter"
    for webhook_id in sorted(letters):
        if not events.get(webhook_id, set()) - {"http_410"}:
            yield f"a dead letter of {webhook_id}, which no event explains"


def judge_clients(plans: Mapping[str, Plan], told: Told) -> list[str]:
    """What is wrong beyond single tasks. `plans` are those of all tasks, by task."""
    hooks = {plan.hook for plan in plans.values() if plan.client}
    problems = [f"{call.method} at {call.path}, where no client waits" for call in told.heard if call.path not in hooks]
    told_by = {task_id for task_id, plan in plans.items() if plan.client}
    problems += [
        f"a notification of {detail['task_id']} was given up, which has no client"
        for detail in told.given_up
        if detail["task_id"] not in told_by
    ]
    for text in told.dead_letters:
        letter = _letter(text)
        if letter is None or letter[0] not in told_by:
            problems.append(f"a dead letter of no client: {text[:80]}")
    return problems


def _letter(text: str) -> tuple[str, int] | None:
    try:
        body = json.loads(text)
        return str(body["task_id"]), int(body["version"])
    except (ValueError, KeyError, TypeError):
        return None


def was_met(given: Sequence[Mapping[str, Any]], since: float, until: float = float("inf")) -> bool:
    """Whether a fault of AWS's met a function that stands between a change and its client."""
    return any(
        since - 1 < entry["time"] <= until and any(name in f"{entry['at']} {entry['caller']}" for name in TELLERS)
        for entry in given
    )
