"""Calls of a provider's API, whichever provider: what may have had an effect is told apart from what has not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vidu_relay.domain.errors import (
    CreateAmbiguousError,
    CreateRejectedError,
    NotCreatedError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.outbound.exchange import ExchangeError, NotSentError, Reply, Session, exchange
from vidu_relay.outbound.reply_fields import json_object, retry_after_seconds, text

__all__ = ["LOST_PATIENCE", "ProviderCalls", "create_seconds", "created_content", "created_id"]

CREATE_SECONDS = 18
BYTES_PER_SECOND = 1_000_000
"""The slowest upload that a create call with a large body has time for."""
READ_SECONDS = 10
QUICK_SECONDS = 2.0
"""A read that fails sooner than this broke on a stale connection, not on a slow provider."""

LOST_PATIENCE = frozenset({408, 499})
"""The server, or something before it, waited no longer: what was asked for may have happened all the same."""

ReadError = Callable[[Mapping[str, Any]], TaskError | None]


def create_seconds(body_bytes: int) -> float:
    """How long a create call with a body of this size may take: DNS, connecting, sending and the reply together."""
    return CREATE_SECONDS + body_bytes / BYTES_PER_SECOND


class ProviderCalls:
    """Calls under one base address. `authorization` gives the header at each call, so that a key can be rotated."""

    def __init__(self, base_url: str, authorization: Callable[[], str]) -> None:
        self._base = base_url.rstrip("/")
        self._authorization = authorization
        self._session = Session()

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

    def read(self, path: str) -> dict[str, Any]:
        """The object that a GET answers with 200. Raises `ProviderUnavailableError` for every other answer."""
        began = time.monotonic()
        try:
            reply = self._get(path, self._session)
        except ExchangeError as error:
            # a function that was frozen wakes up with a connection that the other side has long closed
            if time.monotonic() - began > QUICK_SECONDS:
                raise ProviderUnavailableError(str(error)) from error
            try:
                reply = self._get(path, None)
            except ExchangeError as again:
                raise ProviderUnavailableError(str(again)) from again
        content = json_object(reply.body)
        if reply.status != 200 or content is None:
            raise ProviderUnavailableError(f"the provider answered a read with HTTP {reply.status}")
        return content

    def _get(self, path: str, session: Session | None) -> Reply:
        return exchange(
            "GET",
            self._base + path,
            headers=self._headers(),
            seconds=READ_SECONDS,
            session=session,
        )

    def _post(self, path: str, body: bytes, seconds: float) -> Reply:
        return exchange(
            "POST",
            self._base + path,
            headers={**self._headers(), "Content-Type": "application/json", "Connection": "close"},
            body=body,
            seconds=seconds,
        )

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization(), "Accept": "application/json"}


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def created_content(
    reply: Reply, read_error: ReadError, *, names: Sequence[str] = ("id",), unclear: frozenset[int] = LOST_PATIENCE
) -> dict[str, Any]:
    """What a create call was answered with, if it was taken.

    Raises `NotCreatedError` on 429, `CreateRejectedError` on a 4xx with the error that `read_error` finds, and
    `CreateAmbiguousError` on everything else and on the 4xx in `unclear`.
    """
    if reply.status == 429:
        raise NotCreatedError("HTTP 429", retry_after_seconds(reply.headers.get("retry-after")))
    content = json_object(reply.body, names)
    if 200 <= reply.status < 300:
        if content is None:
            raise CreateAmbiguousError(f"HTTP {reply.status} with a body that is not a JSON object")
        return content
    if 400 <= reply.status < 500 and reply.status not in unclear:
        error = (read_error(content) if content else None) or TaskError(
            f"http_{reply.status}", f"The provider refused the request with HTTP {reply.status}."
        )
        raise CreateRejectedError(error.code, error.message)
    raise CreateAmbiguousError(f"HTTP {reply.status}")


def created_id(value: Any) -> str | None:
    """The task id of a create reply, None where there is none. Raises `CreateAmbiguousError` if it cannot be one."""
    remote_id = text(value)
    if remote_id is None and value:
        raise CreateAmbiguousError("the task id in the reply is neither text nor number")
    if remote_id is not None and not is_remote_id(remote_id):
        raise CreateAmbiguousError("the task id in the reply cannot be one")
    return remote_id
