"""`relay list` and `relay cancel`: a tenant's tasks, by the HTTP API."""

from __future__ import annotations

from typing import Any

import click

from cli.answer import Answer, printable, table
from cli.command import Command, Relay
from vidu_relay.domain.states import Status


@click.command("list", cls=Command, examples=["list", "list --status failed --limit 100"])
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only tasks in this state.")
@click.option("--limit", type=click.IntRange(1, 100), help="So many at most (default: 20).")
@click.option("--cursor", help="Continue behind a page: the page names its cursor.")
def list_(relay: Relay, status: str | None, limit: int | None, cursor: str | None) -> Answer:
    """List the tenant's tasks, newest first. A page of a state may have fewer tasks than fit, and a cursor."""
    page = relay.api.tasks(status=status, limit=limit, cursor=cursor)
    rows = [("TASK", "STATUS", "CREATED", "ERROR")]
    rows += [
        (task["task_id"], task["status"], task["created_at"], (task["error"] or {}).get("code") or "")
        for task in page["tasks"]
    ]
    lines = [table(rows) if page["tasks"] else "No tasks."]
    if page["next_cursor"]:
        given = [("--status", status), ("--limit", limit), ("--cursor", page["next_cursor"])]
        words = [str(word) for option in given if option[1] for word in option]
        lines.append(f"There may be more:\n  {relay.again('list', *words)}")
    return Answer(printable("\n".join(lines)), {**page, "tasks": [without_links(task) for task in page["tasks"]]})


@click.command(cls=Command, examples=["cancel mfzwizlnnvsg63dpo5xw2zltmu"])
@click.argument("task_id")
def cancel(relay: Relay, task_id: str) -> Answer:
    """Cancel a task, as far as it is not at the provider or the provider can cancel it."""
    task = relay.api.cancel(task_id)
    text = f"Task {task_id} is {task['status']}."
    if task["status"] != Status.CANCELED:
        text += f" The provider was asked to cancel it:\n  {relay.again('watch', task_id)}"
    return Answer(text, without_links(task))


def without_links(task: dict[str, Any]) -> dict[str, Any]:
    """A task without its signed links, which would stay usable in a log."""
    return {name: value for name, value in task.items() if name != "output"}
