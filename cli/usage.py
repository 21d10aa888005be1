"""`relay usage`: what tasks cost, from the ledger, or by the API for one tenant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from cli.answer import Answer, printable, table
from cli.command import Command, Relay
from cli.connection import now
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.usage import Grouping, focus_csv, read_period, usage_of

AMOUNTS = ("cost_usd", "reserved_usd", "uncertain_usd", "unstated_usd")


@click.command(cls=Command, examples=["usage --group-by model", "usage --tenant acme --from 2026-11-01 --csv"])
@click.option("--tenant", help="Only this tenant (default: all; with --api-url the key's own).")
@click.option("--from", "first", metavar="DATE", help="First UTC day (default: 29 days before --to).")
@click.option("--to", "last", metavar="DATE", help="Last UTC day (default: today). At most 100 days at once.")
@click.option(
    "--group-by", type=click.Choice([each.value for each in Grouping]), help="What to add up by (default: day)."
)
@click.option("--csv", "as_csv", is_flag=True, help="One line a task, with FOCUS columns.")
def usage(
    relay: Relay, tenant: str | None, first: str | None, last: str | None, group_by: str | None, as_csv: bool
) -> Answer:
    """Show what tasks cost, by the UTC day of creation: bills that are known, and what is reserved for others."""
    given = {"from": first, "to": last, "group_by": group_by}
    query = {name: value for name, value in given.items() if value is not None}
    if "api_url" in relay.options:
        if tenant or as_csv:
            raise click.UsageError("--tenant and --csv need --stack or --local: they read the ledger itself")
        return _answer(relay.api.usage(**query))
    period = read_period(query, datetime.fromtimestamp(now() / 1000, UTC).date())
    rows = _rows(relay, tenant, period.days)
    if as_csv:
        text = focus_csv(rows)
        return Answer(text.replace("\r\n", "\n").rstrip("\n"), {"csv": text})
    return _answer(usage_of(rows, period))


def _rows(relay: Relay, tenant: str | None, days: list[str]) -> Iterator[LedgerRow]:
    ledger = Ledger(relay.connection.client("dynamodb"), relay.connection.resource("LedgerTable"))
    for day in days:
        yield from ledger.rows(tenant, day)


def _answer(shown: Mapping[str, Any]) -> Answer:
    rows = [(shown["group_by"].upper(), "TASKS", "COST", "RESERVED", "UNCERTAIN", "UNSTATED")]
    for name, one in [*((group["group"], group) for group in shown["groups"]), ("total", shown["total"])]:
        rows.append((name, str(one["tasks"]), *(one[amount] for amount in AMOUNTS)))
    return Answer(printable(f"US dollars, {shown['from']} to {shown['to']}\n{table(rows)}"), shown)
