"""Why a provider refused a request or failed a task, in every shape in which providers report it.

Each shape was seen in public documents or reports. The first code and the first message found count, whatever
object of the reply they stand in: the most specific field is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from vidu_relay.domain.redaction import without_secrets
from vidu_relay.domain.snapshot import TaskError
from vidu_relay.outbound.reply_fields import json_value, list_field, task_error, text

__all__ = ["error_codes", "quoted_body", "reason", "task_failure"]

CODE_FIELDS = ("error_code", "err_code", "code", "Code")
MESSAGE_FIELDS = (
    "fail_reason",
    "task_status_msg",
    "err_msg",
    "error_msg",
    "error_message",
    "status_msg",
    "detail",
    "message",
    "Message",
    "msg",
    "title",
)
NO_REASONS = frozenset({"0", "200", "ok", "success", "succeed", "succeeded"})
"""Codes and messages, in lower case, of a reply whose outer part reports that the call itself went well."""

MAX_READ_CHARACTERS = 64 * 1024
MAX_QUOTED_CHARACTERS = 300
MAX_DETAILS = 5

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_TAG = re.compile(r"<[^<>]*>")


def task_failure(content: Mapping[str, Any]) -> TaskError | None:
    """The reason that a reply about a failed task gives; None where it gives none."""
    code, message = reason(content)
    return task_error(code, message) if code or message else None


def reason(content: Any) -> tuple[str | None, str | None]:
    """The code and the message of a reply, each None where it gives none, as they are: neither redacted nor cut."""
    parts = list(_parts(content)) if isinstance(content, dict) else []
    code = next((code for part in parts for code in _codes(part)), None)
    message = next((message for part in parts if (message := _message(part))), None)
    return code, message


def error_codes(content: Any) -> frozenset[str]:
    """Every error code that the reply gives, in lower case."""
    if not isinstance(content, dict):
        return frozenset()
    return frozenset(code.lower() for part in _parts(content) for code in _codes(part))


def quoted_body(body: bytes) -> str | None:
    """What a body without a known reason says: the first line of a text, else its first characters, without markup."""
    content = json_value(body)
    if content in ({}, [], "") or not body.strip():
        return None
    written = content if isinstance(content, str) else body[:MAX_READ_CHARACTERS].decode("utf-8", "replace")
    plain = _TAG.sub(" ", without_secrets(written[:MAX_READ_CHARACTERS]))
    lines = (" ".join("".join(c if c.isprintable() else " " for c in line).split()) for line in plain.splitlines())
    kept = (line for line in lines if line)
    first = " ".join(kept) if isinstance(content, dict | list) else next(kept, "")
    return first[:MAX_QUOTED_CHARACTERS] or None


def _parts(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects of a reply that may hold a reason, the most specific first."""
    error, first = content.get("error"), next(iter(list_field(content.get("errors"))), None)
    nested = (error, content.get("status"), first, content.get("base_resp"))
    yield from (part for part in nested if isinstance(part, dict))
    yield content
    yield from ({"message": part} for part in (error, first) if isinstance(part, str))
    data = content.get("data")
    if isinstance(data, dict):
        yield data


def _codes(part: Mapping[str, Any]) -> Iterator[str]:
    why = part.get("reason")
    fields = [part.get(name) for name in CODE_FIELDS]
    if isinstance(why, str) and _WORD.fullmatch(why):
        fields.insert(2, why)  # Vidu's `code` repeats the HTTP status, its `reason` says what is wrong
    elif isinstance(part.get("status_msg"), str):
        fields.append(part.get("status_code"))
    yield from (found for value in fields if (found := text(value)) and found.lower() not in NO_REASONS)


def _message(part: Mapping[str, Any]) -> str | None:
    for name in MESSAGE_FIELDS:
        found = _words(part.get(name))
        if found and found.strip().lower() not in NO_REASONS:
            return found
    why = part.get("reason")
    return why if isinstance(why, str) and why and not _WORD.fullmatch(why) else None


def _words(value: Any) -> str | None:
    """A text, or the messages in what FastAPI and others put in its place: an object, a list of objects or texts."""
    if isinstance(value, list):
        return "; ".join(found for item in value[:MAX_DETAILS] if (found := _placed(item))) or None
    return _placed(value)


def _placed(item: Any) -> str | None:
    if not isinstance(item, dict):
        return text(item)
    message = text(item.get("msg")) or text(item.get("message"))
    place = ".".join(found for step in list_field(item.get("loc"))[:MAX_DETAILS] if (found := text(step)))
    return f"{place}: {message}" if place and message else message
