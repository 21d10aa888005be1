from tests.unit.builders import NOW
from vidu_relay.domain.submission import TAG_PREFIX, correlation_tag
from vidu_relay.domain.task import Attempt


def test_a_correlation_tag_is_the_same_for_all_attempts_of_a_task_and_hides_their_token() -> None:
    first, third, another = (Attempt(token, NOW) for token in ("own.first", "own.third", "other.first"))
    tag = correlation_tag("task-1", first)
    assert tag.startswith(f"{TAG_PREFIX}task-1:")
    assert "own" not in tag
    assert tag == correlation_tag("task-1", third)
    assert tag != correlation_tag("task-1", another)
