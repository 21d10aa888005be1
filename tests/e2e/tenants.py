"""Tenants of a test's own: nothing that earlier tests left behind counts towards them."""

from dataclasses import replace
from pathlib import Path

from local.client import RelayClient
from tests.e2e.attempts import operate

__all__ = ["client_of_new_tenant", "places_taken"]


def client_of_new_tenant(relay: RelayClient, folder: Path, tenant_id: str) -> RelayClient:
    """A client of a tenant that is set up here; no event source is mapped to it. `folder` is one of the test's own."""
    operate(relay, folder, "tenants", "create", tenant_id)
    api_key = operate(relay, folder, "keys", "create", "--tenant", tenant_id)["api_key"]
    return RelayClient(replace(relay.stack, tenant_id=tenant_id, api_key=api_key, event_source=""))


def places_taken(relay: RelayClient) -> int:
    """How many tasks count towards the tenant's daily cap, over all days: one may begin in the middle of a test."""
    pages = (
        relay.aws("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=relay.stack.table,
            FilterExpression="begins_with(pk, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": f"cap#{relay.stack.tenant_id}#"}},
        )
    )
    return sum(int(item["accepted"]["N"]) for page in pages for item in page["Items"])
