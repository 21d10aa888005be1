"""Look at a task that nobody called back about, and do the next thing it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vidu_relay.adapters.delivery_queue import DeliveryQueue
from vidu_relay.adapters.request_archive import RequestArchive
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import ATTEMPT_LIMIT_MS, SLOW_INTERVAL_MS
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.adopt_lost_task import adopt_lost_task
from vidu_relay.usecases.attempt_submission import SubmissionPorts, attempt_submission
from vidu_relay.usecases.ports import new_claim, spread
from vidu_relay.usecases.record_change import record_change

__all__ = ["Verdict", "check_task"]

SOURCE = "check"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the state machine does next: end, or wait and check again.

    An execution also ends where the task still needs watching, but not soon: its `due_at` brings the sweep.
    """

    settled: bool
    wait_seconds: int = 0


END = Verdict(settled=True)


def check_task(
    task_id: str, lease: int, *, ports: SubmissionPorts, archive: RequestArchive, queue: DeliveryQueue
) -> Verdict:
    """Do the next thing for a task, if this lease still holds.

    Provider trouble is not an error here: it means another look later. Raises what AWS raises; the state machine
    retries that a few times, after which the lease lapses and the sweep starts anew.
    """
    task = ports.store.get(task_id)
    if task is None or task.due_at is None or task.lease != lease:
        return END
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    now = ports.clock()
    if task.status is Status.ACCEPTED:
        return _submit(task, lease, ports, archive)
    if task.status is Status.SUBMITTING:
        return _wait_for_confirmation(task, lease, ports)
    if task.status is Status.GENERATED:
        return _ask_for_delivery(task, lease, ports, queue)
    late = now >= ports.policy.late_until(task.deadline_at)
    if task.settled and (late or task.status is not Status.EXPIRED):
        return _stop_looking(task, lease, ports)
    return _read(task, lease, ports)


def _submit(task: Task, lease: int, ports: SubmissionPorts, archive: RequestArchive) -> Verdict:
    now = ports.clock()
    if task.hints:  # a callback says that an attempt thought void did create something: look, before anything else
        task = _adopt(task, ports)
        if task.status is not Status.ACCEPTED or task.lease != lease:
            return END
    if now >= task.deadline_at:
        _expire(task, lease, ports)
        return END
    if task.hints:
        wait = ports.policy.backoff_ms(task.checks, spread())
        return _look_again(task, lease, ports, min(now + wait, task.deadline_at))
    ports.ready()
    request = ports.present(task, archive.get(task.request_key) if task.request_key else task.request)
    claim = new_claim(task.attempt)
    begun = _record(
        task,
        lease,
        ports,
        lambda there: (
            lifecycle.begin_attempt(there, claim=claim, now=now)
            if there.status is Status.ACCEPTED and not there.hints
            else there
        ),
    )
    if begun.attempt is None or begun.attempt.claim != claim:
        return END
    after = attempt_submission(begun, request, ports)
    if after.status is Status.ACCEPTED:
        return _next_look(after, ports)
    return END  # healthy again: the callback, or the first check, comes next


def _wait_for_confirmation(task: Task, lease: int, ports: SubmissionPorts) -> Verdict:
    now = ports.clock()
    if not lifecycle.attempt_is_over(task, now) and task.attempt:
        return _look_again(task, lease, ports, task.attempt.started_at + ATTEMPT_LIMIT_MS)
    if task.hints:
        task = _adopt(task, ports)
        if task.status is not Status.SUBMITTING or task.lease != lease:
            return END
    if now >= task.deadline_at:
        _expire(task, lease, ports)
    elif task.hints:
        wait = ports.policy.backoff_ms(task.checks, spread())
        return _look_again(task, lease, ports, min(now + wait, task.deadline_at))
    else:  # the attempt died without a word: only a callback can tell now
        count(Metric.SUBMISSION_AMBIGUOUS)
        _record(task, lease, ports, lambda there: lifecycle.record_ambiguous(there, now=now))
    return END


def _adopt(task: Task, ports: SubmissionPorts) -> Task:
    return adopt_lost_task(
        task,
        task.hints,
        store=ports.store,
        provider=ports.provider,
        policy=ports.policy,
        clock=ports.clock,
        source=SOURCE,
    )


def _ask_for_delivery(task: Task, lease: int, ports: SubmissionPorts, queue: DeliveryQueue) -> Verdict:
    wait = ports.policy.backoff_ms(task.delivery_requests, spread())
    asked = _record(
        task, lease, ports, lambda there: lifecycle.record_delivery_request(there, now=ports.clock(), wait_ms=wait)
    )
    if asked.status is Status.GENERATED and asked.lease == lease:
        queue.ask(task.task_id)
        count(Metric.DELIVERY_ASKED_AGAIN)
    return END


def _read(task: Task, lease: int, ports: SubmissionPorts) -> Verdict:
    if task.remote_id is None:
        return _look_for_lost_task(task, lease, ports)
    try:
        snapshot = ports.provider.read(task.remote_id)
    except (ProviderUnavailableError, ConfigurationError) as error:
        # a missing key must not keep a task from its deadline
        logger.warning("check_read_failed", reason=str(error))
        count(Metric.CHECK_READ_FAILED)
    else:
        read = record_change(
            ports.store,
            task,
            lambda there: lifecycle.apply_snapshot(
                there, snapshot, now=ports.clock(), source=SOURCE, policy=ports.policy
            ),
        )
        if read.due_at is None or read.lease != lease:
            return END
        task = read
    now = ports.clock()
    if task.status is Status.EXPIRED:
        at = min(now + SLOW_INTERVAL_MS, ports.policy.late_until(task.deadline_at))
        return _leave_until(task, lease, ports, at)
    if now >= task.deadline_at:
        _expire(task, lease, ports)
        return END
    wait = ports.policy.backoff_ms(task.checks, spread(), off_peak=task.off_peak)
    return _look_again(task, lease, ports, min(now + wait, task.deadline_at))


def _look_for_lost_task(task: Task, lease: int, ports: SubmissionPorts) -> Verdict:
    """An expired task whose remote id only a hint may tell."""
    adopted = _adopt(task, ports) if task.hints else task
    if adopted.remote_id is None:
        at = min(ports.clock() + SLOW_INTERVAL_MS, ports.policy.late_until(task.deadline_at))
        return _leave_until(adopted, lease, ports, at) if task.hints else _stop_looking(task, lease, ports)
    return END


def _stop_looking(task: Task, lease: int, ports: SubmissionPorts) -> Verdict:
    _record(task, lease, ports, lifecycle.stop_looking)
    return END


def _expire(task: Task, lease: int, ports: SubmissionPorts) -> None:
    _record(
        task,
        lease,
        ports,
        lambda there: (
            there
            if there.settled or there.status is Status.GENERATED
            else lifecycle.expire(there, now=ports.clock(), source=SOURCE, policy=ports.policy)
        ),
    )


def _look_again(task: Task, lease: int, ports: SubmissionPorts, at: int) -> Verdict:
    leased = _record(task, lease, ports, lambda there: lifecycle.look_again_at(there, at))
    if leased.lease != lease or leased.due_at is None:
        return END
    return Verdict(settled=False, wait_seconds=_seconds_until(at, ports.clock()))


def _leave_until(task: Task, lease: int, ports: SubmissionPorts, at: int) -> Verdict:
    _record(task, lease, ports, lambda there: lifecycle.leave_until(there, at))
    return END


def _next_look(task: Task, ports: SubmissionPorts) -> Verdict:
    """Wait here for the moment the task's own `due_at` names, unless that is far away."""
    if task.due_at is None:
        return END
    return _look_again(task, task.lease, ports, task.due_at)


def _record(task: Task, lease: int, ports: SubmissionPorts, change: Callable[[Task], Task]) -> Task:
    """A change that this lease may make; nothing happens once the lease is another's."""
    return record_change(ports.store, task, lambda there: change(there) if there.lease == lease else there)


def _seconds_until(at: int, now: int) -> int:
    return max(1, -(-(at - now) // 1000))
