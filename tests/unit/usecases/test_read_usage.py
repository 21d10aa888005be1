"""The usage of a tenant reads so many rows and no more."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.unit.builders import NOW, task_in
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.ledger import LedgerRow, ledger_row
from vidu_relay.domain.states import Status
from vidu_relay.usecases import read_usage

ROW = ledger_row(replace(task_in(Status.COMPLETED), reserved_usd="0.3"), NOW)


class Ledger:
    """Has four rows a day for the tenant, and counts those that are read."""

    def __init__(self) -> None:
        self.read = 0

    def rows(self, tenant_id: str, day: str) -> Iterator[LedgerRow]:
        assert (tenant_id, day[:2]) == ("acme", "20")
        for _ in range(4):
            self.read += 1
            yield ROW


@pytest.mark.parametrize(("most", "tasks"), [(8, 8), (7, None)])
def test_period_with_too_many_tasks_is_refused_before_all_are_read(
    monkeypatch: pytest.MonkeyPatch, most: int, tasks: int | None
) -> None:
    monkeypatch.setattr(read_usage, "MAX_ROWS", most)
    query, ledger = {"from": "2027-01-14", "to": "2027-01-15"}, Ledger()
    if tasks:
        usage = read_usage.read_usage("acme", query, ledger, lambda: NOW)  # type: ignore[arg-type]  # what it needs
        assert (usage["total"]["tasks"], usage["total"]["cost_usd"]) == (tasks, "3.2")
        return
    with pytest.raises(InvalidRequestError, match="fewer days") as caught:
        read_usage.read_usage("acme", {**query, "from": "2026-12-01"}, ledger, lambda: NOW)  # type: ignore[arg-type]
    assert (caught.value.code, ledger.read) == ("period_too_large", most + 1)
