"""Every mutant is caught, by an invariant that it violates; and without it nothing is."""

import pytest

from local.chaos.oracle import ViolationError
from tests.simulation import (
    mutants_of_entry_points,
    mutants_of_notifications,
    mutants_of_queue,
    mutants_of_spending,
    mutants_of_tasks,
    mutants_of_writes,
)
from tests.simulation.extent import Statistics
from tests.simulation.mutants import MUTANTS, Mutant

MODULES = (
    mutants_of_tasks,
    mutants_of_writes,
    mutants_of_entry_points,
    mutants_of_notifications,
    mutants_of_queue,
    mutants_of_spending,
)
"""Importing them lists their mutants."""


def test_every_module_lists_mutants() -> None:
    assert {mutant.apply.__module__ for mutant in MUTANTS} == {module.__name__ for module in MODULES}
    assert len(MUTANTS) == 82


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.apply.__name__)
def test_mutant_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, statistics: Statistics) -> None:
    mutant.apply(monkeypatch)
    with pytest.raises(ViolationError) as caught:
        for _ in mutant.detect():
            pass
    assert caught.value.invariant in mutant.violates, caught.value
    statistics.add("mutants caught", 1)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.apply.__name__)
def test_nothing_is_caught_without_it(mutant: Mutant) -> None:
    """The same runs, so that what is caught is the mutant."""
    assert sum(1 for _ in mutant.detect()) > 0
