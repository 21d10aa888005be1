"""`relay webhooks`: the secret that a tenant's receiver verifies our notifications with."""

from __future__ import annotations

import json
from argparse import Namespace

from cli.answer import Answer, RefusedError
from cli.connection import Connection
from cli.tenants import directory_of, known_tenant
from vidu_relay.adapters.tenant_directory import Tenant
from vidu_relay.domain.representation import timestamp
from vidu_relay.domain.webhook_signature import ROTATION_MS, secrets_of

__all__ = ["rotate", "secret"]


def secret(arguments: Namespace, connection: Connection) -> Answer:
    """Show the tenant's secret, and for a day after a rotation the one before it."""
    tenant = known_tenant(directory_of(connection), arguments.tenant)
    return _shown(tenant, connection, connection.time_at_aws(), [])


def rotate(arguments: Namespace, connection: Connection) -> Answer:
    """Go on to the next secret; the one before goes on signing beside it for a day.

    Within that day it takes `--again`: the secret that the receiver may still hold would end at once. The day begins by
    AWS's clock, as the functions count it: the laptop's may be off.
    """
    directory = directory_of(connection)
    tenant, at = known_tenant(directory, arguments.tenant), connection.time_at_aws()
    rotated = tenant.webhook_rotated_at
    if rotated is not None and at < rotated + ROTATION_MS and not arguments.again:
        raise RefusedError(
            f"it was rotated at {timestamp(rotated)}, and the secret before still signs: another rotation ends "
            "that one at once. Say --again if that is meant"
        )
    if not directory.rotate_webhook_secret(tenant, at):
        raise RefusedError("somebody else rotated it in this very moment: see `relay webhooks secret`")
    return _shown(known_tenant(directory, arguments.tenant), connection, at, [f"Rotated: {tenant.tenant_id}"])


def _shown(tenant: Tenant, connection: Connection, at: int, said: list[str]) -> Answer:
    reply = connection.client("secretsmanager").get_secret_value(SecretId=connection.resource("WebhookSecret"))
    signing = secrets_of(
        json.loads(reply["SecretString"]), tenant.tenant_id, tenant.webhook_generation, tenant.webhook_rotated_at, at
    )
    until = timestamp((tenant.webhook_rotated_at or 0) + ROTATION_MS) if len(signing) > 1 else None
    lines = [*said, f"Webhook secret of {tenant.tenant_id}: {signing[0]}"]
    if until:
        lines.append(f"The one before it signs beside it until {until}: {signing[1]}")
    data = {
        "tenant_id": tenant.tenant_id,
        "generation": tenant.webhook_generation,
        "secret": signing[0],
        "previous_secret": signing[1] if until else None,
        "previous_signs_until": until,
    }
    return Answer("\n".join(lines), data)
