"""`relay webhooks`: the secret that signs a tenant's webhooks, and the hosts where webhooks fail."""

from __future__ import annotations

import json

import click

from cli.answer import Answer, RefusedError, printable, table
from cli.command import Group, Relay
from cli.connection import now
from cli.tenants import known_tenant
from cli.webhook_log import failing_hosts
from vidu_relay.adapters.tenant_directory import Tenant
from vidu_relay.domain.representation import timestamp
from vidu_relay.domain.webhook_signature import ROTATION_MS, secrets_of


@click.group(cls=Group)
def webhooks() -> None:
    """What a tenant's receiver verifies notifications with, and where webhooks fail."""


@webhooks.command(examples=["webhooks failing", "webhooks failing --hours 72"])
@click.option("--hours", type=click.IntRange(1, 24 * 14), default=24, show_default=True, help="Failures since then.")
def failing(relay: Relay, hours: int) -> Answer:
    """List the hosts whose webhooks failed, by the log, the most failures first."""
    found = failing_hosts(relay.connection, now() - hours * 3_600_000)
    rows = [("HOST", "FAILED", "GIVEN UP", "LAST", "CODE", "TENANTS")]
    for one in found:
        counts = (str(one["failed_tries"]), str(one["given_up"]))
        rows.append((one["host"], *counts, one["last_at"], one["last_code"], ", ".join(one["tenants"])))
    text = table(rows) if found else f"No webhook failed within {hours} hours."
    return Answer(printable(text), {"hours": hours, "hosts": found})


@webhooks.command(examples=["webhooks secret acme"])
@click.argument("tenant")
def secret(relay: Relay, tenant: str) -> Answer:
    """Show a tenant's secret (whsec_…), as the Standard Webhooks libraries take it."""
    return _shown(relay, known_tenant(relay, tenant)[1], relay.connection.time_at_aws(), [])


@webhooks.command(
    examples=[
        "webhooks rotate acme",
        "webhooks rotate acme --again               (within those 24 hours: ends the previous secret at once)",
    ]
)
@click.argument("tenant")
@click.option("--again", is_flag=True, help="Confirm a second rotation within 24 hours.")
def rotate(relay: Relay, tenant: str, again: bool) -> Answer:
    """Make a new secret and show it; the previous one signs beside it for 24 hours, by the clock of AWS."""
    directory, found = known_tenant(relay, tenant)
    at, rotated = relay.connection.time_at_aws(), found.webhook_rotated_at
    if rotated is not None and at < rotated + ROTATION_MS and not again:
        raise RefusedError(
            f"it was rotated at {timestamp(rotated)}, and the previous secret still signs: another rotation ends it at "
            "once. Say --again if that is meant"
        )
    if not directory.rotate_webhook_secret(found, at):
        show = relay.again("webhooks", "secret", tenant)
        raise RefusedError(f"another operator rotated it at the same moment: see `{show}`")
    return _shown(relay, known_tenant(relay, tenant)[1], at, [f"Rotated: {found.tenant_id}"])


def _shown(relay: Relay, tenant: Tenant, at: int, first: list[str]) -> Answer:
    connection = relay.connection
    reply = connection.client("secretsmanager").get_secret_value(SecretId=connection.resource("WebhookSecret"))
    signing = secrets_of(
        json.loads(reply["SecretString"]), tenant.tenant_id, tenant.webhook_generation, tenant.webhook_rotated_at, at
    )
    until = timestamp((tenant.webhook_rotated_at or 0) + ROTATION_MS) if len(signing) > 1 else None
    lines = [*first, f"Webhook secret of {tenant.tenant_id}: {signing[0]}"]
    if until:
        lines.append(f"The previous secret signs beside it until {until}: {signing[1]}")
    data = {
        "tenant_id": tenant.tenant_id,
        "generation": tenant.webhook_generation,
        "secret": signing[0],
        "previous_secret": signing[1] if until else None,
        "previous_signs_until": until,
    }
    return Answer("\n".join(lines), data)
