"""What the API and events say of money besides a task's own bill, as types; see `documents`."""

from typing import Annotated, NotRequired, TypedDict

from vidu_relay.domain.documents import TaskId, TenantId
from vidu_relay.domain.identifiers import TASK_ID

__all__ = ["BillDifference", "LowBalance", "Usage", "UsageGroup", "UsageSum", "UsageToday"]


class UsageSum(TypedDict):
    """Sums over tasks. Amounts are US dollars, exact decimals; together they are what budgets count."""

    tasks: int
    billing: Annotated[dict[str, int], "Tasks by the state of their `billing`."]
    cost_usd: Annotated[str, "Bills that are known."]
    reserved_usd: Annotated[str, "Reserved for bills still to come."]
    uncertain_usd: Annotated[str, "Reserved for tasks of which it is not known whether they were billed."]
    unstated_usd: Annotated[str, "Reserved for billed tasks whose price the provider did not state."]


class UsageGroup(UsageSum):
    group: Annotated[
        str, "A UTC day, a model, or a status: `open` before the provider's end, `completed` from `generated` on."
    ]


class UsageToday(TypedDict):
    """What the tenant has had since 00:00 UTC, and what it may have. Amounts are US dollars, exact decimals."""

    tasks: Annotated[int, "Accepted."]
    daily_task_cap: int
    committed_usd: Annotated[str, "Reserved or billed for the day's tasks."]
    daily_budget_usd: Annotated[str | None, "Null for no bound."]
    month_committed_usd: Annotated[str, "Reserved or billed for the month's tasks."]
    monthly_budget_usd: Annotated[str | None, "Null for no bound."]


Usage = TypedDict(
    "Usage",
    {
        "from": Annotated[str, {"format": "date"}, "First UTC day of creation."],
        "to": Annotated[str, {"format": "date"}, "Last UTC day of creation."],
        "group_by": Annotated[str, {"enum": ["day", "model", "status"]}],
        "groups": list[UsageGroup],
        "total": UsageSum,
        "today": NotRequired[Annotated[UsageToday, "Today against cap and budget, whatever the period."]],
    },
)
"""What the tenant's tasks of a period cost."""


class BillDifference(TypedDict):
    """The provider's books show another bill for a task than its record. The record is not changed by it."""

    event_id: Annotated[
        str, {"pattern": f"^{TASK_ID.pattern}:bill:.+$"}, "The same however often the difference comes."
    ]
    tenant_id: TenantId
    task_id: TaskId
    provider: str
    remote_task_id: Annotated[str | None, "The provider's id."]
    recorded_credits: str
    billed_credits: str


class LowBalance(TypedDict):
    """At the pace of the last 24 hours a provider's balance runs out within a day."""

    event_id: Annotated[str, {"pattern": "^.+:balance:[0-9]+$"}, "The same until the balance lasts for longer again."]
    tenant_id: Annotated[str | None, "Null: it is no tenant's."]
    provider: str
    credits: Annotated[str, "Left, in the provider's unit."]
    spent_24h: Annotated[str, "By tasks of the last 24 hours, in the same unit."]
    hours_left: Annotated[int, {"minimum": 0}]
