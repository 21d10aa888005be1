"""The errors a caller may meet, as a tree.

ViduRelayError
├── ConfigurationError            the deployment is set up wrongly; an operator must act
│   └── NoSecretValueError        the operator has not put a value into a secret yet
├── InvalidRequestError           the client must change its request
│   ├── IdempotencyConflictError  same key, another request
│   ├── ExternalIdTakenError      another task of the tenant has this external id
│   ├── InvalidCursorError        a cursor that the relay did not make
│   ├── DeliveryUnderwayError     too early to delete: a video may still be copied
│   └── MaxCostExceededError, LimitReachedError  in `limit_errors`
├── CallbackRefusedError          a callback that proved nothing
├── FileGoneError                 a file of requests was deleted
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
│   │   │   ├── ThrottledError    the provider runs as much for us as it takes
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
    "AccountRefusedError", "AttemptUnderwayError", "BadImageError", "BadSourceError", "CallbackRefusedError",
    "CancelNotSupportedError", "CancelRefusedError", "ConfigurationError", "CreateAmbiguousError", "CreateError",
    "CreateRejectedError", "DeletionIncompleteError", "DeliveryError", "DeliveryInterruptedError",
    "DeliveryUnderwayError", "EventRefusedError", "ExternalIdTakenError", "Fault", "FileGoneError",
    "IdempotencyConflictError", "InvalidCursorError", "InvalidRequestError", "NoSecretValueError", "NotCreatedError",
    "NotificationFailedError", "PriceListChangedError", "PriceListError", "ProviderError", "ProviderUnavailableError",
    "RemoteTaskNotFoundError", "RemoteTaskOwnedError", "StaleTaskError", "ThrottledError", "TransactionConflictError",
    "TransitionError", "ViduRelayError",
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
