"""`relay keys`: the API keys of a tenant."""

from __future__ import annotations

import re
import secrets
from argparse import Namespace
from typing import Any

from cli.answer import Answer, RefusedError, checked, table
from cli.connection import Connection, now
from cli.tenants import directory_of, known_tenant
from vidu_relay.adapters.tenant_directory import ApiKey
from vidu_relay.domain.identifiers import api_key_digest
from vidu_relay.domain.representation import timestamp

__all__ = ["create", "list_all", "new_key", "revoke"]

KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
KEY_ID = re.compile(r"[0-9a-f]{12}")


def create(arguments: Namespace, connection: Connection) -> Answer:
    """Make a key, another one at each call. Its text is in the answer, and nowhere else ever."""
    directory = directory_of(connection)
    tenant = known_tenant(directory, arguments.tenant)
    name = checked(arguments.name, KEY_NAME, "a key's name has 1 to 100 of A-Z, a-z, 0-9, . _ -")
    api_key, key = new_key(tenant.tenant_id, name)
    directory.add_key(key)
    said = f"Key {key.key_id} of tenant {tenant.tenant_id}. It is shown this once: only its SHA-256 is stored."
    if tenant.disabled:
        said += f"\nThe tenant is disabled: the key opens nothing until `relay tenants enable {tenant.tenant_id}`."
    return Answer(f"{api_key}\n\n{said}", {**_json(key), "api_key": api_key})


def new_key(tenant_id: str, name: str) -> tuple[str, ApiKey]:
    """The text of a new key, and what is to be stored of it."""
    api_key = secrets.token_urlsafe(32)
    return api_key, ApiKey(digest=api_key_digest(api_key), tenant_id=tenant_id, name=name, created_at=now())


def list_all(arguments: Namespace, connection: Connection) -> Answer:
    """A tenant's keys, oldest first: id, creation, name."""
    directory = directory_of(connection)
    keys = directory.list_keys(known_tenant(directory, arguments.tenant).tenant_id)
    rows = [("KEY ID", "CREATED", "NAME"), *((key.key_id, timestamp(key.created_at), key.name) for key in keys)]
    return Answer(
        table(rows) if keys else "No keys. `relay keys create` makes one.", {"keys": [_json(key) for key in keys]}
    )


def revoke(arguments: Namespace, connection: Connection) -> Answer:
    """End a key; nothing happens if it is gone. A key of another tenant is refused: it would live on unnoticed."""
    directory = directory_of(connection)
    key_id = checked(arguments.key_id, KEY_ID, "a key id has 12 hexadecimal digits, as `relay keys list` shows it")
    tenant = known_tenant(directory, arguments.tenant)
    keys = [key for key in directory.list_keys(tenant.tenant_id) if key.key_id == key_id]
    if not keys or not directory.revoke_key(keys[0].digest):
        for other in directory.list_tenants():
            if any(key.key_id == key_id for key in directory.list_keys(other.tenant_id)):
                raise RefusedError(f"key {key_id} belongs to another tenant, {other.tenant_id}: see `relay keys list`")
        return Answer(
            f"Key {key_id} is already gone, or never was, or was made this very second: see `relay keys list`.",
            {"key_id": key_id, "revoked": False},
        )
    return Answer(
        f"Key {key_id} is revoked. API Gateway may accept it for another 60 seconds (its authorizer's cache).",
        {"key_id": key_id, "revoked": True},
    )


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "created_at": timestamp(key.created_at),
    }
