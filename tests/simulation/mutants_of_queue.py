from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.simulation.crowd import Crowd
from tests.simulation.mutants import I, Patch, mutant, wrap
from vidu_relay.adapters.provider_pause import Pause
from vidu_relay.adapters.provider_queue import ProviderQueue
from vidu_relay.domain import admission
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases import dispatch_tasks


def crowd() -> Iterator[object]:
    """Two tenants want more than the provider runs, and one of them goes on asking."""
    crowd = Crowd()
    crowd.submits("big", 25)
    crowd.submits("small", 6)
    crowd.passes(100)
    crowd.submits("small", 2)
    crowd.until(lambda: not crowd.waiting, 700)
    crowd.check()
    yield crowd


@mutant(crowd, I.BILLED_ONCE)
def let_a_task_go_on_twice(patch: Patch) -> None:
    """Neither the slots nor the record are asked whether a task of the lagging index still waits."""

    def forced(task: Task, *, now: int, **_: Any) -> Task:
        return replace(
            task, status=Status.ACCEPTED, queued_at=None, attempt=None, admitted_at=now, lease=task.lease + 1
        )

    wrap(patch, ProviderQueue, "next_of", lambda next_of, queue, provider, turn, _=(): next_of(queue, provider, turn))
    patch.setattr(dispatch_tasks, "admit", forced)


@mutant(crowd, I.SLOTS, I.TURNS)
def forget_slots(patch: Patch) -> None:
    patch.setattr(admission, "_holds", lambda *_: False)


@mutant(crowd, I.SLOTS)
def keep_slots_of_tasks_that_are_over(patch: Patch) -> None:
    patch.setattr(admission, "_holds", lambda *_: True)


@mutant(crowd, I.SLOTS)
def overlook_what_was_in_flight_before(patch: Patch) -> None:
    patch.setattr(dispatch_tasks, "_in_flight", lambda *_: [])


@mutant(crowd, I.TURNS)
def begin_with_the_first_tenant_each_time(patch: Patch) -> None:
    wrap(
        patch, ProviderQueue, "next_of", lambda next_of, queue, provider, _, *seen: next_of(queue, provider, "", *seen)
    )


@mutant(crowd, I.TURNS)
def submit_what_comes_while_others_wait(patch: Patch) -> None:
    patch.setattr(Pause, "queues", lambda *_: False)


@mutant(crowd, I.TURNS)
def order_by_the_id(patch: Patch) -> None:
    """A tenant's tasks go on in no order."""
    from vidu_relay.adapters import task_item

    patch.setattr(task_item, "place_of", lambda task: f"{task.tenant_id}#00#{0:014d}#{task.task_id}")
