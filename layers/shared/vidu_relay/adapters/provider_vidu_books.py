"""The books of the `vidu` provider: its lists of tasks and of credits (platform.vidu.com/docs/tasks-list).

Written against public documents, never a live server. Where these contradict each other, each form is sent and read:
the page is asked for as `paper.page` (from 0) and as `pager.page`, a token as `pager.page_token`; a balance stands in
`remains` or `remaining_credits`. A list need not show `credits` and `created_at`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from vidu_relay.adapters.provider_vidu import NAME, OWN_BASE, STATES
from vidu_relay.domain.errors import ProviderUnavailableError
from vidu_relay.domain.money import NO_MONEY
from vidu_relay.domain.provider_books import ListedTask
from vidu_relay.domain.snapshot import ProgressState
from vidu_relay.outbound.provider_calls import Account, ProviderCalls
from vidu_relay.outbound.reply_fields import list_field, milliseconds, short_text, task_id, text, unwrapped

__all__ = ["ViduBooks"]

PAGE_SIZE = 100
"""The most that the list takes."""
MAX_PAGES = 200
IDS_PER_CALL = 50
BALANCES = ("remains", "remaining_credits")


class ViduBooks:
    """Reads the books with our own key. Every method raises `ProviderUnavailableError` without a usable answer."""

    name = NAME

    def __init__(self, account: Account, refresh: Callable[[str], bool] = lambda _: False) -> None:
        self._calls = ProviderCalls(account, refresh, own_base=OWN_BASE, scheme="Token")

    def list_tasks(self, first: int, last: int) -> Iterator[ListedTask]:
        """The tasks created between two moments (ms), each once, read page by page."""
        return self._pages([("created_at.from", _moment(first)), ("created_at.to", _moment(last))])

    def find_tasks(self, remote_ids: Sequence[str]) -> dict[str, ListedTask]:
        """Those of these tasks that the list shows, by id."""
        found: dict[str, ListedTask] = {}
        for start in range(0, len(remote_ids), IDS_PER_CALL):
            wanted = remote_ids[start : start + IDS_PER_CALL]
            content = self._read([*(("task_ids", name) for name in wanted), *_size(IDS_PER_CALL)])
            found |= {task.remote_id: task for task in _listed(content) if task.remote_id in wanted}
        return found

    def balance(self) -> Decimal | None:
        """The credits that are left in all packages; None where the answer names none."""
        content = unwrapped(self._calls.read("/ent/v2/credits?show_detail=false").content, BALANCES)
        entries = next((found for name in BALANCES if (found := list_field(content.get(name)))), [])
        amounts = [_amount(entry.get("credit_remain")) for entry in entries if isinstance(entry, dict)]
        known = [amount for amount in amounts if amount is not None]
        return sum(known, NO_MONEY) if known else None

    def _pages(self, query: list[tuple[str, str]]) -> Iterator[ListedTask]:
        seen: set[str] = set()
        place: list[tuple[str, str]] = []
        for number in range(1, MAX_PAGES + 1):
            content = self._read([*query, *_size(PAGE_SIZE), *place])
            page = _listed(content)
            fresh = [task for task in page if task.remote_id not in seen]
            seen.update(task.remote_id for task in fresh)
            yield from fresh
            token = text(content.get("next_page_token"))
            # where pages count from 1, the second call gives the first page again
            if not page or (not token and (len(page) < PAGE_SIZE or (not fresh and number > 2))):
                return
            place = [("pager.page_token", token)] if token else [(f"{n}.page", str(number)) for n in ("paper", "pager")]
        raise ProviderUnavailableError(f"the provider's list has more than {MAX_PAGES} pages")

    def _read(self, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        content = unwrapped(self._calls.read(f"/ent/v2/tasks?{urlencode(query)}").content, ("tasks",))
        if not isinstance(content.get("tasks", []), list):
            raise ProviderUnavailableError("the provider's list of tasks is none")
        return content


def _size(most: int) -> list[tuple[str, str]]:
    return [(f"{name}.pagesz", str(most)) for name in ("paper", "pager")]


def _listed(content: Mapping[str, Any]) -> list[ListedTask]:
    entries = (entry for entry in list_field(content.get("tasks")) if isinstance(entry, dict))
    return [task for entry in entries if (task := _task(entry)) is not None]


def _task(entry: Mapping[str, Any]) -> ListedTask | None:
    remote_id = task_id(entry.get("id")) or task_id(entry.get("task_id"))
    if remote_id is None:
        return None
    state = STATES.get((text(entry.get("state")) or "").lower())
    return ListedTask(
        remote_id=remote_id,
        created_at=milliseconds(entry.get("created_at")),
        model=short_text(entry.get("model")),
        prompt=text(entry.get("prompt")),
        credits=short_text(entry.get("credits")),
        failed=state in (ProgressState.FAILED, ProgressState.CANCELED),
    )


def _amount(value: Any) -> Decimal | None:
    """A number of credits; what is overdrawn counts as none left."""
    try:
        amount = Decimal(text(value) or "")
    except InvalidOperation:
        return None
    return max(amount, NO_MONEY) if amount.is_finite() else None


def _moment(at: int) -> str:
    """RFC 3339, as replies write moments: no document names the form that the filter takes."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
