"""The tag of ours in a create call."""

from tests.unit.builders import NOW
from vidu_relay.domain.submission import MARK_PREFIX, attempt_mark, shared_token
from vidu_relay.domain.task import Attempt
from vidu_relay.usecases.ports import new_token


def test_the_tokens_of_all_attempts_of_a_task_share_the_first_and_differ() -> None:
    task_token = new_token()
    first, second, third = (Attempt(new_token(task_token), NOW) for _ in range(3))
    assert shared_token(first) == shared_token(second) == shared_token(third) == task_token
    assert len({first.token, second.token, third.token}) == 3
    assert attempt_mark("t", first) == attempt_mark("t", third)
    assert attempt_mark("t", first) != attempt_mark("t", Attempt(new_token(), NOW))


def test_a_mark_names_the_task_and_hides_the_token() -> None:
    attempt = Attempt(new_token(), NOW)
    mark = attempt_mark("task-1", attempt)
    assert mark.startswith(f"{MARK_PREFIX}task-1:")
    assert attempt.token not in mark
