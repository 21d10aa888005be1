"""Fields of a provider's JSON reply, read so that one odd field never hides the others.

Each reader takes whatever JSON gave and answers None where it cannot be what is looked for. None of them raises.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any

from vidu_relay.domain.quoted_text import without_secrets
from vidu_relay.domain.snapshot import TaskError

__all__ = [
    "MAX_VIDEOS",
    "json_object",
    "list_field",
    "milliseconds",
    "retry_after_seconds",
    "short_text",
    "task_error",
    "text",
    "video_link",
]

MAX_VIDEOS = 16
MAX_TEXT_CHARACTERS = 128


def json_object(body: bytes, names: Sequence[str] = ("id",)) -> dict[str, Any] | None:
    """The body as an object, with numbers kept digit for digit.

    `names` tell a task: an object without any of them that wraps one with one of them, `{"data": {…}}`, is unwrapped.
    """
    try:
        content = json.loads(body, parse_float=_decimal, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
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


def list_field(value: Any) -> list[Any]:
    """The list, or an empty one."""
    return value if isinstance(value, list) else []


def video_link(value: Any) -> str | None:
    """The link byte for byte as given, if it is one."""
    return value if isinstance(value, str) and value.startswith(("https://", "http://")) else None


def task_error(code: str | None, message: str | None) -> TaskError:
    """Cut to what a task record should carry, without what opens something where the provider quotes it."""
    said = without_secrets(message or "The provider gives no reason.")
    return TaskError(without_secrets(code or "provider_error")[:64], said[:500])


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
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), 86_400.0)


def _decimal(digits: str) -> Decimal | None:
    """A number digit for digit; None where its exponent is absurd."""
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_TEXT_CHARACTERS else digits
