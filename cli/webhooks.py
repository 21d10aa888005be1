"""`relay webhooks`: the secret that signs a tenant's webhooks, what became of them, and the hosts where they fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
    """A tenant's webhooks: how they went, again, a test; and the secret that its receiver verifies them with."""


@webhooks.command(examples=["webhooks attempts mfzwizlnnvsg63dpo5xw2zltmu"])
@click.argument("task_id")
def attempts(relay: Relay, task_id: str) -> Answer:
    """Show each attempt of a task's webhooks, what was answered, and when the next one is due."""
    found = relay.api.notifications(task_id)
    lines = ["No webhook of this task was attempted."] if not found else []
    for one in found:
        following = f", not before {one['next_try_at']}" if one["next_try_at"] else ""
        lines.append(f"Version {one['version']}, {one['status']}: {one['state']}{following}")
        rows = [("AT", "OUTCOME", "MS", "ANSWER")]
        rows += [(row["at"], _outcome(row), str(row["latency_ms"]), row["answer"]) for row in one["attempts"]]
        lines.append(table(rows))
    return Answer(printable("\n".join(lines)), {"notifications": found})


@webhooks.command(examples=["webhooks replay mfzwizlnnvsg63dpo5xw2zltmu 1795424402"])
@click.argument("task_id")
@click.argument("version", type=click.IntRange(min=1))
def replay(relay: Relay, task_id: str, version: int) -> Answer:
    """Send a task's webhook about a version again, under the same `webhook-id`, signed by the present secret."""
    taken = relay.api.replay(task_id, version)
    text = f"Queued: {taken['webhook_id']}. To see the result:\n  {relay.again('webhooks', 'attempts', task_id)}"
    return Answer(printable(text), taken)


@webhooks.command("test", examples=["webhooks test https://example.com/hook"])
@click.argument("url")
def send_test(relay: Relay, url: str) -> Answer:
    """Send a signed test message to an address, and show what was answered."""
    found = relay.api.send_test(url)
    text = f"{_outcome(found)} after {found['latency_ms']} ms: {found['answer'] or 'no text'}"
    return Answer(printable(text), found)


def _outcome(attempt: Mapping[str, Any]) -> str:
    return str(attempt["fault"] or f"HTTP {attempt['status']}")


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
