"""Do the next thing that a task needs when nothing else has happened to it in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.domain import delivery, lifecycle, submission
from vidu_relay.domain.admission import queued_until, waiting_check_at
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError
from vidu_relay.domain.polling import ATTEMPT_LIMIT_MS, LEASE_MS, SLOW_INTERVAL_MS
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, gauge, logger
from vidu_relay.usecases.attempt_submission import SubmissionDependencies, TimeLeft
from vidu_relay.usecases.begin_submission import begin_submission
from vidu_relay.usecases.ports import spread
from vidu_relay.usecases.read_remote_task import read_remote_task
from vidu_relay.usecases.reconcile_task import reconcile_task
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["NextStep", "check_task"]

SOURCE = "check"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the state machine does next: end, or wait and check again.

    An execution also ends where the task still needs a check, but not soon: the sweep has one made at its `due_at`.
    """

    settled: bool
    wait_seconds: int = 0


END = NextStep(settled=True)


def check_task(
    task_id: str,
    lease: int,
    *,
    deps: SubmissionDependencies,
    archive: RequestArchive,
    queue: DeliveryQueue,
    time_left: TimeLeft,
) -> NextStep:
    """Do the next thing for a task, if this lease still holds.

    Provider trouble is not an error here: it means another check later. Raises what AWS raises; the state machine
    retries that a few times, after which the lease lapses and the sweep starts another execution.
    """
    task = deps.store.get(task_id)
    if task is None or task.due_at is None or task.lease != lease:
        return END
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    if task.status is Status.ACCEPTED:
        return _submit(task, lease, deps, archive, time_left)
    if task.status is Status.SUBMITTING:
        return _wait_for_confirmation(task, lease, deps)
    if task.status is Status.GENERATED:
        return _ask_for_delivery(task, lease, deps, queue)
    if task.settled and task.status is not Status.EXPIRED:
        return _stop_polling(task, lease, deps)
    return _read(task, lease, deps)


def _submit(
    task: Task, lease: int, deps: SubmissionDependencies, archive: RequestArchive, time_left: TimeLeft
) -> NextStep:
    now = deps.clock()
    if task.candidates:  # a callback named a remote task: an attempt may have created it, so read it first
        task = reconcile_task(task, task.candidate_ids, deps, source=SOURCE)
        if task.status is not Status.ACCEPTED or task.lease != lease:
            return END
    over_at = task.deadline_at if task.paused_since is None else deps.policy.paused_until(task.paused_since)
    if task.waits:
        over_at = queued_until(task, deps.policy)
    elif task.admitted_at is not None and not task.attempts:  # its first check was lost: the sweep has it repeated
        over_at = max(over_at, task.admitted_at + 2 * LEASE_MS)
    if now >= over_at:
        _expire(task, lease, deps)
        return END
    if task.candidates:
        wait = deps.policy.backoff_ms(task.checks, spread())
        return _poll_again(task, lease, deps, min(now + wait, over_at))
    after = begin_submission(
        task,
        archive.request_of(task),
        deps,
        time_left=time_left,
        lease=lease,
    )
    if task.waits and after.waits:
        return _leave_until(after, lease, deps, waiting_check_at(after, now=now, policy=deps.policy))
    tried = after.attempts > task.attempts and after.status is Status.ACCEPTED and after.lease == lease
    if tried and after.paused_since is None and not after.waits:
        return _next_poll(after, deps)
    return END  # under way again, or left to the sweep at its `due_at`


def _wait_for_confirmation(task: Task, lease: int, deps: SubmissionDependencies) -> NextStep:
    now = deps.clock()
    if not task.attempt_is_over(now) and task.attempt:
        return _poll_again(task, lease, deps, task.attempt.started_at + ATTEMPT_LIMIT_MS)
    if task.candidates:
        task = reconcile_task(task, task.candidate_ids, deps, source=SOURCE)
        if task.status is not Status.SUBMITTING or task.lease != lease:
            return END
    if now >= task.deadline_at:
        _expire(task, lease, deps)
    elif task.candidates:
        wait = deps.policy.backoff_ms(task.checks, spread())
        return _poll_again(task, lease, deps, min(now + wait, task.deadline_at))
    else:  # the attempt ended without a record: only a callback can name the remote task
        count(Metric.SUBMISSION_AMBIGUOUS)
        _record(task, lease, deps, lambda current: submission.record_unknown_outcome(current, now=now))
    return END


def _ask_for_delivery(task: Task, lease: int, deps: SubmissionDependencies, queue: DeliveryQueue) -> NextStep:
    now = deps.clock()
    generated_at = task.generated_at or task.created_at
    gauge(Metric.OLDEST_GENERATED_SECONDS, (now - generated_at) // 1000)
    requests = task.delivery.requests if task.delivery else 0
    if now >= deps.policy.copied_until(generated_at) + SLOW_INTERVAL_MS and requests >= delivery.DELAYED_AFTER:
        # requested often enough, and no copy has been recorded since
        _record(task, lease, deps, lambda current: delivery.expire_delivery(current, now=now, policy=deps.policy))
        return END
    wait = deps.policy.backoff_ms(requests, spread())
    asked = _record(task, lease, deps, lambda current: delivery.record_delivery_request(current, now=now, wait_ms=wait))
    if asked.status is Status.GENERATED and asked.lease == lease:
        queue.ask(task.task_id, task.tenant_id)
        count(Metric.DELIVERY_ASKED_AGAIN)
    return END


def _read(task: Task, lease: int, deps: SubmissionDependencies) -> NextStep:
    if task.remote_id is None:
        return _look_for_remote_task(task, lease, deps)
    now = deps.clock()
    try:
        snapshot = read_remote_task(task, deps.providers)
    except (ProviderUnavailableError, ConfigurationError) as error:
        # a missing key must not keep a task from its deadline
        logger.warning("check_read_failed", reason=str(error))
        count(Metric.CHECK_READ_FAILED)
    else:
        try:
            read = save_with_retry(
                deps.store,
                task,
                lambda current: lifecycle.apply_snapshot(
                    current, snapshot, now=deps.clock(), source=SOURCE, policy=deps.policy
                ),
            )
        except (ClientError, BotoCoreError, ValueError):
            if now < task.deadline_at or task.status is Status.EXPIRED:
                raise
            # a reply that cannot be recorded must not keep a task from its deadline
            logger.exception("check_not_recorded")
            read = task
        if read.due_at is None or read.lease != lease:
            return END
        task = read
    now = deps.clock()
    late = task.status is Status.EXPIRED
    until = deps.policy.late_until(task.deadline_at) if late else task.deadline_at
    if now >= until:
        (_stop_polling if late else _expire)(task, lease, deps)
        return END
    if task.polled_slowly:
        return _leave_until(task, lease, deps, min(now + SLOW_INTERVAL_MS, until))
    wait = deps.policy.backoff_ms(task.checks, spread())
    return _poll_again(task, lease, deps, min(now + wait, until))


def _look_for_remote_task(task: Task, lease: int, deps: SubmissionDependencies) -> NextStep:
    """An expired task whose remote task can only be found under a candidate id."""
    found = reconcile_task(task, task.candidate_ids, deps, source=SOURCE) if task.candidates else task
    if found.remote_id is not None:
        return END
    late_until, now = deps.policy.late_until(task.deadline_at), deps.clock()
    if not found.candidates or now >= late_until:
        return _stop_polling(found, lease, deps)
    return _leave_until(found, lease, deps, min(now + SLOW_INTERVAL_MS, late_until))


def _stop_polling(task: Task, lease: int, deps: SubmissionDependencies) -> NextStep:
    _record(task, lease, deps, lifecycle.stop_polling)
    return END


def _expire(task: Task, lease: int, deps: SubmissionDependencies) -> None:
    _record(
        task,
        lease,
        deps,
        lambda current: (
            current
            if current.settled or current.status is Status.GENERATED
            else lifecycle.expire(current, now=deps.clock(), source=SOURCE, policy=deps.policy)
        ),
    )


def _poll_again(task: Task, lease: int, deps: SubmissionDependencies, at: int) -> NextStep:
    leased = _record(task, lease, deps, lambda current: lifecycle.poll_again_at(current, at))
    if leased.lease != lease or leased.due_at is None:
        return END
    return NextStep(settled=False, wait_seconds=_seconds_until(at, deps.clock()))


def _leave_until(task: Task, lease: int, deps: SubmissionDependencies, at: int) -> NextStep:
    _record(task, lease, deps, lambda current: lifecycle.leave_until(current, at))
    return END


def _next_poll(task: Task, deps: SubmissionDependencies) -> NextStep:
    """Wait here for the moment the task's own `due_at` names, unless that is far away."""
    if task.due_at is None:
        return END
    return _poll_again(task, task.lease, deps, task.due_at)


def _record(task: Task, lease: int, deps: SubmissionDependencies, change: Callable[[Task], Task]) -> Task:
    """A change that this lease may make; nothing happens once the lease is another's."""
    return save_with_retry(deps.store, task, lambda current: change(current) if current.lease == lease else current)


def _seconds_until(at: int, now: int) -> int:
    return max(1, -(-(at - now) // 1000))
