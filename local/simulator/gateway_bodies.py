"""What the gateway says about a task, in the forms its page and its clients show."""

from typing import Any

from local.simulator.scripts import Failure, WithoutUrl
from local.simulator.tasks import State, Task

COST = "0.0450"
"""The bill of a task that succeeds, in US dollars. None is stated of others."""
_PROGRESS: dict[State, float] = {"pending": 0.0, "processing": 0.5, "succeeded": 1.0, "failed": 1.0, "canceled": 1.0}


def gateway_status(task: Task, state: State) -> str:
    """The gateway's word for a state, as this task's script wants it."""
    form = task.script.reply
    words: dict[State, str] = {
        "pending": form.pending_status,
        "processing": form.running_status,
        "succeeded": "completed",
        "failed": "failed",
        "canceled": "failed",  # the gateway has no cancel, and no word for it
    }
    return words[state]


def gateway_body(
    task: Task, state: State, links: list[str], *, without_url: WithoutUrl | None = None
) -> dict[str, Any]:
    """The task as create, poll and callback show it in `state`. `links` go into the `output` of a completed one."""
    form = task.script.reply
    body: dict[str, Any] = {
        "id": task.id,
        "status": gateway_status(task, state),
        "model": task.model.name,
        "created_at": int(task.created_at),
    }
    if form.progress:
        body["progress"] = _PROGRESS[state]
    if form.metadata:
        body["metadata"] = {"remote_task_id": task.remote_id, "model": task.model.name}
    if form.unknown_fields:
        body |= {"object": "generation", "x_internal": {"node": 7}, "labels": []}
    if state == "succeeded":
        if without_url is None or without_url.how != "no_output":
            body["output"] = _output(task, links, without_url)
        if form.usage:
            body["usage"] = {"cost": COST, "discount": 0.1}
    elif state == "failed":
        body |= _error(task.script.outcome.fail or Failure())
    return body


def _output(task: Task, links: list[str], without_url: WithoutUrl | None) -> Any:
    urls: list[str | None] = list(links)
    if without_url is not None:
        urls = [None] if without_url.how == "null_url" else []
    form = task.script.reply
    item: dict[str, Any]
    if form.output == "page":
        results = [{"type": "video", "url": url} for url in urls]
        item = {"task_id": task.remote_id, "task_status": form.inner_status or "done", "results": results}
    else:
        item = {"content": [{"url": url, "jobId": task.remote_id} for url in urls]}
    return item if form.output_single else [item]


def _error(failure: Failure) -> dict[str, Any]:
    if failure.form == "absent":
        return {}
    if failure.form == "string":
        return {"error": f"{failure.code}: {failure.message}"}
    numeric = failure.code_type == "number" and failure.code.isdecimal()
    return {"error": {"code": int(failure.code) if numeric else failure.code, failure.message_key: failure.message}}
