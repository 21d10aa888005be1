"""The outer form of a request, looked at before its values: no part with far more members than it could ever have.

The model lists every fault it finds. A body of 4 MB has room for a million of them, and for an answer that neither
memory nor Lambda takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vidu_relay.domain.errors import Fault

__all__ = ["MAX_MEMBERS", "form_faults"]

MAX_MEMBERS = 50
"""Of any object or list in a request: more than any may have, so that its own limit answers what is near it."""


def form_faults(request: Any) -> Iterator[Fault]:
    """What is wrong with the form of a request as JSON gave it, by place."""
    for place, part in _parts(request):
        if len(part) > MAX_MEMBERS:
            yield Fault(place, f"has {len(part)} members, far more than it may have: it is not looked at further")


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
