"""Redaction of what a provider writes about a failure.

These texts reach the tenant, the event bus, the record and the log. A provider may quote in them what the relay sent or
what it made itself: our callback address, a link to an image, a signed link of its own, a password in an address. The
API key is redacted where replies are received: `vidu_relay.outbound.exchange`.
"""

from __future__ import annotations

import re

__all__ = ["without_secrets"]

_REDACTED: tuple[tuple[re.Pattern[str], str], ...] = (
    # user and password of an address
    (re.compile(r"(https?://)[^/\s@\"'<>]+@", re.IGNORECASE), r"\1…@"),
    # the token of our callback address and signatures, whatever is around them
    (re.compile(r"((?:token|signature)(?:=|%3D))[^\s&\"'<>]+", re.IGNORECASE), r"\1…"),
    # what a query holds, plain and encoded; values too short to open anything stay
    (re.compile(r"([?&][^=?\s&\"'<>]{1,64}=)[^\s&\"'<>]{8,}"), r"\1…"),
    (re.compile(r"((?:%3F|%26)[\w.~-]{1,64}%3D)(?:(?!%26)[^\s&\"'<>]){8,}", re.IGNORECASE), r"\1…"),
    # <kid>.<HMAC-SHA256>, as in `vidu_relay.domain.callback_token`
    (re.compile(r"(?<![\w-])[\w-]{1,64}\.[\w-]{43}(?![\w-])"), "…"),
)


def without_secrets(text: str) -> str:
    """The text with "…" for callback tokens, the values of queries and the users of addresses. Takes linear time."""
    for pattern, left in _REDACTED:
        text = pattern.sub(left, text)
    return text
