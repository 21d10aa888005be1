"""Every outside effect of a use case, one by one, so that a test can make any of them go wrong."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    DeliveryInterruptedError,
    ProviderUnavailableError,
    ThrottledError,
)
from vidu_relay.outbound.guarded_post import PostFailedError

NEVER_RESENT = ("provider.", "source.", "client.", "single_try.", "s3.upload_part")
"""What has no SDK that sends it again."""


class ProcessDeathError(BaseException):
    """The function is dead: no `except` of the code under test may see it as an error of its own."""


class Fault(Enum):
    """How one effect goes wrong."""

    DIES_BEFORE = "the process dies before the call"
    DIES_AFTER = "the process dies after the call"
    REFUSED = "the call is refused and does nothing"
    REPLY_LOST = "the call takes effect and its reply is lost"
    SENT_TWICE = "the reply is lost and the SDK sends the call again"


class Effects:
    """Counts effects, and makes the one numbered `fault_at` go wrong by `fault`.

    `gate` is asked before each effect: it may hold the effect up, and say that it goes wrong.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.fault_at: int | None = None
        self.fault = Fault.DIES_BEFORE
        self.injected: str | None = None
        self.fault_injected = False
        self.gate: Callable[[str], Fault | None] = lambda _: None
        self.by_thread: defaultdict[int, list[str]] = defaultdict(list)
        self.resent: Counter[str] = Counter()
        """Which effects the SDK had twice, because the first reply was lost."""
        self._dead: set[threading.Thread] = set()
        """Threads, not their idents: the system gives a dead one's to the next."""

    def arm(self, fault_at: int, fault: Fault) -> None:
        """Count from 0, and have the effect of this number go wrong."""
        self.names.clear()
        self.fault_at, self.fault, self.injected = fault_at, fault, None

    def arm_name(self, name: str, fault: Fault, nth: int = 1) -> None:
        """Count from 0, and have the `nth` effect of this name go wrong."""
        self.names.clear()
        self.injected = None
        self.gate = lambda now: fault if now == name and self.names.count(name) == nth - 1 else None

    def disarm(self) -> None:
        """Nothing goes wrong from here on."""
        self.fault_at = None
        self.gate = lambda _: None
        self.revive()

    def revive(self) -> None:
        """The process of this thread is over: what runs here next is another one."""
        self._dead.discard(threading.current_thread())

    def perform(self, name: str, call: Callable[[], Any]) -> Any:
        if threading.current_thread() in self._dead:  # a dead process has no effects, not even in its `finally`
            raise ProcessDeathError
        fault = self.gate(name)
        number = len(self.names)
        self.names.append(name)
        self.by_thread[threading.get_ident()].append(name)
        if number == self.fault_at:
            fault = self.fault
        if fault is None:
            return call()
        self.injected, self.fault_injected = name, True
        if fault is Fault.DIES_BEFORE:
            raise self._death()
        if fault is Fault.REFUSED:
            raise _error(name, lost=False)
        reply = call()
        if fault is Fault.DIES_AFTER:
            raise self._death()
        # a stream cannot be sent twice, and the client for uploads does not try
        if fault is Fault.SENT_TWICE and not name.startswith(NEVER_RESENT):
            self.resent[name] += 1
            return call()
        if fault is Fault.REPLY_LOST:
            raise _error(name, lost=True)
        return reply

    def _death(self) -> ProcessDeathError:
        self._dead.add(threading.current_thread())
        return ProcessDeathError()


def _error(name: str, *, lost: bool) -> Exception:
    """What the adapter behind an effect raises if the call is refused, or its reply lost."""
    match name.partition("."):
        case "provider", _, "create":
            return CreateAmbiguousError("read time-out") if lost else ThrottledError("HTTP 429")
        case "provider", *_:
            return ProviderUnavailableError("HTTP 503")
        case "source", *_:
            return DeliveryInterruptedError("source_stalled" if lost else "source_unreachable", "no video")
        case "client", *_:
            return PostFailedError("timeout" if lost else "unreachable", "no answer", slow=True)
    if lost:
        return ReadTimeoutError(endpoint_url=f"https://{name}")
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, name)


Listener = Callable[[str, Mapping[str, Any], Any], None]
"""Gets operation, arguments and reply of each call that took effect."""

LOCAL = ("meta", "exceptions", "generate_presigned_url", "generate_presigned_post")


class _Observed:
    """A boto client whose calls are effects."""

    def __init__(self, client: Any, service: str, effects: Effects, listener: Listener | None) -> None:
        self._client, self._service, self._effects, self._listener = client, service, effects, listener

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._client, name)
        if name in LOCAL:
            return plain
        if name == "get_paginator":
            return lambda operation: _ObservedPaginator(plain(operation), f"{self._service}.{operation}", self._effects)

        def call(**arguments: Any) -> Any:
            reply = plain(**arguments)
            if self._listener:
                self._listener(name, arguments, reply)
            return reply

        return lambda **arguments: self._effects.perform(f"{self._service}.{name}", lambda: call(**arguments))


class _ObservedPaginator:
    def __init__(self, paginator: Any, name: str, effects: Effects) -> None:
        self._paginator, self._name, self._effects = paginator, name, effects

    def paginate(self, **arguments: Any) -> Iterator[Any]:
        yield from self._effects.perform(self._name, lambda: list(self._paginator.paginate(**arguments)))


def observed(client: Any, service: str, effects: Effects, listener: Listener | None = None) -> Any:
    """The client, with every call an effect."""
    return _Observed(client, service, effects, listener)
