"""`relay keys`: the API keys of a tenant."""

from __future__ import annotations

import re
import secrets
from typing import Any

import click

from cli.answer import Answer, RefusedError, checked, table
from cli.command import Group, Relay
from cli.connection import now
from cli.tenants import known_tenant
from vidu_relay.adapters.tenant_directory import ApiKey
from vidu_relay.domain.identifiers import api_key_digest
from vidu_relay.domain.representation import timestamp

KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
KEY_ID = re.compile(r"[0-9a-f]{12}")


TENANT = click.option("--tenant", required=True, help="The tenant.")


@click.group(cls=Group)
def keys() -> None:
    """API keys of a tenant."""


@keys.command(examples=["keys create --tenant acme --name backend"])
@TENANT
@click.option("--name", default="default", help="What it is for: A-Z, a-z, 0-9, . _ -")
def create(relay: Relay, tenant: str, name: str) -> Answer:
    """Make a key and show it, once: only its SHA-256 is stored. Each call makes another key."""
    directory, owner = known_tenant(relay, tenant)
    checked(name, KEY_NAME, "a key's name has 1 to 100 of A-Z, a-z, 0-9, . _ -")
    api_key, key = new_key(owner.tenant_id, name)
    directory.add_key(key)
    text = f"Key {key.key_id} of tenant {owner.tenant_id}. It is shown this once: only its SHA-256 is stored."
    if owner.disabled:
        enable = relay.again("tenants", "enable", owner.tenant_id)
        text += f"\nThe tenant is disabled: the key is refused until `{enable}`."
    return Answer(f"{api_key}\n\n{text}", {**_json(key), "api_key": api_key})


def new_key(tenant_id: str, name: str) -> tuple[str, ApiKey]:
    """The text of a new key, and what is to be stored of it."""
    api_key = secrets.token_urlsafe(32)
    return api_key, ApiKey(digest=api_key_digest(api_key), tenant_id=tenant_id, name=name, created_at=now())


@keys.command("list", examples=["keys list --tenant acme"])
@TENANT
def list_all(relay: Relay, tenant: str) -> Answer:
    """List a tenant's keys, oldest first: id, creation, name."""
    directory, owner = known_tenant(relay, tenant)
    found = directory.list_keys(owner.tenant_id)
    rows = [("KEY ID", "CREATED", "NAME"), *((key.key_id, timestamp(key.created_at), key.name) for key in found)]
    none = f"No keys. `{relay.again('keys', 'create', '--tenant', tenant)}` makes one."
    return Answer(table(rows) if found else none, {"keys": [_json(key) for key in found]})


@keys.command(examples=["keys revoke --tenant acme 3f0a52c19d7e"])
@TENANT
@click.argument("key_id")
def revoke(relay: Relay, tenant: str, key_id: str) -> Answer:
    """Revoke a key, by its id (`keys list`); it may work for another 60 seconds.

    A key of another tenant is refused: it would stay valid.
    """
    show = relay.again("keys", "list", "--tenant", tenant)
    checked(key_id, KEY_ID, f"a key id has 12 hexadecimal digits: see `{show}`")
    directory, owner = known_tenant(relay, tenant)
    found = [key for key in directory.list_keys(owner.tenant_id) if key.key_id == key_id]
    revoked = bool(found) and directory.revoke_key(found[0].digest)
    if not revoked:
        for other in directory.list_tenants():
            if any(key.key_id == key_id for key in directory.list_keys(other.tenant_id)):
                show = relay.again("keys", "list", "--tenant", other.tenant_id)
                raise RefusedError(f"key {key_id} belongs to another tenant, {other.tenant_id}: see `{show}`")
        text = f"Key {key_id} is already gone, or never was, or was made this very second: see `{show}`."
    else:
        text = f"Key {key_id} is revoked. API Gateway may accept it for another 60 seconds (its authorizer's cache)."
    return Answer(text, {"key_id": key_id, "revoked": revoked})


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "created_at": timestamp(key.created_at),
    }
