"""A remote task that shows neither a mark nor its moment of creation: whose is it?"""

from tests.unit.builders import NOW, POLICY, reading, submitting
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import CreateAmbiguousError
from vidu_relay.domain.lifecycle import Match

UNNAMED = CreateAmbiguousError("names a task in an unknown way", candidates=("r-1",))


def test_the_one_that_our_own_reply_named_is_ours_also_if_a_callback_named_it_before() -> None:
    called_back = lifecycle.note_candidates(submitting(), ("r-1",), now=NOW)
    for before in (submitting(), called_back):
        task = lifecycle.record_create_failure(before, UNNAMED, now=NOW, jitter=0.5, policy=POLICY)
        (candidate,) = task.candidates
        assert candidate.replied
        assert lifecycle.match_candidate(task, reading(created_at=None), replied=candidate.replied) is Match.OURS


def test_the_one_that_only_a_callback_named_is_not_proven() -> None:
    task = lifecycle.note_candidates(submitting(), ("r-1",), now=NOW)
    (candidate,) = task.candidates
    assert lifecycle.match_candidate(task, reading(created_at=None), replied=candidate.replied) is Match.UNPROVEN


def test_a_moment_that_lies_outside_of_the_attempts_counts_whoever_named_the_id() -> None:
    assert lifecycle.match_candidate(submitting(), reading(created_at=1), replied=True) is Match.UNPROVEN
