"""The upstream API's lists: an account's tasks (`GET /ent/v2/tasks`) and its credits (`GET /ent/v2/credits`)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from local.simulator.tasks import Task
from local.simulator.vidu_bodies import credits_of, listed_body

MOST, USUAL = 100, 10
DEFAULT_SECONDS = 7 * 86_400


def list_body(tasks: Sequence[Task], query: str, now: float) -> dict[str, Any]:
    """The page of `tasks` that a query string asks for. Raises `ValueError` for a parameter that cannot be read."""
    asked = parse_qs(query)
    first, last = _moment(asked, "created_at.from", now - DEFAULT_SECONDS), _moment(asked, "created_at.to", now)
    ids, states = asked.get("task_ids"), asked.get("states")
    shown = [
        body
        for task in tasks
        if not task.script.books.hidden and (ids is None or task.id in ids) and first <= task.created_at <= last
        if states is None or listed_body(task, task.state)["state"] in states
        if (body := listed_body(task, task.state))
    ]
    size = min(int(asked.get("paper.pagesz", [str(USUAL)])[0]), MOST)
    start = int(asked.get("pager.page_token", [0])[0]) or int(asked.get("paper.page", ["0"])[0]) * size
    following = start + size
    return {
        "tasks": shown[start:following],
        "next_page_token": str(following) if following < len(shown) else "",
    }


def balance_body(tasks: Sequence[Task], bought: int) -> dict[str, Any]:
    """What is left of the credits that the account has bought: tasks that failed cost nothing."""
    spent = sum(credits_of(task) for task in tasks if task.state not in ("failed", "canceled"))
    metered = {"type": "metered", "credit_remain": bought - spent, "concurrency_limit": 5, "queue_count": 0}
    return {"remains": [metered], "packages": []}


def _moment(asked: dict[str, list[str]], name: str, otherwise: float) -> float:
    text = asked.get(name, [""])[0]
    if not text:
        return otherwise
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
