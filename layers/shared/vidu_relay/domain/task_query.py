"""Which tasks a client asks for, read from a query string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from vidu_relay.domain.batch import BATCH_ID
from vidu_relay.domain.client_fields import is_external_id
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import MAX_MOMENT, Task
from vidu_relay.domain.utc_day import DAY_MS

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "TaskQuery"]

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
FILTERS = ("status", "model", "batch_id", "created_from", "created_to")
QUERY_NAMES = (*FILTERS, "external_id", "limit", "cursor")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(_DATE.pattern + r"[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """What a page of tasks shows. `first` and `last` bound `created_at` (ms), both included.

    `scope` names the filters that were given: a cursor goes on in the list that it was made for. `external_id` stands
    without any other.
    """

    limit: int = DEFAULT_LIMIT
    status: Status | None = None
    model: str | None = None
    batch_id: str | None = None
    first: int = 0
    last: int = MAX_MOMENT
    external_id: str | None = None
    cursor: str | None = None
    scope: str = ""

    @property
    def reads_records(self) -> bool:
        """Whether only a task's record says that it is shown: the index knows when it was created, and no more."""
        return (self.status, self.model, self.batch_id) != (None, None, None)

    def shows(self, task: Task) -> bool:
        """Whether a task that was created in time is shown."""
        wanted, has = (self.status, self.model, self.batch_id), (task.status, task.request.get("model"), task.batch_id)
        return all(one in (None, other) for one, other in zip(wanted, has, strict=True))

    @classmethod
    def read(cls, query: Mapping[str, str]) -> TaskQuery:
        """The query of a query string. Raises `InvalidRequestError`: `invalid_query`, and `invalid_date` for a date or
        a range of dates.
        """
        for name in query:
            if name not in QUERY_NAMES:
                known = ", ".join(QUERY_NAMES)
                raise _refused(f"There is no parameter {name[:40]!r}; known are: {known}.")
        external_id = query.get("external_id")
        if external_id is not None:
            if len(query) > 1 or not is_external_id(external_id):
                raise _refused("external_id has 1 to 128 printable characters, and no other parameter beside it.")
            return cls(external_id=external_id)
        first, last = _range(query)
        scope = "\0".join(f"{name}={query[name]}" for name in FILTERS if name in query)
        return cls(
            limit=_limit(query.get("limit")),
            status=_status(query.get("status")),
            model=_model(query.get("model")),
            batch_id=_batch_id(query.get("batch_id")),
            first=first,
            last=last,
            cursor=query.get("cursor"),
            scope=f"{scope}\0" if scope else "",
        )


def _refused(detail: str) -> InvalidRequestError:
    return InvalidRequestError("invalid_query", detail)


def _bad_date(detail: str) -> InvalidRequestError:
    return InvalidRequestError("invalid_date", detail)


def _range(query: Mapping[str, str]) -> tuple[int, int]:
    """The first and the last moment (ms). A date alone is its whole day in UTC, from its begin or to its end."""
    first, last = 0, MAX_MOMENT
    if (begin := query.get("created_from")) is not None:
        first = max(first, _moment("created_from", begin))
    if (end := query.get("created_to")) is not None:
        last = min(last, _moment("created_to", end) - 1 + (DAY_MS if _DATE.fullmatch(end) else 0))
    if first > last:
        raise _bad_date("created_from must be before created_to, and created_to after 1970.")
    return first, last


def _moment(name: str, text: str) -> int:
    """A date or a moment (RFC 3339) in milliseconds since the epoch, rounded up."""
    known = _DATE.fullmatch(text) or _MOMENT.fullmatch(text)
    try:
        at = datetime.fromisoformat(text.upper() if known else "")
    except ValueError:
        raise _bad_date(
            f"{name} must be a date such as 2026-11-30 or a moment with its offset such as 2026-11-30T08:00:00Z "
            "(RFC 3339; in an address + is written %2B)."
        ) from None
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return -(-(since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) // 1000)


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        known = ", ".join(status.value for status in Status)
        raise _refused(f"There is no status {text[:40]!r}; known are: {known}.") from None


def _model(text: str | None) -> str | None:
    """The model's id. The catalogue is loaded for a query that names one only."""
    if text is not None:
        from vidu_relay.domain.catalogue import find_model

        if find_model(text) is None:
            raise _refused(f"There is no model {text[:64]!r}: GET /v1/models lists the models.")
    return text


def _batch_id(text: str | None) -> str | None:
    if text is not None and not BATCH_ID.fullmatch(text):
        raise _refused("batch_id must be the id of a batch: b and 26 of a-z and 2-7.")
    return text


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_LIMIT):
        raise _refused(f"limit must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)
