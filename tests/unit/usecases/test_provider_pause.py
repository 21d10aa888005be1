"""A provider that refuses our account fails no task, is not called meanwhile, and all goes on afterwards."""

from dataclasses import replace
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.simulation.provider import NOON, CreateCall
from tests.simulation.simulation import Simulation
from vidu_relay.domain.errors import AccountRefusedError
from vidu_relay.domain.states import Status

HOUR = 3_600_000


def refused(status: int) -> AccountRefusedError:
    return AccountRefusedError(status, "40201", "Insufficient credits")


class RefusingSimulation(Simulation):
    """Its provider refuses the account until `well_at`."""

    well_at = NOON + 6 * HOUR
    status = 402

    def refuse(self) -> None:
        create = self.provider._create
        self.tried: list[int] = []

        def tried(call: object) -> object:
            self.tried.append(self.clock.now)
            if self.clock.now < self.well_at:
                raise refused(self.status)
            return create(call)  # type: ignore[arg-type]

        self.provider._create = tried  # type: ignore[method-assign,assignment]


@pytest.fixture
def refusing(sim: Simulation) -> RefusingSimulation:
    sim = RefusingSimulation(sim.account)
    sim.refuse()
    return sim


@pytest.mark.parametrize("status", [401, 402])
def test_refused_account_fails_no_task_and_is_probed_once_a_minute(refusing: RefusingSimulation, status: int) -> None:
    refusing.status = status
    keys = [f"order-{number}" for number in range(20)]
    tasks = [refusing.submit(key=key) for key in keys]
    assert {task.status for task in tasks} == {Status.ACCEPTED}
    assert len(refusing.tried) == 1  # the first showed it: the others did not try
    refusing.run(until=refusing.well_at + HOUR)
    waited = [at for at in refusing.tried if at < refusing.well_at]
    assert all(later - earlier >= 60_000 for earlier, later in pairwise(waited))
    assert {refusing.task(task.task_id).status for task in tasks} == {Status.SUBMITTED}
    assert len(refusing.provider.calls) == len(keys)  # each was created once


def test_account_that_stays_refused_ends_after_the_late_watch_with_its_own_code(refusing: RefusingSimulation) -> None:
    refusing.well_at = NOON + 1000 * HOUR
    task = refusing.submit()
    refusing.run()
    ended = refusing.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.EXPIRED, "provider_account_refused")
    assert 72 * HOUR <= ended.updated_at - NOON <= 73 * HOUR


def test_new_key_in_the_secret_is_tried_without_a_pause(refusing: RefusingSimulation) -> None:
    refusing.status, refusing.well_at = 401, NOON + 1000
    refusing.provider.key_changed = True
    task = refusing.submit()
    assert task.status is Status.ACCEPTED
    assert refusing.submission.pauses.find("gateway") is None
    refusing.run(until=NOON + 200_000)
    assert refusing.task(task.task_id).status is Status.SUBMITTED


def test_403_while_other_creates_succeed_is_a_refusal_of_the_request(sim: Simulation) -> None:
    sim.provider.create_faults = [refused(403)]
    task = sim.submit(key="bad")
    assert task.status is Status.ACCEPTED
    assert sim.submit(key="good").status is Status.SUBMITTED  # the probe, at once
    sim.clock.advance(30)
    assert sim.submit(key="better").status is Status.SUBMITTED
    sim.provider.create_faults = [refused(403)]
    sim.run(until=NOON + 300_000)
    ended = sim.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "40201")


def test_403_of_one_request_holds_up_no_other_while_creates_succeed(sim: Simulation) -> None:
    sim.provider.create_faults = [refused(403)]
    sim.submit(key="bad")
    assert sim.submit(key="good").status is Status.SUBMITTED
    for number in range(5):
        sim.provider.create_faults = [refused(403)]
        assert sim.submit(key=f"bad-{number}").status is Status.ACCEPTED
        assert sim.submit(key=f"good-{number}").status is Status.SUBMITTED
        sim.clock.advance(5)


def test_403s_of_one_tenant_hold_up_no_other(sim: Simulation) -> None:
    """A model that one tenant asks for and our account may not use: each of its tasks gets a 403 of its own."""
    sim.tenants.create_tenant("beta", 1)
    create = sim.provider._create

    def forbidding(call: CreateCall) -> object:
        if sim.task(urlsplit(call.callback_url).path.rpartition("/")[2]).tenant_id == "beta":
            raise refused(403)
        return create(call)

    sim.provider._create = forbidding  # type: ignore[method-assign,assignment]
    bad = [sim.submit(key=f"bad-{number}", tenant="beta") for number in range(40)]
    for number in range(5):
        assert sim.submit(key=f"good-{number}").status is Status.SUBMITTED
        sim.clock.advance(70)
    sim.run(until=sim.clock() + 3 * HOUR)
    assert {sim.task(task.task_id).status for task in bad} <= {Status.FAILED, Status.ACCEPTED}


def test_403s_of_two_tenants_pause_the_provider(sim: Simulation) -> None:
    sim.provider.create_faults = [refused(403)] * 2
    sim.submit(key="one")
    sim.submit(key="two", tenant="beta")
    third = sim.submit(key="three", tenant="gamma")
    assert (third.status, len(sim.provider.calls)) == (Status.ACCEPTED, 2)
    pause = sim.submission.pauses.find("gateway")
    assert pause is not None
    assert pause.tenant_id is None


def test_403_of_every_create_pauses_like_a_refused_account(refusing: RefusingSimulation) -> None:
    refusing.status = 403
    tasks = [refusing.submit(key=f"order-{number}") for number in range(10)]
    assert len(refusing.tried) == 2  # the second was the probe that shows whose fault it is
    refusing.run(until=refusing.well_at + HOUR)
    assert {refusing.task(task.task_id).status for task in tasks} == {Status.SUBMITTED}


@pytest.mark.parametrize("way", ["disabled", "gone"])
def test_task_of_a_disabled_tenant_is_never_submitted(sim: Simulation, way: str) -> None:
    task = sim.submit(time_left=lambda: 0)
    if way == "disabled":
        sim.tenants.set_disabled("acme", True)
    else:
        sim.account.clients["dynamodb"].delete_item(TableName=sim.account.table, Key={"pk": {"S": "tenant#acme"}})
    sim.run()
    ended = sim.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.CANCELED, "tenant_disabled")
    assert sim.provider.calls == []


def test_image_of_a_bucket_that_was_taken_away_is_not_linked(sim: Simulation) -> None:
    task = sim.submit(time_left=lambda: 0)
    # as if it had been accepted while the bucket was the tenant's
    request = {**task.request, "images": ["s3://another-bucket/cat.png"]}
    sim.store.save(replace(sim.task(task.task_id), request=request))
    sim.run()
    ended = sim.task(task.task_id)
    assert (ended.status, ended.error and ended.error.code) == (Status.FAILED, "image_not_found")
    assert sim.provider.calls == []


def test_refusal_is_recorded_although_the_pause_cannot_be_written(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttled(*_: object, **__: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "busy"}}, "UpdateItem")

    monkeypatch.setattr(sim.submission.pauses, "pause", throttled)
    sim.provider.create_faults = [refused(402)]
    task = sim.submit()
    assert (task.status, task.paused_since) == (Status.ACCEPTED, NOON)


def test_paused_task_that_a_callback_named_an_id_for_is_not_read_every_second(refusing: RefusingSimulation) -> None:
    refusing.well_at = NOON + 1000 * HOUR
    task = refusing.submit()
    refusing.call_back(task.task_id, {"id": "gen-9", "status": "processing"})
    refusing.run(until=NOON + 4 * HOUR)  # its deadline was at two
    before = len(refusing.provider.reads)
    refusing.run(until=NOON + 5 * HOUR)
    assert 1 <= len(refusing.provider.reads) - before <= 8


def test_task_that_cannot_be_sent_now_does_not_use_up_the_probe(sim: Simulation) -> None:
    sim.provider.create_faults = [refused(402)]
    sim.submit(key="first")
    sim.clock.advance(61)
    assert sim.submit(key="without time", time_left=lambda: 1000).status is Status.ACCEPTED
    assert sim.submit(key="second").status is Status.SUBMITTED
