"""Stands in for CloudWatch's embedded metric format.

On AWS a line of log with ``_aws.CloudWatchMetrics`` becomes metrics. MiniStack keeps the line and no more.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

from ministack.services import cloudwatch, lambda_svc

from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    emit_logs = lambda_svc._emit_lambda_logs

    def emit_logs_and_metrics(function: dict[str, Any], request_id: str, text: str, *rest: Any, **named: Any) -> None:
        emit_logs(function, request_id, text, *rest, **named)
        metrics = list(_metrics(text or ""))
        for namespace, name, dimensions, unit, values in metrics:
            cloudwatch._store_datum(namespace, name, dimensions, time.time(), unit, None, values, None, None)
        if metrics:
            cloudwatch._evaluate_all_alarms()

    lambda_svc._emit_lambda_logs = emit_logs_and_metrics


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
