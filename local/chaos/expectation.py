"""How each task of a chaos test must end, and what must be seen of it: from its script and what the provider saw.

The provider's own log says which create calls came, what each was answered, and which callbacks were taken. From that
follows how a task must end. Only where AWS was made to fail around a create call may the relay not know what the
provider answered: then two ends are right, and the money was spent at most once all the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from local.chaos.faults import Plan, Times
from local.chaos.oracle import (
    DELAYED,
    ENDS,
    NOTIFIED,
    Booked,
    Call,
    End,
    Event,
    ObservedTask,
    check_quota,
    check_spending,
    check_task,
)
from local.stack import TENANT

__all__ = ["Evidence", "Result", "Submitted", "check_stack", "evaluate", "owed", "possible_ends"]

UNCONFIRMED, TOO_LATE = End("expired", "submission_unconfirmed"), End("expired", "deadline_exceeded")
REPLY_SECONDS = 18
"""How long the relay waits for the reply to a create call; a slower one is lost."""
BLIND_SECONDS = 60
"""So long around a create call a fault of AWS may have kept its outcome from being recorded."""
MARGIN_SECONDS = 20
"""A read of the provider so shortly before the deadline may or may not have been in time."""
HIDING = frozenset({"kill", "time_out", "break", "refuse", "lose_reply"})
CREATORS = ("SubmitTask", "CheckTask", "AcceptRequest")
NOTIFIERS = ("NotifyClient", "PublishEvents")
"""Parts of the names of functions and their roles: those that create, and those between a change and its client."""
PROMPT = ("well", "410")
"""Behaviours of a backend that answers the first try at once: no notification can be left out."""
Entries = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Submitted:
    """A task that the relay took, and when (seconds since the epoch)."""

    plan: Plan
    task_id: str
    at: float
    refused: int = 0
    """How many tries of the client came to nothing before."""
    canceled: int | None = None
    """How the client's cancel was answered, if there was one."""


@dataclass(frozen=True)
class Evidence:
    """Everything that can be seen from outside once all is quiet, most of it by task id. Times are in seconds."""

    records: Mapping[str, Mapping[str, Any]]
    """The tasks in the table: `status`, `due_at`, `remote_id`, whether there are `candidates`."""
    shown: Mapping[str, Mapping[str, Any]]
    """The tasks as the API shows them."""
    events: Mapping[str, Entries]
    creates: Mapping[str, Entries]
    """The create calls that the provider had."""
    remote: Mapping[str, Entries]
    """What the provider made, with all it saw."""
    objects: Mapping[str, tuple[int, str]]
    """Size and SHA-256 of every object in the videos bucket, by key."""
    injected: Entries
    """Every fault of AWS that was injected."""
    slots_taken: int
    ledger: Mapping[str, Booked] = field(default_factory=dict)
    committed: Decimal = Decimal(0)
    """What the tenant's budgets count, in US dollars."""
    credit_usd: Decimal = Decimal(0)
    """What a credit of `vidu` costs."""
    open_uploads: Sequence[str] = ()
    dead_letters: Sequence[str] = ()
    unrouted_events: int = 0
    unpublished: int = 0
    calls: Sequence[Call] = ()
    """Everything that clients' backends received, in order."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """The origin of the backends of each behaviour."""
    secret: str = ""
    """What receivers verify with."""
    given_up: Entries = ()
    """The detail of each `VideoTaskNotificationFailed`."""
    undelivered: Sequence[str] = ()
    """The notifications' DLQ messages."""


@dataclass
class Result:
    """What became of one task."""

    submitted: Submitted
    ends: frozenset[End]
    found: End
    seconds: float = 0.0
    extra_creates: int = 0
    calls: int = 0
    """How often its client was called."""
    problems: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return self.found.status in ENDS


def possible_ends(one: Submitted, creates: Entries, remote: Entries, injected: Entries, times: Times) -> frozenset[End]:
    """The ends that are right for a task; more than one only where AWS's faults leave open what the relay knows."""
    script, last = one.plan.script, creates[-1] if creates else None
    blind = _harmed(injected, CREATORS, one.at if last is None else last["at"])
    unknown = {UNCONFIRMED} if blind else set()
    if last is None:
        return frozenset({UNCONFIRMED, TOO_LATE} if blind else ())
    fault = last.get("fault")
    if fault == "throttle":
        return frozenset({End("canceled")} if one.canceled == 202 else {TOO_LATE} | unknown)
    if fault == "reject":
        upstream = "/ent/" in last.get("path", "")  # gives a reason, not the gateway's code
        code = "BadRequest" if upstream else str(script["create"]["reject"]["code"])
        return frozenset({End("failed", code)} | unknown)
    if last.get("task") is None:
        return frozenset({UNCONFIRMED})
    if not remote:
        return frozenset()  # the provider contradicts itself
    known = _ends_of_known(one, remote[-1], times)
    answered = fault is None or (fault == "hang" and script["create"]["hang"]["seconds"] < REPLY_SECONDS)
    callbacks = [call.get("http_status") for call in remote[-1]["callbacks"] if call["kind"] in ("true", "duplicate")]
    if 200 in callbacks or (answered and not blind):
        return known
    # 503 is the relay's "not yet", which keeps what the callback named, or API Gateway's own: then nothing is kept
    return known | {UNCONFIRMED} if answered or 503 in callbacks else frozenset({UNCONFIRMED})


def _ends_of_known(one: Submitted, task: Mapping[str, Any], times: Times) -> frozenset[End]:
    outcome = one.plan.script.get("outcome", {})
    if task.get("state") == "canceled":
        return frozenset({End("canceled")})
    if outcome.get("never_finish"):
        return frozenset({TOO_LATE})
    if "fail" in outcome:
        failed = End("failed", outcome["fail"]["code"])
        seen = [poll["at"] for poll in task["polls"] if poll["said"] == "failed" and poll["http_status"] == 200]
        if any(at < one.at + times.deadline - MARGIN_SECONDS for at in seen):
            return frozenset({failed})
        return frozenset({failed, TOO_LATE} if seen else {TOO_LATE})
    return frozenset({End("completed")})


def _harmed(injected: Entries, names: Sequence[str], at: float) -> bool:
    """Whether a fault of AWS around a moment may have hidden the outcome of a call from these functions."""
    return any(
        entry["how"] in HIDING
        and entry["at"] not in ("s3", "sqs", "events")
        and any(name in f"{entry['at']} {entry['caller']}" for name in names)
        and abs(entry["time"] - at) < BLIND_SECONDS
        for entry in injected
    )


def kept_back(injected: Entries, since: float, until: float = float("inf")) -> bool:
    """Whether a fault of AWS met a function between a change and its client."""
    met = [entry for entry in injected if any(name in f"{entry['at']} {entry['caller']}" for name in NOTIFIERS)]
    return any(since - 1 < entry["time"] <= until for entry in met)


def published(shown: Mapping[str, Any]) -> dict[int, str]:
    """The published changes of a task by version, from its history; the first is the second of its creation."""
    changes = [DELAYED if entry["source"] == DELAYED else entry["status"] for entry in shown["history"]]
    return dict(enumerate(changes, int(datetime.fromisoformat(shown["created_at"]).timestamp())))


def owed(one: Submitted, shown: Mapping[str, Any], injected: Entries) -> list[int]:
    """The versions of which a task's client must have been notified.

    The last one always. `processing` is dropped once the task has ended if it was tried without success: it is owed
    where the client answers the first try, and no injected fault of AWS delayed it.
    """
    changes = [(version, change) for version, change in published(shown).items() if change in NOTIFIED]
    sure = one.plan.client in PROMPT and not kept_back(injected, one.at)
    due = [version for version, change in changes[:-1] if sure and change == "processing"]
    return [*due, *[version for version, _ in changes[-1:]]] if one.plan.client else []


def _task_and_name(text: str) -> tuple[str, str] | None:
    """Task and `webhook-id` of a DLQ message."""
    try:
        body = json.loads(text)
        return str(body["task_id"]), f"{body['task_id']}:{int(body['version'])}"
    except (ValueError, KeyError, TypeError):
        return None


def _observe(one: Submitted, evidence: Evidence, ends: frozenset[End]) -> ObservedTask:
    """The task as the oracle takes it."""
    task_id, plan = one.task_id, one.plan
    record, shown, remote = evidence.records[task_id], evidence.shown[task_id], evidence.remote.get(task_id, ())
    error = shown["error"]
    late = record["status"] == "expired" and (record.get("remote_id") or record.get("candidates"))
    keys = [video["key"] for video in shown["videos"]]
    keys += sorted(key for key in evidence.objects if f"/{task_id}/" in key and key not in keys)
    served = [(video["size"], video["sha256"]) for video in remote[-1]["videos"]] if remote else []
    undelivered = filter(None, map(_task_and_name, evidence.undelivered))
    return ObservedTask(
        task_id=task_id,
        end=End(shown["status"], error["code"] if error else None),
        changes=published(shown),
        creates=[_outcome(call) for call in evidence.creates.get(task_id, ())],
        events=[_event(event["detail-type"], event["detail"]) for event in evidence.events.get(task_id, ())],
        listed=[(video["size"], video["sha256"]) for video in shown["videos"]],
        stored=[evidence.objects.get(key) for key in keys],
        served=[served] if shown["status"] == "completed" else [],
        ends=ends,
        due=record.get("due_at") is not None and not late,
        shown=shown,
        hook=evidence.origins[plan.client] + plan.hook if plan.client else None,
        secret=base64.b64decode(evidence.secret.removeprefix("whsec_")),
        calls=_calls(plan, evidence),
        booked=evidence.ledger.get(task_id),
        billed=bill(remote, evidence),
        reserved=_reserved(shown),
        owed=owed(one, shown, evidence.injected),
        given_up=[detail for detail in evidence.given_up if detail["task_id"] == task_id],
        dead_letters={name for owner, name in undelivered if owner == task_id},
    )


def bill(remote: Entries, evidence: Evidence) -> Decimal | None:
    """What the simulator's books say of all that it made for a task; None where its replies state no bill."""
    bills = [Decimal(amount) * (evidence.credit_usd if unit == "credits" else 1) for each in remote
             for unit, amount in (each.get("bill") or {}).items()]  # fmt: skip
    return sum(bills, Decimal(0)) if bills else None


def _reserved(shown: Mapping[str, Any]) -> Decimal | None:
    reserved = shown.get("billing", {}).get("reserved_usd")
    return None if reserved is None else Decimal(reserved)


def _event(kind: str, detail: Mapping[str, Any]) -> Event:
    return Event(kind, detail["task"]["version"], detail["event_id"], json.dumps(detail, sort_keys=True))


def _outcome(call: Mapping[str, Any]) -> str:
    """A create call's outcome in the oracle's words."""
    fault = call.get("fault")
    return {"throttle": "nothing", "reject": "rejected", None: "created"}.get(fault) or str(fault)


def _calls(plan: Plan, evidence: Evidence) -> list[Call]:
    """What came to the address of a plan's client."""
    return [call for call in evidence.calls if plan.client and call.url.endswith(plan.hook)]


def evaluate(one: Submitted, evidence: Evidence, times: Times) -> Result:
    """One task against the model and the oracle."""
    task_id, at = one.task_id, one.at
    remote, shown = evidence.remote.get(task_id, ()), evidence.shown.get(task_id)
    ends = possible_ends(one, evidence.creates.get(task_id, ()), remote, evidence.injected, times)
    extra = max(0, len(remote) - 1)
    if shown is None or task_id not in evidence.records:
        return Result(one, ends, End("absent"), extra_creates=extra, problems=["the task is gone"])
    task = _observe(one, evidence, ends)
    first, last = (datetime.fromisoformat(shown["history"][end]["at"]) for end in (0, -1))
    result = Result(one, ends, task.end, (last - first).total_seconds(), extra, len(task.calls))
    result.problems = [str(violation) for violation in check_task(task)]
    if extra:
        result.problems.append(f"created {len(remote)} times")
    if evidence.records[task_id]["status"] != shown["status"]:
        table = evidence.records[task_id]["status"]
        result.problems.append(f"the API shows {shown['status']}, the table has {table}")
    result.problems += _check_given_up(one, task, evidence)
    for number, call in enumerate(task.calls):
        gone = any(a.webhook_id == call.webhook_id and a.answer == 410 for a in task.calls[:number])
        if gone and not kept_back(evidence.injected, at, call.at):
            result.problems.append(f"notified again of {call.webhook_id} after it answered 410")
    return result


def _check_given_up(one: Submitted, task: ObservedTask, evidence: Evidence) -> Iterator[str]:
    for detail in task.given_up:
        found = (detail["event_id"], detail["tenant_id"], detail["url_origin"])
        name = f"{one.task_id}:{detail['version']}:notification"
        if found != (name, TENANT, evidence.origins.get(one.plan.client or "")):
            yield f"given up as {', '.join(found)}"


def check_stack(submitted: Sequence[Submitted], evidence: Evidence) -> list[str]:
    """What is wrong beyond single tasks."""
    ours = {one.task_id: one.plan for one in submitted}
    unknown = (set(evidence.records) | set(evidence.remote) | set(evidence.events)) - set(ours)
    lost_slots = [
        entry
        for entry in evidence.injected
        if (entry["at"], entry["how"], entry["what"]) == ("dynamodb", "lose_reply", "UpdateItem")
    ]
    most = len(ours) + sum(one.refused for one in submitted) + len(lost_slots)
    counted = sum((row.counted for row in evidence.ledger.values()), Decimal(0))
    dearest = max((_reserved(task) or Decimal(0) for task in evidence.shown.values()), default=Decimal(0))
    lost = (evidence.slots_taken - len(ours)) * dearest
    cut = sum(entry["how"] in ("kill", "time_out") or entry["at"] == "s3" for entry in evidence.injected)
    uploads, hooks = len(evidence.open_uploads), {task_id: plan.hook for task_id, plan in ours.items() if plan.client}
    given_up = [detail["task_id"] for detail in evidence.given_up if detail["task_id"] not in hooks]
    undelivered = [text for text in evidence.undelivered if (_task_and_name(text) or ("",))[0] not in hooks]
    calls = [call for call in evidence.calls if not call.url.endswith(tuple(hooks.values()))]
    return [
        *[f"{task_id or 'a task without id'}: no client submitted it" for task_id in sorted(unknown)],
        *map(str, check_quota(len(ours), evidence.slots_taken, most)),
        *map(str, check_spending(counted, evidence.committed, counted + lost)),
        *([f"{uploads} uploads are open, {cut} were cut"] if uploads > cut else []),
        *[f"a DLQ message: {message}" for message in evidence.dead_letters],
        *([f"{evidence.unrouted_events} events were not routed"] if evidence.unrouted_events else []),
        *([f"{evidence.unpublished} objects with unpublished records"] if evidence.unpublished else []),
        *[f"{call.method} at {call.url}, which is no client's" for call in calls],
        *[f"a notification of {task_id} was given up, which has no client" for task_id in given_up],
        *[f"a DLQ message of no client: {text[:80]}" for text in undelivered],
    ]
