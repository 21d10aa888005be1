"""Tenants of a test's own: nothing that earlier tests left behind counts towards them."""

from dataclasses import replace

from local.client import RelayClient
from tests.e2e.attempts import listed, operate


def client_of_new_tenant(relay: RelayClient, tenant_id: str, *options: str) -> RelayClient:
    """A client of a tenant that is made here, with these options of `tenants create`."""
    operate(relay, "tenants", "create", tenant_id, *options)
    api_key = operate(relay, "keys", "create", "--tenant", tenant_id)["api_key"]
    return RelayClient(replace(relay.stack, tenant_id=tenant_id, api_key=api_key, event_source=""))


def quota_slots_taken(relay: RelayClient) -> int:
    """How many tasks count towards the tenant's daily cap, over all days: one may begin in the middle of a test."""
    items = listed(relay, "dynamodb", "scan", "Items", TableName=relay.stack.table)
    return sum(int(i["accepted"]["N"]) for i in items if i["pk"]["S"].startswith(f"cap#{relay.stack.tenant_id}#"))
