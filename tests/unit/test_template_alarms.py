"""What the operator is told: every alarm, the dashboard, and that both speak of metrics that exist."""

import json
import re
from typing import Any

import pytest

from benchmarks.cost import FREE_DASHBOARD_METRICS
from tests.unit.template import ROOT, TEMPLATE, of_type, properties
from vidu_relay.domain.states import (
    EVENT_TYPE_ACCEPTED,
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPES,
)
from vidu_relay.observability import Metric

ALARMS = of_type("AWS::CloudWatch::Alarm")
OUR_NAMESPACE = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]
OUR_DIMENSIONS = {"service": TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]}
OURS = {*Metric, EVENT_TYPE_ACCEPTED, EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPE_REJECTED, *EVENT_TYPES.values()}

OF_AWS = {
    "AWS/ApiGateway": ("ApiId", {"4xx", "5xx"}),
    "AWS/Events": ("RuleName", {"TriggeredRules"}),
    "AWS/Lambda": (
        "FunctionName",
        {"DestinationDeliveryFailures", "Duration", "Errors", "Invocations", "IteratorAge", "Throttles"},
    ),
    "AWS/SQS": ("QueueName", {"ApproximateNumberOfMessagesVisible"}),
    "AWS/States": ("StateMachineArn", {"ExecutionsFailed"}),
}
"""Metrics of AWS that may be used, and the dimension they have: a misspelt one would be silent for ever."""

Used = tuple[str, str, dict[str, Any]]
"""Namespace, name and dimensions of a metric."""


def metrics_of_alarm(name: str) -> list[Used]:
    alarm = properties(name)
    stats = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    return [
        (metric["Namespace"], metric["MetricName"], {one["Name"]: one["Value"] for one in metric.get("Dimensions", [])})
        for metric in (stats or [alarm])
    ]


def dashboard() -> dict[str, Any]:
    """The dashboard's body, a name standing in for each reference."""
    text = re.sub(r"\$\{([\w.:]+)\}", r"\1", properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    body: dict[str, Any] = json.loads(text)
    return body


WIDGETS = dashboard()["widgets"]
SHOWN: list[Used] = [
    # a reference stands in the body as its bare name: `"service", "AWS::StackName"`
    (metric[0], metric[1], {metric[2]: {"Ref": metric[3]} if metric[3] == "AWS::StackName" else metric[3]})
    for widget in WIDGETS
    for metric in widget["properties"].get("metrics", [])
    if isinstance(metric[0], str)
]


def kebab(alarm: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alarm.removesuffix("Alarm")).lower()


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reaches_the_topic_and_says_what_it_means(name: str) -> None:
    alarm = properties(name)
    meaning, _, section = alarm["AlarmDescription"].partition(" docs/runbook.md#")

    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{kebab(name)}"}
    assert meaning.endswith(".")
    assert section == kebab(name)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_knows_what_silence_means(name: str) -> None:
    of_queues = any(namespace == "AWS/SQS" for namespace, _, _ in metrics_of_alarm(name))

    # No news is good news, but for the one that waits for a sign of life, and but for queues: SQS stops reporting one
    # that nobody has used for hours, with letters in it or without.
    expected = "breaching" if name == "SweepSilentAlarm" else "ignore" if of_queues else "notBreaching"
    assert properties(name)["TreatMissingData"] == expected


@pytest.mark.parametrize("name", ["FailureRateAlarm", "OldestOverdueAlarm", "UnpublishedRecordsAlarm"])
def test_an_alarm_and_its_section_say_the_same(name: str) -> None:
    meaning, _, _ = properties(name)["AlarmDescription"].partition(" docs/runbook.md#")

    assert f"**Means.** {meaning}" in " ".join((ROOT / "docs" / "runbook.md").read_text().split())


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_on_an_expression_computes_it_from_its_metrics(name: str) -> None:
    parts = properties(name).get("Metrics")
    if not parts:
        return
    (result,) = (part for part in parts if "Expression" in part)
    inputs = [part for part in parts if "MetricStat" in part]

    assert result.get("ReturnData", True) is True
    assert all(part["ReturnData"] is False for part in inputs)
    assert set(re.findall(r"\b[a-z_]+\b", result["Expression"])) == {part["Id"] for part in inputs}
    assert len({part["MetricStat"]["Period"] for part in inputs}) == 1


@pytest.mark.parametrize(
    ("where", "used"),
    [(name, used) for name in ALARMS for used in metrics_of_alarm(name)] + [("Dashboard", used) for used in SHOWN],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_a_metric_that_is_watched_exists(where: str, used: Used) -> None:
    namespace, metric, dimensions = used

    if namespace == OUR_NAMESPACE:
        assert metric in OURS
        assert dimensions == OUR_DIMENSIONS
    else:
        dimension, names = OF_AWS[namespace]
        assert metric in names
        assert list(dimensions) == ([] if where == "ThrottlesAlarm" else [dimension])


def test_the_dashboard_shows_every_alarm_and_queue_within_what_is_free() -> None:
    (panel,) = (widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm")

    assert set(panel) == {f"{name}.Arn" for name in ALARMS}
    queues = {dimensions["QueueName"] for namespace, _, dimensions in SHOWN if namespace == "AWS/SQS"}
    assert queues == {f"{name}.QueueName" for name in of_type("AWS::SQS::Queue")}
    assert len(SHOWN) <= FREE_DASHBOARD_METRICS


def test_the_dashboards_references_can_be_made() -> None:
    used = set(re.findall(r"\$\{([\w:]+)", properties("Dashboard")["DashboardBody"]["Fn::Sub"]))

    assert used - {"AWS::Region", "AWS::StackName"} <= set(TEMPLATE["Resources"])


def test_the_dashboards_expressions_name_metrics_of_their_widget() -> None:
    for widget in WIDGETS:
        metrics = widget["properties"].get("metrics", [])
        ids = {metric[-1].get("id") for metric in metrics if isinstance(metric[-1], dict)}
        for metric in metrics:
            if isinstance(metric[0], dict):
                assert set(re.findall(r"\b[a-z]+\b", metric[0]["expression"])) <= ids


def test_the_dashboards_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in WIDGETS:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_dead_letter_queue_is_watched() -> None:
    redriven = {
        queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in of_type("AWS::SQS::Queue").values()
        if "RedrivePolicy" in queue["Properties"]
    }
    of_rules = {
        target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
        for rule in of_type("AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
        if target["Arn"] != {"Ref": "AlarmTopic"}  # what it tells of stays in the bucket
    }
    watched = {
        dimensions["QueueName"]["Fn::GetAtt"][0]
        for name in ALARMS
        for namespace, _, dimensions in metrics_of_alarm(name)
        if namespace == "AWS/SQS"
    }

    assert redriven | of_rules == watched


def test_every_function_that_is_turned_away_is_told_of() -> None:
    """Concurrency is the account's, and so is the count: with no dimension it is of all functions."""
    assert metrics_of_alarm("ThrottlesAlarm") == [("AWS/Lambda", "Throttles", {})]


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reads_no_more_metrics_than_cloudwatch_allows(name: str) -> None:
    assert len(metrics_of_alarm(name)) <= 10


def test_a_record_that_could_not_be_published_is_told_of() -> None:
    rule = properties("UnpublishedRecordsRule")
    (target,) = rule["Targets"]

    assert rule["EventPattern"]["detail"] == {"bucket": {"name": [{"Ref": "FailuresBucket"}]}}
    assert "EventBusName" not in rule  # S3 writes to the account's own bus
    assert properties("FailuresBucket")["NotificationConfiguration"]["EventBridgeConfiguration"] == {
        "EventBridgeEnabled": True
    }
    assert target["Arn"] == {"Ref": "AlarmTopic"}
    message = json.loads(target["InputTransformer"]["InputTemplate"])  # EventBridge wants a JSON value
    assert message.endswith("docs/runbook.md#unpublished-records")
    assert set(re.findall(r"<(\w+)>", message)) == set(target["InputTransformer"]["InputPathsMap"])


def test_an_unpublished_record_is_counted_by_its_rule() -> None:
    alarm = properties("UnpublishedRecordsAlarm")

    # Under the rule's name alone, as for every rule on the account's own bus; its reference is that name.
    assert metrics_of_alarm("UnpublishedRecordsAlarm") == [
        ("AWS/Events", "TriggeredRules", {"RuleName": {"Ref": "UnpublishedRecordsRule"}})
    ]
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == (
        "Sum",
        "GreaterThanOrEqualToThreshold",
        1,
    )


def test_one_slow_look_is_no_standstill() -> None:
    alarm = properties("OldestOverdueAlarm")

    assert (alarm["MetricName"], alarm["Statistic"]) == (Metric.OLDEST_OVERDUE_SECONDS, "Maximum")
    assert (alarm["Period"], alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (60, 2, 6)
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 300)
    assert f"more than {alarm['Threshold'] // 60} minutes" in alarm["AlarmDescription"]


@pytest.mark.parametrize(
    ("completed", "failed", "expired", "rings"),
    [
        (7, 2, 1, True),
        (0, 10, 0, True),
        (0, 0, 10, True),
        (15, 3, 2, False),  # a quarter is not more than a quarter
        (14, 3, 3, True),
        (0, 9, 0, False),  # too few to be a rate
        (3, 3, 3, False),
    ],
)
def test_the_failure_rate_is_of_the_tasks_that_ended(completed: int, failed: int, expired: int, rings: bool) -> None:
    alarm = properties("FailureRateAlarm")
    (result,) = (part["Expression"] for part in alarm["Metrics"] if "Expression" in part)
    names = {
        part["Id"]: part["MetricStat"]["Metric"]["MetricName"] for part in alarm["Metrics"] if "MetricStat" in part
    }
    language = {
        "FILL": lambda value, _: value,
        "IF": lambda condition, value, otherwise: value if condition else otherwise,
    }

    percent = eval(result, {}, {**language, "completed": completed, "failed": failed, "expired": expired})  # noqa: S307 - the template's own text

    assert names == {status: f"VideoTask{status.capitalize()}" for status in ("completed", "failed", "expired")}
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert (percent > alarm["Threshold"]) is rings


def test_spending_is_summed_over_a_day_against_the_parameter() -> None:
    alarm = properties("DailySpendAlarm")

    assert (alarm["MetricName"], alarm["Statistic"], alarm["Period"]) == (Metric.SPEND_USD, "Sum", 86_400)
    assert alarm["Threshold"] == {"Ref": "DailySpendAlarmUSD"}
