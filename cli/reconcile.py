"""`relay reconcile`: the latest comparison with the providers' books."""

from __future__ import annotations

import json
from typing import Any

import click
from botocore.config import Config

from cli.answer import Answer, RefusedError, printable, table
from cli.command import Command, Relay
from vidu_relay.adapters.books import BooksStore
from vidu_relay.domain.catalogue import PROVIDERS
from vidu_relay.domain.provider_books import Books, BooksResult
from vidu_relay.domain.representation import timestamp

LONGER_THAN_THE_FUNCTION = 310
REASONS = {
    "not_read": "not read yet",
    "no_tag": "without a tag of ours",
    "unknown_task": "with a tag of a task that is not in this table",
    "not_waiting": "with a tag of a task that waits for none",
    "candidate": "is being checked for its task",
}


@click.command(cls=Command, examples=["reconcile", "reconcile --now", "reconcile --provider vidu --json"])
@click.option("--provider", type=click.Choice(PROVIDERS), help="Only this provider (default: all with a result).")
@click.option("--now", is_flag=True, help="Compare first, in place of the hour's run.")
def reconcile(relay: Relay, provider: str | None, now: bool) -> Answer:
    """Show what the provider's books have that ours have not: unclaimed tasks, other bills, and the balance."""
    connection = relay.connection
    if now:
        _run(relay)
    store = BooksStore(connection.client("dynamodb"), connection.resource("TaskTable"))
    results = [found for name in PROVIDERS if provider in (None, name) and (found := store.read(name))]
    if not results:
        return Answer(f"No comparison yet: `{relay.again('reconcile', '--now')}`.", {"results": []})
    return Answer(printable("\n\n".join(map(_shown, results))), {"results": results})


def _run(relay: Relay) -> None:
    client = relay.connection.client(
        "lambda", Config(read_timeout=LONGER_THAN_THE_FUNCTION, retries={"total_max_attempts": 1})
    )
    function = relay.connection.resource("ReconcileSpending")
    reply = client.invoke(FunctionName=function, Payload=json.dumps({"now": True}).encode())
    if "FunctionError" in reply:
        answer: Any = json.loads(reply["Payload"].read() or b"null")
        failed = answer.get("errorMessage") if isinstance(answer, dict) else answer
        raise RefusedError(f"parts failed ({failed}): see the log, `sam logs --name ReconcileSpending`")


def _shown(result: BooksResult) -> str:
    lines = [f"{result['provider']}, {timestamp(result['at'])}"]
    if result["fault"]:
        lines.append(f"  not read: {result['fault']}")
    books = result["books"]
    return "\n".join([*lines, *(_lines(books) if books else ["  This provider shows no books."])])


def _lines(books: Books) -> list[str]:
    left = "unknown" if books["credits"] is None else books["credits"]
    lasts = "" if books["hours_left"] is None else f", which last for {books['hours_left']} hours"
    lines = [f"  credits: {left} left, {books['spent_24h']} spent in 24 hours{lasts}"]
    lines.append(f"  bills: compared up to {timestamp(books['bills_to'])}, {books['bills_left']} left")
    lines += [
        f"    task {each['task_id']} of {each['tenant_id']}: {each['billed_credits']} in place of "
        f"{each['recorded_credits']} credits"
        for each in books["differences"]
    ]
    lines.append(f"  tasks: compared up to {timestamp(books['creates_to'])}, {len(books['unclaimed'])} unclaimed")
    if books["unclaimed"]:
        rows = [("CREATED", "ID", "MODEL", "CREDITS", "WHY", "TASK")]
        for each in books["unclaimed"]:
            created = "" if each["created_at"] is None else timestamp(each["created_at"])
            task = each["task_id"] or " ".join(f"{match}?" for match in each["matches"])
            rows.append(
                (created, each["remote_id"], each["model"] or "", each["credits"] or "", REASONS[each["why"]], task)
            )
        lines += [f"    {line}" for line in table(rows).splitlines()]
    return lines
