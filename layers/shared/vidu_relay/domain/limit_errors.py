"""The errors of a request that would exceed a limit: of a tenant, or of the request itself.

InvalidRequestError
├── MaxCostExceededError          it would cost more than its client lets it
└── LimitReachedError             the tenant may do no more of this for now
    ├── BudgetReachedError        it would cost more than what is left of its budget
    ├── DailyCapReachedError      its tasks of the day
    ├── DailyUploadsReachedError  its uploads of the day
    └── HourlyLimitReachedError   its estimates, replays or test messages of the hour
"""

from __future__ import annotations

from vidu_relay.domain.errors import InvalidRequestError

__all__ = [
    "BudgetReachedError",
    "DailyCapReachedError",
    "DailyUploadsReachedError",
    "HourlyLimitReachedError",
    "LimitReachedError",
    "MaxCostExceededError",
]


class LimitReachedError(InvalidRequestError):
    """The tenant may do no more of this for now. `retry_after_seconds` is the time until more is allowed for sure."""

    def __init__(self, code: str, detail: str, retry_after_seconds: int) -> None:
        super().__init__(code, detail)
        self.retry_after_seconds = retry_after_seconds


class DailyCapReachedError(LimitReachedError):
    """The tenant may submit no more tasks today (UTC), or not the `tasks` of a file: `left` are."""

    def __init__(self, cap: int, retry_after_seconds: int, *, tasks: int = 1, left: int = 0) -> None:
        detail = f"The daily cap of {cap} tasks is reached. It resets at 00:00 UTC."
        if tasks > 1:
            later = "" if tasks > cap else ", or the file again after 00:00 UTC"
            detail = (
                f"The file asks for {tasks} tasks, and {left} are left of the daily cap of {cap}: nothing of it was "
                f"accepted. Send fewer lines{later}."
            )
        super().__init__("daily_cap_reached", detail, retry_after_seconds)


class DailyUploadsReachedError(LimitReachedError):
    """The tenant may upload no more images today (UTC)."""

    def __init__(self, most: int, retry_after_seconds: int) -> None:
        detail = f"The day's {most} uploads are used up. It resets at 00:00 UTC."
        super().__init__("daily_uploads_reached", detail, retry_after_seconds)


class BudgetReachedError(LimitReachedError):
    """The request would cost more than what is left of the tenant's budget for the day or the month (UTC).

    Amounts are US dollars as text. `tasks` is how many tasks a file asks for, 1 for a single request.
    """

    def __init__(
        self, period: str, budget: str, left: str, price: str, retry_after_seconds: int, *, tasks: int = 1
    ) -> None:
        asked = "This request reserves" if tasks == 1 else f"The file's {tasks} tasks reserve"
        super().__init__(
            "budget_reached",
            f"{asked} {price} US dollars, and {left} are left of the {period}'s budget of {budget}. "
            f"The next {period} begins at 00:00 UTC{' on the first' if period == 'month' else ''}. Tasks that cost "
            "less than they reserved free their rest before.",
            retry_after_seconds,
        )


class MaxCostExceededError(InvalidRequestError):
    """The request costs more than its client lets it. Amounts are US dollars as text."""

    def __init__(self, reserved: str, most: str, *, known: bool) -> None:
        costs = (
            f"costs {reserved} US dollars" if known else f"has no known price, and {reserved} US dollars are assumed"
        )
        super().__init__("max_cost_exceeded", f"This request {costs}: more than Max-Cost-USD allows, {most}.")


class HourlyLimitReachedError(LimitReachedError):
    """The tenant may do no more of `what` in this hour (UTC)."""

    def __init__(self, what: str, most: int, retry_after_seconds: int) -> None:
        detail = f"The hour's {most} {what} are used up. It resets at the full hour."
        super().__init__("hourly_limit_reached", detail, retry_after_seconds)
