"""One change is written once, also while others write."""

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tests.simulation.simulation import Simulation
from vidu_relay.domain.errors import RemoteTaskOwnedError
from vidu_relay.domain.lifecycle import take_lease
from vidu_relay.domain.task import Task
from vidu_relay.usecases import save_with_retry as module
from vidu_relay.usecases.save_with_retry import save_with_retry


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFLICT_PAUSE_SECONDS", 0.0)


class Conflicting:
    """A table in which transactions of others are under way for the first so many writes."""

    def __init__(self, client: object, times: int) -> None:
        self._client, self.left = client, times

    def __getattr__(self, name: str) -> object:
        if name == "put_item" and self.left:
            self.left -= 1
            return self._refuse
        return getattr(self._client, name)

    def _refuse(self, **_: object) -> None:
        raise ClientError({"Error": {"Code": "TransactionConflictException", "Message": ""}}, "PutItem")


@pytest.mark.parametrize("learns", [False, True])
def test_write_that_meets_a_transaction_is_repeated(sim: Simulation, learns: bool) -> None:
    """Of a task, and of an id that it learns."""
    task = sim.submit()
    sim.store._client = Conflicting(sim.store._client, 3)  # type: ignore[assignment]
    if learns:
        sim.provider.finish("gen-1")
        assert sim.call_back(task.task_id, {"status": "completed"}).upstream_id == "up-gen-1"
    else:
        changed = save_with_retry(sim.store, task, lambda current: take_lease(current, now=1))
        assert changed.lease == task.lease + 1
    assert sim.store._client.left == 0  # type: ignore[attr-defined]


def test_upstream_id_of_another_task_is_left_out_and_the_change_is_written(sim: Simulation) -> None:
    """The task goes on under its own id; which of the two is wrong is for a person to see."""
    sim.submit(key="other")
    sim.provider.finish("gen-1")
    sim.call_back(sim.task_id("other"), {"status": "completed"})
    task = sim.submit()
    sim.provider.finish("gen-2")
    sim.provider.show("gen-2", sim.provider.remote["gen-2"].state, upstream_id="up-gen-1")
    after = sim.call_back(task.task_id, {"status": "completed"})
    assert (after.status.value, after.remote_id, after.upstream_id) == ("generated", "gen-2", None)


def test_remote_id_of_another_task_is_never_taken_over(sim: Simulation) -> None:
    owner = sim.submit(key="other")
    task = sim.submit(time_left=lambda: 0)

    def steal(current: Task) -> Task:
        return replace(current, remote_id=owner.remote_id)

    with pytest.raises(RemoteTaskOwnedError):
        save_with_retry(sim.store, task, steal)
    assert sim.task(task.task_id).remote_id is None
