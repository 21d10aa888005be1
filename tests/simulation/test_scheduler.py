"""The scheduler runs what it says: every order of the effects, each once, and no other."""

from math import comb

import pytest

from tests.simulation.effects import Effects, Fault, ProcessDeathError
from tests.simulation.scheduler import Actor, Choices, Scheduler, explore


def orders(*lengths: int, limit: int = 1000) -> tuple[set[str], int, bool]:
    """The orders in which actors with so many effects had them, and what `explore` says about it."""
    found: set[str] = set()

    def play(choices: Choices) -> list[int]:
        effects, had = Effects(), []

        def act(name: str, length: int) -> None:
            for _ in range(length):
                effects.perform("dynamodb.put_item", lambda: had.append(name))

        scheduler = Scheduler(effects)
        actors = [
            scheduler.spawn(Actor(name, lambda n=name, k=length: act(n, k)))  # type: ignore[misc]
            for name, length in zip("abc", lengths, strict=False)
        ]
        while waiting := [actor for actor in actors if not actor.ended]:
            scheduler.step(waiting[choices(len(waiting))])
        found.add("".join(had))
        return [actor.steps for actor in actors]

    ran, every = explore(play, limit=limit, sample=20, seed=1)
    return found, ran, every


@pytest.mark.parametrize("lengths", [(1, 1), (2, 3), (5, 4), (2, 2, 2)])
def test_every_order_of_the_effects_is_run_once(lengths: tuple[int, ...]) -> None:
    found, ran, every = orders(*lengths)
    expected, left = 1, sum(lengths)
    for length in lengths:
        expected *= comb(left, length)
        left -= length
    assert (len(found), ran, every) == (expected, expected, True)


def test_of_too_many_orders_a_sample_is_run() -> None:
    found, ran, every = orders(8, 8, limit=300)
    assert not every
    assert 10 < ran <= 20
    assert len(found) == ran


def test_dead_process_has_no_more_effects_and_the_next_one_in_its_thread_does() -> None:
    effects, had = Effects(), []
    effects.arm(0, Fault.DIES_AFTER)
    with pytest.raises(ProcessDeathError):
        effects.perform("s3.upload_part", lambda: had.append("part"))
    with pytest.raises(ProcessDeathError):
        effects.perform("s3.abort_multipart_upload", lambda: had.append("abort"))
    effects.disarm()
    effects.perform("s3.put_object", lambda: had.append("put"))
    assert had == ["part", "put"]


def test_killed_actor_ends_where_it_stands() -> None:
    effects, had = Effects(), []
    scheduler = Scheduler(effects)
    actor = scheduler.spawn(Actor("a", lambda: [effects.perform("x", lambda: had.append(1)) for _ in range(3)]))
    scheduler.step(actor)
    scheduler.kill(actor)
    assert (had, actor.ended, type(actor.error)) == ([1], True, ProcessDeathError)
