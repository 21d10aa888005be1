"""What a client writes on a request for its own use: `external_id`, `labels`, `priority`. No provider is sent them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from vidu_relay.domain.errors import Fault

__all__ = [
    "CLIENT_FIELDS",
    "MOST_URGENT",
    "client_field_schemas",
    "is_external_id",
    "object_metadata",
    "take_client_fields",
]

CLIENT_FIELDS = ("external_id", "labels", "priority")
MOST_URGENT = 10
"""The highest `priority`; the lowest is its negative, and 0 holds where none is given."""
MAX_EXTERNAL_ID_CHARACTERS = 128
MAX_LABELS = 16
MAX_LABEL_VALUE_CHARACTERS = 256
MAX_METADATA_BYTES = 2048
"""S3's limit for an object's own metadata; names are counted with the `x-amz-meta-` that S3 may leave out."""

LABEL_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEADER_LIKE = re.compile(r"(x-amz|content-|aws:)", re.IGNORECASE)
_SHOWN_CHARACTERS = 100
"""Of a label's key in the place of a fault."""


def is_external_id(value: object) -> bool:
    """Whether it is a text of 1 to 128 printable characters."""
    return isinstance(value, str) and 1 <= len(value) <= MAX_EXTERNAL_ID_CHARACTERS and value.isprintable()


def take_client_fields(given: dict[str, Any]) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """Take the fields out of a request: they, and what is wrong with them. A field that is missing is good."""
    own = {name: given.pop(name) for name in CLIENT_FIELDS if name in given}
    return own, tuple(_faults(own))


def _faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    external_id = given.get("external_id")
    if external_id is not None and not is_external_id(external_id):
        yield Fault("external_id", f"must be a text of 1 to {MAX_EXTERNAL_ID_CHARACTERS} printable characters")
        external_id = None
    priority = given.get("priority", 0)
    if type(priority) is not int or abs(priority) > MOST_URGENT:
        yield Fault("priority", f"must be a whole number from {-MOST_URGENT} to {MOST_URGENT}")
    labels = given.get("labels", {})
    if not isinstance(labels, Mapping):
        yield Fault("labels", 'must be an object of texts, such as {"order": "4711"}')
        return
    faults = tuple(_label_faults(labels))
    yield from faults
    size = (
        sum(len(f"x-amz-meta-{name}{value}") for name, value in object_metadata(external_id, labels))
        if not faults
        else 0
    )
    if size > MAX_METADATA_BYTES:
        yield Fault(
            "labels",
            f"take {size} bytes as metadata of the video in S3, with external_id and the names of the headers; S3 "
            f"takes {MAX_METADATA_BYTES}. Shorten them: percent-encoding makes 3 bytes of each byte beyond "
            "A-Z a-z 0-9 _ . - ~ /",
        )


def _label_faults(labels: Mapping[str, Any]) -> Iterator[Fault]:
    if len(labels) > MAX_LABELS:
        yield Fault("labels", f"must have at most {MAX_LABELS} labels, not {len(labels)}")
    seen: dict[str, str] = {}
    for key, value in labels.items():
        place = f"labels.{key[:_SHOWN_CHARACTERS]}"
        if _HEADER_LIKE.match(key):
            yield Fault(place, "looks like a header: begin the key with something else than x-amz, content- or aws:")
        elif not LABEL_KEY.fullmatch(key):
            yield Fault(place, "a key has 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter or digit")
        elif (former := seen.setdefault(key.lower(), key)) != key:
            yield Fault(place, f"differs from {former} by capitals only, which S3 does not tell apart: rename one")
        if not isinstance(value, str):
            yield Fault(place, "must be a text")
        elif len(value) > MAX_LABEL_VALUE_CHARACTERS or not (value.isprintable() or not value):
            yield Fault(place, f"must have at most {MAX_LABEL_VALUE_CHARACTERS} characters, all of them printable")


def object_metadata(external_id: str | None, labels: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """The fields as metadata of an object in S3, which takes ASCII only: values are percent-encoded UTF-8.

    An empty label is left out: its header would have no value.
    """
    named = {"external-id": external_id or "", **{f"label-{key}": value for key, value in (labels or {}).items()}}
    return [(name, quote(value)) for name, value in named.items() if value]


def client_field_schemas() -> dict[str, dict[str, Any]]:
    """The fields as JSON Schema."""
    return {
        "external_id": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_EXTERNAL_ID_CHARACTERS,
            "description": "Your own id of the task, unique among your tasks. Not sent to the provider.",
        },
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "propertyNames": {"pattern": f"^{LABEL_KEY.pattern}$"},
            "additionalProperties": {"type": "string", "maxLength": MAX_LABEL_VALUE_CHARACTERS},
            "description": "Your own texts by name, carried to events, webhooks and the video's metadata in S3. "
            "Not sent to the provider.",
        },
        "priority": {
            "type": "integer",
            "minimum": -MOST_URGENT,
            "maximum": MOST_URGENT,
            "default": 0,
            "description": "Among your own tasks that wait in the queue, those with a higher one go first. Not sent to "
            "the provider.",
        },
    }
