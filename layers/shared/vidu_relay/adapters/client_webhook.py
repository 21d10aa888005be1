"""A client's own endpoint: one signed POST to it, and what came of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from vidu_relay.domain.errors import NotificationFailedError
from vidu_relay.domain.notification import answer_text
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_post import PostAnswer, PostFailedError, guarded_post

__all__ = ["ClientWebhook", "WebhookAnswer", "origin_of"]

TOTAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """An answer of 2xx, and the beginning of its body as text that can be shown."""

    status: int
    text: str = ""


class ClientWebhook:
    """Calls endpoints that the guard lets pass."""

    def __init__(self, guard: AddressGuard, total_seconds: float = TOTAL_SECONDS) -> None:
        self._guard = guard
        self._total_seconds = total_seconds

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> WebhookAnswer:
        """Send a JSON body once, within 10 seconds in all; the answer, which is one of 2xx.

        Raises `NotificationFailedError` for every other outcome.
        """
        headers = {"Content-Type": "application/json", **headers}
        try:
            answer = self._send(url, body, headers)
        except PostFailedError as error:
            raise NotificationFailedError(error.code, error.message, waited=error.slow) from error
        if not 200 <= answer.status < 300:
            raise NotificationFailedError(
                f"http_{answer.status}",
                f"The client answered HTTP {answer.status}.",
                final=answer.status == HTTPStatus.GONE,
                retry_after_seconds=answer.retry_after,
                status=answer.status,
                answer=answer_text(answer.start),
            )
        return WebhookAnswer(answer.status, answer_text(answer.start))

    def _send(self, url: str, body: bytes, headers: Mapping[str, str]) -> PostAnswer:
        return guarded_post(self._guard, url, body, headers, total_seconds=self._total_seconds)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, in lower case: no part that may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
