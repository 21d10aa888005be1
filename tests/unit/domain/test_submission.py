"""The tag of ours in a create call."""

from tests.unit.builders import NOW
from vidu_relay.domain.submission import TAG_PREFIX, correlation_tag, shared_token
from vidu_relay.domain.task import Attempt
from vidu_relay.usecases.ports import new_token


def test_the_tokens_of_all_attempts_of_a_task_share_the_first_and_differ() -> None:
    task_token = new_token()
    first, second, third = (Attempt(new_token(task_token), NOW) for _ in range(3))
    assert shared_token(first) == shared_token(second) == shared_token(third) == task_token
    assert len({first.token, second.token, third.token}) == 3
    assert correlation_tag("t", first) == correlation_tag("t", third)
    assert correlation_tag("t", first) != correlation_tag("t", Attempt(new_token(), NOW))


def test_a_correlation_tag_names_the_task_and_hides_the_token() -> None:
    attempt = Attempt(new_token(), NOW)
    tag = correlation_tag("task-1", attempt)
    assert tag.startswith(f"{TAG_PREFIX}task-1:")
    assert attempt.token not in tag
