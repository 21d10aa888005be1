"""The oracle: the relay's invariants, checked on what can be observed from outside. It imports nothing of the relay.

The simulation checks them after each step (`tests/simulation/invariants.py` adds those that need every write), the
chaos test once all tasks have ended (`local/chaos/expectation.py` says how each must end). Signatures are computed here
as https://www.standardwebhooks.com has it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "DELAYED",
    "ENDS",
    "Booked",
    "Call",
    "End",
    "Event",
    "Invariant",
    "ObservedTask",
    "ViolationError",
    "check_quota",
    "check_spending",
    "check_task",
]

ENDS = frozenset({"completed", "failed", "expired", "canceled"})
DELAYED = "delivery_delayed"
"""The published change that a delivery is delayed; the other changes are the states."""
MADE_NOTHING = frozenset({"nothing", "denied", "rejected"})
"""Outcomes of create calls of which the provider says itself that nothing is to be paid."""
CERTAINLY_NOTHING = frozenset({"nothing", "denied"})
"""Outcomes of create calls after which another is allowed: the provider says itself that it created nothing."""
EVENT_OF = {
    "accepted": "VideoTaskAccepted",
    "submitted": "VideoTaskSubmitted",
    "processing": "VideoTaskProcessing",
    "generated": "VideoTaskGenerated",
    DELAYED: "VideoTaskDeliveryDelayed",
    "completed": "VideoTaskCompleted",
    "failed": "VideoTaskFailed",
    "expired": "VideoTaskExpired",
    "canceled": "VideoTaskCanceled",
}
NOTIFIED = frozenset({"processing", DELAYED, *ENDS})
TOLERANCE_SECONDS = 60
"""Between the moment that a signature names and the one at which its call arrives."""
SAME = ("task_id", "status", "version", "model", "created_at", "request", "error", "usage", "videos")
"""What a notification of the present version must show as the API does."""


class Invariant(StrEnum):
    """What may be violated."""

    BILLED_ONCE = "no create call once an earlier one may have created something"
    SETTLED = "every accepted task settles, as the provider decided"
    WHOLE_VIDEOS = "the videos delivered are the provider's, byte for byte"
    TRUE_EVENTS = "each published version is an event, in order, always the same"
    PROVEN_STATE = "each state is one that the provider showed"
    ONE_OWNER = "a remote task belongs to one task, the one it was created for; an external id to one of its tenant's"
    ONE_WRITE = "each change follows from the one before it"
    ALWAYS_DUE = "each unsettled task is due at some moment"
    ONE_POLLER = "an execution that lost its lease does nothing"
    QUOTA = "the day's counter is the number of accepted tasks, and no more than the cap"
    SPENDING = "the day's spending is what its tasks count, within the budget, and what the provider billed for them"
    ANSWERED = "a queued request becomes its task or its rejection"
    TRUE_CANCEL = "canceled is what was certainly never submitted, or what the provider shows as canceled"
    TRUE_IMAGES = "the provider gets the images that the request named"
    NO_DEAD_LETTERS = "no message is dead-lettered without a cause"
    TURNS = "tenants take turns in a queue, a tenant's tasks in their order, and none passes it by"
    SLOTS = "a task goes on when a slot is free: few are refused, and no slot is empty while one waits"
    NOTIFIED = "a client is notified of each end, signed, under one id, until 2xx or 410, or the failure is published"


class ViolationError(AssertionError):
    """An invariant does not hold; says which, and how that was seen."""

    def __init__(self, invariant: Invariant, what: str) -> None:
        super().__init__(f"{invariant.name}: {invariant.value}: {what}")
        self.invariant = invariant


@dataclass(frozen=True, order=True)
class End:
    """How a task ends: its state, and the code of its error. One that waits in `generated`: why its copies fail."""

    status: str
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.status} ({self.code})" if self.code else self.status


@dataclass(frozen=True)
class Event:
    """An event of a task on the bus; `content` is compared with that of the same id."""

    kind: str
    version: int
    event_id: str
    content: str


@dataclass(frozen=True)
class Booked:
    """A task's row of the ledger: the state of its bill, its cost (None: unknown), and what budgets count."""

    state: str
    cost: Decimal | None
    counted: Decimal


@dataclass
class Call:
    """A call of a client's backend, `at` (seconds since the epoch) it came, and the status it was answered with."""

    method: str
    url: str
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


Video = tuple[int, str]
"""Size and SHA-256."""


@dataclass(frozen=True)
class ObservedTask:
    """Everything that can be seen of one task. `ends` is None while it may still go on."""

    task_id: str
    end: End
    changes: Mapping[int, str]
    """What was published at each version."""
    creates: Sequence[str] = ()
    """The outcomes of its create calls: `nothing`, `denied` (created, and denied), `rejected`, or anything else."""
    events: Sequence[Event] = ()
    listed: Sequence[Video] = ()
    stored: Sequence[Video | None] = ()
    served: Sequence[Sequence[Video]] = ()
    """The provider's videos; several where it showed several outputs."""
    ends: Collection[End] | None = None
    due: bool = False
    """Whether it is due although it has ended."""
    shown: Mapping[str, Any] | None = None
    """As the API shows it."""
    hook: str | None = None
    """The address of its client's backend."""
    secret: bytes = b""
    """What its tenant's receivers verify with."""
    calls: Sequence[Call] = ()
    booked: Booked | None = None
    """Its row of the ledger."""
    billed: Decimal | None = None
    """What the provider's own books say that it costs; None where they name no amount."""
    reserved: Decimal | None = None
    """What was reserved for it; None where its spending is not compared."""
    owed: Collection[int] = ()
    """The versions of which its client must have been notified by now."""
    given_up: Sequence[Mapping[str, Any]] = ()
    """The detail of each of its `VideoTaskNotificationFailed`."""
    dead_letters: Collection[str] = field(default_factory=set)
    """`webhook-id` of each of its notifications in the dead-letter queue."""


def check_task(task: ObservedTask) -> Iterator[ViolationError]:
    """Everything that is wrong with one task."""
    yield from _check_billing(task)
    yield from _check_events(task)
    yield from _check_videos(task)
    if task.ends is not None:
        yield from _check_end(task)
    for call in task.calls:
        yield from _check_call(task, call)


def check_quota(accepted: int, taken: int, most: int | None) -> Iterator[ViolationError]:
    """`taken` slots of the day for so many accepted tasks; `most` where faults are known that leave slots unused."""
    if taken < accepted or (most is not None and taken > most):
        yield ViolationError(Invariant.QUOTA, f"{taken} slots are taken for {accepted} tasks (at most {most})")


def check_spending(counted: Decimal, committed: Decimal, most: Decimal | None) -> Iterator[ViolationError]:
    """A budget's counter for tasks that count so much; `most` where faults are known that leave reservations."""
    if committed < counted or (most is not None and committed > most):
        what = f"{committed} USD are committed for tasks that count {counted} USD (at most {most})"
        yield ViolationError(Invariant.SPENDING, what)


def _check_bill(task: ObservedTask) -> Iterator[ViolationError]:
    """The ledger's row against the provider's books: to the cent, and open exactly where the bill cannot be known."""
    row, made = task.booked, any(outcome not in MADE_NOTHING for outcome in task.creates)
    settled = task.end.status == "completed" or task.end.code == "video_unavailable"
    if settled or (task.end.status in ("failed", "canceled") and made and task.billed is not None):
        state, cost = "settled", task.billed
    else:
        unknown = made or task.end.code == "submission_unconfirmed"
        state, cost = "uncertain" if unknown else "none", None
    counted = Decimal(0) if state == "none" else task.reserved if cost is None else cost
    if row is None or row.state != state or (row.cost, row.counted) != (cost, counted):
        what = f"{task.task_id}, {task.end}: {row}, expected {state}, {cost}, {counted}"
        yield ViolationError(Invariant.SPENDING, what)


def _check_billing(task: ObservedTask) -> Iterator[ViolationError]:
    if any(outcome not in CERTAINLY_NOTHING for outcome in task.creates[:-1]):
        yield ViolationError(Invariant.BILLED_ONCE, f"{task.task_id} was created again: {', '.join(task.creates)}")


def _check_events(task: ObservedTask) -> Iterator[ViolationError]:
    seen: dict[int, str] = {}
    for event in task.events:
        expected = EVENT_OF.get(task.changes.get(event.version, ""))
        name = f"{task.task_id}:{event.version}"
        if (event.kind, event.event_id) != (expected, name):
            yield ViolationError(Invariant.TRUE_EVENTS, f"{event.kind} {event.event_id} in place of {expected} {name}")
        if seen.setdefault(event.version, event.content) != event.content:
            yield ViolationError(Invariant.TRUE_EVENTS, f"{name} was published with two contents")
    missing = [version for version in task.changes if version not in seen]
    if task.ends is not None and missing:
        yield ViolationError(Invariant.TRUE_EVENTS, f"{task.task_id}: versions {missing} were never published")


def _check_videos(task: ObservedTask) -> Iterator[ViolationError]:
    served = [video for videos in task.served for video in videos]
    if task.end.status == "completed":
        right = list(task.stored) in [list(videos) for videos in task.served]
    else:  # those that were copied while others fail
        right = all(video in served for video in task.stored)
    if not right or list(task.listed) != list(task.stored):
        what = f"served {list(task.served)}, recorded {list(task.listed)}, stored {list(task.stored)}"
        yield ViolationError(Invariant.WHOLE_VIDEOS, f"{task.task_id}, {task.end}: {what}")


def _check_end(task: ObservedTask) -> Iterator[ViolationError]:
    ends = task.ends or ()
    if task.end not in ends:
        expected = " or ".join(map(str, sorted(ends, key=str))) or "nothing"
        yield ViolationError(Invariant.SETTLED, f"{task.task_id} ended {task.end}, expected {expected}")
    if task.due:
        yield ViolationError(Invariant.SETTLED, f"{task.task_id} is still due, in state {task.end}")
    if task.reserved is not None:
        yield from _check_bill(task)
    if task.hook is not None:
        yield from _check_notified(task)


def _check_notified(task: ObservedTask) -> Iterator[ViolationError]:
    """Each end was notified or given up; what was given up has a 410 or a DLQ message, and these an event."""
    taken = {call.webhook_id for call in task.calls if call.taken}
    gone = {call.webhook_id for call in task.calls if call.answer == 410}
    codes: dict[str, set[str]] = {}
    for detail in task.given_up:
        codes.setdefault(str(detail["event_id"]).removesuffix(":notification"), set()).add(detail["error"]["code"])
    for version in sorted(task.owed):
        if f"{task.task_id}:{version}" not in taken | codes.keys():
            yield ViolationError(Invariant.NOTIFIED, f"the client was never notified of {task.task_id}:{version}")
    for name, reasons in sorted(codes.items()):
        if not (reasons == {"http_410"} and name in gone) and name not in taken | set(task.dead_letters):
            why = ", ".join(sorted(reasons))
            yield ViolationError(Invariant.NOTIFIED, f"{name} was given up for {why}, without 410 or DLQ message")
    for name in sorted(task.dead_letters):
        if not codes.get(name, set()) - {"http_410"}:
            yield ViolationError(Invariant.NOTIFIED, f"{name} is in the DLQ, and no event says why")


def _check_call(task: ObservedTask, call: Call) -> Iterator[ViolationError]:
    """One call: what it says was published, to whom it belongs, signed by what its tenant was given."""

    def wrong(what: str) -> ViolationError:
        return ViolationError(Invariant.NOTIFIED, what)

    if (call.method, call.url, call.headers.get("content-type")) != ("POST", task.hook, "application/json"):
        yield wrong(f"{call.method} {call.url}, {call.headers.get('content-type')}")
    if not _signed(call, task.secret):
        yield wrong(f"the call {call.webhook_id} has no good signature of its tenant's")
    try:
        body = json.loads(call.body)
        version, status, name = body["version"], body["status"], f"{body['task_id']}:{body['version']}"
    except (ValueError, KeyError, TypeError):
        yield wrong(f"the body is no task: {call.body[:80]!r}")
        return
    if call.webhook_id != name or body["task_id"] != task.task_id:
        yield wrong(f"{name} was sent to the client of {task.task_id} as {call.webhook_id}")
        return
    change = task.changes.get(version)
    if change not in NOTIFIED or status != ("generated" if change == DELAYED else change):
        yield wrong(f"{name} says {status}, published was {change}")
    if task.shown is not None:
        yield from map(wrong, _differences(body, task.shown))


def _differences(body: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    name, history = f"{body['task_id']}:{body['version']}", body["history"]
    if history != shown["history"][: len(history)] or history[-1]["status"] != body["status"]:
        yield f"{name} has a history that was not so"
    if body["version"] != shown["version"]:
        return
    differing = [field for field in SAME if body[field] != shown[field]]
    if differing:
        yield f"{name} has other {', '.join(differing)} than the API"
    links = [result.get("url", "") for output in body["output"] for result in output["results"]]
    right = [urlsplit(a).path.endswith(video["key"]) for a, video in zip(links, shown["videos"], strict=False)]
    if body["status"] == "completed" and (len(links) != len(shown["videos"]) or not all(right)):
        yield f"{name} has {len(links)} links for {len(shown['videos'])} videos, or to others"


def _signed(call: Call, secret: bytes) -> bool:
    """Whether one of the call's signatures is good, and made for about now."""
    stamp = call.headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(int(stamp) - call.at) > TOLERANCE_SECONDS:
        return False
    content = f"{call.webhook_id}.{stamp}.".encode() + call.body
    good = base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()
    return f"v1,{good}" in call.headers.get("webhook-signature", "").split()
