"""Calls of a provider's API, which tell whether a call can have had an effect."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    NotCreatedError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
)
from vidu_relay.outbound.exchange import ExchangeError, NotSentError, Reply, Session, exchange
from vidu_relay.outbound.reply_fields import clock_offset_ms, json_object

__all__ = ["Account", "ProviderCalls", "Reading", "create_seconds"]

CREATE_SECONDS = 18
BYTES_PER_SECOND = 1_000_000
"""The slowest upload that a create call with a large body has time for."""
READ_SECONDS = 10
QUICK_SECONDS = 2.0
"""A read that fails sooner than this broke on a stale connection, not on a slow provider."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The reply to a read, and how far the provider's clock is ahead of ours (`clock_offset_ms`)."""

    content: dict[str, Any]
    clock_offset_ms: int | None


def create_seconds(body_bytes: int) -> float:
    """How long a create call with a body of this size may take: DNS, connecting, sending and the reply together."""
    return CREATE_SECONDS + body_bytes / BYTES_PER_SECOND


Account = Callable[[], tuple[str, str]]
"""Where a provider is asked (its base address, empty for its own one) and with which key.

Called for each request, so that both can be changed together. Raises `ConfigurationError` without a key.
"""


class ProviderCalls:
    """Calls of one provider, whose own base address is `own_base`. `scheme` stands before the key in its header.

    `refresh(used)` rereads the key and returns whether it now differs from `used`.
    """

    def __init__(self, account: Account, refresh: Callable[[str], bool], *, own_base: str, scheme: str) -> None:
        self._account = account
        self._refresh = refresh
        self._own_base = own_base
        self._scheme = scheme
        self._used_key = ""
        self._session = Session()

    def ready(self) -> None:
        """Raises `ConfigurationError` if there is no key to call with."""
        self._account()

    def refresh_key(self) -> bool:
        """Reread the key, at most once a minute; whether it differs from the one that the last call was made with."""
        return self._refresh(self._used_key)

    def create(self, path: str, body: Mapping[str, Any]) -> Reply:
        """POST once, on a fresh connection, within `create_seconds` of the body.

        Raises `NotCreatedError` if the request was not sent to its last byte, else `CreateAmbiguousError`.
        """
        content = _json(body)
        try:
            return self._post(path, content, create_seconds(len(content)))
        except NotSentError as error:
            raise NotCreatedError(str(error)) from error
        except ExchangeError as error:
            raise CreateAmbiguousError(str(error)) from error

    def change(self, path: str, body: Mapping[str, Any]) -> Reply:
        """POST once what may be repeated without harm.

        Raises `ProviderUnavailableError`: it may have had its effect all the same.
        """
        try:
            return self._post(path, _json(body), READ_SECONDS)
        except ExchangeError as error:
            raise ProviderUnavailableError(str(error)) from error

    def read(self, path: str) -> Reading:
        """The object that a GET answers with 200. One that is refused with 401 is repeated if there is a new key.

        Raises `RemoteTaskNotFoundError` on 404, `ProviderUnavailableError` on every other reply: also on 401 and 403,
        which are about our key.
        """
        reply = self._read(path)
        if reply.status == 401 and self.refresh_key():
            reply = self._read(path)
        if reply.status == 404:
            raise RemoteTaskNotFoundError("the provider answered a read with HTTP 404", reply.status)
        content = json_object(reply.body)
        if reply.status != 200 or content is None:
            raise ProviderUnavailableError(f"the provider answered a read with HTTP {reply.status}", reply.status)
        return Reading(content, clock_offset_ms(reply.headers))

    def _read(self, path: str) -> Reply:
        began = time.monotonic()
        try:
            return self._get(path, self._session)
        except ExchangeError as error:
            # a function that was frozen wakes up with a connection that the other side has long closed
            if time.monotonic() - began > QUICK_SECONDS:
                raise ProviderUnavailableError(str(error)) from error
            try:
                return self._get(path, None)
            except ExchangeError as again:
                raise ProviderUnavailableError(str(again)) from again

    def _get(self, path: str, session: Session | None) -> Reply:
        base, headers = self._asked()
        return exchange("GET", base + path, headers=headers, seconds=READ_SECONDS, session=session)

    def _post(self, path: str, body: bytes, seconds: float) -> Reply:
        base, headers = self._asked()
        return exchange(
            "POST",
            base + path,
            headers={**headers, "Content-Type": "application/json", "Connection": "close"},
            body=body,
            seconds=seconds,
        )

    def _asked(self) -> tuple[str, dict[str, str]]:
        """The base address, and the headers with the key that belongs to it."""
        base, self._used_key = self._account()
        headers = {"Authorization": f"{self._scheme} {self._used_key}", "Accept": "application/json"}
        return (base or self._own_base).rstrip("/"), headers


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
