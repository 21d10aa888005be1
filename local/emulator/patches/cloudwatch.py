"""CloudWatch: metrics in logs, and alarms on metric math."""

import json
import time
from collections.abc import Iterator
from typing import Any

from ministack.services import cloudwatch, lambda_svc
from ministack.services.cloudformation import provisioners

from local.emulator.patches import replaces
from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    embedded_metrics()
    metric_math_alarms()


def embedded_metrics() -> None:
    """A line of log with ``_aws.CloudWatchMetrics`` becomes metrics (CloudWatch user guide, "Specification: Embedded
    metric format"). MiniStack keeps the line alone."""

    @replaces(lambda_svc, "_emit_lambda_logs")
    def emit(original: Any, function: dict[str, Any], request_id: str, text: str, *rest: Any, **more: Any) -> None:
        original(function, request_id, text, *rest, **more)
        metrics = list(_metrics(text or ""))
        for namespace, name, dimensions, unit, values in metrics:
            cloudwatch._store_datum(namespace, name, dimensions, time.time(), unit, None, values, None, None)
        if metrics:
            cloudwatch._evaluate_all_alarms()


def _metrics(text: str) -> Iterator[tuple[str, str, dict[str, str], str, list[float]]]:
    """Namespace, name, dimensions, unit and values of each metric in a function's log."""
    for line in text.splitlines():
        if '"CloudWatchMetrics"' not in line:
            continue
        try:
            entry = json.loads(line[line.index("{") :])
        except ValueError:
            continue
        for directive in entry["_aws"]["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                found = entry.get(metric["Name"], [])
                values = [float(value) for value in (found if isinstance(found, list) else [found])]
                for names in directive.get("Dimensions") or [[]]:
                    dimensions = {name: str(entry[name]) for name in names}
                    yield directive["Namespace"], metric["Name"], dimensions, metric.get("Unit", "None"), values


def metric_math_alarms() -> None:
    """``Metrics`` of ``AWS::CloudWatch::Alarm``, which MiniStack refuses: such an alarm is kept, and has no data."""

    @replaces(provisioners, "_cw_metric_alarm_record")
    def record(original: Any, name: str, properties: dict[str, Any]) -> Any:
        if not (metrics := properties.get("Metrics")):
            return original(name, properties)
        # MiniStack asks for a name and a namespace; without them afterwards, it has nothing to evaluate
        alarm = original(name, {**properties, "Metrics": None, "MetricName": "math", "Namespace": "math"})
        return {**alarm, "MetricName": "", "Namespace": "", "Metrics": metrics}
