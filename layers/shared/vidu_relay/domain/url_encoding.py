"""What of a URL an HTTP request line can carry, and the percent-encoding of the rest."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["encoded_target"]

_LEGAL = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"<>\\^`{|}')


def encoded_target(target: str) -> str:
    """The part of a URL behind its host: legal characters as they are, all others as percent-encoded UTF-8."""
    return quote(target, safe=_LEGAL)
