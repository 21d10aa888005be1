"""The outer form of a request, looked at before its values.

No part has far more members than it could ever have: the model lists every fault it finds, and a body of 4 MB has room
for a million of them, and for an answer that neither memory nor Lambda takes. And no name stands twice in an object:
readers differ in which one counts (RFC 8259, 4), and this one would be paid for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vidu_relay.domain.errors import Fault

__all__ = ["MAX_MEMBERS", "TWICE", "form_faults", "read_json", "repeated_names"]

MAX_MEMBERS = 50
"""Of any object or list in a request: more than any may have, so that its own limit answers what is near it."""

MAX_NAME_CHARACTERS = 100
TWICE = "is given more than once: give it once"
"""What is said of such a name."""


class _Repeating(dict[str, Any]):
    """An object with names that were given more than once. Like every reader's, it holds the last value of each."""

    names: tuple[str, ...] = ()


def read_json(text: bytes | str) -> Any:
    """What `json.loads` gives, but that `repeated_names` knows of names given twice.

    Raises `ValueError` and `RecursionError` as that does.
    """
    return json.loads(text, object_pairs_hook=_object)


def repeated_names(part: Any) -> tuple[str, ...]:
    """The names that stand more than once in an object that `read_json` gave; 50 of them at most."""
    return part.names if isinstance(part, _Repeating) else ()


def form_faults(request: Any) -> Iterator[Fault]:
    """What is wrong with the form of a request as `read_json` gave it, by place."""
    for place, part in _parts(request):
        if len(part) > MAX_MEMBERS:
            yield Fault(place, f"has {len(part)} members, far more than it may have: it is not looked at further")
        for name in repeated_names(part):
            yield Fault(f"{place}.{name}" if place else name, TWICE)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    found = _Repeating(plain)
    times = Counter(name for name, _ in pairs)
    found.names = tuple(name[:MAX_NAME_CHARACTERS] for name, number in times.items() if number > 1)[:MAX_MEMBERS]
    return found


def _parts(request: Any) -> Iterator[tuple[str, Any]]:
    """Every object and list of a request that the model looks into, by place."""
    if not isinstance(request, dict):
        return
    yield "", request
    if isinstance(request.get("images"), list):
        yield "images", request["images"]
    if not isinstance(request.get("subjects"), list):
        return
    yield "subjects", request["subjects"]
    for number, subject in enumerate(request["subjects"][:MAX_MEMBERS]):
        if isinstance(subject, dict):
            yield f"subjects.{number}", subject
            if isinstance(subject.get("images"), list):
                yield f"subjects.{number}.images", subject["images"]
