"""What must have become of each task, by a model that knows the script and what the provider saw, and not the relay.

The provider's own account says which create calls came, what each was answered, and which callbacks were taken. From
that follows how a task must end. Only where AWS was made to fail around a create call may the relay not know what the
provider answered: then both ends are right, and the money was spent at most once all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.chaos.client_verdict import DELAYED, Told, judge_client, judge_clients
from local.chaos.faults import MAX_VIDEO_BYTES, Plan, Script, Times

__all__ = ["End", "Evidence", "Judgement", "Submitted", "judge", "judge_stack", "possible_ends"]

UNCONFIRMED = "submission_unconfirmed"
TOO_LATE = "deadline_exceeded"
RELAY_WAITS_SECONDS = 15
"""How long the relay waits for the reply to a create call; a slower one is lost."""
BLIND_SECONDS = 60
"""So long after a create call a fault of AWS's may have kept its outcome from being recorded."""
GREY_SECONDS = 20
"""A reading of the provider so shortly before the deadline may or may not have been in time."""

HIDING = frozenset({"kill", "time_out", "break", "refuse", "lose_reply"})
CREATORS = ("SubmitTask", "CheckTask", "AcceptRequest")
"""The functions that make create calls and record how they went, as their names and their roles' names have it."""

CODES = {
    "truncate": "truncated",
    "short": "truncated",
    "corrupt": "truncated",
    "endless": "too_large",
    "redirect": "address_refused",
    "html_200": "not_mp4",
    "status": "source_refused",
}
"""Why a video that is never any better is not copied. Its task stays `generated`: the copy is tried for days."""

KIND_OF = {
    "accepted": "VideoTaskAccepted",
    "submitted": "VideoTaskSubmitted",
    "processing": "VideoTaskProcessing",
    "generated": "VideoTaskGenerated",
    "completed": "VideoTaskCompleted",
    "failed": "VideoTaskFailed",
    "expired": "VideoTaskExpired",
    "canceled": "VideoTaskCanceled",
}
"""The event of each entry of a task's history, by its state."""


@dataclass(frozen=True, order=True)
class End:
    """How a task ends: its state, and the code of its error; of the last failed copy for one that stays `generated`."""

    status: str
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.status} ({self.code})" if self.code else self.status


@dataclass(frozen=True)
class Submitted:
    """A task that the relay took, and when (seconds since the epoch)."""

    plan: Plan
    task_id: str
    at: float
    refused: int
    """How many tries of the client came to nothing before."""
    called_off: int | None = None
    """How the client's cancel was answered, if there was one."""


@dataclass(frozen=True)
class Evidence:
    """Everything that can be seen from outside once all is quiet. Times are seconds since the epoch."""

    records: Mapping[str, Mapping[str, Any]]
    """The tasks in the table: `status`, `version`, `due_at`, `remote_id`, whether there are `candidates`."""
    shown: Mapping[str, Mapping[str, Any]]
    """The tasks as the API shows them."""
    events: Mapping[str, Sequence[Mapping[str, Any]]]
    """The events of each task, as they came."""
    creates: Mapping[str, Sequence[Mapping[str, Any]]]
    """The create calls that the provider had for each task."""
    remote: Mapping[str, Sequence[Mapping[str, Any]]]
    """What the provider made for each task, with all it saw."""
    objects: Mapping[str, tuple[int, str]]
    """Size and SHA-256 of every object in the videos bucket, by key."""
    given: Sequence[Mapping[str, Any]]
    """Every fault of AWS that was given."""
    places_taken: int
    open_uploads: Sequence[str]
    dead_letters: Sequence[str]
    unrouted_events: int
    unpublished: int
    told: Told = field(default_factory=Told)
    """What clients were told of."""


@dataclass
class Judgement:
    """Of one task."""

    submitted: Submitted
    ends: frozenset[End]
    found: End
    seconds: float
    extra_creates: int
    calls: int = 0
    """How often its client was called."""
    problems: list[str] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        return self.found.status in ("completed", "failed", "expired", "canceled")


def possible_ends(
    submitted: Submitted,
    creates: Sequence[Mapping[str, Any]],
    remote: Sequence[Mapping[str, Any]],
    given: Sequence[Mapping[str, Any]],
    times: Times,
) -> frozenset[End]:
    """The ends that are right for a task; more than one only where AWS's faults leave open what the relay heard."""
    lost = End("expired", UNCONFIRMED)
    script, last = submitted.plan.script, creates[-1] if creates else None
    if last is None:
        return frozenset({lost}) if _blinded(submitted.at, given) else frozenset()
    fault = last.get("fault")
    if submitted.called_off == 202 and fault == "throttle":
        return frozenset({End("canceled")})
    if fault == "throttle":
        return frozenset({End("expired", TOO_LATE)} | ({lost} if _blinded(last["at"], given) else set()))
    if fault == "reject":
        return frozenset({End("failed", _refusal(last, script))} | ({lost} if _blinded(last["at"], given) else set()))
    if last.get("task") is None:
        return frozenset({lost})
    if not remote:
        return frozenset()  # the provider contradicts itself
    task = remote[-1]
    known = _ends_of_known(submitted, task, times)
    heard = fault is None or (fault == "hang" and script["create"]["hang"]["seconds"] < RELAY_WAITS_SECONDS)
    answers = [ring.get("http_status") for ring in task["callbacks"] if ring["kind"] in ("true", "duplicate")]
    if 200 in answers or (heard and not _blinded(last["at"], given)):
        return known
    # 503 is the relay's "not yet", which keeps what the callback named, or API Gateway's own: nobody kept anything
    return known | {lost} if heard or 503 in answers else frozenset({lost})


def _refusal(call: Mapping[str, Any], script: Script) -> str:
    """The code in a refused create call's answer; the upstream API gives a reason in place of the gateway's code."""
    upstream = call.get("path", "").endswith("/reference2video")
    return "BadRequest" if upstream else str(script["create"]["reject"]["code"])


def _blinded(at: float, given: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a fault of AWS's may have hidden the outcome of a create call of this moment."""
    return any(
        entry["how"] in HIDING
        and entry["at"] not in ("s3", "sqs", "events")
        and any(name in f"{entry['at']} {entry['caller']}" for name in CREATORS)
        and at - BLIND_SECONDS < entry["time"] < at + BLIND_SECONDS
        for entry in given
    )


def _ends_of_known(submitted: Submitted, task: Mapping[str, Any], times: Times) -> frozenset[End]:
    script = submitted.plan.script
    outcome = script.get("outcome", {})
    late = End("expired", TOO_LATE)
    if task.get("state") == "canceled":
        return frozenset({End("canceled")})
    if outcome.get("never_finish"):
        return frozenset({late})
    if "fail" in outcome:
        failed = End("failed", outcome["fail"]["code"])
        told = [poll["at"] for poll in task["polls"] if poll["said"] == "failed" and poll["http_status"] == 200]
        deadline = submitted.at + times.deadline
        if any(at < deadline - GREY_SECONDS for at in told):
            return frozenset({failed})
        return frozenset({failed, late} if told else {late})
    fault = script.get("videos", {}).get("fault", {})
    if script.get("videos", {}).get("size_bytes", 0) > MAX_VIDEO_BYTES:
        return frozenset({End("generated", "too_large")})
    if fault and fault.get("times") is None:
        return frozenset({End("generated", CODES[fault["kind"]])})
    return frozenset({End("completed")})


def judge(submitted: Submitted, evidence: Evidence, times: Times) -> Judgement:
    """One task against the model."""
    task_id = submitted.task_id
    creates, remote = evidence.creates.get(task_id, ()), evidence.remote.get(task_id, ())
    record, shown = evidence.records.get(task_id), evidence.shown.get(task_id)
    ends = possible_ends(submitted, creates, remote, evidence.given, times)
    extra = max(0, len(remote) - 1)
    if record is None or shown is None:
        return Judgement(submitted, ends, End("absent"), 0.0, extra, problems=["the task is gone"])
    last = (shown.get("delivery") or {}).get("last_error") if shown["status"] == "generated" else shown["error"]
    found = End(shown["status"], last["code"] if last else None)
    seconds = _seconds_between(shown["history"])
    plan, at = submitted.plan, submitted.at
    judgement = Judgement(submitted, ends, found, seconds, extra, len(evidence.told.of(plan)))
    judgement.problems = [
        *([] if found in ends else [f"ended {found}, the model says {' or '.join(map(str, sorted(ends))) or '?'}"]),
        *_billed_wrongly(creates, remote),
        *_left_open(record, shown),
        *_told_wrongly(shown, evidence.events.get(task_id, ())),
        *_kept_wrongly(task_id, shown, remote, evidence.objects),
        *judge_client(plan, task_id, at, shown, evidence.told, evidence.given),
    ]
    return judgement


def _billed_wrongly(creates: Sequence[Mapping[str, Any]], remote: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(remote) > 1:
        yield f"created {len(remote)} times"
    if any(call.get("fault") != "throttle" for call in creates[:-1]):
        answers = ", ".join(str(call.get("fault") or "well") for call in creates)
        yield f"asked again after an answer that was not 429: {answers}"


def _left_open(record: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[str]:
    if record["status"] != shown["status"]:
        yield f"the API shows {shown['status']}, the table has {record['status']}"
    watched_late = record["status"] == "expired" and (record.get("remote_id") or record.get("candidates"))
    copied_later = record["status"] == "generated"
    if record.get("due_at") is not None and not watched_late and not copied_later:
        yield f"still due, in state {record['status']}"


def _kind_of(entry: Mapping[str, Any]) -> str | None:
    return "VideoTaskDeliveryDelayed" if entry.get("source") == DELAYED else KIND_OF.get(entry["status"])


def _told_wrongly(shown: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The events against the history: each version once or more, always the same, the last one the end."""
    kinds: dict[int, set[str]] = {}
    for event in events:
        task = event["detail"]["task"]
        kinds.setdefault(task["version"], set()).add(event["detail-type"])
        if event["detail"]["event_id"] != f"{shown['task_id']}:{task['version']}":
            yield f"an event with the id {event['detail']['event_id']}"
    # an entry of the history for each version; versions begin at the second of creation
    published = [_kind_of(entry) for entry in shown["history"]]
    versions = list(range(shown["version"] - len(published) + 1, shown["version"] + 1))
    if sorted(kinds) != versions:
        yield f"events of the versions {sorted(kinds)}, of {versions}"
        return
    told = [sorted(kinds[version]) for version in versions]
    if told != [[kind] for kind in published]:
        yield f"events {told}, history {published}"


def _kept_wrongly(
    task_id: str,
    shown: Mapping[str, Any],
    remote: Sequence[Mapping[str, Any]],
    objects: Mapping[str, tuple[int, str]],
) -> Iterator[str]:
    """The bucket against the provider's own bytes."""
    keys = sorted(key for key in objects if f"/{task_id}/" in key)
    if shown["status"] != "completed":
        if keys or shown["videos"]:
            yield f"{len(keys)} objects of a task that is {shown['status']}"
        return
    served = [(video["size"], video["sha256"]) for video in remote[-1]["videos"]] if remote else []
    listed = [(video["size"], video["sha256"]) for video in shown["videos"]]
    stored = [objects.get(video["key"]) for video in shown["videos"]]
    if not served or not served == listed == stored or keys != sorted(video["key"] for video in shown["videos"]):
        yield f"served {served}, recorded {listed}, stored {stored}"


def judge_stack(submitted: Sequence[Submitted], evidence: Evidence) -> list[str]:
    """What is wrong beyond single tasks."""
    problems = []
    ours = {one.task_id for one in submitted}
    strangers = (set(evidence.records) | set(evidence.remote) | set(evidence.events)) - ours
    if strangers:
        problems.append(f"tasks that nobody submitted: {', '.join(sorted(strangers))}")
    most = len(ours) + sum(one.refused for one in submitted) + sum(map(_may_take_a_place, evidence.given))
    if not len(ours) <= evidence.places_taken <= most:
        problems.append(f"{evidence.places_taken} places of the day are taken, for {len(ours)} tasks (at most {most})")
    cut = sum(entry["how"] in ("kill", "time_out") or entry["at"] == "s3" for entry in evidence.given)
    if len(evidence.open_uploads) > cut:
        problems.append(f"{len(evidence.open_uploads)} uploads are open, {cut} were cut short")
    if evidence.dead_letters:
        problems.append(f"{len(evidence.dead_letters)} dead letters: {', '.join(evidence.dead_letters)}")
    if evidence.unrouted_events:
        problems.append(f"{evidence.unrouted_events} events were not routed")
    if evidence.unpublished:
        problems.append(f"{evidence.unpublished} objects with records that were not published")
    return problems + judge_clients({one.task_id: one.plan for one in submitted}, evidence.told)


def _may_take_a_place(entry: Mapping[str, Any]) -> bool:
    """A place is left unused where the reply to its taking got lost."""
    return (entry["at"], entry["how"], entry["what"]) == ("dynamodb", "lose_reply", "UpdateItem")


def _seconds_between(history: Sequence[Mapping[str, Any]]) -> float:
    if not history:
        return 0.0
    first, last = (datetime.fromisoformat(entry["at"]) for entry in (history[0], history[-1]))
    return (last - first).total_seconds()
