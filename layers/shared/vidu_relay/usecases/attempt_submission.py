"""One create call for a task that was recorded as `submitting` before it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.callback_token import CallbackKeys, callback_url
from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    RemoteTaskClaimedError,
)
from vidu_relay.domain.snapshot import ProviderSnapshot, TaskError
from vidu_relay.domain.states import Status
from vidu_relay.domain.submission import attempt_mark, provider_params
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Provider, clock, spread
from vidu_relay.usecases.present_images import present_images
from vidu_relay.usecases.record_change import record_change

__all__ = ["SubmissionPorts", "attempt_submission"]


@dataclass(frozen=True, slots=True)
class SubmissionPorts:
    """What a create call needs. `signing_keys` is asked for at each attempt, so that keys can be rotated."""

    store: TaskStore
    provider: Provider
    images: ImageBucket
    signing_keys: Callable[[], CallbackKeys]
    public_base_url: str
    policy: WatchPolicy
    clock: Clock = clock

    def ready(self) -> None:
        """Fail on a missing key *before* a task is recorded as being submitted."""
        self.provider.ready()
        self.signing_keys()

    def present(self, task: Task, request: Mapping[str, Any]) -> dict[str, Any]:
        """The recorded request as this attempt sends it: whatever can fail does so *before* the attempt is recorded."""
        return present_images(
            request,
            tenant_id=task.tenant_id,
            task_id=task.task_id,
            versions=task.image_versions,
            bucket=self.images,
        )


def attempt_submission(task: Task, request: Mapping[str, Any], ports: SubmissionPorts) -> Task:
    """Call the provider once for a task in `submitting` whose claim the caller wrote; the task as recorded after.

    `request` is what `SubmissionPorts.present` made of the recorded one before the claim was written.
    Whatever happens, the call is not repeated here: only a task that went back to `accepted` is submitted again.
    """
    token = ports.signing_keys().sign(task.task_id)
    url = callback_url(ports.public_base_url, task.task_id, token)
    mark = attempt_mark(task.task_id, task.attempt) if task.attempt else ""
    try:
        snapshot = ports.provider.create(str(request["model"]), provider_params(request), url, mark=mark)
    except NotCreatedError as error:
        logger.warning("submission_not_created", reason=str(error))
        count(Metric.SUBMISSION_NOT_CREATED)
        wish, jitter = error.retry_after_seconds, spread()
        return _record(
            task,
            ports,
            lambda there: lifecycle.record_not_created(
                there, now=ports.clock(), retry_after_seconds=wish, jitter=jitter, policy=ports.policy
            ),
        )
    except CreateRejectedError as error:
        count(Metric.SUBMISSION_REJECTED)
        fault = TaskError(error.code, error.message)
        return _record(
            task,
            ports,
            lambda there: lifecycle.record_rejected(there, fault, now=ports.clock(), policy=ports.policy),
        )
    except CreateAmbiguousError as error:
        logger.error("submission_ambiguous", reason=str(error))
        count(Metric.SUBMISSION_AMBIGUOUS)
        return _record(task, ports, lambda there: lifecycle.record_ambiguous(there, now=ports.clock()))
    return _created(task, snapshot, ports)


def _created(task: Task, snapshot: ProviderSnapshot, ports: SubmissionPorts) -> Task:
    # the one thing only we know, before we try to write it
    logger.info("remote_id_known", remote_id=snapshot.remote_id)
    try:
        ports.store.claim_remote(
            ports.provider.name,
            snapshot.remote_id,
            task.task_id,
            ports.policy.forget_at(ports.policy.late_until(task.deadline_at)),
        )
    except RemoteTaskClaimedError:
        logger.exception("remote_id_already_claimed", remote_id=snapshot.remote_id)
        count(Metric.REMOTE_ID_CONFLICT)
        return _record(task, ports, lambda there: lifecycle.record_ambiguous(there, now=ports.clock()))
    return _record(
        task,
        ports,
        lambda there: lifecycle.record_created(
            there, snapshot, now=ports.clock(), source="create", policy=ports.policy
        ),
        also_when_expired=True,
    )


def _record(
    task: Task, ports: SubmissionPorts, change: Callable[[Task], Task], *, also_when_expired: bool = False
) -> Task:
    """Write how the attempt went, unless the record has moved on from this attempt in the meantime."""
    claim = task.attempt.claim if task.attempt else None

    def guarded(there: Task) -> Task:
        ours = there.attempt is not None and there.attempt.claim == claim and there.remote_id is None
        waiting = there.status is Status.SUBMITTING or (also_when_expired and there.status is Status.EXPIRED)
        return change(there) if ours and waiting else there

    return record_change(ports.store, task, guarded)
