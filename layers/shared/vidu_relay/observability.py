"""Logs and metrics: one structured logger, one metrics namespace, and the names of what is counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["Handler", "count", "logger", "metrics", "observed"]

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

logger = Logger(use_rfc3339=True)
metrics = Metrics()


def count(name: str, value: int = 1) -> None:
    """Add to a counter, written out at the end of the invocation."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)


def observed(handler: Handler) -> Handler:
    """A handler whose log lines carry the invocation's context, and whose metrics are written when it ends.

    Powertools' own `log_metrics` also warns, in the log, about each invocation that counted nothing: most of ours.
    """

    @logger.inject_lambda_context(clear_state=True)
    @wraps(handler)
    def run(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        try:
            return handler(event, context)
        finally:
            if metrics.provider.metric_set:
                metrics.flush_metrics()

    return run
