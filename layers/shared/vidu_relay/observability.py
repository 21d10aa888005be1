"""Logs and metrics: one structured logger, one metrics namespace, and the names of what is counted."""

from __future__ import annotations

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

__all__ = ["count", "logger", "metrics"]

logger = Logger(use_rfc3339=True)
metrics = Metrics()


def count(name: str, value: int = 1) -> None:
    """Add to a counter. The handler's `metrics.log_metrics` writes it out at the end of the invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
