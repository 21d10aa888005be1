"""API keys: shown once, stored as digests, gone when revoked."""

import hashlib
import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Deployment, Run
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.usecases.authorize_request import authorize_request


@pytest.fixture(autouse=True)
def tenant(deployment: Deployment, ask: Any) -> None:
    ask("tenants", "create", "acme")


def may_enter(deployment: Deployment, api_key: str) -> bool:
    directory = TenantDirectory(deployment.client("dynamodb"), deployment.account.table)
    return authorize_request(f"Bearer {api_key}", directory, default_daily_cap=1) is not None


def test_key_is_shown_once_and_only_its_digest_is_stored(relay: Run, deployment: Deployment) -> None:
    status, out, _ = relay("keys", "create", "--tenant", "acme", "--name", "backend")
    key, _, said = out.partition("\n")
    assert status == 0
    assert len(key) >= 43
    assert "shown this once" in said
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert digest[:12] in said
    stored = json.dumps(deployment.items(), default=str)
    assert key not in stored
    assert f"key#{digest}" in stored
    assert key not in relay("keys", "list", "--tenant", "acme")[1]


def test_key_opens_the_door_until_it_is_revoked(relay: Run, ask: Any, deployment: Deployment) -> None:
    made, other = (ask("keys", "create", "--tenant", "acme") for _ in range(2))
    assert may_enter(deployment, made["api_key"])
    revoked = ask("keys", "revoke", "--tenant", "acme", made["key_id"])
    assert revoked == {"key_id": made["key_id"], "revoked": True}
    assert not may_enter(deployment, made["api_key"])
    assert may_enter(deployment, other["api_key"])
    status, out, _ = relay("keys", "revoke", "--tenant", "acme", made["key_id"])
    assert (status, "already gone" in out) == (0, True)
    assert ask("keys", "revoke", "--tenant", "acme", made["key_id"])["revoked"] is False
    assert may_enter(deployment, other["api_key"])


def test_key_opens_nothing_while_its_tenant_is_disabled(relay: Run, ask: Any, deployment: Deployment) -> None:
    made = ask("keys", "create", "--tenant", "acme")
    ask("tenants", "disable", "acme")
    assert not may_enter(deployment, made["api_key"])
    assert "opens nothing until" in relay("keys", "create", "--tenant", "acme")[1]
    ask("tenants", "enable", "acme")
    assert may_enter(deployment, made["api_key"])


def test_keys_differ(ask: Any) -> None:
    assert len({ask("keys", "create", "--tenant", "acme")["api_key"] for _ in range(5)}) == 5


def test_list_shows_a_tenants_own_keys_without_their_secret(relay: Run, ask: Any) -> None:
    ask("tenants", "create", "globex")
    assert relay("keys", "list", "--tenant", "acme")[1].startswith("No keys.")
    made = ask("keys", "create", "--tenant", "acme", "--name", "backend")
    ask("keys", "create", "--tenant", "globex")
    (shown,) = ask("keys", "list", "--tenant", "acme")["keys"]
    assert shown == {name: value for name, value in made.items() if name != "api_key"}
    assert set(shown) == {"key_id", "tenant_id", "name", "created_at"}
    header, line = relay("keys", "list", "--tenant", "acme")[1].splitlines()
    assert header.split("  ")[0] == "KEY ID"
    assert line.split() == [made["key_id"], made["created_at"], "backend"]


def test_key_of_another_tenant_is_not_revoked(relay: Run, ask: Any, deployment: Deployment) -> None:
    ask("tenants", "create", "globex")
    made = ask("keys", "create", "--tenant", "acme")
    status, _, complaint = relay("keys", "revoke", "--tenant", "globex", made["key_id"])
    assert status == 1
    assert "belongs to another tenant, acme" in complaint
    assert may_enter(deployment, made["api_key"])


@pytest.mark.parametrize("key_id", ["", "x", "*", "0" * 11, "0" * 13, "G" * 12, "a b"])
def test_key_id_that_is_none_is_refused(relay: Run, ask: Any, deployment: Deployment, key_id: str) -> None:
    made = ask("keys", "create", "--tenant", "acme")
    status, _, complaint = relay("keys", "revoke", "--tenant", "acme", key_id)
    assert (status, "keys list" in complaint) == (1, True)
    assert may_enter(deployment, made["api_key"])


@pytest.mark.parametrize("name", ["", "x" * 101, "tab\t", "café", "two words", "a/b"])
def test_key_name_that_is_none_is_refused(relay: Run, deployment: Deployment, name: str) -> None:
    assert relay("keys", "create", "--tenant", "acme", "--name", name)[0] == 1
    assert len(deployment.items()) == 1
