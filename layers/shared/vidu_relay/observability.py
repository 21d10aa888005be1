"""Logs and metrics: one structured logger, one metrics namespace, and the names of what is counted."""

from __future__ import annotations

import gc
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

__all__ = ["Handler", "Metric", "count", "gauge", "logger", "metrics", "observed", "warn_once"]

Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

logger = Logger(use_rfc3339=True, location=None)  # a line is found by its message
metrics = Metrics()

MAX_WARNED = 100

_warned: set[tuple[str, str]] = set()


class Metric(StrEnum):
    """Everything that is counted or measured, in the namespace `ViduRelay`, with no dimension but the service.

    Besides these, each published event is counted under its own detail type (`VideoTaskCompleted` and its like).
    """

    REQUEST_REFUSED = "RequestRefused"  # requests refused as invalid
    DAILY_CAP_REACHED = "DailyCapReached"  # requests refused because of a tenant's daily cap
    SUBMISSION_AMBIGUOUS = "SubmissionAmbiguous"  # create calls whose outcome is unknown
    SUBMISSION_NOT_CREATED = "SubmissionNotCreated"  # create calls that certainly created nothing, to be made again
    SUBMISSION_REJECTED = "SubmissionRejected"  # create calls that the provider refused
    REMOTE_ID_CONFLICT = "RemoteIdConflict"  # remote ids that a second task was given
    CALLBACK_REFUSED = "CallbackRefused"  # callbacks refused
    CALLBACK_REFUSED_ADDRESS = "CallbackRefusedAddress"  # of these, by the token in the address
    CALLBACK_REFUSED_UNKNOWN_TASK = "CallbackRefusedUnknownTask"  # of these, with a valid token for a deleted task
    CALLBACK_REFUSED_SIGNATURE = "CallbackRefusedSignature"  # of these, by the provider's signature
    CALLBACK_TOO_EARLY = "CallbackTooEarly"  # callbacks to be sent again: the create call has not ended
    READ_BACK_FAILED = "ReadBackFailed"  # failed reads after a callback or a cancel
    UNCONFIRMED_CREATE_RECONCILED = "UnconfirmedCreateReconciled"  # unconfirmed creates whose remote task was found
    CANDIDATE_NOT_RECONCILED = "CandidateNotReconciled"  # reads of candidate ids that proved nothing
    READ_SHOWS_ANOTHER_TASK = "ReadShowsAnotherTask"  # reads that the provider answered with another task
    PROVIDER_ACCOUNT_REFUSED = "ProviderAccountRefused"  # create calls refused for the account
    POLLERS_STARTED = "PollersStarted"  # executions of poll_task and single checks that sweeps started
    POLLERS_NOT_STARTED = "PollersNotStarted"  # those that could not be started
    OLDEST_OVERDUE_SECONDS = "OldestOverdueSeconds"  # age of the longest overdue task, measured by each sweep
    CHECK_READ_FAILED = "CheckReadFailed"  # checks whose read failed
    DELIVERY_ASKED_AGAIN = "DeliveryAskedAgain"  # deliveries asked for again by a check
    DELIVERY_BAD_SOURCE = "DeliveryBadSource"  # copies that failed because of the source
    DELIVERY_INTERRUPTED = "DeliveryInterrupted"  # copies that failed on the way or in the relay
    OLDEST_GENERATED_SECONDS = "OldestGeneratedSeconds"  # how long a task waits for its copy, at each failure
    NOTIFICATIONS_SENT = "NotificationsSent"  # webhooks that clients answered with 2xx
    NOTIFICATION_ATTEMPTS_FAILED = "NotificationAttemptsFailed"  # failed webhook calls
    NOTIFICATIONS_GIVEN_UP = "NotificationsGivenUp"  # webhooks that are not tried again
    RECORDS_SET_ASIDE = "RecordsSetAside"  # stream records that cannot be published, put into the failures bucket
    TASKS_WAITING = "TasksWaiting"  # length of a provider's queue, measured by each sweep that finds one
    OLDEST_WAITING_SECONDS = "OldestWaitingSeconds"  # age of the oldest task in it
    BOOKS_DIFFER = "BooksDiffer"  # bills that differ at the provider, and each comparison that finds its balance low
    TASK_SECONDS = "TaskSeconds"  # from the acceptance of a task to its completion
    SPEND_USD = "SpendUSD"  # what the provider states a task cost, once for each task


UNUSED_KEYS = ("function_arn", "function_memory_size")
"""What Powertools adds to each line: an eighth of what logs cost."""


def count(name: str, value: int = 1) -> None:
    """Add to a counter (a `Metric` or an event's detail type), written out at the end of the invocation.

    Nothing is written for 0: CloudWatch charges a metric for each hour in which it is written.
    """
    if value:
        metrics.add_metric(name=str(name), unit=MetricUnit.Count, value=value)


def gauge(name: Metric, value: float, unit: MetricUnit = MetricUnit.Seconds) -> None:
    """Record a measurement, written out at the end of the invocation."""
    metrics.add_metric(name=str(name), unit=unit, value=value)


def warn_once(event: str, word: str) -> None:
    """Log a warning with this word, once in the life of this process; of at most `MAX_WARNED` words of others."""
    if (event, word) not in _warned and len(_warned) < MAX_WARNED:
        _warned.add((event, word))
        logger.warning(event, word=word)


def observed(handler: Handler) -> Handler:
    """A handler whose log lines carry the invocation's context, and whose metrics are written when it ends.

    Powertools' own `log_metrics` also logs a warning for each invocation that counted nothing: most of ours.
    This is the last step of a start: it turns on the garbage collector that `vidu_relay/__init__.py` turned off.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()

    @logger.inject_lambda_context(clear_state=True)
    @wraps(handler)
    def run(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        logger.remove_keys(UNUSED_KEYS)
        try:
            return handler(event, context)
        finally:
            if metrics.provider.metric_set:
                metrics.flush_metrics()

    return run
