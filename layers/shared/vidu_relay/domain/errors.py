"""The errors a caller may meet, as a tree.

ViduRelayError
├── ConfigurationError            the deployment is set up wrongly; an operator must act
│   └── NoSecretValueError        the operator has not put a value into a secret yet
├── InvalidRequestError           the client must change its request
│   ├── IdempotencyConflictError  same key, another request
│   ├── ExternalIdTakenError      another task of the tenant has this external id
│   ├── InvalidCursorError        a cursor that the relay did not make
│   ├── DeliveryUnderwayError     too early to delete: a video may still be copied
│   ├── MaxCostExceededError      it would cost more than its client lets it
│   └── LimitReachedError         the tenant may do no more of this for now
│       ├── BudgetReachedError    it would cost more than what is left of its budget
│       ├── DailyCapReachedError  its tasks of the day
│       ├── DailyUploadsReachedError  its uploads of the day
│       └── HourlyLimitReachedError  its estimates, replays or test messages of the hour
├── CallbackRefusedError          a callback that proved nothing
├── FileGoneError                a file of requests was deleted
├── DeletionIncompleteError       S3 kept objects: delete again
├── BadImageError                 a reference image that cannot be used
├── EventRefusedError             the event bus did not take an event: publish it again
├── AttemptUnderwayError          too early to say: the create call has not ended
├── PriceListError                the operator's price list is malformed
├── PriceListChangedError         the price list was written in the meantime: read again
├── TransitionError               a state change the table does not allow
├── StaleTaskError                the record was written in the meantime: read again
├── TransactionConflictError      two writes met: repeat this one
├── RemoteTaskOwnedError          the remote id belongs to another task
├── ProviderError
│   ├── CreateError               a create call did not give a task; `candidates` are ids that its reply names
│   │   ├── NotCreatedError       certainly nothing was created: safe to try again
│   │   │   └── AccountRefusedError  the provider refuses our account, not the request: every create call waits
│   │   ├── CreateRejectedError   the provider refuses the request: final
│   │   └── CreateAmbiguousError  something may have been created: never try again
│   ├── ProviderUnavailableError  a call gave no usable answer: try it again later
│   │   └── RemoteTaskNotFoundError  the provider knows no task of this id
│   ├── CancelNotSupportedError   this provider has no call that cancels
│   └── CancelRefusedError        the provider does not cancel this task
├── NotificationFailedError       a client was not notified of a change
└── DeliveryError
    ├── BadSourceError            what the provider serves is not the video (counted)
    └── DeliveryInterruptedError  trouble on the way or on our side (tried again)
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AccountRefusedError", "AttemptUnderwayError", "BadImageError", "BadSourceError", "BudgetReachedError",
    "CallbackRefusedError", "CancelNotSupportedError", "CancelRefusedError", "ConfigurationError",
    "CreateAmbiguousError", "CreateError", "CreateRejectedError", "DailyCapReachedError", "DailyUploadsReachedError",
    "DeletionIncompleteError", "DeliveryError", "DeliveryInterruptedError", "DeliveryUnderwayError",
    "EventRefusedError", "ExternalIdTakenError", "Fault", "FileGoneError", "HourlyLimitReachedError",
    "IdempotencyConflictError", "InvalidCursorError", "InvalidRequestError", "LimitReachedError",
    "MaxCostExceededError", "NoSecretValueError", "NotCreatedError", "NotificationFailedError", "PriceListChangedError",
    "PriceListError", "ProviderError", "ProviderUnavailableError", "RemoteTaskNotFoundError", "RemoteTaskOwnedError",
    "StaleTaskError", "ThrottledError", "TransactionConflictError", "TransitionError", "ViduRelayError",
]  # fmt: skip


class ViduRelayError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(ViduRelayError):
    """A setting or secret is missing or unreadable. The message names it, never its value."""


class NoSecretValueError(ConfigurationError):
    """A secret has no value yet."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (`loc`, dotted), what to change, and the provider's code if it has one."""

    loc: str
    msg: str
    code: str | None = None


class InvalidRequestError(ViduRelayError):
    """The request cannot be accepted. `faults` lists everything wrong with it; `code` is stable for programs."""

    def __init__(self, code: str, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = faults


class IdempotencyConflictError(InvalidRequestError):
    """The idempotency key was used before with a different request."""

    def __init__(self) -> None:
        super().__init__(
            "idempotency_key_reused",
            "This Idempotency-Key was used with a different request. Send the same request, or use a new key.",
        )


class ExternalIdTakenError(InvalidRequestError):
    """Another task of the tenant has this external id: `task_id`."""

    def __init__(self, task_id: str) -> None:
        super().__init__(
            "external_id_taken",
            f"Your task {task_id} has this external_id. Read that task, or send the request with another external_id.",
        )
        self.task_id = task_id


class InvalidCursorError(InvalidRequestError):
    """The cursor is not one of ours, or belongs to another listing."""

    def __init__(self) -> None:
        super().__init__("invalid_cursor", "The cursor is not valid here. Start again without a cursor.")


class DeliveryUnderwayError(InvalidRequestError):
    """The task's content cannot be deleted before `retry_after_seconds`: a copy may still be under way."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("delivery_underway", "A copy of the task's videos may still be under way. Try again later.")
        self.retry_after_seconds = retry_after_seconds


class LimitReachedError(InvalidRequestError):
    """The tenant may do no more of this for now. `retry_after_seconds` is the time until more is allowed for sure."""

    def __init__(self, code: str, detail: str, retry_after_seconds: int) -> None:
        super().__init__(code, detail)
        self.retry_after_seconds = retry_after_seconds


class DailyCapReachedError(LimitReachedError):
    """The tenant may submit no more tasks today (UTC), or not the `tasks` of a file: `left` are."""

    def __init__(self, cap: int, retry_after_seconds: int, *, tasks: int = 1, left: int = 0) -> None:
        detail = f"The daily cap of {cap} tasks is reached. It resets at 00:00 UTC."
        if tasks > 1:
            later = "" if tasks > cap else ", or the file again after 00:00 UTC"
            detail = (
                f"The file asks for {tasks} tasks, and {left} are left of the daily cap of {cap}: nothing of it was "
                f"accepted. Send fewer lines{later}."
            )
        super().__init__("daily_cap_reached", detail, retry_after_seconds)


class DailyUploadsReachedError(LimitReachedError):
    """The tenant may upload no more images today (UTC)."""

    def __init__(self, most: int, retry_after_seconds: int) -> None:
        detail = f"The day's {most} uploads are used up. It resets at 00:00 UTC."
        super().__init__("daily_uploads_reached", detail, retry_after_seconds)


class BudgetReachedError(LimitReachedError):
    """The request would cost more than what is left of the tenant's budget for the day or the month (UTC).

    Amounts are US dollars as text. `tasks` is how many tasks a file asks for, 1 for a single request.
    """

    def __init__(
        self, period: str, budget: str, left: str, price: str, retry_after_seconds: int, *, tasks: int = 1
    ) -> None:
        asked = "This request reserves" if tasks == 1 else f"The file's {tasks} tasks reserve"
        super().__init__(
            "budget_reached",
            f"{asked} {price} US dollars, and {left} are left of the {period}'s budget of {budget}. "
            f"The next {period} begins at 00:00 UTC{' on the first' if period == 'month' else ''}. Tasks that cost "
            "less than they reserved free their rest before.",
            retry_after_seconds,
        )


class MaxCostExceededError(InvalidRequestError):
    """The request costs more than its client lets it. Amounts are US dollars as text."""

    def __init__(self, reserved: str, most: str, *, known: bool) -> None:
        costs = (
            f"costs {reserved} US dollars" if known else f"has no known price, and {reserved} US dollars are assumed"
        )
        super().__init__("max_cost_exceeded", f"This request {costs}: more than Max-Cost-USD allows, {most}.")


class HourlyLimitReachedError(LimitReachedError):
    """The tenant may do no more of `what` in this hour (UTC)."""

    def __init__(self, what: str, most: int, retry_after_seconds: int) -> None:
        detail = f"The hour's {most} {what} are used up. It resets at the full hour."
        super().__init__("hourly_limit_reached", detail, retry_after_seconds)


class CallbackRefusedError(ViduRelayError):
    """A callback is not accepted. `reason` is for our metrics only and never leaves the service."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FileGoneError(ViduRelayError):
    """The version of a file of requests that is to be read was deleted."""


class DeletionIncompleteError(ViduRelayError):
    """S3 did not delete every object that it was asked to. The same deletion may be repeated."""


class BadImageError(ViduRelayError):
    """A reference image cannot be used. `code` is stable for programs; the message says what to change."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class EventRefusedError(ViduRelayError):
    """The event bus did not take an event. The message is its `event_id`."""


class AttemptUnderwayError(ViduRelayError):
    """The create call of this task may still be running, so its remote task cannot be reconciled yet."""


class PriceListError(ViduRelayError):
    """The operator's price list is malformed. The message names the line and what to change."""


class PriceListChangedError(ViduRelayError):
    """Another command wrote the price list in the meantime."""

    def __init__(self) -> None:
        super().__init__("the price list was changed in the meantime, nothing was written: repeat the command")


class TransitionError(ViduRelayError):
    """The transition table does not allow this change of state."""


class StaleTaskError(ViduRelayError):
    """The record changed since it was read. Read it again and decide again."""


class TransactionConflictError(ViduRelayError):
    """Another write to one of the items was under way: the same write may be repeated."""


class RemoteTaskOwnedError(ViduRelayError):
    """Another task owns this remote id."""

    def __init__(self, remote_id: str) -> None:
        super().__init__(remote_id)
        self.remote_id = remote_id


class ProviderError(ViduRelayError):
    """A call to the provider did not succeed."""


class CreateError(ProviderError):
    """A create call did not give a task. `candidates` are remote task ids that its reply names all the same.

    A reply that names an id may have created that task, whatever else it says. The ids are valid
    (`domain.identifiers.is_remote_id`), in the order of the reply.
    """

    def __init__(self, message: str, *, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates


class NotCreatedError(CreateError):
    """The provider certainly created nothing. `retry_after_seconds` is the reply's Retry-After, if it has one."""

    def __init__(
        self, message: str, retry_after_seconds: float | None = None, *, candidates: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, candidates=candidates)
        self.retry_after_seconds = retry_after_seconds


class ThrottledError(NotCreatedError):
    """The provider runs as much for us as it takes (HTTP 429)."""


class AccountRefusedError(NotCreatedError):
    """The provider refuses our account: key, permission or balance (HTTP 401, 402, 403 and balance codes).

    `status` is the reply's HTTP status, `code` and `message` are the provider's reason.
    """

    def __init__(self, status: int, code: str, message: str, *, candidates: tuple[str, ...] = ()) -> None:
        reason = f"HTTP {status}: {code}"
        super().__init__(reason, candidates=candidates)
        self.status = status
        self.code = code
        self.message = message


class CreateRejectedError(CreateError):
    """The provider refused the task for good."""

    def __init__(self, code: str, message: str, *, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(message, candidates=candidates)
        self.code = code
        self.message = message


class CreateAmbiguousError(CreateError):
    """The outcome of the create call is unknown: the task may exist and be billed."""


class ProviderUnavailableError(ProviderError):
    """The provider gave no usable answer; the task may be in any state. `status` is HTTP's, if there was a reply."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class RemoteTaskNotFoundError(ProviderUnavailableError):
    """The provider answered that it knows no task of this id (HTTP 404)."""


class CancelNotSupportedError(ProviderError):
    """This provider has no call that cancels a task."""


class CancelRefusedError(ProviderError):
    """The provider answered that it does not cancel this task. `code` is its reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NotificationFailedError(ViduRelayError):
    """A client's endpoint did not take a notification. `code` is stable for programs.

    `waited`: its host timed out or was not reached. `final`: the client wants no more tries. `status` is HTTP's where
    a whole answer came, `answer` the beginning of its body as text that can be shown.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        waited: bool = False,
        final: bool = False,
        retry_after_seconds: float | None = None,
        status: int | None = None,
        answer: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.waited = waited
        self.status = status
        self.answer = answer
        self.final = final
        self.retry_after_seconds = retry_after_seconds


class DeliveryError(ViduRelayError):
    """A video could not be copied. `code` is stable for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BadSourceError(DeliveryError):
    """The provider serves something that is not the video."""


class DeliveryInterruptedError(DeliveryError):
    """The copy broke off for a reason that a later try, with a fresh link, may not meet."""
