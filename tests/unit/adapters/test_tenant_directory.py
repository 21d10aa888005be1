"""Tenants, keys and event sources."""

from typing import TYPE_CHECKING

import pytest

from tests.unit.adapters.conftest import TABLE
from tests.unit.builders import NOW, new_task
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import ApiKey, Door, TenantDirectory
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.identifiers import api_key_digest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = ApiKey(api_key_digest("the key itself"), "acme", "laptop", NOW)


@pytest.fixture
def directory(dynamodb: "DynamoDBClient") -> TenantDirectory:
    return TenantDirectory(dynamodb, TABLE)


def test_a_key_is_found_by_its_digest_until_it_is_revoked(directory: TenantDirectory) -> None:
    directory.add_key(KEY)
    assert directory.find_key(KEY.digest) == KEY
    assert directory.revoke_key(KEY.digest)
    assert directory.find_key(KEY.digest) is None
    assert directory.list_keys("acme") == []
    assert not directory.revoke_key(KEY.digest)


def test_the_key_itself_is_nowhere_in_the_table(directory: TenantDirectory, dynamodb: "DynamoDBClient") -> None:
    directory.add_key(KEY)
    assert "the key itself" not in str(dynamodb.scan(TableName=TABLE)["Items"])


def test_a_key_of_one_tenant_cannot_be_taken_over_by_another(directory: TenantDirectory) -> None:
    directory.add_key(KEY)
    with pytest.raises(InvalidRequestError):
        directory.add_key(ApiKey(KEY.digest, "evil", "mine", NOW))
    assert directory.find_key(KEY.digest) == KEY


def test_a_tenant_s_keys_are_listed_oldest_first_and_no_other_s(
    directory: TenantDirectory, dynamodb: "DynamoDBClient"
) -> None:
    keys = [ApiKey(api_key_digest(str(n)), "acme", f"key {n}", NOW + n) for n in range(3)]
    for key in reversed(keys):
        directory.add_key(key)
    directory.add_key(ApiKey(api_key_digest("x"), "acme2", "other", NOW))
    TaskStore(dynamodb, TABLE).create(new_task())
    assert directory.list_keys("acme") == keys


def test_keys_do_not_appear_among_a_tenant_s_tasks(directory: TenantDirectory, dynamodb: "DynamoDBClient") -> None:
    directory.add_key(KEY)
    assert TaskStore(dynamodb, TABLE).list_keys("acme", limit=10, after=None) == []


def test_a_tenant_is_made_once(directory: TenantDirectory) -> None:
    assert directory.find_tenant("acme") is None
    assert directory.create_tenant("acme", NOW)
    assert directory.find_tenant("acme") is not None
    assert not directory.create_tenant("acme", NOW)


@pytest.mark.parametrize("door", Door)
def test_a_source_or_bucket_acts_for_one_tenant_only(directory: TenantDirectory, door: Door) -> None:
    directory.create_tenant("acme", NOW)
    directory.create_tenant("evil", NOW)
    directory.open_door(door, "orders.acme", "acme")
    directory.open_door(door, "orders.acme", "acme")
    with pytest.raises(InvalidRequestError):
        directory.open_door(door, "orders.acme", "evil")
    owner = directory.find_owner(door, "orders.acme")
    assert owner is not None
    assert owner.tenant_id == "acme"
    assert directory.close_door(door, "orders.acme", "acme")
    assert directory.find_owner(door, "orders.acme") is None


def test_tenants_are_listed_with_what_they_may_do(directory: TenantDirectory) -> None:
    directory.create_tenant("acme", NOW)
    directory.create_tenant("globex", NOW + 1)
    directory.set_daily_cap("globex", 7)
    directory.set_disabled("acme", disabled=True)
    acme, globex = directory.list_tenants()
    assert (acme.tenant_id, acme.disabled, acme.daily_cap) == ("acme", True, None)
    assert (globex.tenant_id, globex.disabled, globex.daily_cap) == ("globex", False, 7)
