"""Fields of a provider's JSON reply, read so that one odd field never hides the others.

Each reader takes whatever JSON gave and answers None where the value is not what the reader looks for. None of them
raises. Every text that leaves this module is valid Unicode: `json_value` replaces lone surrogates.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

from vidu_relay.domain.identifiers import is_remote_id
from vidu_relay.domain.redaction import without_secrets
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.domain.strict_json import has_more_structure

__all__ = [
    "MAX_VIDEOS",
    "TASK_IDS",
    "clock_offset_ms",
    "json_object",
    "json_value",
    "list_field",
    "milliseconds",
    "retry_after_seconds",
    "short_text",
    "task_error",
    "task_id",
    "text",
    "unwrapped",
    "video_link",
]

TASK_IDS = ("id", "task_id")
"""The names under which a reply or a callback names a task."""

MAX_VIDEOS = 16
MAX_TEXT_CHARACTERS = 128
MAX_STRUCTURE = 50_000
"""Brackets, commas and colons of a reply or a callback: 8 MB of them would take more memory than a function has."""
MAX_CLOCK_OFFSET_MS = 24 * 3_600_000
REPLACEMENT = "\ufffd"

_SURROGATE = re.compile("[\ud800-\udfff]")


def json_value(body: bytes) -> Any:
    """The body as JSON, None where it is none or has far more structure than any reply, with numbers digit for digit.

    A text may hold half of a character (a lone surrogate), which no UTF-8 encoder accepts: U+FFFD takes its place.
    """
    if has_more_structure(body, MAX_STRUCTURE):
        return None
    try:
        content = json.loads(body, parse_float=_decimal, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return _valid_unicode(content)


def json_object(body: bytes, names: Sequence[str] = TASK_IDS) -> dict[str, Any] | None:
    """The body as an object, `unwrapped`. None where it is no JSON object."""
    content = json_value(body)
    return unwrapped(content, names) if isinstance(content, dict) else None


def unwrapped(content: dict[str, Any], names: Sequence[str] = TASK_IDS) -> dict[str, Any]:
    """What `{"data": {…}}` wraps, if the wrapped object has one of `names` and the outer object has none."""
    data = content.get("data")
    if isinstance(data, dict) and any(name in data for name in names) and not any(name in content for name in names):
        return data
    return content


def text(value: Any) -> str | None:
    """A text or number that is not empty, as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    return str(value) or None


def short_text(value: Any) -> str | None:
    """`text`, cut to what a task record should carry."""
    found = text(value)
    return found[:MAX_TEXT_CHARACTERS] if found else None


def task_id(value: Any) -> str | None:
    """A provider's task id: `text` that the relay can store and ask for. The number 0 and a damaged text are none."""
    found = text(value) if value else None
    return found if found and REPLACEMENT not in found and is_remote_id(found) else None


def list_field(value: Any) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def video_link(value: Any) -> str | None:
    """The http(s) link byte for byte as given, but for blanks around it."""
    link = value.strip(" \t\r\n") if isinstance(value, str) else ""
    return link if link[:8].lower().startswith(("https://", "http://")) else None


def task_error(code: str | None, message: str | None) -> TaskError:
    """The error, redacted and cut to what a task record should carry."""
    reason = without_secrets(message or "The provider gives no reason.")
    return TaskError(without_secrets(code or "provider_error")[:64], reason[:500])


def milliseconds(value: Any) -> int | None:
    """A moment in milliseconds since the epoch, from seconds, milliseconds or an ISO 8601 text (UTC without a zone)."""
    if isinstance(value, str) and not value.isdecimal():
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    number = Decimal(value)
    if not number.is_finite() or not 0 < number < Decimal(10) ** 14:
        return None
    return int(number if number > Decimal(10) ** 11 else number * 1000)  # seconds until the year 5138, else ms


def retry_after_seconds(value: str | None) -> float | None:
    """A `Retry-After` header in either of its forms, at most a day."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), 86_400.0)
    at = _http_date(value)
    return None if at is None else min(max(0.0, (at - datetime.now(UTC)).total_seconds()), 86_400.0)


def clock_offset_ms(headers: Mapping[str, str]) -> int | None:
    """How far the sender's clock is ahead of ours at this moment, by the `Date` header of its reply; to about a second.

    None without that header, where it is more than a day off, and for a reply that a cache stored a while ago.
    """
    at = _http_date(headers.get("date"))
    if at is None or headers.get("age", "0").strip() != "0":
        return None
    offset = int(at.timestamp() * 1000) - time.time_ns() // 1_000_000
    return offset if abs(offset) <= MAX_CLOCK_OFFSET_MS else None


def _http_date(value: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(value or "")
    except (ValueError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _valid_unicode(content: Any) -> Any:
    """`content` with U+FFFD for each lone surrogate in its values. Names of fields stay: no unknown name is read on.

    It walks without recursion: the parser takes deeper nesting than a recursive walk would.
    """
    if isinstance(content, str):
        return _SURROGATE.sub(REPLACEMENT, content)
    parts = [content] if isinstance(content, dict | list) else []
    while parts:
        part = parts.pop()
        for place, value in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(value, dict | list):
                parts.append(value)
            elif isinstance(value, str) and not value.isascii():
                part[place] = _SURROGATE.sub(REPLACEMENT, value)
    return content


def _decimal(digits: str) -> Decimal | None:
    """A number digit for digit; None where its exponent is absurd."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_TEXT_CHARACTERS else digits
