"""`relay task list` and `task overdue`: tasks of all tenants."""

from __future__ import annotations

from typing import Any

import click

from cli.answer import Answer, printable, table
from cli.command import Relay
from cli.connection import now
from cli.tasks import span, store_of, task
from cli.tenants import directory_of, known_tenant
from vidu_relay.domain.polling import LEASE_MS
from vidu_relay.domain.representation import timestamp
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task

__all__ = ["task"]

OVERDUE_SHOWN = 100
"""The longest overdue tasks that `task overdue` shows."""
SWEEP_MS = 60_000
"""How often the sweep runs: a check that is overdue for less is about to start."""
UNCOPIED_MS = 3_600_000
"""How long a video may wait to be copied: the alarm `oldest-generated` has the same bound."""


@task.command("list", examples=["task list", "task list --tenant acme --limit 200"])
@click.option("--tenant", help="Only this tenant's (default: all tenants').")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="So many at most.")
def list_newest(relay: Relay, tenant: str | None, limit: int) -> Answer:
    """List the newest tasks of all tenants, with what is wrong with each."""
    store, at = store_of(relay.connection), now()
    owners = [known_tenant(relay, tenant)[1]] if tenant else directory_of(relay.connection).list_tenants()
    keys = sorted((key for owner in owners for key in store.list_keys(owner.tenant_id, limit=limit)), reverse=True)
    tasks = store.get_many(task_id for _, task_id in keys[:limit])
    shown = [_short(tasks[task_id], at) for _, task_id in keys[:limit] if task_id in tasks]
    rows = [("TASK", "TENANT", "STATUS", "CREATED", "MODEL", "WRONG")]
    for one in shown:
        wrong = one["wrong"] or one["error"] or ""
        rows.append((one["task_id"], one["tenant_id"], one["status"], one["created_at"], one["model"], wrong))
    return Answer(printable(table(rows)) if shown else "No tasks.", {"tasks": shown})


def _short(task: Task, at: int) -> dict[str, Any]:
    """A task in one line; `wrong` says what an operator may have to fix, None if nothing."""
    since = min(task.due_since or at, task.due_at or at)
    wrong = None
    if task.paused_since is not None:
        wrong = f"waits {span(at - task.paused_since)} for the provider's account"
    elif at - since > SWEEP_MS:
        wrong = f"check overdue for {span(at - since)}"
    elif task.status is Status.GENERATED and at - (task.generated_at or at) > UNCOPIED_MS:
        wrong = f"video not copied for {span(at - (task.generated_at or at))}"
    return {
        "task_id": task.task_id,
        "tenant_id": task.tenant_id,
        "status": task.status.value,
        "model": str(task.request.get("model", "")),
        "created_at": timestamp(task.created_at),
        "cost": task.usage.cost if task.usage else None,
        "error": task.error.code if task.error else None,
        "wrong": wrong,
    }


@task.command(examples=["task overdue"])
def overdue(relay: Relay) -> Answer:
    """List tasks whose check is overdue, the longest overdue first; the sweep starts those checks every minute.

    A task whose lease the sweep has taken stays in the list until a poller writes the record.
    """
    store, at = store_of(relay.connection), now()
    tasks = store.get_many(task_id for task_id, _ in store.find_due(at + LEASE_MS))
    due = ((min(task.due_since or at, task.due_at or at), task) for task in tasks.values())
    found = sorted(((since, task) for since, task in due if since < at), key=lambda one: one[0])
    shown: list[dict[str, Any]] = [
        {
            "task_id": task.task_id,
            "tenant_id": task.tenant_id,
            "status": task.status.value,
            "overdue_seconds": (at - since) // 1000,
        }
        for since, task in found[:OVERDUE_SHOWN]
    ]
    rows = [("TASK", "TENANT", "STATUS", "OVERDUE")]
    rows += [(one["task_id"], one["tenant_id"], one["status"], f"{one['overdue_seconds']} s") for one in shown]
    text = f"{table(rows)}\n{len(found)} in all." if found else "No task is overdue."
    return Answer(text, {"overdue": len(found), "tasks": shown})
