"""What tasks cost, on the deployed stack: the ledger follows the stream, and a deletion keeps the bill."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.client import RelayClient
from tests.e2e.tenants import client_of_new_tenant
from tests.e2e.waiting import wait_until

Body = dict[str, Any]


@pytest.fixture
def payer(relay: RelayClient) -> Iterator[RelayClient]:
    """A client of a tenant that no other test spends money of."""
    client = client_of_new_tenant(relay, "payer")
    yield client
    client.close()


def usage(client: RelayClient) -> Any:
    return client.call("GET", "/v1/usage").json()


def test_usage_shows_the_providers_bill_and_a_deletion_keeps_it(payer: RelayClient, request_body: Body) -> None:
    assert usage(payer)["groups"] == []
    task = payer.wait(payer.submit(request_body)["task_id"], "completed")
    assert (task["billing"]["state"], task["billing"]["cost_usd"]) == ("settled", "0.045")
    payer.script(f"{request_body['prompt']} refused", {"create": {"reject": {"status": 400}}})
    refused = payer.submit({**request_body, "prompt": f"{request_body['prompt']} refused"})
    assert refused["billing"]["state"] == "none"
    total = wait_until(lambda: (now := usage(payer)["total"])["billing"]["none"] and now, "the refused task")
    assert (total["tasks"], total["cost_usd"], total["billing"]["settled"]) == (2, "0.045", 1)

    path = f"/v1/tasks/{task['task_id']}"
    early = payer.call("DELETE", path)
    assert (early.status_code, early.json()["code"]) == (409, "delivery_underway")
    assert 0 < int(early.headers["retry-after"]) <= 420
    assert payer.call("DELETE", f"/v1/tasks/{refused['task_id']}").status_code == 204
    assert "prompt" not in payer.task(refused["task_id"])["request"]
    assert payer.call("DELETE", f"/v1/tasks/{'a' * 26}").status_code == 404

    def prompts() -> list[Any]:
        rows = payer.aws("dynamodb").scan(TableName=payer.resources()["LedgerTable"])["Items"]
        return [row.get("prompt") for row in rows if row["task_id"]["S"] == refused["task_id"]]

    wait_until(lambda: prompts() == [None], "the row without its prompt")
    assert usage(payer)["total"] == total
