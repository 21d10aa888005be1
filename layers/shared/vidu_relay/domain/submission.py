"""What of a request goes to the provider."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vidu_relay.domain.image_reference import each_image, with_images
from vidu_relay.domain.task import Attempt

__all__ = [
    "MARK_PREFIX",
    "MAX_BODY_BYTES",
    "attempt_mark",
    "body_bytes",
    "provider_params",
    "sent_bytes",
    "shared_token",
]

MARK_PREFIX = "vidu-relay:"

KEPT_BACK = frozenset({"model", "callback_url"})
"""`model` has a place of its own in the create body; the provider calls *us* back, never the client."""

MAX_BODY_BYTES = 20_000_000
"""The page: "HTTP request POST body cannot exceed 20MB", in the smaller reading."""

ENVELOPE_BYTES = 8192
"""More than what a create body holds besides the parameters: names, the model, our callback address."""


def provider_params(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters the provider is sent, exactly as the client gave them."""
    return {name: value for name, value in request.items() if name not in KEPT_BACK}


def body_bytes(request: Mapping[str, Any], inside: Mapping[str, int]) -> int:
    """How large a create body gets at most if the images in `inside` (by reference, with their bytes) travel in it."""
    params = with_images(provider_params(request), lambda image: "" if image in inside else image)
    text = json.dumps(params, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    images = [image for _, image in each_image(request) if image in inside]
    return ENVELOPE_BYTES + len(text) + sum(len("data:image/jpeg;base64,") + -(-inside[i] // 3) * 4 for i in images)


def sent_bytes(params: Mapping[str, Any]) -> int:
    """How large the create body with these parameters gets at most, in bytes."""
    text = json.dumps(params, ensure_ascii=False, separators=(",", ":"))
    return ENVELOPE_BYTES + len(text.encode("utf-8", "surrogatepass"))


def attempt_mark(task_id: str, attempt: Attempt) -> str:
    """A mark for a create call, for a provider that hands it back when the task is read.

    Only a create call of this task can have given it: it holds a digest of the random part that the tokens of all
    attempts of the task share.
    """
    digest = hashlib.sha256(f"{task_id}\0{shared_token(attempt)}".encode()).hexdigest()
    return f"{MARK_PREFIX}{task_id}:{digest[:32]}"


def shared_token(attempt: Attempt) -> str:
    """The part of an attempt's token that all attempts of the task share: the task's own token."""
    return attempt.token.partition(".")[0]
