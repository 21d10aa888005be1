"""What `docs/scale.md` computes with is what the template and the code say."""

import re

import pytest

from benchmarks.cost import WAITING_SECONDS
from tests.documents import ROOT
from tests.unit.template import FUNCTIONS, TEMPLATE, properties
from vidu_relay.adapters.task_item import DUE_SHARDS

PAGE = (ROOT / "docs" / "scale.md").read_text()
STAGE = properties("Stage")
ROUTES = STAGE["DefaultRouteSettings"]
CALLBACKS = STAGE["RouteSettings"]["POST /v1/callbacks/{task_id}"]
LIMITS = {
    "`ThrottlingRateLimit` of every route": ROUTES["ThrottlingRateLimit"],
    "`ThrottlingBurstLimit` of every route": ROUTES["ThrottlingBurstLimit"],
    "`ThrottlingRateLimit` of callbacks": CALLBACKS["ThrottlingRateLimit"],
    "`MaximumConcurrency` of `DeliverVideos`": properties("DeliverVideosSource")["ScalingConfig"]["MaximumConcurrency"],
    "`MaximumConcurrency` of `AcceptRequest`": properties("AcceptRequestSource")["ScalingConfig"]["MaximumConcurrency"],
    "`MaximumConcurrency` of `NotifyClient`": properties("NotifyClientSource")["ScalingConfig"]["MaximumConcurrency"],
    "`BatchSize` of `PublishEvents`": properties("PublishEventsSource")["BatchSize"],
    "`MaximumRecordAgeInSeconds` of `PublishEvents`": properties("PublishEventsSource")["MaximumRecordAgeInSeconds"],
    "`Timeout` of `FindOverdueTasks`": properties("FindOverdueTasks")["Timeout"],
    "`DUE_SHARDS`": DUE_SHARDS,
    "`DailyTaskCap` by default": TEMPLATE["Parameters"]["DailyTaskCap"]["Default"],
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_limits_are_those_of_the_template() -> None:
    written = {name: value for name, value, *_ in rows("Limits that stand in the template and the code")}
    assert written == {name: str(value) for name, value in LIMITS.items()}


@pytest.mark.parametrize("name", FUNCTIONS.values())
def test_memory_and_time_out_of_each_function_are_written_down(name: str) -> None:
    table = {
        function: (memory, timeout)
        for names, _, memory, timeout, _ in rows("What memory and time-outs follow from")
        for function in (re.findall(r"`(\w+)`", names) or ["every other"])
    }
    memory, timeout = table.get(name, table["every other"])
    found = {**TEMPLATE["Globals"]["Function"], **properties(name)}
    seconds = [int(number) for number in re.findall(r"\d+", timeout)]
    assert found["MemorySize"] == int(memory)
    assert min(seconds) <= found["Timeout"] <= max(seconds)


def test_queues_keep_what_waits_as_long_as_the_page_says() -> None:
    assert "queued for 14 days" in PAGE
    assert properties("DeliveriesQueue")["MessageRetentionPeriod"] == 14 * 86_400


def test_every_function_has_a_waiting_time_in_the_cost_model() -> None:
    """One left out would be billed for its CPU alone."""
    assert set(WAITING_SECONDS) == set(FUNCTIONS)
