"""`relay list`, `relay cancel` and `relay delete`: a tenant's tasks, by the HTTP API."""

from __future__ import annotations

from typing import Any

import click

from cli.answer import Answer, NoAnswerError, RefusedError, printable, table
from cli.api import ApiRefusedError
from cli.command import Command, Relay
from vidu_relay.domain.states import Status

OPTIONS = {"created_from": "from", "created_to": "to", "batch_id": "batch"}
"""Options of `list` that have another name than the API's parameter."""


@click.command("list", cls=Command, examples=["list --status failed", "list --from 2026-11-01 --to 2026-11-30"])
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only tasks in this state.")
@click.option("--model", help="Only tasks of this model.")
@click.option("--batch", "batch_id", metavar="ID", help="Only tasks of this batch.")
@click.option("--from", "created_from", metavar="TIME", help="Created then or later: 2026-11-30, or RFC 3339.")
@click.option("--to", "created_to", metavar="TIME", help="Created before; a date is included as a whole (UTC).")
@click.option("--external-id", help="The task with this id of yours, and no other option.")
@click.option("--limit", type=click.IntRange(1, 100), help="So many at most (default: 20).")
@click.option("--cursor", help="Continue behind a page: the page names its cursor.")
def list_(relay: Relay, **query: str | int | None) -> Answer:
    """List the tenant's tasks, newest first. A page of a state or model may be short, and have a cursor."""
    page = relay.api.tasks(**query)
    rows = [("TASK", "STATUS", "CREATED", "EXTERNAL ID", "ERROR")]
    for task in page["tasks"]:
        error = (task["error"] or {}).get("code") or ""
        rows.append((task["task_id"], task["status"], task["created_at"], task.get("external_id", ""), error))
    lines = [table(rows) if page["tasks"] else "No tasks."]
    if page["next_cursor"]:
        given = {**query, "cursor": page["next_cursor"]}
        words = [
            str(word)
            for name, value in given.items()
            if value
            for word in (f"--{OPTIONS.get(name, name.replace('_', '-'))}", value)
        ]
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


@click.command("delete", cls=Command, examples=["delete mfzwizlnnvsg63dpo5xw2zltmu --yes"])
@click.argument("task_ids", metavar="TASK_ID…", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Delete; without it nothing is deleted.")
def delete_tasks(relay: Relay, task_ids: tuple[str, ...], yes: bool) -> int:
    """Delete settled tasks' videos, requests and images for good; what they cost stays. Exit status 1: not all."""
    if not yes:
        raise RefusedError(
            f"videos, requests and images of {len(task_ids)} tasks would be gone for good. To delete them:\n"
            f"  {relay.again('delete', *task_ids, '--yes')}"
        )
    status = 0
    for task_id in dict.fromkeys(task_ids):
        try:
            relay.api.delete(task_id)
        except (ApiRefusedError, NoAnswerError) as error:
            status = 1
            relay.screen.remark(f"relay: {error if isinstance(error, ApiRefusedError) else f'{task_id}: {error}'}")
        else:
            relay.screen.line(f"The content of task {task_id} is deleted.", {"task_id": task_id, "deleted": True})
    return status


def without_links(task: dict[str, Any]) -> dict[str, Any]:
    """A task without its signed links, which would stay usable in a log."""
    return {name: value for name, value in task.items() if name != "output"}
