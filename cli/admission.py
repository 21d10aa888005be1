"""`relay queue`: the tasks that wait in front of a provider, and the operator's switch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from cli.answer import Answer, table
from cli.command import Group, Relay
from cli.connection import now
from cli.tenants import known_tenant
from vidu_relay.adapters.provider_pause import ProviderPauses
from vidu_relay.adapters.provider_queue import MAX_COUNTED, ProviderQueue
from vidu_relay.domain.catalogue import PROVIDERS

PROVIDER = click.argument("provider", type=click.Choice(PROVIDERS))
TENANT = click.option("--tenant", help="Only this tenant's tasks.")


@click.group(cls=Group)
def queue() -> None:
    """The tasks that wait in front of a provider."""


@queue.command(examples=["queue show"])
def show(relay: Relay) -> Answer:
    """Show each provider's queue: its length, the oldest task, each tenant's share, and how many may be in flight."""
    client, name = relay.connection.client("dynamodb"), relay.connection.resource("TaskTable")
    shown = [_describe(provider, ProviderQueue(client, name), ProviderPauses(client, name)) for provider in PROVIDERS]
    rows = [("PROVIDER", "WAITING", "OLDEST", "IN FLIGHT", "AT MOST", "PAUSED")]
    for one in shown:
        length = f"{one['waiting']}{'+' if one['waiting'] == MAX_COUNTED else ''}"
        oldest = "" if one["oldest_seconds"] is None else f"{one['oldest_seconds']} s"
        paused = "all" if one["paused"] else ", ".join(one["paused_tenants"])
        rows.append((one["provider"], length, oldest, str(one["in_flight"]), str(one["limit"]), paused))
    shares = [("PROVIDER", "TENANT", "WAITING")]
    shares += [(one["provider"], tenant, str(number)) for one in shown for tenant, number in one["tenants"].items()]
    text = table(rows) if len(shares) == 1 else f"{table(rows)}\n\n{table(shares)}"
    return Answer(text, {"queues": shown})


@queue.command(examples=["queue pause vidu", "queue pause vidu --tenant acme"])
@PROVIDER
@TENANT
def pause(relay: Relay, provider: str, tenant: str | None) -> Answer:
    """Submit nothing to a provider, or nothing of one tenant: new tasks wait. What is in flight goes on."""
    _pauses(relay, tenant).hold(provider, tenant, now=relay.connection.time_at_aws())
    again = relay.again("queue", "resume", provider, *(["--tenant", tenant] if tenant else []))
    text = f"Tasks {f'of {tenant} ' if tenant else ''}wait at {provider}. To let them go on:\n  {again}"
    return Answer(text, {"provider": provider, "tenant_id": tenant, "paused": True})


@queue.command(examples=["queue resume vidu", "queue resume vidu --tenant acme"])
@PROVIDER
@TENANT
def resume(relay: Relay, provider: str, tenant: str | None) -> Answer:
    """End a pause: within a minute the next tasks go on, in turns of tenants."""
    _pauses(relay, tenant).release(provider, tenant, now=relay.connection.time_at_aws())
    text = f"Tasks {f'of {tenant} ' if tenant else ''}go on at {provider} within a minute."
    return Answer(text, {"provider": provider, "tenant_id": tenant, "paused": False})


def _pauses(relay: Relay, tenant: str | None) -> ProviderPauses:
    if tenant is not None:
        known_tenant(relay, tenant)
    return ProviderPauses(relay.connection.client("dynamodb"), relay.connection.resource("TaskTable"))


def _describe(provider: str, queue: ProviderQueue, pauses: ProviderPauses) -> dict[str, Any]:
    waiting = list(queue.count(provider))
    state, pause = queue.load(provider), pauses.find(provider)
    oldest = min((one.created_at for one in waiting), default=None)
    return {
        "provider": provider,
        "waiting": len(waiting),
        "oldest_seconds": None if oldest is None else max(0, now() - oldest) // 1000,
        "tenants": dict(Counter(one.tenant_id for one in waiting).most_common()),
        "in_flight": len(state.slots),
        "limit": state.limit,
        "paused": bool(pause and pause.held),
        "paused_tenants": sorted(pause.held_tenants) if pause else [],
    }
