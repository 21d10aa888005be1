"""What happens to a task: accepted, read from the provider, canceled, expired, polled. Pure functions.

`now` is in milliseconds since the epoch. A function that finds nothing to change returns the very task it was given;
the store writes every other result in one conditional write. The create call has its own changes in
`vidu_relay.domain.submission`, the copy of the videos in `vidu_relay.domain.delivery`.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.errors import TransitionError
from vidu_relay.domain.identifiers import link_digest
from vidu_relay.domain.money import money_text
from vidu_relay.domain.polling import DELIVERY_GRACE_MS, HANDOVER_MS, LEASE_MS, SLOW_INTERVAL_MS, PollingPolicy
from vidu_relay.domain.snapshot import ProgressState, ProviderSnapshot, TaskError
from vidu_relay.domain.states import EVENT_TYPES, Status, can_transition
from vidu_relay.domain.task import HistoryEntry, Origin, Output, StoredRequest, Task

if TYPE_CHECKING:
    from vidu_relay.domain.price import Price

__all__ = [
    "SUBMISSION_UNCONFIRMED",
    "apply_snapshot",
    "cancel_unsubmitted",
    "enter",
    "expire",
    "leave_until",
    "new_task",
    "poll_again_at",
    "reject_unsubmitted",
    "remote_fields",
    "settle",
    "shows_another_task",
    "stop_polling",
    "take_lease",
    "without_ids",
]

SUBMISSION_UNCONFIRMED = "submission_unconfirmed"
"""The code of a task that expired while it was not known whether its create call had created something."""


def new_task(
    task_id: str,
    origin: Origin,
    stored: StoredRequest,
    *,
    token: str,
    provider: str,
    now: int,
    policy: PollingPolicy,
    price: Price | None = None,
    credit_usd: Decimal | None = None,
) -> Task:
    """An accepted task. Its entry point goes on to `submission.begin_attempt`; if it dies before, a check does.

    `price` is what was reserved for it, `credit_usd` what a credit of its provider costs.
    """
    return Task(
        task_id=task_id,
        token=token,
        tenant_id=origin.tenant_id,
        status=Status.ACCEPTED,
        revision=0,
        # versions and leases count up from here: the record of an earlier task under the same idempotency key may be
        # gone, but consumers remember its events, and the names of its executions stay taken for 90 days
        version=now // 1000,
        lease=now // 1000,
        provider=provider,
        created_at=now,
        updated_at=now,
        deadline_at=policy.deadline_at(now, off_peak=bool(stored.parameters.get("off_peak"))),
        request_digest=stored.digest,
        request=stored.parameters,
        request_key=stored.key,
        external_id=stored.external_id,
        labels=stored.labels,
        priority=stored.priority,
        batch_id=origin.batch_id,
        message_id=origin.message_id,
        image_versions=stored.image_versions,
        due_at=now + HANDOVER_MS,
        history=(HistoryEntry(now, Status.ACCEPTED, origin.entry_point),),
        reserved_usd=money_text(price.reserved) if price else None,
        price_basis=price.basis.value if price else None,
        credit_usd=money_text(credit_usd) if credit_usd is not None else None,
    )


def enter(task: Task, status: Status, now: int, source: str) -> Task:
    """The task in another state. Raises `TransitionError` if the transition table does not allow it."""
    if not can_transition(task.status, status):
        raise TransitionError(f"{task.status} → {status}")
    if status not in EVENT_TYPES:  # accepted and submitting: a retry, not news
        return replace(task, status=status, updated_at=now)
    return replace(
        task,
        status=status,
        version=task.version + 1,
        updated_at=now,
        history=(*task.history, HistoryEntry(now, status, source)),
    )


def settle(task: Task, status: Status, now: int, source: str, policy: PollingPolicy) -> Task:
    """A published end: no check is due, and the record is deleted after its retention."""
    return replace(enter(task, status, now, source), due_at=None, expires_at=policy.forget_at(now))


def expire(task: Task, *, now: int, source: str, policy: PollingPolicy) -> Task:
    """The deadline passed without an answer. With a remote id it is still read, slowly."""
    if task.status is Status.SUBMITTING or (task.status is Status.ACCEPTED and task.candidates):
        error = TaskError(
            SUBMISSION_UNCONFIRMED,
            "The create call ended without an answer and no callback came. The provider may have made and billed "
            "this video; it is delivered if a callback still names it.",
        )
    elif task.status is Status.ACCEPTED and task.paused_since is not None:
        error = TaskError(
            "provider_account_refused",
            "The provider refuses the operator's account (key, permission or balance), or the relay has no key. "
            "Nothing was created.",
        )
    elif task.status is Status.ACCEPTED:
        error = TaskError("deadline_exceeded", "The provider took no submission in time. Nothing was created.")
    else:
        error = TaskError("deadline_exceeded", "The provider gave no final answer before the deadline.")
    moved = settle(replace(task, error=error, checks=0), Status.EXPIRED, now, source, policy)
    late_until = policy.late_until(task.deadline_at)
    polled = (task.remote_id is not None or bool(task.candidates)) and now < late_until
    return replace(
        moved,
        due_at=min(now + SLOW_INTERVAL_MS, late_until) if polled else None,
        expires_at=policy.forget_at(max(now, late_until)),
    )


def cancel_unsubmitted(
    task: Task, *, now: int, policy: PollingPolicy, source: str = "cancel", error: TaskError | None = None
) -> Task:
    """`accepted` → `canceled`, where certainly nothing exists at the provider; otherwise the same task.

    A candidate id says that an attempt may have created something after all: then it is not certain.
    """
    if task.status is not Status.ACCEPTED or task.candidates or not task.attempt_is_over(now):
        return task
    return settle(replace(task, error=error), Status.CANCELED, now, source, policy)


def reject_unsubmitted(task: Task, error: TaskError, *, now: int, policy: PollingPolicy) -> Task:
    """`accepted` → `failed`: what the request refers to may no longer be used, and nothing exists at the provider."""
    if task.status is not Status.ACCEPTED or task.candidates or not task.attempt_is_over(now):
        return task
    return settle(replace(task, error=error), Status.FAILED, now, "check", policy)


def apply_snapshot(task: Task, snapshot: ProviderSnapshot, *, now: int, source: str, policy: PollingPolicy) -> Task:
    """What a read of the provider means for the task; the same task if it means nothing new.

    - success with at least one video → `generated`, also from `expired`;
    - success without a video is not an end: the task is read again;
    - failure → `failed`, unless it is not conclusive, or the task is already expired (its clients were notified);
    - canceled → `canceled`, unless the task is already expired;
    - running → `processing`; everything else, unknown words included, changes nothing;
    - of an expired task whose content is deleted only the bill is taken: no late video is delivered.
    """
    if task.status not in (Status.ACCEPTED, Status.SUBMITTING, Status.SUBMITTED, Status.PROCESSING, Status.EXPIRED):
        return task
    if task.content_deleted_at is not None:
        return _billed(task, snapshot)
    if snapshot.state is ProgressState.SUCCEEDED and snapshot.video_urls:
        return _generated(task, snapshot, now, source)
    if snapshot.state is ProgressState.FAILED:
        if not snapshot.conclusive:
            return task
        error = snapshot.error or TaskError("provider_failed", "The provider reports a failure without a reason.")
        if task.status is Status.EXPIRED:
            return _billed(task, snapshot)
        return settle(replace(_ended(task, snapshot), error=error), Status.FAILED, now, source, policy)
    if snapshot.state is ProgressState.CANCELED:
        if task.status is Status.EXPIRED:
            return _billed(task, snapshot)
        return settle(_ended(task, snapshot), Status.CANCELED, now, source, policy)
    if snapshot.state is ProgressState.PROCESSING and can_transition(task.status, Status.PROCESSING):
        return replace(enter(task, Status.PROCESSING, now, source), **remote_fields(task, snapshot))
    return task


def _ended(task: Task, snapshot: ProviderSnapshot) -> Task:
    return replace(task, usage=snapshot.usage or task.usage, **remote_fields(task, snapshot))


def _billed(task: Task, snapshot: ProviderSnapshot) -> Task:
    """What an end at the provider says of the bill; the same task if it says nothing new."""
    ended = snapshot.state in (ProgressState.FAILED, ProgressState.CANCELED) and snapshot.conclusive
    if not ended and not snapshot.video_urls:
        return task
    usage, outputs = snapshot.usage or task.usage, _outputs(snapshot) if snapshot.video_urls else task.outputs
    billed = replace(task, usage=usage, outputs=outputs, due_at=None)
    return task if billed == task else billed


def _outputs(snapshot: ProviderSnapshot) -> tuple[Output, ...]:
    return tuple(
        Output(o.task_id, o.task_status, tuple(link_digest(url) for url in o.video_urls)) for o in snapshot.outputs
    )


def _generated(task: Task, snapshot: ProviderSnapshot, now: int, source: str) -> Task:
    moved = enter(task, Status.GENERATED, now, source)
    return replace(
        moved,
        **remote_fields(task, snapshot),
        outputs=_outputs(snapshot),
        usage=snapshot.usage,
        error=None,
        delivery=None,
        due_at=now + DELIVERY_GRACE_MS,
        lease=task.lease + 1,  # an execution that polls the provider has nothing left to do
        checks=0,
        expires_at=None,
    )


def shows_another_task(task: Task, snapshot: ProviderSnapshot) -> bool:
    """Whether a read of the task's remote id describes another remote task.

    The ids that the reply names are compared with every id that this task learned from its own create reply and from
    trusted reads. A reply that names none is trusted.
    """
    known = task.remote_ids
    if snapshot.named_ids:
        return not any(name in known for name in snapshot.named_ids)
    return bool(task.upstream_id and snapshot.upstream_id and snapshot.upstream_id not in known)


def without_ids(task: Task, ids: tuple[str, ...]) -> Task:
    """The task without these further ids, which belong to another task. The id it is read by is never among them."""
    return replace(
        task,
        aliases=tuple(name for name in task.aliases if name not in ids),
        upstream_id=None if task.upstream_id in ids else task.upstream_id,
    )


def take_lease(task: Task, *, now: int) -> Task:
    """Take the right to check the task, with the shortest interval: every older execution loses it."""
    return replace(task, lease=task.lease + 1, checks=0, due_at=now + LEASE_MS)


def poll_again_at(task: Task, at: int) -> Task:
    """Nothing changed: the next check is at `at`; the sweep starts one if it has not come two minutes later."""
    return task if task.due_at is None else replace(task, checks=task.checks + 1, due_at=at + LEASE_MS)


def leave_until(task: Task, at: int) -> Task:
    """No check is needed before `at`: the sweep starts one then."""
    return task if task.due_at is None else replace(task, due_at=at)


def stop_polling(task: Task) -> Task:
    """No further check is needed."""
    return replace(task, due_at=None) if task.due_at is not None else task


def remote_fields(task: Task, snapshot: ProviderSnapshot) -> dict[str, Any]:
    """What every trusted read may add to a task: the id behind the gateway's, and another model than asked for."""
    return {
        "upstream_id": snapshot.upstream_id or task.upstream_id,
        "remote_model": snapshot.model if snapshot.model != task.request.get("model") else None,
    }
