"""Tenants, their API keys and event sources: items of the task table that the operator writes.

tenant#<tenant_id>      created_at
key#<sha256 of key>     tenant_id, name, created_at, owner = keys#<tenant_id>
source#<event source>   tenant_id
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["ApiKey", "TenantDirectory"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: its digest, never the key. `key_id` is the digest's first 12 characters."""

    digest: str
    tenant_id: str
    name: str
    created_at: int

    @property
    def key_id(self) -> str:
        return self.digest[:12]


class TenantDirectory:
    """Who may call, and on whose behalf."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def find_key(self, digest: str) -> ApiKey | None:
        """The key with this SHA-256, or None if it never was or is revoked. Consistent: a revoked key is gone."""
        reply = self._client.get_item(TableName=self._table, Key={"pk": {"S": f"key#{digest}"}}, ConsistentRead=True)
        item = reply.get("Item")
        return _api_key(item) if item else None

    def create_tenant(self, tenant_id: str, now: int) -> bool:
        """Record a tenant; False if it was there already."""
        return self._put({"pk": {"S": f"tenant#{tenant_id}"}, "created_at": {"N": str(now)}})

    def has_tenant(self, tenant_id: str) -> bool:
        """Whether the tenant exists."""
        reply = self._client.get_item(TableName=self._table, Key={"pk": {"S": f"tenant#{tenant_id}"}})
        return "Item" in reply

    def map_source(self, source: str, tenant_id: str) -> None:
        """Let events of a source act for a tenant.

        Raises `InvalidRequestError` if the source is another tenant's.
        """
        item = {"pk": {"S": f"source#{source}"}, "tenant_id": {"S": tenant_id}}
        if self._put(item):
            return
        there = self._client.get_item(TableName=self._table, Key={"pk": item["pk"]}, ConsistentRead=True).get(
            "Item", {}
        )
        if there.get("tenant_id", {}).get("S") != tenant_id:
            raise InvalidRequestError("source_taken", f"The event source {source} is mapped to another tenant.")

    def add_key(self, key: ApiKey) -> None:
        """Store a new key's digest."""
        item = {
            "pk": {"S": f"key#{key.digest}"},
            "tenant_id": {"S": key.tenant_id},
            "name": {"S": key.name},
            "owner": {"S": f"keys#{key.tenant_id}"},
            "created_at": {"N": str(key.created_at)},
        }
        if not self._put(item):
            raise InvalidRequestError("key_exists", "This key exists already.")

    def list_keys(self, tenant_id: str) -> list[ApiKey]:
        """A tenant's keys, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_owner",
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": f"keys#{tenant_id}"}},
        )
        digests = [item["pk"]["S"].removeprefix("key#") for page in pages for item in page["Items"]]
        return [key for digest in digests if (key := self.find_key(digest))]

    def revoke_key(self, digest: str) -> bool:
        """Delete a key; False if it was not there."""
        reply = self._client.delete_item(
            TableName=self._table, Key={"pk": {"S": f"key#{digest}"}}, ReturnValues="ALL_OLD"
        )
        return "Attributes" in reply

    def _put(self, item: dict[str, Any]) -> bool:
        try:
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _api_key(item: dict[str, Any]) -> ApiKey:
    return ApiKey(
        digest=item["pk"]["S"].removeprefix("key#"),
        tenant_id=item["tenant_id"]["S"],
        name=item["name"]["S"],
        created_at=int(item["created_at"]["N"]),
    )
