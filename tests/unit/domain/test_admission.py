"""How many tasks may run at a provider: the number follows its answers and the records."""

from dataclasses import replace

import pytest

from tests.unit.builders import NOW, POLICY, new_task
from vidu_relay.domain.admission import (
    ADMITTING_MS,
    CREATES_BEFORE_GROWTH,
    STALLED_MS,
    QueueState,
    admit,
    count_slots,
    queued_until,
    wait_for_turn,
)
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, Task

HOUR = 3_600_000
AT_PROVIDER = replace(new_task(), status=Status.SUBMITTED, remote_id="gen-1")
WAITING = wait_for_turn(new_task(), now=NOW - 1, policy=POLICY)
BEGUN = replace(new_task(), status=Status.SUBMITTING, attempt=Attempt("t", NOW))


@pytest.mark.parametrize(
    ("task", "held"),
    [
        (AT_PROVIDER, True),
        (replace(AT_PROVIDER, status=Status.PROCESSING), True),
        (replace(AT_PROVIDER, status=Status.GENERATED), False),
        (replace(new_task(), status=Status.CANCELED), False),
        (None, False),
        (BEGUN, True),
        (replace(BEGUN, attempt=Attempt("t", NOW, NOW)), False),
        (WAITING, True),
        (replace(WAITING, queued_at=NOW + 1), False),
        (replace(new_task(), admitted_at=NOW), True),
        (replace(new_task(), admitted_at=NOW, paused_since=NOW), False),
        (new_task(), False),
    ],
)
def test_a_slot_is_held_while_the_provider_may_work_on_its_task(task: Task | None, held: bool) -> None:
    tasks = {"a": task} if task else {}
    state = count_slots(QueueState({"a": NOW}), tasks, refused_at=None, ceiling=9, now=NOW)
    assert ("a" in state.slots) == held
    later = count_slots(QueueState({"a": NOW}), tasks, refused_at=None, ceiling=9, now=NOW + ADMITTING_MS)
    assert ("a" in later.slots) == (held and task is not WAITING), "what died before it let a task go on holds no slot"


@pytest.mark.parametrize(
    ("before", "refused_at", "fresh", "limit", "proven"),
    [
        (QueueState(limit=2), None, 2, 4, 0),  # before the first 429 each success counts
        (QueueState(limit=3), None, 2, 3, 0),  # while a slot is free nothing is learned
        (QueueState(limit=6, proven=5), NOW, 0, 3, 4),  # halved, and one less is known
        (QueueState(limit=6, proven=5, refused_at=NOW), NOW, 0, 6, 5),  # once for each 429
        (QueueState(limit=6, proven=5, refused_at=NOW - 4_000), NOW, 0, 6, 5),  # calls that began together
        (QueueState(limit=1, proven=5), None, 1, 2, 5),  # back to what is known
        (QueueState(limit=5, proven=5), None, 5, 5, 5),  # slowly beyond
        (QueueState(limit=5, proven=5, credit=CREATES_BEFORE_GROWTH - 1), None, 5, 6, 5),
        (QueueState(limit=1), NOW, 1, 1, 1),
        (QueueState(limit=9, proven=9), None, 9, 9, 9),  # the ceiling
    ],
)
def test_limit_follows_the_provider(
    before: QueueState, refused_at: int | None, fresh: int, limit: int, proven: int
) -> None:
    slots = {str(number): NOW for number in range(fresh)}
    tasks = dict.fromkeys(slots, AT_PROVIDER)
    after = count_slots(replace(before, slots=slots), tasks, refused_at=refused_at, ceiling=9, now=NOW)
    assert (after.limit, after.proven) == (limit, proven)


def test_deadline_of_what_was_never_submitted_begins_with_its_turn() -> None:
    waiting = wait_for_turn(new_task(), now=NOW, policy=POLICY)
    assert waiting.due_at is not None
    assert NOW + 4 * HOUR <= waiting.due_at < NOW + 8 * HOUR
    later = NOW + 50 * HOUR
    assert admit(waiting, now=later, policy=POLICY).deadline_at == POLICY.deadline_at(later, off_peak=False)
    assert admit(replace(waiting, attempts=1), now=later, policy=POLICY).deadline_at == waiting.deadline_at
    assert queued_until(waiting, POLICY) == POLICY.paused_until(waiting.created_at)
    assert queued_until(replace(waiting, attempts=1), POLICY) == waiting.deadline_at
    assert admit(new_task(), now=NOW, policy=POLICY) == new_task()


def test_off_peak_tasks_leave_no_more_slots_than_the_provider_is_known_to_take() -> None:
    slots = {str(number): NOW for number in range(40)}
    tasks = {task_id: replace(AT_PROVIDER, request={"off_peak": True}) for task_id in slots}
    state = QueueState(slots, confirmed=tuple(slots), limit=40, proven=5)
    held = count_slots(state, tasks, refused_at=None, ceiling=99, now=NOW + STALLED_MS)
    assert (held.limit, held.proven) == (41, 5)
    over = dict.fromkeys(slots, replace(AT_PROVIDER, status=Status.GENERATED))
    assert count_slots(held, over, refused_at=None, ceiling=99, now=NOW + STALLED_MS).limit == 6


@pytest.mark.parametrize("off_peak", [False, True])
def test_before_any_429_tasks_in_flight_do_not_stop_the_first_that_waits(off_peak: bool) -> None:
    slots = {str(number): NOW for number in range(3)}
    tasks = dict.fromkeys(slots, replace(AT_PROVIDER, request={"off_peak": off_peak}))
    state = QueueState(slots, confirmed=tuple(slots))
    assert count_slots(state, tasks, refused_at=None, ceiling=9, now=NOW).free == 1
    tasks["chosen"] = replace(new_task(), admitted_at=NOW)
    pending = replace(state, slots={**slots, "chosen": NOW})
    assert count_slots(pending, tasks, refused_at=None, ceiling=9, now=NOW).free == 0, "one at a time"


@pytest.mark.parametrize(("refused_at", "limit"), [(None, 3), (NOW + 1, 1)])
def test_slots_that_are_held_for_long_do_not_stop_the_queue(refused_at: int | None, limit: int) -> None:
    state = QueueState({"a": NOW, "b": NOW}, confirmed=("a", "b"), limit=1, proven=2)
    tasks = dict.fromkeys(state.slots, AT_PROVIDER)
    after = count_slots(state, tasks, refused_at=refused_at, ceiling=9, now=NOW + STALLED_MS)
    assert after.limit == limit
