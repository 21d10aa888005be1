"""Providers beside each other: a task is asked for at its own one for life, whatever the default is by then."""

import json
from typing import Any

import pytest

from tests.simulation.provider import NOON, SimulatedProvider
from tests.simulation.simulation import TENANT, Simulation
from tests.unit.account import PROVIDER_KEY
from tests.unit.usecases.test_callback_authentication import mode, refused, signed
from vidu_relay.domain.catalogue import Offering
from vidu_relay.domain.errors import AccountRefusedError, ConfigurationError, NotCreatedError
from vidu_relay.domain.request_model import parse_request
from vidu_relay.domain.snapshot import CallbackReport
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Origin, Task
from vidu_relay.usecases.submit_task import submit_task

AT_BOTH, AT_VIDU = "viduq3_turbo_text2video", "viduq3_pro_text2video"
HOUR = 3_600_000
KEYS = {"gateway": {"key": PROVIDER_KEY}, "vidu": {"key": "key-of-vidu"}}


class Vidu(SimulatedProvider):
    name = "vidu"


@pytest.fixture
def vidu(sim: Simulation) -> Vidu:
    """The provider beside the gateway, whose ids are the same."""
    store(sim, KEYS)
    sim.beside["vidu"] = made = Vidu(sim.clock, sim.effects, lambda: "key-of-vidu")
    return made


def store(sim: Simulation, content: Any) -> None:
    sim.account.clients["secretsmanager"].put_secret_value(
        SecretId=sim.account.provider_secret, SecretString=json.dumps(content)
    )


def submit(sim: Simulation, default: str, key: str, model: str = AT_BOTH) -> Task:
    """Under a deployment that has both keys."""
    offering = Offering((default,), also=lambda: sorted(KEYS))
    request = parse_request(json.dumps({"model": model, "prompt": "a cat"}), offering)
    return submit_task(request, Origin(TENANT, 1000, key), sim.acceptance, time_left=lambda: sim.time_left)


def ends(sim: Simulation, *tasks: Task) -> list[tuple[str, Status]]:
    return [(found.provider, found.status) for task in tasks for found in [sim.task(task.task_id)]]


def test_change_of_the_default_leaves_open_tasks_at_their_provider(sim: Simulation, vidu: Vidu) -> None:
    """Also one whose create call is still to be made."""
    made = submit(sim, "gateway", "1")
    sim.provider.create_faults = [NotCreatedError("HTTP 429")]
    waiting = submit(sim, "gateway", "2")
    assert (made.status, waiting.status) == (Status.SUBMITTED, Status.ACCEPTED)
    later = submit(sim, "vidu", "3")
    sim.run(until=NOON + HOUR // 4)
    for provider, remote_ids in ((sim.provider, ["gen-1", "gen-2"]), (vidu, ["gen-1"])):
        assert sorted(set(provider.reads)) == remote_ids
        for remote_id in remote_ids:
            provider.finish(remote_id)
    sim.run(until=NOON + HOUR)
    done = [("gateway", Status.COMPLETED)] * 2 + [("vidu", Status.COMPLETED)]
    assert ends(sim, made, waiting, later) == done
    assert (len(sim.provider.calls), len(vidu.calls)) == (3, 1), "one create call was throttled"


def test_model_that_the_default_lacks_is_asked_for_and_canceled_where_it_is(sim: Simulation, vidu: Vidu) -> None:
    task = submit(sim, "gateway", "1", AT_VIDU)
    assert (task.provider, len(vidu.calls), sim.provider.calls) == ("vidu", 1, [])
    canceled = sim.cancel(task.task_id)
    assert canceled is not None
    assert (canceled.status, vidu.cancels, sim.provider.cancels) == (Status.CANCELED, ["gen-1"], [])


def test_refused_account_holds_up_its_own_provider_alone(sim: Simulation, vidu: Vidu) -> None:
    vidu.create_faults = [AccountRefusedError(402, "x", "no credits")]
    waiting = submit(sim, "vidu", "1")
    assert (waiting.status, submit(sim, "gateway", "2").status) == (Status.ACCEPTED, Status.SUBMITTED)
    assert submit(sim, "vidu", "3").status is Status.ACCEPTED
    assert (len(sim.provider.calls), len(vidu.calls)) == (1, 1)


def test_task_of_a_provider_whose_key_was_removed_waits_and_is_asked_for_nowhere_else(
    sim: Simulation, vidu: Vidu
) -> None:
    made = submit(sim, "vidu", "1")
    vidu.create_faults = [NotCreatedError("HTTP 429")]
    waiting = submit(sim, "vidu", "2")

    def no_key(*_: object) -> Any:
        raise ConfigurationError("no key of `vidu`")

    vidu.finish("gen-1")
    with pytest.MonkeyPatch.context() as patch:
        for call in ("ready", "_create", "_read"):
            patch.setattr(vidu, call, no_key)
        sim.run(until=NOON + HOUR)
        assert ends(sim, made, waiting) == [("vidu", Status.SUBMITTED), ("vidu", Status.ACCEPTED)]
        assert sim.task(waiting.task_id).paused_since is not None
    assert (len(vidu.calls), sim.provider.calls, sim.provider.reads) == (2, [], [])
    vidu.finishes_at_once = True
    sim.run(until=NOON + 2 * HOUR)
    assert ends(sim, made, waiting) == [("vidu", Status.COMPLETED)] * 2


@pytest.mark.parametrize("provider", KEYS)
def test_callback_is_verified_with_the_keys_of_its_tasks_provider_alone(
    sim: Simulation, vidu: Vidu, provider: str
) -> None:
    mode(sim, "require")
    task = submit(sim, provider, "1")
    for name, entry in KEYS.items():
        headers = signed(sim, task.task_id, key=entry["key"])
        if name == provider:
            assert sim.call_back(task.task_id, headers=headers).task_id == task.task_id
        else:
            assert refused(sim, task.task_id, headers=headers) == "signature_wrong"


def test_callback_is_read_by_its_tasks_provider(sim: Simulation, vidu: Vidu, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def read_callback(body: bytes) -> CallbackReport:
        read.append(body)
        return CallbackReport(None, ())

    monkeypatch.setattr(vidu, "read_callback", read_callback)
    sim.call_back(submit(sim, "vidu", "1").task_id, b'{"state": "success"}')
    assert (read, vidu.reads, sim.provider.reads) == ([b'{"state": "success"}'], ["gen-1"], [])
