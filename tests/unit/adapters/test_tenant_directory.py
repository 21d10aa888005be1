from typing import TYPE_CHECKING

import pytest

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, new_task
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import ApiKey, TenantDirectory, TenantMapping
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.identifiers import api_key_digest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = ApiKey(api_key_digest("the key itself"), "acme", "laptop", NOW)


@pytest.fixture
def directory(dynamodb: "DynamoDBClient") -> TenantDirectory:
    return TenantDirectory(dynamodb, TABLE)


def test_a_key_is_found_by_its_digest_until_it_is_revoked_and_is_one_tenant_s(
    directory: TenantDirectory, dynamodb: "DynamoDBClient"
) -> None:
    directory.add_key(KEY)
    assert "the key itself" not in str(dynamodb.scan(TableName=TABLE)["Items"])
    with pytest.raises(InvalidRequestError):
        directory.add_key(ApiKey(KEY.digest, "evil", "mine", NOW))
    assert directory.find_key(KEY.digest) == KEY
    assert directory.revoke_key(KEY.digest)
    assert directory.find_key(KEY.digest) is None
    assert directory.list_keys("acme") == []
    assert not directory.revoke_key(KEY.digest)


def test_a_tenant_s_keys_are_listed_oldest_first_and_no_other_s(
    directory: TenantDirectory, dynamodb: "DynamoDBClient"
) -> None:
    keys = [ApiKey(api_key_digest(str(n)), "acme", f"key {n}", NOW + n) for n in range(3)]
    for key in reversed(keys):
        directory.add_key(key)
    directory.add_key(ApiKey(api_key_digest("x"), "acme2", "other", NOW))
    TaskStore(dynamodb, TABLE).create(new_task())
    assert directory.list_keys("acme") == keys
    assert len(TaskStore(dynamodb, TABLE).list_keys("acme", limit=10, after=None)) == 1, "keys are no tasks"


@pytest.fixture
def mapped(directory: TenantDirectory) -> TenantDirectory:
    """Two tenants; the first has a source and a bucket."""
    directory.create_tenant("acme", NOW)
    directory.create_tenant("evil", NOW)
    for mapping in TenantMapping:
        directory.add_mapping(mapping, "orders.acme", "acme")
    return directory


def owner_of(directory: TenantDirectory, mapping: TenantMapping) -> str | None:
    tenant = directory.find_owner(mapping, "orders.acme")
    return tenant.tenant_id if tenant else None


def former_owner_of(directory: TenantDirectory, mapping: TenantMapping) -> str | None:
    tenant = directory.find_former_owner(mapping, "orders.acme")
    return tenant.tenant_id if tenant else None


def listed(directory: TenantDirectory, tenant_id: str, mapping: TenantMapping) -> tuple[str, ...]:
    tenant = directory.find_tenant(tenant_id)
    assert tenant is not None
    return tenant.event_sources if mapping is TenantMapping.SOURCE else tenant.buckets


@pytest.mark.parametrize("mapping", TenantMapping)
def test_a_source_or_bucket_acts_for_one_tenant_only(mapped: TenantDirectory, mapping: TenantMapping) -> None:
    mapped.add_mapping(mapping, "orders.acme", "acme")
    with pytest.raises(InvalidRequestError) as taken:
        mapped.add_mapping(mapping, "orders.acme", "evil")
    assert taken.value.code == "mapping_taken"
    assert (owner_of(mapped, mapping), former_owner_of(mapped, mapping)) == ("acme", None)
    assert listed(mapped, "evil", mapping) == ()
    assert mapped.remove_mapping(mapping, "orders.acme", "acme", NOW)
    assert owner_of(mapped, mapping) is None
    assert mapped.find_owner(mapping, "never.mapped") is mapped.find_former_owner(mapping, "never.mapped") is None
    assert not mapped.remove_mapping(mapping, "never.mapped", "acme", NOW)


@pytest.mark.parametrize("mapping", TenantMapping)
def test_a_mapping_that_was_taken_away_is_kept_as_closed_for_fifteen_days(
    mapped: TenantDirectory, dynamodb: "DynamoDBClient", mapping: TenantMapping
) -> None:
    """SQS delivers a message again for up to 14 days: it still finds the task that it made."""
    assert mapped.remove_mapping(mapping, "orders.acme", "acme", NOW)
    assert (owner_of(mapped, mapping), former_owner_of(mapped, mapping)) == (None, "acme")
    assert listed(mapped, "acme", mapping) == ()
    item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": f"{mapping}#orders.acme"}})["Item"]
    assert item["expires_at"] == {"N": str(NOW // 1000 + 15 * 86_400)}
    assert not mapped.remove_mapping(mapping, "orders.acme", "acme", NOW + 1), "it is taken away once"
    again = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": f"{mapping}#orders.acme"}})["Item"]
    assert again == item


@pytest.mark.parametrize("mapping", TenantMapping)
@pytest.mark.parametrize("tenant_id", ["acme", "evil"])
def test_a_closed_mapping_can_be_opened_by_any_tenant_and_is_then_kept_for_good(
    mapped: TenantDirectory, dynamodb: "DynamoDBClient", mapping: TenantMapping, tenant_id: str
) -> None:
    mapped.remove_mapping(mapping, "orders.acme", "acme", NOW)
    mapped.add_mapping(mapping, "orders.acme", tenant_id)
    former = None if tenant_id == "acme" else "acme"  # a message of then still finds the task that it made
    assert (owner_of(mapped, mapping), former_owner_of(mapped, mapping)) == (tenant_id, former)
    assert listed(mapped, tenant_id, mapping) == ("orders.acme",)
    item = dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": f"{mapping}#orders.acme"}})["Item"]
    assert "expires_at" not in item


@pytest.mark.parametrize("mapping", TenantMapping)
def test_only_its_tenant_s_mapping_is_taken_away(mapped: TenantDirectory, mapping: TenantMapping) -> None:
    with pytest.raises(InvalidRequestError) as taken:
        mapped.remove_mapping(mapping, "orders.acme", "evil", NOW)
    assert taken.value.code == "mapping_taken"
    with pytest.raises(InvalidRequestError) as unknown:
        mapped.remove_mapping(mapping, "orders.acme", "unknown", NOW)
    assert unknown.value.code == "unknown_tenant"
    with pytest.raises(InvalidRequestError):
        mapped.add_mapping(mapping, "another", "unknown")
    assert owner_of(mapped, mapping) == "acme"
    assert listed(mapped, "acme", mapping) == ("orders.acme",)


def test_tenants_are_listed_with_what_they_may_do(directory: TenantDirectory) -> None:
    assert directory.find_tenant("acme") is None
    assert directory.create_tenant("acme", NOW)
    assert not directory.create_tenant("acme", NOW), "a tenant is made once"
    directory.create_tenant("globex", NOW + 1)
    directory.set_daily_cap("globex", 7)
    directory.set_disabled("acme", disabled=True)
    acme, globex = directory.list_tenants()
    assert (acme.tenant_id, acme.disabled, acme.daily_cap) == ("acme", True, None)
    assert (globex.tenant_id, globex.disabled, globex.daily_cap) == ("globex", False, 7)
