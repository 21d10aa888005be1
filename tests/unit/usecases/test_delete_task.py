"""A deletion and what may happen beside it: whichever write comes first, no deleted video comes back."""

from collections.abc import Callable

import pytest

from tests.simulation.simulation import Simulation
from vidu_relay.domain.billing import BillingState, billing_of
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.notification import Notification, NotificationAttempt
from vidu_relay.domain.polling import DELIVERY_GRACE_MS
from vidu_relay.domain.states import Status
from vidu_relay.usecases.delete_task import DeletionDependencies, delete_task

DONE = {"id": "gen-1", "status": "completed"}


class Content:
    """The buckets; `meanwhile` happens during the first deletion in them."""

    def __init__(self, sim: Simulation, meanwhile: Callable[[], object]) -> None:
        self.inbox, self._sim, self._meanwhile = sim.account.inbox, sim, [meanwhile]

    def delete_inbox(self, prefix: str, *, whole_key: bool = False) -> None:
        assert prefix.startswith(("tasks/acme/", "uploads/acme/")) or whole_key
        while self._meanwhile:
            self._meanwhile.pop()()

    def delete_videos(self, prefix: str) -> None:
        s3, bucket = self._sim.account.clients["s3"], self._sim.account.videos
        for one in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=one["Key"])


def delete(sim: Simulation, task_id: str, meanwhile: Callable[[], object] = lambda: None) -> bool:
    content = Content(sim, meanwhile)
    log = sim.notification.log
    deps = DeletionDependencies(sim.store, sim.requests, content, log, sim.clock)  # type: ignore[arg-type]  # buckets
    return delete_task(task_id, "acme", deps)


def videos(sim: Simulation) -> int:
    found: int = sim.account.clients["s3"].list_objects_v2(Bucket=sim.account.videos)["KeyCount"]
    return found


def expired(sim: Simulation) -> str:
    """A task that expired while the provider works on it."""
    task_id = sim.submit().task_id
    sim.clock.now = sim.task(task_id).deadline_at + 1
    sim.check(task_id)
    sim.publish()
    assert sim.task(task_id).status is Status.EXPIRED
    return task_id


def finish(sim: Simulation, task_id: str) -> None:
    """The provider ends the task, calls back, and everything that follows is done."""
    sim.provider.finish("gen-1")
    sim.call_back(task_id, DONE)
    sim.publish()
    for message in list(sim.deliveries):
        sim.deliver(message.task_id)


def test_answers_to_webhooks_go_too_and_one_that_comes_late_is_not_kept(sim: Simulation) -> None:
    task_id = sim.submit(callback_url="https://client.example.com/hook").task_id
    sim.clock.now = sim.task(task_id).deadline_at + 1
    sim.check(task_id)
    asked = Notification(task_id, sim.task(task_id).version)

    def answered() -> bool:
        attempt = NotificationAttempt(sim.clock.now, 5, 200, None, "secret")
        return sim.notification.log.record(asked, attempt, expires_at=10**10)

    assert answered()
    assert delete(sim, task_id)
    assert not answered()
    assert "secret" not in str(sim.items())


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
def test_late_video_of_deleted_content_is_billed_and_not_copied(sim: Simulation, when: str) -> None:
    task_id = expired(sim)
    assert delete(sim, task_id, lambda: finish(sim, task_id) if when == "meanwhile" else None)
    published = len(sim.published)
    finish(sim, task_id)
    task = sim.task(task_id)
    assert (task.status, task.due_at, videos(sim), len(sim.published)) == (Status.EXPIRED, None, 0, published)
    assert (billing_of(task).state, task.usage and task.usage.cost) == (BillingState.SETTLED, "0.20")
    assert "prompt" not in task.request


def test_late_video_that_came_first_is_no_content_of_a_settled_task(sim: Simulation) -> None:
    task_id = expired(sim)
    sim.provider.finish("gen-1")
    sim.call_back(task_id, DONE)
    with pytest.raises(InvalidRequestError, match="generated"):
        delete(sim, task_id)
    sim.publish()
    sim.deliver(task_id)
    assert (sim.task(task_id).status, videos(sim)) == (Status.COMPLETED, 1)
    sim.clock.now += DELIVERY_GRACE_MS
    assert delete(sim, task_id, lambda: sim.deliver(task_id, again=True))
    assert videos(sim) == 0


def test_same_request_under_the_same_key_gives_the_deleted_task_and_no_second_one(sim: Simulation) -> None:
    task_id = expired(sim)
    delete(sim, task_id)
    calls = len(sim.provider.calls)
    assert sim.submit().task_id == task_id
    assert len(sim.provider.calls) == calls
