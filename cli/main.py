"""The commands of `relay` and what they print."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cli.connection import Connection, ConnectionFailedError, connect_local, connect_stack
from vidu_relay.adapters.tenant_directory import ApiKey, TenantDirectory
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.identifiers import api_key_digest
from vidu_relay.domain.representation import timestamp

__all__ = ["main"]

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]|[a-z0-9]")
EVENT_SOURCE = re.compile(r"[A-Za-z0-9._/-]{1,256}")
KEY_NAME = re.compile(r"[ -~]{1,100}")
KEY_ID = re.compile(r"[0-9a-f]{12}")

EXAMPLES = """
examples:
  relay --stack vidu-relay tenants create acme
  relay --stack vidu-relay keys create --tenant acme --name backend
  relay --stack vidu-relay keys list --tenant acme
  relay --stack vidu-relay keys revoke --tenant acme 3f0a52c19d7e
  relay --local keys create --tenant demo        (the stack that `make local` runs)
"""


class UsageError(Exception):
    """A command that cannot be carried out as given. The message says what to change."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 refused or failed, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        connection = (
            connect_stack(arguments.stack, arguments.region, arguments.profile)
            if arguments.stack
            else connect_local(arguments.local)
        )
        arguments.run(arguments, connection)
    except (UsageError, ConnectionFailedError, InvalidRequestError, ClientError, BotoCoreError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    return 0


def _create_tenant(arguments: argparse.Namespace, connection: Connection) -> None:
    tenant = _checked(arguments.tenant, TENANT_ID, "a tenant id has 1 to 40 of a-z, 0-9 and inner hyphens")
    sources = [
        _checked(source, EVENT_SOURCE, "an event source has 1 to 256 of A-Z, a-z, 0-9, . _ / -")
        for source in arguments.event_source
    ]
    for source in sources:
        if source == "vidu-relay" or source.startswith("aws."):
            raise UsageError(f"{source!r} speaks for itself: no tenant can have it")
    directory = _directory(connection)
    created = directory.create_tenant(tenant, _now())
    for source in sources:
        directory.map_source(source, tenant)
    said = f"Tenant {tenant} {'created' if created else 'was there already'}."
    _print(arguments, said, {"tenant_id": tenant, "created": created, "event_sources": sources})


def _create_key(arguments: argparse.Namespace, connection: Connection) -> None:
    directory = _directory(connection)
    tenant = _known_tenant(directory, arguments.tenant)
    name = _checked(arguments.name, KEY_NAME, "a key's name has 1 to 100 printable ASCII characters")
    api_key = secrets.token_urlsafe(32)
    key = ApiKey(digest=api_key_digest(api_key), tenant_id=tenant, name=name, created_at=_now())
    directory.add_key(key)
    _print(
        arguments,
        f"{api_key}\n\nKey {key.key_id} of tenant {tenant}. It is shown this once: only its SHA-256 is stored.",
        {**_key_json(key), "api_key": api_key},
    )


def _list_keys(arguments: argparse.Namespace, connection: Connection) -> None:
    directory = _directory(connection)
    keys = directory.list_keys(_known_tenant(directory, arguments.tenant))
    lines = [f"{key.key_id}  {timestamp(key.created_at)}  {key.name}" for key in keys]
    _print(arguments, "\n".join(lines) or "No keys.", {"keys": [_key_json(key) for key in keys]})


def _revoke_key(arguments: argparse.Namespace, connection: Connection) -> None:
    directory = _directory(connection)
    key_id = _checked(arguments.key_id, KEY_ID, "a key id has 12 hexadecimal digits, as `keys list` shows it")
    keys = [key for key in directory.list_keys(_known_tenant(directory, arguments.tenant)) if key.key_id == key_id]
    if not keys or not directory.revoke_key(keys[0].digest):
        raise UsageError(f"tenant {arguments.tenant} has no key {key_id}")
    _print(
        arguments,
        f"Key {key_id} is revoked. API Gateway may accept it for another 60 seconds (its authorizer's cache).",
        {"key_id": key_id, "revoked": True},
    )


def _known_tenant(directory: TenantDirectory, tenant_id: str) -> str:
    if not TENANT_ID.fullmatch(tenant_id) or not directory.has_tenant(tenant_id):
        raise UsageError(f"there is no tenant {tenant_id!r}: `relay tenants create` makes one")
    return tenant_id


def _checked(value: str, pattern: re.Pattern[str], rule: str) -> str:
    if not pattern.fullmatch(value):
        raise UsageError(f"{value!r}: {rule}")
    return value


def _directory(connection: Connection) -> TenantDirectory:
    return TenantDirectory(connection.client("dynamodb"), connection.table_name)


def _now() -> int:
    return time.time_ns() // 1_000_000


def _key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "created_at": timestamp(key.created_at),
    }


def _print(arguments: argparse.Namespace, text: str, data: dict[str, Any]) -> None:
    print(json.dumps(data) if arguments.json else text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relay",
        description="Operate a Vidu Relay: its tenants and their API keys.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--stack", metavar="NAME", help="the deployed CloudFormation stack")
    where.add_argument(
        "--local",
        metavar="FILE",
        nargs="?",
        type=Path,
        const=Path(__file__).parents[1] / ".local" / "stack.json",
        help="the local stack (default file: .local/stack.json)",
    )
    parser.add_argument("--region", help="AWS region of the stack (default: as the AWS configuration says)")
    parser.add_argument("--profile", help="AWS profile to use")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    groups = parser.add_subparsers(title="commands", required=True, metavar="tenants | keys")

    tenants = groups.add_parser("tenants", help="who may use the relay").add_subparsers(required=True, metavar="create")
    create = tenants.add_parser("create", help="create a tenant (nothing happens if it exists)")
    create.add_argument("tenant", help="1 to 40 of a-z, 0-9 and inner hyphens; part of S3 keys")
    create.add_argument(
        "--event-source", action="append", default=[], metavar="SOURCE", help="EventBridge source that acts for it"
    )
    create.set_defaults(run=_create_tenant)

    keys = groups.add_parser("keys", help="API keys of a tenant").add_subparsers(
        required=True, metavar="create | list | revoke"
    )
    create = keys.add_parser("create", help="make a key and show it, once")
    create.add_argument("--name", default="default", help="what it is for")
    create.set_defaults(run=_create_key)
    listing = keys.add_parser("list", help="list the keys: id, creation, name")
    listing.set_defaults(run=_list_keys)
    revoke = keys.add_parser("revoke", help="end a key")
    revoke.add_argument("key_id", help="as `keys list` shows it")
    revoke.set_defaults(run=_revoke_key)
    for command in (create, listing, revoke):
        command.add_argument("--tenant", required=True, help="whose")
    return parser
