"""API keys: shown once, stored as digests, refused once revoked."""

import hashlib
import json

import pytest

from tests.unit.cli.conftest import Ask, Deployment, Refused, Run
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.usecases.authorize_request import authorize_request


@pytest.fixture(autouse=True)
def tenants(ask: Ask) -> None:
    ask("tenants", "create", "acme")
    ask("tenants", "create", "globex")


def accepted(deployment: Deployment, api_key: str) -> bool:
    directory = TenantDirectory(deployment.client("dynamodb"), deployment.account.table)
    return authorize_request(f"Bearer {api_key}", directory, default_daily_cap=1) is not None


def test_key_is_shown_once_and_only_its_digest_is_stored(relay: Run, ask: Ask, deployment: Deployment) -> None:
    key, _, text = relay("keys", "create", "--tenant", "acme", "--name", "backend")[1].partition("\n")
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert (len(key) >= 43, digest[:12] in text, "shown this once" in text) == (True, True, True)
    stored = json.dumps(deployment.items(), default=str)
    assert (key in stored, f"key#{digest}" in stored) == (False, True)
    (shown,) = ask("keys", "list", "--tenant", "acme")["keys"]
    assert shown == {"key_id": digest[:12], "tenant_id": "acme", "name": "backend", "created_at": shown["created_at"]}
    listed = relay("keys", "list", "--tenant", "acme")[1]
    assert listed.splitlines()[1].split() == [digest[:12], shown["created_at"], "backend"]
    assert relay("keys", "list", "--tenant", "globex")[1].startswith("No keys.")


def test_key_is_accepted_until_it_is_revoked(relay: Run, ask: Ask, deployment: Deployment) -> None:
    made, other = (ask("keys", "create", "--tenant", "acme") for _ in range(2))
    assert accepted(deployment, made["api_key"])
    assert ask("keys", "revoke", "--tenant", "acme", made["key_id"]) == {"key_id": made["key_id"], "revoked": True}
    assert [accepted(deployment, key["api_key"]) for key in (made, other)] == [False, True]
    assert "already gone" in relay("keys", "revoke", "--tenant", "acme", made["key_id"])[1]
    assert ask("keys", "revoke", "--tenant", "acme", made["key_id"])["revoked"] is False


def test_key_is_refused_while_its_tenant_is_disabled(relay: Run, ask: Ask, deployment: Deployment) -> None:
    made = ask("keys", "create", "--tenant", "acme")
    ask("tenants", "disable", "acme")
    assert not accepted(deployment, made["api_key"])
    assert "refused until" in relay("keys", "create", "--tenant", "acme")[1]
    ask("tenants", "enable", "acme")
    assert accepted(deployment, made["api_key"])


def test_key_of_another_tenant_is_not_revoked(refused: Refused, ask: Ask, deployment: Deployment) -> None:
    made = ask("keys", "create", "--tenant", "acme")
    assert "belongs to another tenant, acme" in refused("keys", "revoke", "--tenant", "globex", made["key_id"])
    assert accepted(deployment, made["api_key"])


@pytest.mark.parametrize("key_id", ["", "x", "*", "0" * 11, "0" * 13, "G" * 12, "a b"])
def test_key_id_of_another_form_is_refused(refused: Refused, key_id: str) -> None:
    assert "keys list" in refused("keys", "revoke", "--tenant", "acme", key_id)


@pytest.mark.parametrize("name", ["", "x" * 101, "tab\t", "café", "two words", "a/b"])
def test_key_name_of_another_form_is_refused(refused: Refused, deployment: Deployment, name: str) -> None:
    assert "a key's name has" in refused("keys", "create", "--tenant", "acme", "--name", name)
    assert len(deployment.items()) == 2
