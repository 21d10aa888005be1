"""Tenants, their API keys, event sources and buckets: items of the task table that the operator writes.

tenant#<tenant_id>      created_at, disabled?, daily_cap?, daily_budget_usd?, monthly_budget_usd?, event_sources?,
                        buckets?, owner = #tenants,
                        webhook_generation?, webhook_rotated_at?: how often its webhook secret was rotated, and when
key#<sha256 of key>     tenant_id, name, created_at, owner = keys#<tenant_id>
source#<event source>   tenant_id: who an event of this source acts for; closed?: it no longer does;
                        former?: who it acted for before it was moved
bucket#<bucket name>    tenant_id: who a file dropped into this bucket acts for; closed?: it no longer does

A source or bucket is mapped by its own item, so that it can belong to one tenant only; the tenant's record lists
what it has, and both change in one transaction. No owner here can be a tenant's id, which is what tasks are listed by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.budget import BUDGET_FIELDS, NO_BUDGET, Budget, budget_fields, read_budget
from vidu_relay.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["ApiKey", "Tenant", "TenantDirectory", "TenantMapping"]

TENANTS = "#tenants"
CLOSED_SECONDS = 15 * 86_400


class TenantMapping(StrEnum):
    """What can act for a tenant besides a key. The values are the prefixes of the items."""

    SOURCE = "source"
    BUCKET = "bucket"


_LISTED_AS = {TenantMapping.SOURCE: "event_sources", TenantMapping.BUCKET: "buckets"}


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


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. `daily_cap` is None where the deployment's default holds; moments in ms."""

    tenant_id: str
    created_at: int
    disabled: bool = False
    daily_cap: int | None = None
    event_sources: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    webhook_generation: int = 1
    webhook_rotated_at: int | None = None
    budget: Budget = NO_BUDGET


class TenantDirectory:
    """Who may call, and on whose behalf. Every read of one item is consistent: a revocation counts at once."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def find_key(self, digest: str) -> ApiKey | None:
        """The key with this SHA-256, or None if it never was or is revoked."""
        item = self._get(f"key#{digest}")
        return _api_key(item) if item else None

    def find_tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None."""
        item = self._get(f"tenant#{tenant_id}")
        return _tenant(item) if item else None

    def find_owner(self, mapping: TenantMapping, name: str) -> Tenant | None:
        """The tenant that a source or bucket acts for; None if it is mapped to none. The tenant may be disabled."""
        item = self._get(f"{mapping}#{name}")
        return self.find_tenant(item["tenant_id"]["S"]) if item and "closed" not in item else None

    def find_former_owner(self, mapping: TenantMapping, name: str) -> Tenant | None:
        """The tenant that a source or bucket acted for until it was taken away or moved; None if that was long ago."""
        item = self._get(f"{mapping}#{name}") or {}
        former = item.get("tenant_id") if "closed" in item else item.get("former")
        return self.find_tenant(former["S"]) if former else None

    def create_tenant(self, tenant_id: str, now: int) -> bool:
        """Record a tenant; False if it was there already."""
        return self._put(
            {"pk": {"S": f"tenant#{tenant_id}"}, "owner": {"S": TENANTS}, "created_at": {"N": str(now)}},
        )

    def list_tenants(self) -> list[Tenant]:
        """Every tenant, oldest first. Reads as much as there are tenants, however many tasks there are."""
        return [tenant for tenant_id in self.list_ids() if (tenant := self.find_tenant(tenant_id))]

    def list_ids(self) -> list[str]:
        """The ids of all tenants, the oldest first."""
        return [pk.removeprefix("tenant#") for pk in self._owned_by(TENANTS)]

    def set_disabled(self, tenant_id: str, disabled: bool) -> bool:
        """Disable or enable a tenant; False if there is no such tenant."""
        change = "SET disabled = :disabled" if disabled else "REMOVE disabled"
        return self._change(tenant_id, change, {":disabled": {"BOOL": True}} if disabled else {})

    def set_daily_cap(self, tenant_id: str, cap: int | None) -> bool:
        """Set a tenant's own daily cap, or take it away (None); False if there is no such tenant."""
        change = "REMOVE daily_cap" if cap is None else "SET daily_cap = :cap"
        return self._change(tenant_id, change, {} if cap is None else {":cap": {"N": str(cap)}})

    def set_budget(self, tenant_id: str, budget: Budget) -> bool:
        """Set what a tenant may spend, or take a bound away (None); False if there is no such tenant."""
        given = budget_fields(budget)
        removed = ", ".join(name for name in BUDGET_FIELDS if name not in given)
        change = " ".join(
            (
                f"SET {', '.join(f'{name} = :{name}' for name in given)}" if given else "",
                f"REMOVE {removed}" if removed else "",
            )
        )
        return self._change(tenant_id, change.strip(), {f":{name}": {"S": text} for name, text in given.items()})

    def rotate_webhook_secret(self, tenant: Tenant, now: int) -> bool:
        """Go on to the tenant's next webhook secret; False if another call just did, or there is no such tenant."""
        seen, following = str(tenant.webhook_generation), str(tenant.webhook_generation + 1)
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"tenant#{tenant.tenant_id}"}},
                UpdateExpression="SET webhook_generation = :next, webhook_rotated_at = :now",
                ConditionExpression=(
                    "attribute_exists(pk) AND (webhook_generation = :seen OR "
                    "(attribute_not_exists(webhook_generation) AND :seen = :first))"
                ),
                ExpressionAttributeValues={
                    ":next": {"N": following},
                    ":now": {"N": str(now)},
                    ":seen": {"N": seen},
                    ":first": {"N": "1"},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def add_mapping(self, mapping: TenantMapping, name: str, tenant_id: str) -> None:
        """Let a source or bucket act for a tenant; safe to repeat.

        Raises `InvalidRequestError`: `mapping_taken` if it is another tenant's, `unknown_tenant`.
        """
        item = {"pk": {"S": f"{mapping}#{name}"}, "tenant_id": {"S": tenant_id}}
        had = self._get(item["pk"]["S"]) or {}
        former = had.get("tenant_id") if "closed" in had else had.get("former")
        if former and former["S"] != tenant_id:
            item["former"] = former  # a message that is delivered again still finds the task that it made
        self._map(
            mapping,
            name,
            tenant_id,
            {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": (
                        "attribute_not_exists(pk) OR tenant_id = :tenant OR attribute_exists(closed)"
                    ),
                    "ExpressionAttributeValues": {":tenant": {"S": tenant_id}},
                }
            },
            "ADD",
        )

    def remove_mapping(self, mapping: TenantMapping, name: str, tenant_id: str, now: int) -> bool:
        """Take a source or bucket away from a tenant; False if it has none of that name.

        The mapping is kept for fifteen days as closed: a message that SQS delivers again (up to 14 days) still finds
        the task that it made.

        Raises `InvalidRequestError`: `unknown_tenant`, or `mapping_taken` if it is another tenant's.
        """
        had = self._get(f"{mapping}#{name}")
        if had is None or "closed" in had:
            return False
        self._map(
            mapping,
            name,
            tenant_id,
            {
                "Update": {
                    "TableName": self._table,
                    "Key": {"pk": {"S": f"{mapping}#{name}"}},
                    "UpdateExpression": "SET closed = :closed, expires_at = :end",
                    "ConditionExpression": "tenant_id = :tenant",
                    "ExpressionAttributeValues": {
                        ":tenant": {"S": tenant_id},
                        ":closed": {"BOOL": True},
                        ":end": {"N": str(now // 1000 + CLOSED_SECONDS)},
                    },
                }
            },
            "DELETE",
        )
        return True

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
        digests = [pk.removeprefix("key#") for pk in self._owned_by(f"keys#{tenant_id}")]
        return [key for digest in digests if (key := self.find_key(digest))]

    def revoke_key(self, digest: str) -> bool:
        """Delete a key; False if it was not there."""
        reply = self._client.delete_item(
            TableName=self._table, Key={"pk": {"S": f"key#{digest}"}}, ReturnValues="ALL_OLD"
        )
        return "Attributes" in reply

    def _get(self, pk: str) -> dict[str, Any] | None:
        reply = self._client.get_item(TableName=self._table, Key={"pk": {"S": pk}}, ConsistentRead=True)
        return reply.get("Item")

    def _owned_by(self, owner: str) -> Iterator[str]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_owner",
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
        for page in pages:
            for item in page["Items"]:
                yield item["pk"]["S"]

    def _put(self, item: dict[str, Any]) -> bool:
        try:
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _change(self, tenant_id: str, change: str, values: dict[str, Any]) -> bool:
        arguments: dict[str, Any] = {"ExpressionAttributeValues": values} if values else {}
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"tenant#{tenant_id}"}},
                UpdateExpression=change,
                ConditionExpression="attribute_exists(pk)",
                **arguments,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _map(self, mapping: TenantMapping, name: str, tenant_id: str, write: Any, change: str) -> None:
        """Change the item of a mapping and the tenant's list in one transaction."""
        listing: Any = {
            "Update": {
                "TableName": self._table,
                "Key": {"pk": {"S": f"tenant#{tenant_id}"}},
                "UpdateExpression": f"{change} {_LISTED_AS[mapping]} :names",
                "ConditionExpression": "attribute_exists(pk)",
                "ExpressionAttributeValues": {":names": {"SS": [name]}},
            }
        }
        try:
            self._client.transact_write_items(TransactItems=[listing, write])
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise
            reasons: Any = error.response.get("CancellationReasons", [])
            tenant_reason, mapping_reason = (reason.get("Code") for reason in reasons)
            if tenant_reason == "ConditionalCheckFailed":
                raise InvalidRequestError("unknown_tenant", f"There is no tenant {tenant_id}.") from error
            if mapping_reason == "ConditionalCheckFailed":
                raise InvalidRequestError(
                    "mapping_taken", f"The {mapping} {name} is mapped to another tenant."
                ) from error
            raise


def _api_key(item: dict[str, Any]) -> ApiKey:
    return ApiKey(
        digest=item["pk"]["S"].removeprefix("key#"),
        tenant_id=item["tenant_id"]["S"],
        name=item["name"]["S"],
        created_at=int(item["created_at"]["N"]),
    )


def _tenant(item: dict[str, Any]) -> Tenant:
    return Tenant(
        tenant_id=item["pk"]["S"].removeprefix("tenant#"),
        created_at=int(item["created_at"]["N"]),
        disabled=item.get("disabled", {}).get("BOOL", False),
        daily_cap=int(item["daily_cap"]["N"]) if "daily_cap" in item else None,
        budget=read_budget({name: item[name]["S"] for name in BUDGET_FIELDS if name in item}),
        event_sources=tuple(sorted(item.get("event_sources", {}).get("SS", ()))),
        buckets=tuple(sorted(item.get("buckets", {}).get("SS", ()))),
        webhook_generation=int(item["webhook_generation"]["N"]) if "webhook_generation" in item else 1,
        webhook_rotated_at=int(item["webhook_rotated_at"]["N"]) if "webhook_rotated_at" in item else None,
    )
