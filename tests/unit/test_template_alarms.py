"""Alarms and dashboard: what they say, and that the metrics they name exist."""

import json
import re
from typing import Any

import pytest

from tests.unit.template import ROOT, TEMPLATE, of_type, properties
from vidu_relay.domain.states import EVENT_TYPE_ACCEPTED, EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPE_REJECTED, EVENT_TYPES
from vidu_relay.observability import Metric

ALARMS = of_type("AWS::CloudWatch::Alarm")
GLOBALS = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
OUR_NAMESPACE, OUR_DIMENSIONS = GLOBALS["POWERTOOLS_METRICS_NAMESPACE"], {"service": GLOBALS["POWERTOOLS_SERVICE_NAME"]}
OURS = {*Metric, EVENT_TYPE_ACCEPTED, EVENT_TYPE_DELIVERY_DELAYED, EVENT_TYPE_REJECTED, *EVENT_TYPES.values()}
OF_LAMBDA = {"DestinationDeliveryFailures", "Duration", "Errors", "Invocations", "IteratorAge", "Throttles"}
OF_AWS = {
    "AWS/ApiGateway": ("ApiId", {"4xx", "5xx"}),
    "AWS/Events": ("RuleName", {"TriggeredRules"}),
    "AWS/Lambda": ("FunctionName", OF_LAMBDA),
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


def shown(widgets: list[dict[str, Any]]) -> list[Used]:
    """The metrics of the dashboard. A `.` in a row repeats the value of the row before."""
    found: list[Used] = []
    for widget in widgets:
        before: list[Any] = []
        for row in widget["properties"].get("metrics", []):
            if isinstance(row[0], str):
                namespace, metric, dimension, value = before = [
                    old if new == "." else new for new, old in zip(row[:4], before or row[:4], strict=True)
                ]
                # a reference stands in the body as its bare name: `"service", "AWS::StackName"`
                found.append((namespace, metric, {dimension: {"Ref": value} if value == "AWS::StackName" else value}))
    return found


BODY: str = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
WIDGETS = json.loads(re.sub(r"\$\{([\w.:]+)\}", r"\1", BODY))["widgets"]
SHOWN = shown(WIDGETS)


def kebab(alarm: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", alarm.removesuffix("Alarm")).lower()


def result_of(alarm: str, **values: float) -> float:
    """What an alarm's expression comes to."""
    parts = properties(alarm)["Metrics"]
    (result,) = (part["Expression"] for part in parts if "Expression" in part)
    language = {"FILL": lambda value, _: value, "IF": lambda condition, yes, no: yes if condition else no}
    return float(eval(result, {}, {**language, **values}))  # noqa: S307 - the template's own text


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_reaches_the_topic_says_what_it_means_and_knows_what_silence_means(name: str) -> None:
    alarm = properties(name)
    meaning, _, section = alarm["AlarmDescription"].partition(" docs/runbook.md#")
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{kebab(name)}"}
    assert meaning.endswith(".")
    assert section == kebab(name)
    # No data is good, except for the sweep, which must report, and for queues: SQS stops reporting an idle one, with or
    # without messages.
    of_queues = any(namespace == "AWS/SQS" for namespace, _, _ in metrics_of_alarm(name))
    expected = "breaching" if name == "SweepSilentAlarm" else "ignore" if of_queues else "notBreaching"
    assert alarm["TreatMissingData"] == expected


@pytest.mark.parametrize("name", ALARMS)
def test_alarm_and_its_section_say_the_same(name: str) -> None:
    meaning, _, _ = properties(name)["AlarmDescription"].partition(" docs/runbook.md#")
    assert f"**Meaning.** {meaning}" in " ".join((ROOT / "docs" / "runbook.md").read_text().split())


@pytest.mark.parametrize("name", [name for name in ALARMS if "Metrics" in properties(name)])
def test_alarm_on_an_expression_computes_it_from_its_metrics(name: str) -> None:
    (result, *inputs) = properties(name)["Metrics"]
    assert result.get("ReturnData", True) is True
    assert all(part["ReturnData"] is False for part in inputs)
    assert set(re.findall(r"\b[a-z_]+\b", result["Expression"])) == {part["Id"] for part in inputs}
    assert len({part["MetricStat"]["Period"] for part in inputs}) == 1
    assert len(inputs) <= 10  # CloudWatch allows no more


@pytest.mark.parametrize(
    ("where", "used"),
    [(name, used) for name in ALARMS for used in metrics_of_alarm(name)] + [("Dashboard", used) for used in SHOWN],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_metric_that_is_watched_exists(where: str, used: Used) -> None:
    namespace, metric, dimensions = used
    if namespace == OUR_NAMESPACE:
        assert metric in OURS
        assert dimensions == OUR_DIMENSIONS
    else:
        dimension, names = OF_AWS[namespace]
        assert metric in names
        # Concurrency is the account's, and so is the count of what is turned away.
        assert list(dimensions) == ([] if where == "ThrottlesAlarm" else [dimension])


def test_dashboard_shows_every_alarm_and_queue_within_what_is_free() -> None:
    (panel,) = (widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm")
    assert set(panel) == {f"{name}.Arn" for name in ALARMS}
    queues = {dimensions["QueueName"] for namespace, _, dimensions in SHOWN if namespace == "AWS/SQS"}
    assert queues == {f"{name}.QueueName" for name in of_type("AWS::SQS::Queue")}
    assert 20 < len(SHOWN) <= 50, "a dashboard with more is not one of the account's three free ones"


def test_dashboards_expressions_name_metrics_of_their_widget_and_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in WIDGETS:
        across, down = range(widget["x"], widget["x"] + widget["width"]), range(widget["height"])
        cells = {(x, widget["y"] + y) for x in across for y in down}
        assert not cells & taken
        assert across.stop <= 24
        taken |= cells
        metrics = widget["properties"].get("metrics", [])
        ids = {metric[-1].get("id") for metric in metrics if isinstance(metric[-1], dict)}
        for metric in metrics:
            if isinstance(metric[0], dict):
                assert set(re.findall(r"\b[a-z]+\b", metric[0]["expression"])) <= ids


def test_every_dead_letter_queue_has_an_alarm() -> None:
    queues = [queue["Properties"] for queue in of_type("AWS::SQS::Queue").values()]
    rules = [rule["Properties"] for rule in of_type("AWS::Events::Rule").values()]
    redriven = [queue["RedrivePolicy"]["deadLetterTargetArn"] for queue in queues if "RedrivePolicy" in queue]
    # what the alarm topic is notified of stays in the bucket
    targets = [target for rule in rules for target in rule["Targets"] if target["Arn"] != {"Ref": "AlarmTopic"}]
    dead = {arn["Fn::GetAtt"][0] for arn in [*redriven, *(target["DeadLetterConfig"]["Arn"] for target in targets)]}
    assert dead == {
        dimensions["QueueName"]["Fn::GetAtt"][0]
        for name in ALARMS
        for namespace, _, dimensions in metrics_of_alarm(name)
        if namespace == "AWS/SQS"
    }


def test_record_that_could_not_be_published_is_notified_and_counted() -> None:
    rule = properties("UnpublishedRecordsRule")
    (target,) = rule["Targets"]
    assert rule["EventPattern"]["detail"] == {"bucket": {"name": [{"Ref": "FailuresBucket"}]}}
    assert "EventBusName" not in rule  # S3 writes to the account's own bus
    message = json.loads(target["InputTransformer"]["InputTemplate"])  # EventBridge wants a JSON value
    assert message.endswith("docs/runbook.md#unpublished-records")
    assert set(re.findall(r"<(\w+)>", message)) == set(target["InputTransformer"]["InputPathsMap"])
    # Under the rule's name alone, as for every rule on the account's own bus; its reference is that name.
    assert metrics_of_alarm("UnpublishedRecordsAlarm") == [
        ("AWS/Events", "TriggeredRules", {"RuleName": {"Ref": "UnpublishedRecordsRule"}})
    ]


@pytest.mark.parametrize(("runs", "errors", "raised"), [(1, 0, False), (1, 1, True), (0, 0, True), (2, 1, False)])
def test_sweep_that_fails_counts_as_none(runs: int, errors: int, raised: bool) -> None:
    alarm = properties("SweepSilentAlarm")
    assert alarm["ComparisonOperator"] == "LessThanThreshold"
    assert (result_of("SweepSilentAlarm", runs=runs, errors=errors) < alarm["Threshold"]) is raised


@pytest.mark.parametrize(
    ("completed", "failed", "expired", "raised"),
    [
        (7, 2, 1, True),
        (0, 10, 0, True),
        (0, 0, 10, True),
        (15, 3, 2, False),  # a quarter is not more than a quarter
        (14, 3, 3, True),
        (0, 9, 0, False),  # too few to be a rate
    ],
)
def test_failure_rate_is_of_the_tasks_that_ended(completed: int, failed: int, expired: int, raised: bool) -> None:
    alarm = properties("FailureRateAlarm")
    percent = result_of("FailureRateAlarm", completed=completed, failed=failed, expired=expired)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert (percent > alarm["Threshold"]) is raised


@pytest.mark.parametrize(
    ("answers", "early", "checks", "raised"),
    [(3, 0, 0, True), (0, 0, 3, True), (9, 9, 0, False), (12, 9, 0, True), (1, 0, 1, False)],
)
def test_function_errors_are_those_of_the_api_and_of_checks_without_early_callbacks(
    answers: int, early: int, checks: int, raised: bool
) -> None:
    alarm = properties("FunctionErrorsAlarm")
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
    found = result_of("FunctionErrorsAlarm", answers=answers, early=early, checks=checks)
    assert (found >= alarm["Threshold"]) is raised
