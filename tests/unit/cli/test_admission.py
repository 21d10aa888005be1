"""The queue in front of a provider, as the operator sees it and holds it up."""

from dataclasses import replace

from tests.unit.builders import NOW, POLICY, new_task
from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.admission import wait_for_turn
from vidu_relay.domain.identifiers import task_id_for_key
from vidu_relay.domain.representation import timestamp


def wait(deployment: Deployment, tenant: str, number: int) -> None:
    task = replace(new_task(), task_id=task_id_for_key(tenant, str(number)), tenant_id=tenant, created_at=1000 + number)
    TaskStore(deployment.client("dynamodb"), deployment.account.table).create(
        wait_for_turn(task, now=NOW, policy=POLICY)
    )


def test_length_and_shares_are_shown(relay: Run, ask: Ask, deployment: Deployment) -> None:
    for number in range(3):
        wait(deployment, "acme", number)
    wait(deployment, "globex", 0)
    gateway, vidu = ask("queue", "show")["queues"]
    assert (gateway["waiting"], gateway["tenants"], vidu["waiting"]) == (4, {"acme": 3, "globex": 1}, 0)
    assert gateway["oldest_seconds"] > 0
    assert "globex" in relay("queue", "show")[1]
    task_id = task_id_for_key("globex", "0")
    assert ask("task", "show", task_id)["waits_in_queue_since"] == timestamp(NOW)
    assert "waits for its turn at gateway" in relay("task", "show", task_id)[1]


def test_what_is_paused_is_resumed(ask: Ask, refused: Refused) -> None:
    ask("tenants", "create", "acme")
    ask("queue", "pause", "vidu")
    ask("queue", "pause", "vidu", "--tenant", "acme")
    assert [(one["paused"], one["paused_tenants"]) for one in ask("queue", "show")["queues"]] == [
        (False, []),
        (True, ["acme"]),
    ]
    ask("queue", "resume", "vidu")
    ask("queue", "resume", "vidu", "--tenant", "acme")
    assert not any(one["paused"] or one["paused_tenants"] for one in ask("queue", "show")["queues"])
    assert "no tenant" in refused("queue", "pause", "vidu", "--tenant", "initech")
